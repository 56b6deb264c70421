package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/ledger/disk"
	"github.com/punchd/punchd/sync/ledger/disk/disktest"
)

const dir = "data/ledger"

// small is the config of most tests: segments so small that batches span them.
func small(fs disk.FS) Config { return Config{Dir: dir, SegmentSize: MinSegmentSize, FS: fs} }

func mustOpen(t testing.TB, cfg Config) *Ledger {
	t.Helper()
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closeLedger(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// payload is recognisable, and different for every sequence and attempt.
func payload(seq uint64, attempt, size int) []byte {
	p := fmt.Appendf(nil, "record %d attempt %d ", seq, attempt)
	for len(p) < size {
		p = append(p, byte(len(p)))
	}
	return p
}

func batch(first uint64, attempt, n, size int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{Kind: attendance.RecordPunch, Payload: payload(first+uint64(i), attempt, size)}
	}
	return entries
}

func mustAppend(t testing.TB, l *Ledger, entries []Entry) Written {
	t.Helper()
	want := l.Next()
	w, err := l.Append(entries)
	if err != nil {
		t.Fatal(err)
	}
	if w.First != want || l.Next() != want+uint64(len(entries)) {
		t.Fatalf("batch of %d at %d was given %d, next is %d", len(entries), want, w.First, l.Next())
	}
	l.spare.run.Wait() // so that a seed gives the same run again
	return w
}

// readAll reads from a sequence to the end.
func readAll(t testing.TB, r *Reader) (frames []Frame, damage []Damage) {
	t.Helper()
	defer r.Close()
	for {
		f, err := r.Next()
		if d, ok := errors.AsType[*Damage](err); ok {
			damage = append(damage, *d)
			continue
		}
		if err == io.EOF {
			return frames, damage
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Payload = slices.Clone(f.Payload)
		frames = append(frames, f)
	}
}

// wantRecords holds frames to be the whole records of attempt 0.
func wantRecords(t testing.TB, frames []Frame, from, to uint64, size int) {
	t.Helper()
	if uint64(len(frames)) != to-from {
		t.Fatalf("%d records, want %d to %d", len(frames), from, to)
	}
	for i, f := range frames {
		if seq := from + uint64(i); f.Seq != seq || !bytes.Equal(f.Payload, payload(seq, 0, size)) {
			t.Fatalf("record %d: got %d %q", seq, f.Seq, f.Payload)
		}
	}
}

func TestAppendAndRead(t *testing.T) {
	disk := disktest.New(1)
	l := mustOpen(t, small(disk))
	var written []byte
	for _, n := range []int{1, 3, 1, 40, 7, 1, 90, 2} { // 100 bytes each: a segment takes 32
		written = append(written, mustAppend(t, l, batch(l.Next(), 0, n, 100)).Frames...)
	}
	total := l.Next()
	if len(l.segments) < 5 {
		t.Fatalf("only %d segments: no batch spans two", len(l.segments))
	}
	for from := range total + 1 {
		frames, damage := readAll(t, l.Reader(from))
		wantRecords(t, frames, from, total, 100)
		if damage != nil {
			t.Fatal(damage)
		}
	}
	id := l.Identity()
	closeLedger(t, l)

	for b, seq := written, uint64(0); len(b) > 0; seq++ {
		f, n, err := id.ParseFrame(b)
		if err != nil || f.Seq != seq {
			t.Fatalf("frame %d of what Append gave back: %d, %v", seq, f.Seq, err)
		}
		b = b[n:]
	}
	l = mustOpen(t, small(disk))
	defer closeLedger(t, l)
	if l.Next() != total || l.Identity() != id {
		t.Fatalf("opened again: next %d, ledger %s; want %d, %s", l.Next(), l.Identity(), total, id)
	}
	if r := l.Report(); r.Torn != nil || r.Damage != nil || r.Headers != nil {
		t.Fatalf("opened again: %+v", r)
	}
	frames, _ := readAll(t, openReader(disk, dir, 5))
	wantRecords(t, frames, 5, total, 100)
}

func TestReaderGoesOnAfterTheEnd(t *testing.T) {
	disk := disktest.New(1)
	l := mustOpen(t, small(disk))
	defer closeLedger(t, l)
	inside, beside := l.Reader(0), openReader(disk, dir, 0)
	defer inside.Close()
	defer beside.Close()
	for range 60 {
		first := l.Next()
		mustAppend(t, l, batch(first, 0, 1+int(first%9), 200))
		for name, r := range map[string]*Reader{"inside": inside, "beside": beside} {
			for seq := first; seq < l.Next(); seq++ {
				f, err := r.Next()
				if err != nil || f.Seq != seq || !bytes.Equal(f.Payload, payload(seq, 0, 200)) {
					t.Fatalf("%s: record %d: %d %q, %v", name, seq, f.Seq, f.Payload, err)
				}
			}
			if _, err := r.Next(); err != io.EOF {
				t.Fatalf("%s: behind %d: %v, want EOF", name, l.Next(), err)
			}
		}
	}
}

func TestBounds(t *testing.T) {
	l := mustOpen(t, small(disktest.New(1)))
	largest := MinSegmentSize - headerBlock - frameHeader
	for name, entries := range map[string][]Entry{
		"none":           nil,
		"too many":       make([]Entry, MaxBatch+1),
		"payload":        {{Kind: 1, Payload: make([]byte, largest+1)}},
		"no kind":        {{Payload: []byte("x")}},
		"bytes together": slices.Repeat([]Entry{{Kind: 1, Payload: make([]byte, largest)}}, maxBatchBytes/largest+1),
	} {
		if _, err := l.Append(entries); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if l.Next() != 0 {
		t.Errorf("next is %d after refusals only", l.Next())
	}
	mustAppend(t, l, []Entry{{Kind: 1, Payload: make([]byte, largest)}, {Kind: 1}, {Kind: 1, Payload: make([]byte, largest)}})
	closeLedger(t, l)
	if _, err := l.Append([]Entry{{Kind: 1}}); !errors.Is(err, ErrClosed) {
		t.Errorf("append after Close: %v", err)
	}
	closeLedger(t, l)
	for _, size := range []int64{1, MinSegmentSize - 1, MinSegmentSize + 8, MaxSegmentSize + 4096} {
		if _, err := Open(Config{Dir: dir, SegmentSize: size, FS: disktest.New(1)}); err == nil {
			t.Errorf("segment size %d: accepted", size)
		}
	}
}

// TestNewerVersionIsLeftAlone: a program that does not know the format must
// not take it for a torn one.
func TestNewerVersionIsLeftAlone(t *testing.T) {
	disk := disktest.New(1)
	l := mustOpen(t, small(disk))
	mustAppend(t, l, batch(0, 0, 3, 50))
	path := filepath.Join(dir, l.segments[0].name)
	closeLedger(t, l)
	b := disk.Bytes(path)
	for _, at := range []int{0, headerSecond} {
		h := b[at : at+headerSize]
		h[8] = version + 1
		putSum(h)
	}
	disk.SetBytes(path, b)
	if _, err := Open(small(disk)); !errors.Is(err, protocol.ErrUnsupported) {
		t.Errorf("open: %v, want %v", err, protocol.ErrUnsupported)
	}
	if !bytes.Equal(disk.Bytes(path), b) {
		t.Error("the file was changed")
	}
}

func TestIndexIsUsed(t *testing.T) {
	disk := disktest.New(1)
	l := mustOpen(t, Config{Dir: dir, SegmentSize: 1 << 20, FS: disk})
	defer closeLedger(t, l)
	for l.Next() < 5000 {
		mustAppend(t, l, batch(l.Next(), 0, 100, 300))
	}
	readAll(t, l.Reader(0))
	r := rand.New(rand.NewPCG(1, 1))
	read := 0
	disk.Fail(func(op disktest.Op) error {
		if op.Kind == disktest.Read {
			read += op.Len
		}
		return nil
	})
	const looks = 200
	for range looks {
		seq := r.Uint64N(5000)
		rd := l.Reader(seq)
		f, err := rd.Next()
		if err != nil || f.Seq != seq {
			t.Fatalf("record %d: %d, %v", seq, f.Seq, err)
		}
		rd.Close()
	}
	if per := read / looks; per > 2*markEvery {
		t.Errorf("a look-up reads %d bytes, want at most %d", per, 2*markEvery)
	}
}
