package audit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/sync/ledger"
	"github.com/punchd/punchd/sync/ledger/audit/audittest"
)

func TestProve(t *testing.T) {
	c := sample(t, (*audittest.Ledger).Sample)
	_, o := c.onDisk()
	for seq := range uint64(39) {
		p, err := Prove(t.Context(), o, seq)
		if err != nil {
			t.Fatalf("record %d: %v", seq, err)
		}
		h, err := p.Check(c.keys...)
		f, perr := ledger.ParseLeaf(p.Leaf)
		if err != nil || perr != nil || h.Size != 39 || p.Index != seq || f.Seq != seq {
			t.Errorf("record %d: %+v, %v; record %d, %v", seq, h, err, f.Seq, perr)
		}
		if again, err := checkpoint.ParseProof(p.Append(nil)); err != nil || again.Index != seq {
			t.Errorf("record %d: %v", seq, err)
		}
	}
	p, err := ProveKey(t.Context(), o, audittest.Punch(8).Key)
	if err != nil || p.Index != 9 {
		t.Errorf("by its key: %+v, %v", p, err)
	}
	if _, err := ProveKey(t.Context(), o, attendance.Key{1}); !errors.Is(err, ErrNoRecord) {
		t.Errorf("a key that is nobody's: %v", err)
	}
	if _, err := Prove(t.Context(), o, 43); !errors.Is(err, ErrNoRecord) {
		t.Errorf("behind the end: %v", err)
	}
	if _, err := Prove(t.Context(), o, 39); !errors.Is(err, ErrNoHead) || !strings.Contains(err.Error(), "within a minute") {
		t.Errorf("not signed yet: %v", err)
	}
	o.Keys = append(o.Keys[:0:0], audittest.Public(8))
	if _, err := Prove(t.Context(), o, 3); !errors.Is(err, ErrNoHead) || !strings.Contains(err.Error(), "one of the keys") {
		t.Errorf("by another key: %v", err)
	}
}

// TestProveAfterChange: a change spoils no proof of what was signed before it.
func TestProveAfterChange(t *testing.T) {
	c := sample(t, (*audittest.Ledger).Sample)
	to(30, func(f *placed) { f.Payload[3] ^= 1 })(c)
	_, o := c.onDisk()
	p, err := Prove(t.Context(), o, 3)
	if err != nil {
		t.Fatal(err)
	}
	if h, err := p.Check(c.keys...); err != nil || h.Size != 15 {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := Prove(t.Context(), o, 20); !errors.Is(err, ErrNoHead) || !strings.Contains(err.Error(), "behind record 15") {
		t.Errorf("%v", err)
	}
}

func TestProveLost(t *testing.T) {
	c := sample(t, func(x *audittest.Ledger) {
		x.Punches(8, 0)
		x.Lose(3, 3)
		x.Head()
	})
	_, o := c.onDisk()
	if _, err := Prove(t.Context(), o, 3); !errors.Is(err, ErrNoRecord) || !strings.Contains(err.Error(), "was lost") {
		t.Errorf("%v", err)
	}
	if p, err := Prove(t.Context(), o, 2); err != nil {
		t.Error(err)
	} else if _, err := p.Check(c.keys...); err != nil {
		t.Error(err)
	}
}

// TestProofsInPython: the other checker takes every proof, and none that was changed.
func TestProofsInPython(t *testing.T) {
	needPython(t)
	c := sample(t, (*audittest.Ledger).Sample)
	_, o := c.onDisk()
	key := filepath.Join(golden, "gateway.pub")
	path := filepath.Join(t.TempDir(), "proof")
	for _, seq := range []uint64{0, 7, 31, 32, 38} {
		p, err := Prove(t.Context(), o, seq)
		if err != nil {
			t.Fatal(err)
		}
		text := p.Append(nil)
		for _, want := range []int{0, 1} {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, code := quick(t, "--proof", path, "--key", key); code != want {
				t.Errorf("record %d: exit status %d, want %d: %s", seq, code, want, out)
			}
			text[40] ^= 1 // of the record
		}
	}
}
