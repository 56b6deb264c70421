package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/ledger/disk/disktest"
)

func TestDuplicates(t *testing.T) {
	dir := t.TempDir()
	j := openDir(t, dir)
	a, b, c := terminalPunch(1), terminalPunch(2), terminalPunch(3)
	check := func(when string, got []Result, want ...Result) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	check("within one append", mustAppend(t, j, a, event(1), a, b, a), Result{0, false}, Result{1, false}, Result{0, true}, Result{2, false}, Result{0, true})
	check("not yet applied", mustAppend(t, j, b, a), Result{2, true}, Result{0, true})
	flush(t, j)
	check("applied", mustAppend(t, j, a, c, event(1), b), Result{0, true}, Result{3, false}, Result{4, false}, Result{2, true})
	other := *a // the same fact in other words is the same fact
	other.Employee = "somebody else"
	check("other content", mustAppend(t, j, &other), Result{0, true})
	if _, p, _, err := j.Lookup(a.Key); err != nil || p.Employee != a.Employee {
		t.Errorf("the first is not kept: %+v, %v", p, err)
	}
	s, err := j.Stats()
	if err != nil || s.Duplicates != 7 || s.Next != 5 {
		t.Errorf("%d duplicates of %d records, %v", s.Duplicates, s.Next, err)
	}
	closeJournal(t, j)
	check("opened again", mustAppend(t, openDir(t, dir), c, b), Result{3, true}, Result{2, true})
}

func TestAppendRefuses(t *testing.T) {
	j := openDir(t, t.TempDir())
	large := terminalPunch(1)
	large.Evidence.Raw = make([]byte, attendance.MaxStored)
	keyless := terminalPunch(2)
	keyless.Key = attendance.Key{}
	for name, c := range map[string]struct {
		rec  attendance.Record
		want error
	}{
		"too large": {large, protocol.ErrTooLarge},
		"no key":    {keyless, protocol.ErrMalformed},
	} {
		if _, err := j.Append(t.Context(), []attendance.Record{terminalPunch(0), c.rec}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if got, err := j.Append(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("nothing: %v, %v", got, err)
	}
	if n := j.durable.get(); n != 0 {
		t.Errorf("%d records after refusals", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // either way, it may be handed in
		if _, err := j.Append(ctx, []attendance.Record{terminalPunch(9)}); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
	closeJournal(t, j)
	if _, err := j.Append(t.Context(), []attendance.Record{terminalPunch(0)}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	for name, do := range map[string]func() error{
		"settle":  func() error { return j.Settle(t.Context(), "hq", forward.Answer{}) },
		"pending": func() error { _, _, err := j.Pending(t.Context(), 0, 9); return err },
		"due":     func() error { _, err := j.Due(t.Context(), "hq", epoch, 9); return err },
		"retry":   func() error { _, err := j.Retry(t.Context(), "hq"); return err },
		"wait":    func() error { return j.Wait(t.Context(), 1<<40) },
		"look-up": func() error { _, _, _, err := j.Lookup(keyOf(1)); return err },
		"counter": func() error { _, err := j.Counter("p-1"); return err },
		"parked":  func() error { _, err := j.ListParked(t.Context(), "hq", 0, 9); return err },
		"dead":    func() error { _, err := j.ListDead(t.Context(), "hq", 0, 9); return err },
		"stats":   func() error { _, err := j.Stats(); return err },
	} {
		if err := do(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v, want %v", name, err, ErrClosed)
		}
	}
}

// TestCloseWhileInUse closes a journal that is busy. Everybody gets an answer.
func TestCloseWhileInUse(t *testing.T) {
	t.Parallel()
	for range 2 {
		dir := t.TempDir()
		j := openDir(t, dir)
		var acked atomic.Uint64
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for n := w; ; n += 8 {
					_, err := j.Append(context.Background(), []attendance.Record{terminalPunch(n)})
					if err == nil {
						acked.Add(1)
						_, _, _, err = j.Lookup(keyOf(n))
					}
					if err == nil {
						_, err = j.Due(context.Background(), "hq", epoch, 5)
					}
					if err == nil {
						_, err = j.Retry(context.Background(), "hq")
					}
					if err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		for acked.Load() < 100 {
			runtime.Gosched()
		}
		closeJournal(t, j)
		wg.Wait()
		j = openDir(t, dir)
		if s, err := j.Stats(); err != nil || s.Next < acked.Load() || s.Replayed != 0 {
			t.Errorf("%d acknowledged: %+v, %v", acked.Load(), s, err)
		}
	}
}

// TestLargeAppend: one call with more than a batch holds, of records up to the
// largest.
func TestLargeAppend(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir})
	var recs []attendance.Record
	for n := range 5000 {
		p := terminalPunch(n)
		if n%1000 == 7 {
			p.Evidence.Raw = make([]byte, attendance.MaxStored-300)
			p.Evidence.Raw[n%9999] = byte(n)
		}
		recs = append(recs, p)
	}
	for i, r := range mustAppend(t, j, recs...) {
		if r.Seq != uint64(i) || r.Duplicate {
			t.Fatalf("record %d: %+v", i, r)
		}
	}
	closeJournal(t, j)
	if err := os.RemoveAll(filepath.Join(dir, bufferDir)); err != nil {
		t.Fatal(err)
	}
	j = mustOpen(t, Config{Dir: dir})
	defer closeJournal(t, j)
	_, punches := pending(t, j, 0)
	if len(punches) != len(recs) {
		t.Fatalf("%d of %d", len(punches), len(recs))
	}
	for i, p := range punches {
		if !reflect.DeepEqual(p, recs[i]) {
			t.Fatalf("punch %d differs", i)
		}
	}
}

// TestManyAtOnce appends, looks up, forwards and settles from many goroutines.
// Half of all punches come twice, from two goroutines at about the same time.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	j := openDir(t, t.TempDir())
	const writers, each = 16, 150
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			last := uint64(0)
			for i := range each {
				n := (w/2)*each + i // two writers say the same
				res, err := j.Append(t.Context(), []attendance.Record{signedPunch(n)})
				if err != nil {
					t.Error(err)
					return
				}
				seq, p, found, err := j.Lookup(keyOf(n))
				if err != nil || !found || seq != res[0].Seq || p.Key != keyOf(n) {
					t.Errorf("punch %d as %+v: looked up as %d %v %v", n, res[0], seq, found, err)
				}
				if !res[0].Duplicate && i > 0 && seq < last {
					t.Errorf("punch %d at %d behind %d", n, seq, last)
				}
				last = max(last, seq)
				if c, err := j.Counter(p.Device.ID); err != nil || c < p.Counter {
					t.Errorf("counter of %s: %d, %v; %d is durable", p.Device.ID, c, err, p.Counter)
				}
			}
		})
	}
	const total = writers / 2 * each
	for _, name := range []string{"one", "two"} {
		wg.Go(func() {
			seen := map[attendance.Key]bool{}
			for from := uint64(0); len(seen) < total; {
				if err := j.Wait(t.Context(), from); err != nil {
					t.Error(err)
					return
				}
				items, next, err := j.Pending(t.Context(), from, 64)
				if err != nil {
					t.Error(err)
					return
				}
				from = next
				if len(items) == 0 {
					continue
				}
				a := forward.Answer{First: items[0].Seq, Last: items[len(items)-1].Seq}
				for _, it := range items {
					if seen[it.Punch.Key] {
						t.Errorf("%s is given punch %v twice", name, it.Punch.Key)
					}
					seen[it.Punch.Key] = true
					if it.Seq%5 == 0 {
						a.Parked = append(a.Parked, forward.Parked{Seq: it.Seq, Reason: "unknown", Until: epoch})
					}
				}
				if err := j.Settle(t.Context(), name, a); err != nil {
					t.Error(err)
					return
				}
				due, err := j.Due(t.Context(), name, time.Now().Add(time.Hour), 3)
				if err != nil {
					t.Error(err)
				}
				for _, it := range due {
					if err := j.Settle(t.Context(), name, forward.Answer{First: it.Seq, Last: it.Seq}); err != nil {
						t.Error(err)
					}
				}
				if _, err := j.Stats(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, name := range []string{"one", "two"} {
		if s := sinkStats(t, j, name); s.Pending != 0 || s.Settled+s.Parked != total {
			t.Errorf("%+v of %d", s, total)
		}
	}
	s, err := j.Stats()
	if err != nil || s.Punches != total || s.Duplicates != total {
		t.Errorf("%d punches, %d duplicates, %v; want %d of each", s.Punches, s.Duplicates, err, total)
	}
}

// soon gives what comes from a channel, and fails if nothing does.
func soon[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing happens")
		panic("unreachable")
	}
}

// TestFailedCommit: when a batch can't be made durable, everybody who depends
// on it is told, and nobody else.
func TestFailedCommit(t *testing.T) {
	medium := disktest.New(1)
	j := mustOpen(t, Config{Dir: t.TempDir(), SegmentSize: 64 << 10, FS: medium})
	defer closeJournal(t, j)
	known := terminalPunch(0)
	mustAppend(t, j, known)
	flush(t, j)

	// The committer is held so that one batch gathers what is handed in.
	release, held := make(chan struct{}), make(chan struct{})
	medium.Fail(func(op disktest.Op) error {
		if op.Kind == disktest.Sync {
			held <- struct{}{}
			<-release
			return syscall.EIO
		}
		return nil
	})
	type outcome struct {
		results []Result
		err     error
	}
	hand := func(recs ...attendance.Record) chan outcome {
		done := make(chan outcome, 1)
		entries, err := encode(recs)
		if err != nil {
			t.Fatal(err)
		}
		r := newRequest(entries)
		if err := j.send(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		go func() { err := r.wait(t.Context()); done <- outcome{r.results, err} }()
		return done
	}
	first := hand(terminalPunch(1))
	soon(t, held) // it is being written; the next gather behind it
	one, same, old, settling := hand(terminalPunch(2)), hand(terminalPunch(2)), hand(known), make(chan error, 1)
	go func() { settling <- j.Settle(t.Context(), "hq", forward.Answer{First: 0, Last: 0}) }()
	release <- struct{}{}
	if o := soon(t, first); !errors.Is(o.err, syscall.EIO) {
		t.Errorf("the first: %v, want EIO", o.err)
	}
	soon(t, held) // the wipe before the next batch fails too
	release <- struct{}{}
	for name, done := range map[string]chan outcome{"new": one, "same": same} {
		if o := soon(t, done); !errors.Is(o.err, syscall.EIO) {
			t.Errorf("%s: %v, want EIO", name, o.err)
		}
	}
	if o := soon(t, old); o.err != nil || !o.results[0].Duplicate || o.results[0].Seq != 0 {
		t.Errorf("a duplicate of what is durable: %+v", o)
	}
	select {
	case err := <-settling: // it was in the same batch
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("settle: %v, want EIO", err)
		}
	case <-held: // or it came after it
		release <- struct{}{}
		if err := soon(t, settling); !errors.Is(err, syscall.EIO) {
			t.Errorf("settle: %v, want EIO", err)
		}
	}
	medium.Fail(nil)
	if c, err := j.Cursor("hq"); err != nil || c != 0 {
		t.Errorf("cursor %d, %v after a settle that failed", c, err)
	}
	if _, _, found, _ := j.Lookup(keyOf(2)); found {
		t.Error("a punch that failed is known")
	}
	got := mustAppend(t, j, terminalPunch(2), terminalPunch(1))
	if !slices.Equal(got, []Result{{1, false}, {2, false}}) {
		t.Errorf("again: %v", got)
	}
	mustSettle(t, j, "hq", forward.Answer{First: 0, Last: 1})
	if s := sinkStats(t, j, "hq"); s.Settled != 2 || s.Pending != 1 {
		t.Errorf("%+v", s)
	}
}

func TestDirectoriesAreMade(t *testing.T) {
	base := t.TempDir()
	t.Chdir(base)
	for _, dir := range []string{"a", filepath.Join("b", "c", "d"), filepath.Join(base, "e", "f") + "/"} {
		j := openDir(t, dir)
		mustAppend(t, j, terminalPunch(1))
		closeJournal(t, j)
	}
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"file", filepath.Join("file", "x")} {
		if _, err := Open(t.Context(), Config{Dir: dir}); err == nil {
			t.Errorf("%s: opened", dir)
		}
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	j := openDir(t, dir)
	_, err := Open(t.Context(), Config{Dir: dir})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("a second opener: %v", err)
	}
	mustAppend(t, j, terminalPunch(1))
	closeJournal(t, j)
	closeJournal(t, j) // again is nothing
	openDir(t, dir)
}

// TestBufferBreaks: when the buffer can't be written, the journal stops and
// says so, what was acknowledged is safe, and opening it again cures it.
func TestBufferBreaks(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
	mustAppend(t, j, records(0, 10, terminalPunch)...)
	broken, release := errors.New("the disk is on fire"), make(chan struct{})
	r := newRequest(nil)
	r.run = func() error { <-release; return broken }
	if err := j.send(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, records(10, 50, terminalPunch)...) // durable, and behind what breaks
	waiting := make(chan error, 1)
	mustSettle(t, j, "hq", forward.Answer{First: 0, Last: 9})
	go func() { _, err := j.Due(context.Background(), "hq", epoch, 9); waiting <- err }()
	close(release)
	soon(t, j.Failed())
	if err := j.Err(); !errors.Is(err, broken) {
		t.Errorf("failed with %v, want %v", err, broken)
	}
	if err := soon(t, waiting); !errors.Is(err, broken) {
		t.Errorf("who waited for the applier: %v", err)
	}
	for name, do := range map[string]func() error{
		"append": func() error { _, err := j.Append(t.Context(), []attendance.Record{terminalPunch(60)}); return err },
		"settle": func() error { return j.Settle(t.Context(), "hq", forward.Answer{First: 10, Last: 13}) },
		"retry":  func() error { _, err := j.Retry(t.Context(), "hq"); return err },
	} {
		if err := do(); !errors.Is(err, broken) {
			t.Errorf("%s after the buffer broke: %v, want %v", name, err, broken)
		}
	}
	if s, err := j.Stats(); err != nil || !errors.Is(s.Failure, broken) || s.Next != 51 {
		t.Errorf("next %d, failure %v, %v", s.Next, s.Failure, err)
	}
	closeJournal(t, j)
	j = openDir(t, dir)
	s, err := j.Stats()
	if err != nil || s.Next != 51 || s.Records != 51 || s.Punches != 50 || s.Failure != nil {
		t.Errorf("opened again: %+v, %v", s, err)
	}
	if c, err := j.Cursor("hq"); err != nil || c != 10 {
		t.Errorf("cursor %d, %v", c, err)
	}
}

// TestRecent: what is not applied yet is known, and what was applied is
// forgotten only after a while, in order.
func TestRecent(t *testing.T) {
	punch := func(n int, counter uint64) entry {
		return entry{kind: attendance.RecordPunch, key: keyOf(n), phone: "p-1", counter: counter}
	}
	first := &work{first: 10, ticket: 1, entries: []entry{punch(0, 5), {kind: attendance.RecordDevice}, punch(1, 3)}}
	second := &work{first: 13, ticket: 2, entries: []entry{punch(2, 4)}}
	large := &work{first: 14, ticket: 3, entries: make([]entry, keepApplied-1)} // leaves room for second alone
	var r recent
	if _, ok := r.seq(keyOf(0)); ok || r.counter("p-1") != 0 {
		t.Error("it knows something before anything came")
	}
	for _, w := range []*work{first, second, large} {
		r.add(w.first, w.entries)
	}
	if c := r.counter("p-1"); c != 5 {
		t.Errorf("counter %d, want the highest, 5", c)
	}
	ask := func(looked uint64) (known []uint64, stale bool) {
		q := newRequest([]entry{punch(0, 0), punch(1, 0), punch(2, 0), punch(3, 0), {kind: attendance.RecordDevice}})
		q.looked = looked
		stale = len(r.mark([]*request{q})) > 0
		for _, res := range q.results {
			if res.Duplicate {
				known = append(known, res.Seq)
			}
		}
		return known, stale
	}
	check := func(when string, looked uint64, want []uint64, wantStale bool) {
		t.Helper()
		if known, stale := ask(looked); !slices.Equal(known, want) || stale != wantStale {
			t.Errorf("%s: known %v, stale %v; want %v, %v", when, known, stale, want, wantStale)
		}
	}
	check("nothing applied", 0, []uint64{10, 12, 13}, false)
	r.applied([]*work{first, second})
	check("little applied", 0, []uint64{10, 12, 13}, false)
	r.applied([]*work{large})
	check("much applied, a look from before it", 0, []uint64{13}, true)
	check("much applied, a look from after it", 1, []uint64{13}, false)
	if c := r.counter("p-1"); c < 4 {
		t.Errorf("counter %d, the last record that is known tells 4", c)
	}
	r.applied([]*work{{ticket: 4, entries: make([]entry, 1)}})
	check("all but the last forgotten", 1, nil, true)
	check("and asked since", 2, nil, false)
	if len(r.keys) > 0 || len(r.counters) > 0 || r.records != keepApplied || len(r.done) != 2 {
		t.Errorf("left over: %v %v, %d records in %d works", r.keys, r.counters, r.records, len(r.done))
	}
	if q := newRequest([]entry{{kind: attendance.RecordDevice}}); len(r.mark([]*request{q})) > 0 {
		t.Error("a request without punches is called stale")
	}
}

// TestLateCommit: a request looked into the buffer, and before its turn came its
// punch was appended by another, applied, and forgotten.
func TestLateCommit(t *testing.T) {
	t.Parallel()
	j := openDir(t, t.TempDir())
	entries, err := encode([]attendance.Record{terminalPunch(1), terminalPunch(2)})
	if err != nil {
		t.Fatal(err)
	}
	late := newRequest(entries)
	if err := j.look(late); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, terminalPunch(1))
	mustAppend(t, j, records(10, 10+2*keepApplied, terminalPunch)...)
	flush(t, j)
	if _, ok := j.recent.seq(keyOf(1)); ok {
		t.Fatal("the punch is still recent: the test tests nothing")
	}
	if err := j.send(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	if err := late.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []Result{{0, true}, {2*keepApplied + 1, false}}; !slices.Equal(late.results, want) {
		t.Errorf("%v, want %v", late.results, want)
	}
}

// TestLooksWaitForTheApplier: what is asked about a sink includes all that it
// has answered, although the buffer is written later.
func TestLooksWaitForTheApplier(t *testing.T) {
	j := openDir(t, t.TempDir())
	mustAppend(t, j, records(0, 3, terminalPunch)...)
	flush(t, j)
	release := make(chan struct{})
	r := newRequest(nil)
	r.run = func() error { <-release; return nil }
	if err := j.send(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, j, "hq", forward.Answer{First: 0, Last: 2, Parked: []forward.Parked{parked(1, "unknown", epoch)}, Dead: []attendance.Dead{dead(2, "no")}})
	if c, err := j.Cursor("hq"); err != nil || c != 3 {
		t.Errorf("cursor %d, %v", c, err)
	}
	got := mustAppend(t, j, terminalPunch(9), terminalPunch(9))
	if seq, _, found, err := j.Lookup(keyOf(9)); err != nil || !found || seq != got[1].Seq {
		t.Errorf("look-up of what is not applied: %d %v %v", seq, found, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Due(ctx, "hq", time.Now().Add(time.Hour), 9); !errors.Is(err, context.Canceled) {
		t.Errorf("due did not wait: %v", err)
	}
	if _, err := j.ListParked(ctx, "hq", 0, 9); !errors.Is(err, context.Canceled) {
		t.Errorf("the list of parked did not wait: %v", err)
	}
	if _, err := j.ListDead(ctx, "hq", 0, 9); !errors.Is(err, context.Canceled) {
		t.Errorf("the list of dead did not wait: %v", err)
	}
	if err := j.Settle(ctx, "hq", forward.Answer{First: 1, Last: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("an answer for a parked one did not wait: %v", err)
	}
	close(release)
	if got := dueSeqs(t, j, "hq", time.Now().Add(time.Hour)); !slices.Equal(got, []uint64{1}) {
		t.Errorf("due %v", got)
	}
	mustSettle(t, j, "hq", forward.Answer{First: 1, Last: 1})
}

// TestPipeBounds: committing waits while too much is not applied.
func TestPipeBounds(t *testing.T) {
	p := newPipe()
	p.put(&work{entries: make([]entry, maxBacklog)})
	through := make(chan struct{})
	go func() { p.put(&work{entries: make([]entry, 1)}); close(through) }()
	group, ok := p.take()
	if !ok || len(group) != 1 || len(group[0].entries) != maxBacklog {
		t.Fatalf("took %d works, %v", len(group), ok)
	}
	select {
	case <-through:
		t.Error("put did not wait although nothing is applied")
	default:
	}
	p.finished(maxBacklog)
	<-through
	for range 5 {
		p.put(&work{entries: make([]entry, 700)})
	}
	p.put(&work{run: func() error { return nil }})
	p.put(&work{entries: make([]entry, 1)})
	p.close()
	var sizes []int
	for {
		group, ok := p.take()
		if !ok {
			break
		}
		sizes = append(sizes, len(group))
	}
	if !slices.Equal(sizes, []int{3, 2, 1, 1, 1}) {
		t.Errorf("groups of %v", sizes)
	}
}
