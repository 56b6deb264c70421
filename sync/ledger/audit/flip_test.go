package audit

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/punchd/punchd/sync/ledger/audit/audittest"
	"github.com/punchd/punchd/sync/ledger/disk/disktest"
)

// onDisk puts the files on a disk in memory.
func (c *copied) onDisk() (*disktest.Disk, Options) {
	medium := disktest.New(1)
	if err := medium.MkdirAll("l"); err != nil {
		c.t.Fatal(err)
	}
	for name, b := range c.files {
		medium.SetBytes(filepath.Join("l", name), b)
	}
	return medium, Options{Dir: "l", FS: medium, Keys: c.keys, Witness: c.keep}
}

func small(x *audittest.Ledger) {
	x.Punches(3, 0)
	x.Head()
	x.Punches(2, 600)
	x.HeadOf(5)
	x.Punches(2, 700)
	x.Head()
	x.Punches(2, 0)
}

// TestEveryByte: a bit that flips in a record, in its frame or in a header is
// found, or taken for the end of an unfinished batch and told. Where nothing
// stands, a bit means nothing: in a header block beside the two copies, and
// behind the last frame of a segment that has another one behind it.
func TestEveryByte(t *testing.T) {
	c := sample(t, small)
	names := c.names()
	medium, o := c.onDisk()
	if r, err := Run(t.Context(), o); err != nil || len(r.Findings) > 0 || r.Torn != nil || len(names) != 2 {
		t.Fatalf("%d segments, %+v, %v", len(names), r, err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for i, name := range names {
		used := 4096
		for _, f := range c.frames()[name] {
			used += int(f.Size())
		}
		for at := range c.files[name] {
			header := at%2048 < 68 && at < 4096
			frame := at >= 4096 && at < used
			if !header && !frame && at%61 > 0 {
				continue
			}
			bit := byte(1) << r.IntN(8)
			medium.Flip(filepath.Join("l", name), int64(at), bit)
			rep, err := Run(t.Context(), o)
			if err != nil {
				t.Fatalf("%s, byte %d, bit %#x: %v", name, at, bit, err)
			}
			found, torn := len(rep.Findings) > 0, rep.Torn != nil
			switch last := i == len(names)-1; {
			case header && (!found || torn), frame && !found && !torn, frame && !last && !found:
				t.Fatalf("%s, byte %d, bit %#x is not seen: %+v", name, at, bit, rep)
			case !header && !frame && (found || torn != (last && at >= 4096)):
				t.Fatalf("%s, byte %d, bit %#x, where nothing stands: %+v", name, at, bit, rep)
			}
			medium.Flip(filepath.Join("l", name), int64(at), bit)
		}
	}
}

// TestPythonOnFlips: flips at random, in both checkers.
func TestPythonOnFlips(t *testing.T) {
	needPython(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	base := sample(t, (*audittest.Ledger).Sample)
	base.keep = base.notes
	for range 25 {
		c := base.clone()
		for range 1 + r.IntN(3) {
			b := c.files[c.names()[r.IntN(3)]]
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
		o := c.options()
		rep, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		other, own := pythonOf(t, o), summarize(rep)
		if !slices.Equal(other.Findings, own.Findings) || other.Torn != own.Torn || other.Records != own.Records || other.Unsigned != own.Unsigned {
			t.Errorf("verify.py says\n%+v, and Run\n%+v", other, own)
		}
	}
}
