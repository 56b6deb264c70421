package ledger

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/punchd/punchd/sync/ledger/disk"
	"github.com/punchd/punchd/sync/ledger/disk/disktest"
)

// known is a config for a ledger of which so many records are known.
func known(medium *disktest.Disk, id Identity, floor uint64) Config {
	cfg := small(medium)
	cfg.Floor, cfg.FloorOf = floor, id
	return cfg
}

// TestForeignSegments: what belongs to another ledger is told of and passed
// over, wherever it stands, the first segment included.
func TestForeignSegments(t *testing.T) {
	for _, first := range []uint64{0, 23} {
		medium := filled(t, 64)
		id := identity(t, medium)
		other := filled(t, 64)
		foreign := other.Bytes(dir + "/" + segmentName(first))
		medium.SetBytes(dir+"/"+segmentName(first), foreign)
		medium.SetBytes(dir+"/"+segmentName(99), medium.Bytes(dir+"/"+segmentName(46)))
		medium.SetBytes(dir+"/notes.txt", []byte("kept"))
		l := mustOpen(t, known(medium, id, 64))
		if r := l.Report(); len(r.Headers) != 2 || l.Identity() != id {
			t.Errorf("ledger %v, headers %q", l.Identity(), r.Headers)
		}
		checkAround(t, l, []span{{first, first + 22}})
		closeLedger(t, l)
		if !bytes.Equal(medium.Bytes(dir+"/"+segmentName(first)), foreign) {
			t.Error("the foreign segment was changed")
		}
	}
}

// TestMixedLedgers: without word of which ledger it is, nothing is written; to
// read it, most segments decide.
func TestMixedLedgers(t *testing.T) {
	medium := filled(t, 64)
	id := identity(t, medium)
	other := filled(t, 64)
	medium.SetBytes(dir+"/"+segmentName(0), other.Bytes(dir+"/"+segmentName(0)))
	before := medium.Clone()
	for _, cfg := range []Config{small(medium), known(medium, Identity{ID: [16]byte{9}}, 5)} {
		l, err := Open(cfg)
		if !errors.Is(err, ErrMixed) || !strings.Contains(err.Error(), "move those elsewhere") {
			t.Errorf("%v, %v", l, err)
		}
	}
	for _, name := range []string{segmentName(0), segmentName(23), segmentName(46)} {
		if !bytes.Equal(medium.Bytes(dir+"/"+name), before.Bytes(dir+"/"+name)) {
			t.Errorf("%s was changed", name)
		}
	}
	r := openReader(medium, dir, 30)
	defer r.Close()
	if f, err := r.Next(); err != nil || f.Seq != 30 || r.id != id {
		t.Errorf("reading: %d of %v, %v", f.Seq, r.id, err)
	}
}

// TestNameInTheWay: a file with the name of the next segment is neither
// overwritten nor removed; once it is gone, the ledger goes on.
func TestNameInTheWay(t *testing.T) {
	medium := disktest.New(1)
	l := mustOpen(t, small(medium))
	mustAppend(t, l, batch(0, 0, 4, 150))
	id := identity(t, medium)
	other := filled(t, 64)
	path := dir + "/" + segmentName(20)
	foreign := other.Bytes(dir + "/" + segmentName(23))
	medium.SetBytes(path, foreign)
	for l.Next() < 20 {
		mustAppend(t, l, batch(l.Next(), 0, 4, 150))
	}
	big := batch(20, 0, 2, 3000) // fits no more
	for range 3 {
		if _, err := l.Append(big); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "move it elsewhere") {
			t.Fatalf("the name is taken: %v", err)
		}
	}
	if !bytes.Equal(medium.Bytes(path), foreign) {
		t.Fatal("the file in the way was changed")
	}
	if err := medium.Remove(path); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, big)
	closeLedger(t, l)
	l = mustOpen(t, known(medium, id, 0))
	defer closeLedger(t, l)
	if r := l.Report(); l.Next() != 22 || r.Damage != nil || r.Headers != nil {
		t.Errorf("next %d, %+v", l.Next(), r)
	}
}

// TestDirectoryGone: no sequence is given twice when the segments are gone. A
// directory that is empty may be one whose disk is not mounted: nothing is done.
func TestDirectoryGone(t *testing.T) {
	at := filepath.Join(t.TempDir(), "ledger")
	cfg := Config{Dir: at, SegmentSize: MinSegmentSize}
	l := mustOpen(t, cfg)
	mustAppend(t, l, batch(0, 0, 7, 20))
	id := l.Identity()
	closeLedger(t, l)
	cfg.Floor, cfg.FloorOf = 7, id

	if err := errors.Join(os.RemoveAll(at), os.Mkdir(at, 0o700)); err != nil {
		t.Fatal(err)
	}
	if l, err := Open(cfg); !errors.Is(err, ErrEmpty) || !strings.Contains(err.Error(), "mount") {
		t.Fatalf("an empty directory: %v, %v", l, err)
	}
	if names, err := disk.OS.ReadDir(at); err != nil || len(names) != 0 {
		t.Fatalf("left behind %v, %v", names, err)
	}
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no room")
	cfg.Room = func(int64) error { return full }
	if l, err := Open(cfg); !errors.Is(err, full) {
		t.Fatalf("no room: %v, %v", l, err)
	}
	cfg.Room = nil
	l = mustOpen(t, cfg)
	if l.Identity() != id || l.Next() != 7 {
		t.Errorf("ledger %v at %d", l.Identity(), l.Next())
	}
	if d := l.Report().Damage; len(d) != 1 || d[0].First != 0 || d[0].Last != 6 {
		t.Errorf("damage %v", d)
	}
	mustAppend(t, l, batch(7, 0, 3, 20))
	closeLedger(t, l)
	cfg.Floor = 10
	l = mustOpen(t, cfg)
	defer closeLedger(t, l)
	frames, damage := readAll(t, l.Reader(0))
	wantRecords(t, frames, 7, 10, 20)
	if len(damage) != 1 || damage[0].First != 0 || damage[0].Last != 6 {
		t.Errorf("damage %v", damage)
	}
}

// TestDirectoryBegun: a ledger of which only that it was begun is known is not
// begun again in an empty directory, and is where there is none.
func TestDirectoryBegun(t *testing.T) {
	at := t.TempDir()
	cfg := Config{Dir: at, SegmentSize: MinSegmentSize, Begun: true}
	for _, id := range []Identity{{}, {ID: [16]byte{7}}} {
		cfg.FloorOf = id
		if l, err := Open(cfg); !errors.Is(err, ErrEmpty) || !strings.Contains(err.Error(), "mount") || !strings.Contains(err.Error(), named(id)) {
			t.Fatalf("an empty directory: %v, %v", l, err)
		}
	}
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, cfg)
	defer closeLedger(t, l)
	if l.Next() != 0 || l.Identity() == cfg.FloorOf {
		t.Errorf("ledger %v at %d", l.Identity(), l.Next())
	}
}

// TestBeginWasCutShort: a directory with no more than a spare was left by a start
// that ended before the first segment. It is begun in if no ledger is known;
// else it may lie where a disk is missing, and nothing in it is touched.
func TestBeginWasCutShort(t *testing.T) {
	id := Identity{ID: [16]byte{1}, Salt: [8]byte{2}}
	for what, c := range map[string]struct {
		cfg     Config
		refused string
	}{
		"a first start":          {Config{}, ""},
		"of which the id alone":  {Config{FloorOf: id}, ""},
		"begun":                  {Config{Begun: true}, "a new ledger is begun"},
		"begun, and which":       {Config{Begun: true, FloorOf: id}, named(id) + " was begun"},
		"begun, and how far":     {Config{Begun: true, FloorOf: id, Floor: 100}, "must hold 100 records"},
		"how far it went":        {Config{FloorOf: id, Floor: 100}, "goes on at record 100"},
		"how far, but not which": {Config{Begun: true, Floor: 100}, "a new ledger is begun"},
	} {
		for _, names := range [][]string{{spareName}, {spareTemp}, {spareName, spareTemp}, {"notes.txt", spareName}} {
			at := t.TempDir()
			for _, name := range names {
				if err := os.WriteFile(filepath.Join(at, name), make([]byte, 100), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c.cfg.Dir, c.cfg.SegmentSize = at, MinSegmentSize
			l, err := Open(c.cfg)
			if c.refused == "" {
				if err != nil || l.Next() != 0 {
					t.Fatalf("%s, %v: %v", what, names, err)
				}
				closeLedger(t, l)
				continue
			}
			if !errors.Is(err, ErrEmpty) || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "what is in it") {
				t.Errorf("%s, %v: %v", what, names, err)
			}
			if left, err := disk.OS.ReadDir(at); err != nil || !slices.Equal(left, names) {
				t.Errorf("%s, %v: left %v, %v", what, names, left, err)
			}
		}
	}
}

// TestBeginFails: a known ledger that can't be begun leaves no directory, which
// the next start would take for one whose disk is not mounted.
func TestBeginFails(t *testing.T) {
	id := Identity{ID: [16]byte{1}, Salt: [8]byte{2}}
	for what, cfg := range map[string]Config{"begun": {Begun: true}, "how far it went": {FloorOf: id, Floor: 100}} {
		at := filepath.Join(t.TempDir(), "ledger")
		cfg.Dir, cfg.SegmentSize, cfg.FS = at, MinSegmentSize, noRename{disk.OS}
		if l, err := Open(cfg); !errors.Is(err, errNoRename) {
			t.Fatalf("%s: %v, %v", what, l, err)
		}
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the directory is left: %v", what, err)
		}
		cfg.FS = nil
		closeLedger(t, mustOpen(t, cfg))
	}
}

// noRename is a disk on which no segment gets its name.
type noRename struct{ disk.FS }

var errNoRename = errors.New("no segment gets its name")

func (noRename) RenameNew(string, string) error { return errNoRename }

// TestSound: only a ledger of which everything can be read is.
func TestSound(t *testing.T) {
	whole := filled(t, 64)
	id := identity(t, whole)
	if got, next, err := Sound(t.Context(), whole, dir); got != id || next != 64 || err != nil {
		t.Errorf("%v with %d records, %v", got, next, err)
	}
	for name, spoil := range map[string]func(m *disktest.Disk){
		"a frame":        func(m *disktest.Disk) { spoilByte(m, segmentName(0), headerBlock+frameHeader+1) },
		"a header":       func(m *disktest.Disk) { spoilByte(m, segmentName(23), 20) },
		"a segment gone": func(m *disktest.Disk) { m.Remove(dir + "/" + segmentName(0)) },
		"another ledger": func(m *disktest.Disk) {
			m.SetBytes(dir+"/"+segmentName(99), filled(t, 64).Bytes(dir+"/"+segmentName(0)))
		},
	} {
		m := whole.Clone()
		spoil(m)
		if _, _, err := Sound(t.Context(), m, dir); err == nil {
			t.Errorf("%s: it is called sound", name)
		}
	}
	if _, _, err := Sound(t.Context(), nil, t.TempDir()); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty one: %v", err)
	}
}

func spoilByte(m *disktest.Disk, name string, off int) {
	b := bytes.Clone(m.Bytes(dir + "/" + name))
	b[off] ^= 1
	m.SetBytes(dir+"/"+name, b)
}

// TestErrorsNameTheSegment: a segment was a spare once; its errors don't say so.
func TestErrorsNameTheSegment(t *testing.T) {
	at := t.TempDir()
	l := mustOpen(t, Config{Dir: at, SegmentSize: MinSegmentSize})
	defer l.Close() // the file is closed
	if err := l.file.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := l.Append(batch(0, 0, 1, 20))
	if err == nil || strings.Contains(err.Error(), spareName) || !strings.Contains(err.Error(), filepath.Join(at, segmentName(0))) {
		t.Errorf("%v", err)
	}
}
