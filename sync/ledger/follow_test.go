package ledger

import (
	"io"
	"testing"

	"github.com/punchd/punchd/sync/ledger/disk"
	"github.com/punchd/punchd/sync/ledger/disk/disktest"
)

// besideFS does something after each read of a segment's frames.
type besideFS struct {
	disk.FS
	then func()
}

type besideFile struct {
	disk.File
	fs *besideFS
}

func (fs *besideFS) Open(path string, write bool) (disk.File, error) {
	f, err := fs.FS.Open(path, write)
	if err != nil {
		return nil, err
	}
	return &besideFile{f, fs}, nil
}

func (f *besideFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	if off >= headerBlock {
		f.fs.then()
	}
	return n, err
}

// TestReadWhileWritten: between two pieces of one look whole batches are written
// into the first, and one that proves them begins in the second. Nothing of it
// is damage, and what really is damage there is told all the same.
func TestReadWhileWritten(t *testing.T) {
	for _, spoiled := range []bool{false, true} {
		medium := disktest.New(1)
		l := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10, FS: medium})
		mustAppend(t, l, batch(0, 0, 10, 100))
		beside := &besideFS{FS: medium, then: func() {}}
		r := openReader(beside, dir, 0)
		got, _ := readAll(t, r)
		wantRecords(t, got, 0, 10, 100)
		next := uint64(10)
		beside.then = func() {
			beside.then = func() {}
			for range 2 {
				mustAppend(t, l, batch(l.Next(), 0, 40, 150))
			}
			next = l.Next()
			mustAppend(t, l, batch(next, 0, 40, 300))
			// Of this one the last frame is still missing, and the first is there.
			wipeFrame(medium, where(t, medium, l.Next()-1))
			if spoiled {
				breakFrame(medium, where(t, medium, 30))
			}
		}
		got, damage := readAll(t, r)
		want := []span{}
		if spoiled {
			want = append(want, span{30, 30})
		}
		if g := spans(damage); len(g) != len(want) || spoiled && g[0] != want[0] {
			t.Errorf("spoiled %v: damaged %v, want %v", spoiled, g, want)
		}
		if n := int(next) - 10 - len(want); len(got) != n || got[n-1].Seq != next-1 {
			t.Errorf("spoiled %v: %d records, want %d up to %d", spoiled, len(got), n, next-1)
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("then: %v, want EOF", err)
		}
		r.Close()
		closeLedger(t, l)
	}
}
