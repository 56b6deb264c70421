package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// suspectPaths are the buffers moved aside.
func suspectPaths(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, bufferDir+".suspect-*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// tightDisk has so much room while a buffer that was moved aside stands on it
// that it says so often that there is some, and then is full.
type tightDisk struct {
	t       testing.TB
	dir     string
	answers int // left
	mu      sync.Mutex
	freed   bool // by a person
}

func (d *tightDisk) free() (uint64, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.freed && len(suspectPaths(d.t, d.dir)) > 0 {
		if d.answers--; d.answers < 0 {
			return 0, true
		}
	}
	return 1 << 40, true
}

func (d *tightDisk) makeRoom() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.freed = true
}

// TestSuspectGivesWay: a sound ledger, a broken buffer and a new one don't fit
// together. The broken one is removed, whenever that shows, and the gateway is up.
func TestSuspectGivesWay(t *testing.T) {
	t.Parallel()
	for answers := range 4 {
		dir := filledDir(t)
		spoilBuffer(t, dir)
		d := &tightDisk{t: t, dir: dir, answers: answers}
		j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10, free: d.free})
		left := suspectPaths(t, dir)
		d.makeRoom()
		checkFilled(t, j)
		s := mustStats(t, j)
		if answers < 2 && len(left) > 0 || !s.Rebuilt || s.Replayed != 621 && len(left) == 0 {
			t.Errorf("%d answers: left %v, %d replayed, rebuilt %v", answers, left, s.Replayed, s.Rebuilt)
		}
		closeJournal(t, j)
	}
}

// TestReplayGivesWay: the room ends in the middle of making the buffer anew, and
// it goes on where it stood.
func TestReplayGivesWay(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	spoilBuffer(t, dir)
	calls := 0
	full := func() error {
		if calls++; calls == 1 {
			return &diskFull{dir, 1, 2}
		}
		return nil
	}
	j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
	if err := j.withRoom(t.Context(), Config{Dir: dir}, full); err != nil || calls != 2 || len(suspectPaths(t, dir)) > 0 {
		t.Errorf("%v after %d calls, left %v", err, calls, suspectPaths(t, dir))
	}
	// With nothing to remove, and for any other reason, it is not done again.
	for _, want := range []error{&diskFull{dir, 1, 2}, syscall.EIO, context.Canceled} {
		calls = 0
		err := j.withRoom(t.Context(), Config{Dir: dir}, func() error { calls++; return want })
		if err != want || calls != 1 {
			t.Errorf("%v after %d calls, want %v", err, calls, want)
		}
	}
	closeJournal(t, j)
}

// TestSuspectNeededOnFullDisk: what may be the only copy is named and kept, with
// its size; with room, the copies are taken from it.
func TestSuspectNeededOnFullDisk(t *testing.T) {
	t.Parallel()
	other := filledDir(t)
	for name, c := range map[string]struct {
		spoil func(dir string)
		says  string
	}{
		"ledger damaged": {func(dir string) { breakSegment(t, segments(t, dir)[1]); spoilBuffer(t, dir) }, "can't be read"},
		"end missing": {func(dir string) {
			paths := segments(t, dir)
			if err := os.Remove(paths[len(paths)-1]); err != nil {
				t.Fatal(err)
			}
			spoilBuffer(t, dir)
		}, "the ledger ends before that"},
		"of another ledger": {func(dir string) {
			at := filepath.Join(dir, bufferDir)
			if err := errors.Join(os.RemoveAll(at), copyTree(filepath.Join(other, bufferDir), at)); err != nil {
				t.Fatal(err)
			}
			spoilBuffer(t, dir)
		}, "not known to be of ledger"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filledDir(t)
			c.spoil(dir)
			cfg := Config{Dir: dir, SegmentSize: 64 << 10, free: (&tightDisk{t: t, dir: dir}).free}
			for range 3 {
				j, err := Open(t.Context(), cfg)
				left := suspectPaths(t, dir)
				if !errors.Is(err, syscall.ENOSPC) || len(left) != 1 {
					t.Fatalf("%v, %v, left %v", j, err, left)
				}
				for _, want := range []string{left[0] + " (", " MiB, kept because", c.says, "make room elsewhere"} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%v does not say %q", err, want)
					}
				}
			}
			checkFilled(t, openDir(t, dir))
			if left := suspectPaths(t, dir); len(left) != 1 {
				t.Errorf("left %v", left)
			}
		})
	}
}

// TestOtherLedgersSuspectStays: a buffer of another ledger may be the only copy
// of that one's records, however whole this ledger is.
func TestOtherLedgersSuspectStays(t *testing.T) {
	t.Parallel()
	dir, other := filledDir(t), filledDir(t)
	j := openDir(t, other)
	id := j.ledger.Identity().String()
	closeJournal(t, j)
	at := filepath.Join(dir, bufferDir)
	if err := errors.Join(os.RemoveAll(at), copyTree(filepath.Join(other, bufferDir), at)); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		checkFilled(t, j)
		s := mustStats(t, j)
		closeJournal(t, j)
		if want := min(n+1, 2); len(s.Suspects) != want || s.Suspects[0].Ledger != id {
			t.Fatalf("round %d: %v", n, s.Suspects)
		}
		wantProblem(t, &s, s.Suspects[0].Path, "belongs to ledger "+id, "keep it")
		if n > 0 {
			wantProblem(t, &s, s.Suspects[1].Path, "may be removed")
		}
		spoilBuffer(t, dir)
	}
}
