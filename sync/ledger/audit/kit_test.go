package audit

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/sync/ledger"
	"github.com/punchd/punchd/sync/ledger/audit/audittest"
	"github.com/punchd/punchd/sync/ledger/disk/disktest"
)

const seed = 7 // of the gateway's key

// copied is a ledger as files in memory, for somebody who changes them: one who
// has the machine, and so the salt, but not the gateway's key.
type copied struct {
	t     testing.TB
	id    ledger.Identity
	files map[string][]byte
	notes [][]byte // the heads that were signed
	keep  [][]byte // those that somebody kept elsewhere
	keys  []ed25519.PublicKey
}

// sample is a small ledger, or what build makes.
func sample(t testing.TB, build func(*audittest.Ledger)) *copied {
	t.Helper()
	medium := disktest.New(1)
	x := audittest.New(t, medium, "l", 0, audittest.Key(seed))
	build(x)
	x.Close()
	s, err := ledger.Look(medium, "l")
	if err != nil {
		t.Fatal(err)
	}
	c := &copied{t: t, id: s.Identity, files: map[string][]byte{}, notes: x.Notes, keys: []ed25519.PublicKey{audittest.Public(seed)}}
	names, err := medium.ReadDir("l")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".seg") {
			c.files[name] = medium.Bytes(filepath.Join("l", name))
		}
	}
	return c
}

// clone is a copy of its own.
func (c *copied) clone() *copied {
	d := *c
	d.files = map[string][]byte{}
	for name, b := range c.files {
		d.files[name] = slices.Clone(b)
	}
	return &d
}

func (c *copied) names() []string { return slices.Sorted(maps.Keys(c.files)) }

// write puts the files into a directory.
func (c *copied) write() string {
	c.t.Helper()
	dir := c.t.TempDir()
	for name, b := range c.files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	return dir
}

func (c *copied) options() Options {
	return Options{Dir: c.write(), Keys: c.keys, Witness: c.keep}
}

func (c *copied) run() *Report {
	c.t.Helper()
	r, err := Run(c.t.Context(), c.options())
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// frames are the frames of each segment, which are at the start of it.
func (c *copied) frames() map[string][]ledger.Frame {
	all := map[string][]ledger.Frame{}
	for name, b := range c.files {
		for at := 4096; at < len(b); {
			f, n, err := c.id.ParseFrame(b[at:])
			if err != nil {
				break
			}
			f.Payload = slices.Clone(f.Payload)
			all[name] = append(all[name], f)
			at += n
		}
	}
	return all
}

// edit lets change have the frames of all segments, in order, and writes what it
// leaves, each frame into the segment that it came from or is put into.
func (c *copied) edit(change func(fs []placed) []placed) {
	c.t.Helper()
	var fs []placed
	old := c.frames()
	for _, name := range c.names() {
		for _, f := range old[name] {
			fs = append(fs, placed{f, name})
		}
	}
	fs = change(fs)
	first := map[string]uint64{}
	at := map[string][]byte{}
	for _, f := range fs {
		if _, ok := first[f.in]; !ok {
			first[f.in] = f.Seq
		}
		at[f.in] = c.id.AppendFrame(at[f.in], f.Frame)
	}
	files := map[string][]byte{}
	for name, b := range c.files {
		body, any := at[name]
		size := max(len(b), (4096+len(body)+4095)&^4095)
		file := make([]byte, size)
		copy(file, b[:4096])
		copy(file[4096:], body)
		if any {
			c.header(file, first[name])
			name = fmt.Sprintf("%020d.seg", first[name])
		}
		files[name] = file
	}
	c.files = files
}

type placed struct {
	ledger.Frame
	in string
}

// header writes a segment's header anew, with a check sum that is right.
func (c *copied) header(file []byte, first uint64) {
	durable := min(first, binary.LittleEndian.Uint64(file[48:]))
	binary.LittleEndian.PutUint64(file[40:], first)
	binary.LittleEndian.PutUint64(file[48:], durable)
	binary.LittleEndian.PutUint64(file[56:], uint64(len(file)))
	binary.LittleEndian.PutUint32(file[64:], crc32.Checksum(file[:64], crc32.MakeTable(crc32.Castagnoli)))
	copy(file[2048:], file[:68])
}

// brief is a finding as both checkers tell it.
type brief struct {
	Kind  Kind   `json:"kind"`
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

func briefs(r *Report) []brief {
	out := []brief{}
	for _, f := range r.Findings {
		out = append(out, brief{f.Kind, f.First, f.Last})
	}
	return out
}

func (b brief) String() string { return fmt.Sprintf("%s %d-%d", b.Kind, b.First, b.Last) }

// said is findings in one line.
func said(fs []brief) string {
	var words []string
	for _, f := range fs {
		words = append(words, f.String())
	}
	return strings.Join(words, ", ")
}

// setHead changes what a record of kind 4 says.
func setHead(f *placed, note []byte, edge func([][32]byte) [][32]byte) {
	r, err := attendance.DecodeRecord(f.Kind, f.Payload)
	if err != nil {
		panic(err)
	}
	c := r.(*attendance.Checkpoint)
	if note != nil {
		c.Note = string(note)
	}
	if edge != nil {
		c.Edge = edge(c.Edge)
	}
	f.Payload = attendance.AppendRecord(nil, c)
}

// forge signs what nobody should have signed.
func forge(t testing.TB, h checkpoint.Head, seed byte) []byte {
	t.Helper()
	note, err := checkpoint.Sign(h, audittest.Key(seed))
	if err != nil {
		t.Fatal(err)
	}
	return note
}

func opened(t testing.TB, note []byte) checkpoint.Head {
	t.Helper()
	h, err := checkpoint.Open(note, audittest.Public(seed))
	if err != nil {
		t.Fatal(err)
	}
	return h
}
