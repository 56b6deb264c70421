package journal

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/sync/forward"
)

// freeOn lets a gate believe that so much is free.
func freeOn(g *gate, free *atomic.Uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at = time.Time{}
	g.free = func() (uint64, bool) { return free.Load(), true }
}

// TestGate: what is refused at which fill, and when it is taken again.
func TestGate(t *testing.T) {
	const reserve = 64 << 20
	g := newGate(t.TempDir(), reserve, slog.New(slog.DiscardHandler))
	var free atomic.Uint64
	freeOn(g, &free)
	for _, c := range []struct {
		free                          uint64
		intake, answers, apply, spare bool
	}{
		{reserve, true, true, true, true},
		{reserve - 1, false, true, true, true},
		{reserve, false, true, true, true}, // not to and fro
		{reserve/2 + 16<<20 - 1, false, true, true, false},
		{reserve / 2, false, true, true, false},
		{reserve/2 - 1, false, false, false, false},
		{0, false, false, false, false},
		{reserve/8*9 - 1, false, true, true, true},
		{reserve / 8 * 9, true, true, true, true},
		{reserve, true, true, true, true},
	} {
		free.Store(c.free)
		got := [4]bool{g.intake(0) == nil, g.answers(0) == nil, g.room(0) == nil, g.room(16<<20) == nil}
		if got != [4]bool{c.intake, c.answers, c.apply, c.spare} {
			t.Errorf("with %d free: %v, want %+v", c.free, got, c)
		}
	}
	free.Store(0)
	if err := g.intake(time.Hour); err != nil {
		t.Errorf("the answer of a moment ago was not believed: %v", err)
	}
	if err := g.intake(0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v is not known as a full disk", err)
	}
}

// TestReserve: a small disk is not kept free as a whole.
func TestReserve(t *testing.T) {
	d, known, err := diskSpace(t.TempDir())
	if err != nil || !known {
		t.Skip("the system does not tell how large a disk is: ", err)
	}
	if g := newGate(t.TempDir(), 0, slog.New(slog.DiscardHandler)); g.reserve != min(DefaultReserve, d.total/4) {
		t.Errorf("a reserve of %d on a disk of %d", g.reserve, d.total)
	}
	if g := newGate(t.TempDir(), 5, slog.New(slog.DiscardHandler)); g.reserve != 5 {
		t.Errorf("a reserve of %d, 5 were asked for", g.reserve)
	}
}

// TestApplierWaitsForRoom: what is durable when the disk fills up is known and
// kept, and applied when there is room.
func TestApplierWaitsForRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10, Reserve: 1000})
	var free atomic.Uint64
	free.Store(1 << 20)
	freeOn(j.gate, &free)
	mustAppend(t, j, records(0, 10, signedPunch)...)
	flush(t, j)
	free.Store(0)
	j.gate.mu.Lock()
	j.gate.last, j.gate.known, j.gate.at = 1<<20, true, time.Now() // as of a moment ago
	j.gate.mu.Unlock()
	mustAppend(t, j, records(10, 20, signedPunch)...)
	if _, _, found, err := j.Lookup(keyOf(15)); err != nil || !found {
		t.Errorf("a record that is not applied: %v, %v", found, err)
	}
	s, err := j.Stats()
	if err != nil || s.Backlog != 10 || s.Refusing == "" {
		t.Errorf("a backlog of %d, %q, %v", s.Backlog, s.Refusing, err)
	}
	if _, err := j.Append(t.Context(), records(20, 21, signedPunch)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a record was taken: %v", err)
	}
	if r := mustAppend(t, j, signedPunch(3)); !r[0].Duplicate || r[0].Seq != 3 {
		t.Errorf("one that is there: %+v", r)
	}
	for name, err := range map[string]error{
		"settle": j.Settle(t.Context(), "hq", forward.Answer{First: 0, Last: 9}),
		"retry":  func() error { _, err := j.Retry(t.Context(), "hq"); return err }(),
	} {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", name, err)
		}
	}
	free.Store(1 << 20)
	freeOn(j.gate, &free) // what was true a moment ago is forgotten
	flush(t, j)
	mustSettle(t, j, "hq", forward.Answer{First: 0, Last: 9}) // its turn was given back
	mustAppend(t, j, records(20, 21, signedPunch)...)
	closeJournal(t, j)
	if seqs, _ := pending(t, openDir(t, dir), 0); len(seqs) != 21 {
		t.Errorf("%d records", len(seqs))
	}
}

// TestCloseOnFullDisk: closing does not wait for room, and what was not applied
// is at the next start.
func TestCloseOnFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10, Reserve: 1000})
	j.gate.mu.Lock()
	j.gate.free = func() (uint64, bool) {
		j.applied.mu.Lock()
		defer j.applied.mu.Unlock()
		given := j.applied.err != nil // then Badger may be closed, so that this process can open it again
		return map[bool]uint64{true: 1 << 20}[given], true
	}
	j.gate.last, j.gate.known, j.gate.at = 1<<20, true, time.Now().Add(time.Hour)
	j.gate.mu.Unlock()
	mustAppend(t, j, records(0, 10, signedPunch)...)
	waiting := make(chan error, 1)
	go func() { // as a forwarder may
		_, err := j.ListParked(context.Background(), "hq", 0, 1)
		r := newRequest(nil)
		r.run = func() error { return nil }
		if err == nil {
			err = j.send(context.Background(), r)
		}
		if err == nil {
			err = r.wait(context.Background())
		}
		waiting <- err
	}()
	closeJournal(t, j)
	if err := <-waiting; err == nil {
		t.Error("what could not be applied was said to be")
	}
	j = openDir(t, dir)
	s, err := j.Stats()
	if err != nil || s.Next != 10 || s.Replayed != 10 || len(s.Suspects) > 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestOpenOnFullDisk: nothing is opened, nothing is moved, and the error says
// what to do.
func TestOpenOnFullDisk(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	d, known, err := diskSpace(dir)
	if err != nil || !known {
		t.Skip("the system does not tell how much is free: ", err)
	}
	before := listing(dir)
	for range 2 {
		if j, err := Open(t.Context(), Config{Dir: dir, Reserve: 4 * d.total}); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("opened: %v, %v", j, err)
		}
	}
	if now := listing(dir); now != before {
		t.Errorf("before\n%s\nnow\n%s", before, now)
	}
	checkFilled(t, openDir(t, dir))
	if left, _ := filepath.Glob(filepath.Join(dir, bufferDir+".*")); len(left) > 0 {
		t.Errorf("moved aside: %v", left)
	}
}

// TestGateIsCheap: the system is asked a few times a second, not for each record.
func TestGateIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		g := &gate{reserve: 10, log: slog.New(slog.DiscardHandler), free: func() (uint64, bool) { asked++; return 100, true }}
		for range 10_000 {
			if err := g.intake(gateFresh); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Microsecond)
		}
		if asked < 2 || asked > 5 {
			t.Errorf("asked %d times in a second", asked)
		}
	})
}
