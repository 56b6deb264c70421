package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/punchd/punchd/sync/buffer"
	"github.com/punchd/punchd/sync/ledger"
)

// loseEnd removes the last segment of a ledger and says where it began.
func loseEnd(t *testing.T, dir string) (first uint64) {
	t.Helper()
	paths := segments(t, dir)
	last := paths[len(paths)-1]
	if err := os.Remove(last); err != nil {
		t.Fatal(err)
	}
	for _, c := range strings.TrimSuffix(filepath.Base(last), ".seg") {
		first = 10*first + uint64(c-'0')
	}
	return first
}

// TestEndInSuspect: the end of the ledger is lost, and the buffer that has it is
// broken. It is damage, its records are given from what was moved aside, and no
// sequence is given again, whatever else tells which ledger it was.
func TestEndInSuspect(t *testing.T) {
	t.Parallel()
	another := filledDir(t)
	for what, lose := range map[string]func(t *testing.T, dir string) error{
		"the end":          func(*testing.T, string) error { return nil },
		"and the id":       func(_ *testing.T, dir string) error { return os.Remove(filepath.Join(dir, identityName)) },
		"and the id flips": func(t *testing.T, dir string) error { flip(t, filepath.Join(dir, identityName), 20); return nil },
		"and the id is of another": func(_ *testing.T, dir string) error {
			b, err := os.ReadFile(filepath.Join(another, identityName))
			return errors.Join(err, os.WriteFile(filepath.Join(dir, identityName), b, 0o600))
		},
		"and all before it": func(_ *testing.T, dir string) error { return os.RemoveAll(filepath.Join(dir, LedgerDir)) },
		"and what was moved aside is copied": func(_ *testing.T, dir string) error {
			return copyTree(filepath.Join(dir, bufferDir), filepath.Join(dir, bufferDir+".suspect-1"))
		},
		"and a buffer of another is there": func(_ *testing.T, dir string) error {
			at := filepath.Join(dir, bufferDir)
			return errors.Join(os.Rename(at, at+".suspect-1"), copyTree(filepath.Join(another, bufferDir), at))
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filledDir(t)
			first := loseEnd(t, dir)
			spoil := what != "and a buffer of another is there"
			if spoil {
				spoilBuffer(t, dir)
			}
			if err := lose(t, dir); err != nil {
				t.Fatal(err)
			}
			if what == "and all before it" {
				first = 0
			}
			for round := range 3 {
				j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
				if round == 0 {
					checkFilled(t, j)
				}
				s := mustStats(t, j)
				n := 600 + round
				if got := mustAppend(t, j, realistic(n)); got[0].Seq != uint64(621+round) || got[0].Duplicate {
					t.Errorf("round %d: appended as %+v", round, got)
				}
				if len(s.Lost) > 0 || len(s.Damage) != 1 || s.Damage[0].First != first || s.Damage[0].Last != 620 {
					t.Errorf("round %d: damage %v, lost %v", round, s.Damage, s.Lost)
				}
				for _, x := range s.Suspects {
					if x.Ledger == s.Ledger {
						wantProblem(t, &s, x.Path, "keep it")
					}
				}
				closeJournal(t, j)
				if spoil {
					spoilBuffer(t, dir)
				}
			}
		})
	}
}

// TestBehindItsSuspect: a start that makes the buffer anew is killed, and then
// the end of the ledger is lost: the new buffer does not know of it yet.
func TestBehindItsSuspect(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	id := identityOf(t, dir)
	at := filepath.Join(dir, bufferDir)
	if err := os.Rename(at, at+".suspect-1"); err != nil {
		t.Fatal(err)
	}
	withBuffer(t, at, func(b *buffer.Buffer) {
		if err := b.Begin(id); err != nil {
			t.Fatal(err)
		}
	})
	loseEnd(t, dir)
	j := openDir(t, dir)
	checkFilled(t, j)
	if s := mustStats(t, j); s.Next != 621 || len(s.Damage) != 1 || len(s.Lost) > 0 {
		t.Errorf("next %d, damage %v, lost %v", s.Next, s.Damage, s.Lost)
	}
}

func identityOf(t *testing.T, dir string) ledger.Identity {
	t.Helper()
	id, _, found, err := ledger.Which(nil, filepath.Join(dir, LedgerDir), ledger.Identity{})
	if err != nil || !found {
		t.Fatalf("no ledger: %v", err)
	}
	return id
}

// TestOnlyCopyIsKept: sequences were given again by an older program that did
// not look into what was moved aside. That is kept then, by every start and on a
// full disk, and told.
func TestOnlyCopyIsKept(t *testing.T) {
	t.Parallel()
	for what, other := range map[string]int{"the same records": 0, "others": 10_000} {
		t.Run(what, func(t *testing.T) {
			dir := filledDir(t)
			at := filepath.Join(dir, bufferDir)
			elsewhere := filepath.Join(t.TempDir(), "buffer")
			if err := os.Rename(at, elsewhere); err != nil {
				t.Fatal(err)
			}
			if other > 0 {
				loseEnd(t, dir)
				j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
				mustAppend(t, j, records(other, other+200, realistic)...)
				closeJournal(t, j)
			}
			for _, n := range []string{"1", "2"} {
				if err := copyTree(elsewhere, at+".suspect-"+n); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
				s := mustStats(t, j)
				closeJournal(t, j)
				if other == 0 {
					if len(s.Suspects) != 1 || s.Suspects[0].Path != at+".suspect-2" {
						t.Fatalf("suspects %v", s.Suspects)
					}
					wantProblem(t, &s, at+".suspect-2", "may be removed")
					continue
				}
				if len(s.Suspects) != 2 || len(s.Damage)+len(s.Lost) > 0 {
					t.Fatalf("suspects %v, damage %v, lost %v", s.Suspects, s.Damage, s.Lost)
				}
				for _, x := range s.Suspects {
					wantProblem(t, &s, x.Path, "keep it", "another record")
				}
				if slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "may be removed") }) {
					t.Errorf("%q", s.Problems)
				}
			}
			j, err := Open(t.Context(), Config{Dir: dir, SegmentSize: 64 << 10, free: (&tightDisk{t: t, dir: dir}).free})
			if other == 0 {
				if err != nil || len(suspectPaths(t, dir)) > 0 {
					t.Fatalf("a full disk: %v, left %v", err, suspectPaths(t, dir))
				}
				closeJournal(t, j)
			} else if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "kept because: it has another record") || len(suspectPaths(t, dir)) != 2 {
				t.Errorf("a full disk: %v, left %v", err, suspectPaths(t, dir))
			}
		})
	}
}

// TestFirstStartCutShort: a first start that left a buffer that can't be used
// and no ledger is still a first start.
func TestFirstStartCutShort(t *testing.T) {
	t.Parallel()
	for what, spoil := range map[string]func(path string) error{
		"empty":  func(path string) error { return os.Truncate(path, 0) },
		"zeros":  func(path string) error { return os.WriteFile(path, make([]byte, 100), 0o600) },
		"a file": func(path string) error { return os.WriteFile(path, []byte("a text that somebody put there"), 0o600) },
	} {
		dir := t.TempDir()
		at := filepath.Join(dir, bufferDir)
		withBuffer(t, at, func(*buffer.Buffer) {})
		if err := os.Mkdir(filepath.Join(dir, LedgerDir), 0o700); err != nil { // where its disk is mounted
			t.Fatal(err)
		}
		for _, name := range []string{"MANIFEST", "KEYREGISTRY"} {
			if err := spoil(filepath.Join(at, name)); err != nil {
				t.Fatal(err)
			}
		}
		j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		if got := mustAppend(t, j, realistic(0)); got[0].Seq != 0 || len(suspectPaths(t, dir)) != 1 {
			t.Errorf("%s: appended as %+v, moved aside %v", what, got, suspectPaths(t, dir))
		}
		closeJournal(t, j)
	}
}

// TestSpareUnderMount: a first start before the disk of the ledger was mounted
// left a spare where it is now missing.
func TestSpareUnderMount(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	mount := unmount(t, dir)
	spare := filepath.Join(dir, LedgerDir, "spare")
	if err := os.WriteFile(spare, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if j, err := Open(t.Context(), Config{Dir: dir, SegmentSize: 64 << 10}); !errors.Is(err, ledger.ErrEmpty) {
			t.Fatalf("%v, %v", j, err)
		}
		spoilBuffer(t, dir)
	}
	if err := os.Remove(spare); err != nil {
		t.Fatal(err)
	}
	mount()
	checkFilled(t, openDir(t, dir))
}
