package forward_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/forward/sourcetest"
)

// far is the other end: it takes punches like a service with a unique index,
// unless the script says otherwise. Everything runs in a bubble, so that a test
// may look at it whenever all goroutines wait.
type far struct {
	turns  atomic.Int64           // orders what a test changes before the next Send
	hang   bool                   // Send waits for its context to end
	held   map[attendance.Key]int // how often each came
	order  []uint64               // sequences in order of first arrival
	calls  []call
	script func(items []forward.Item) (forward.Receipt, error) // nil and nil: take all
}

type call struct {
	at   time.Time
	seqs []uint64
}

func (f *far) Name() string { return "hq" }

func (f *far) Send(ctx context.Context, items []forward.Item) (forward.Receipt, error) {
	if f.turns.Load(); f.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c := call{at: time.Now()}
	for _, it := range items {
		c.seqs = append(c.seqs, it.Seq)
	}
	f.calls = append(f.calls, c)
	if f.script != nil {
		if r, err := f.script(items); r != nil || err != nil {
			return r, err
		}
	}
	return f.takeAll(items), nil
}

func (f *far) take(it forward.Item) forward.Outcome {
	if f.held == nil {
		f.held = map[attendance.Key]int{}
	}
	f.held[it.Key()]++
	if f.held[it.Key()] > 1 {
		return forward.Duplicate
	}
	f.order = append(f.order, it.Seq)
	return forward.Accepted
}

func (f *far) takeAll(items []forward.Item) forward.Receipt {
	r := make(forward.Receipt, len(items))
	for i, it := range items {
		r[i].Outcome = f.take(it)
	}
	return r
}

// rig is a forwarder under way between a source in memory and a far end.
type rig struct {
	*forward.Forwarder
	source *sourcetest.Memory
	far    *far
	cancel context.CancelFunc
	done   chan error
}

func start(t *testing.T, source *sourcetest.Memory, far *far, change ...func(*forward.Config)) *rig {
	t.Helper()
	cfg := forward.Config{Source: source, Sink: far}
	for _, c := range change {
		c(&cfg)
	}
	f, err := forward.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.Gather(0) // what is tested here is counted in requests
	ctx, cancel := context.WithCancel(t.Context())
	r := &rig{Forwarder: f, source: source, far: far, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- f.Run(ctx) }()
	return r
}

// stop ends the forwarder, which must take no time at all.
func (r *rig) stop(t *testing.T) {
	t.Helper()
	before := time.Now()
	r.cancel()
	if err := <-r.done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(before); took != 0 {
		t.Errorf("it took %v to stop", took)
	}
}

// after lets time pass until everything waits. Then the test may look at the far
// end and change it.
func (r *rig) after(d time.Duration) {
	r.far.turns.Add(1)
	time.Sleep(d) // in the bubble this is no sleep
	synctest.Wait()
}

// A punch waits a moment for company, so that a busy quarter of an hour is not
// a request for each. It waits no longer, and a full batch not at all.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, end := sourcetest.NewMemory(), &far{}
		f, err := forward.New(forward.Config{Source: source, Sink: end, BatchItems: 20})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		r := &rig{Forwarder: f, source: source, far: end, cancel: cancel, done: done}
		r.after(time.Minute)
		for n := range 10 {
			source.Append(punches(n, n+1)...)
			r.after(time.Millisecond)
		}
		r.after(forward.GatherTime)
		if n := len(end.calls); n != 1 || len(end.calls[0].seqs) != 10 {
			t.Errorf("%d requests: %+v", n, end.calls)
		}
		start := time.Now()
		source.Append(punches(100, 145)...)
		r.after(0)
		if n := len(end.calls); n != 3 || time.Since(start) != 0 {
			t.Errorf("%d requests after two full batches", n)
		}
		r.after(forward.GatherTime)
		if n := len(end.calls); n != 4 {
			t.Errorf("%d requests after the rest", n)
		}
		r.stop(t)
	})
}

func punches(from, to int) []*attendance.Punch {
	var ps []*attendance.Punch
	for n := from; n < to; n++ {
		ps = append(ps, sourcetest.Punch(n))
	}
	return ps
}

// wantAll checks that the far end holds each punch exactly once and in the
// ledger's order, and that nothing is left to send.
func (r *rig) wantAll(t *testing.T, n int) {
	t.Helper()
	if len(r.far.order) != n {
		t.Errorf("the far end holds %d punches, want %d", len(r.far.order), n)
	}
	if !slices.IsSorted(r.far.order) {
		t.Errorf("out of order: %v", r.far.order)
	}
	r.wantNothingPending(t)
}

func (r *rig) wantNothingPending(t *testing.T) {
	t.Helper()
	cursor, err := r.source.Cursor("hq")
	if err != nil {
		t.Fatal(err)
	}
	for from := cursor; ; {
		items, next, err := r.source.Pending(t.Context(), from, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(items) > 0 {
			t.Errorf("%d or more punches are pending from %d on", len(items), items[0].Seq)
		}
		if next == from || len(items) > 0 {
			return
		}
		from = next
	}
}

func TestForwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(punches(0, 1203)...)
		source.Append(nil, nil)
		r := start(t, source, &far{})
		r.after(0)
		r.wantAll(t, 1203)
		sizes := []int{len(r.far.calls[0].seqs), len(r.far.calls[1].seqs), len(r.far.calls[2].seqs)}
		if !slices.Equal(sizes, []int{500, 500, 203}) || len(r.far.calls) != 3 {
			t.Errorf("batches of %v in %d requests", sizes, len(r.far.calls))
		}
		for n := range 10 { // live ones go at once
			source.Append(nil, sourcetest.Punch(2000+n))
			r.after(0)
		}
		r.wantAll(t, 1213)
		s := r.State()
		if !s.Online || s.Sink != "hq" || s.Sent != 1213 || s.Requests != 13 || s.Failures != 0 || s.Alarm != "" || s.LastError != "" || !s.NextTry.IsZero() {
			t.Errorf("%+v", s)
		}
		r.stop(t)
	})
}

// A gateway whose sink has everything is silent: no request, and no answer in
// the ledger about records that are no punches.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(nil, nil, nil)
		r := start(t, source, &far{})
		r.after(24 * time.Hour)
		source.Append(nil)
		r.after(24 * time.Hour)
		if len(r.far.calls) != 0 || source.Len() != 4 {
			t.Errorf("%d requests, %d records", len(r.far.calls), source.Len())
		}
		if s := r.State(); s.Online || !s.Since.IsZero() || s.LastError != "" {
			t.Errorf("before the first request: %+v", s)
		}
		r.stop(t)
	})
}

// What was settled before a restart is not sent again.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, end := sourcetest.NewMemory(), &far{}
		for n := range 5 {
			source.Append(punches(n*10, n*10+10)...)
			r := start(t, source, end)
			r.after(0)
			r.wantAll(t, n*10+10)
			r.stop(t)
		}
		for key, times := range end.held {
			if times != 1 {
				t.Errorf("%v came %d times", key, times)
			}
		}
	})
}

// While a slow request is under way the next batch is read, and what comes
// meanwhile goes along with it.
func TestReadsAheadAndFillsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		end := &far{script: func([]forward.Item) (forward.Receipt, error) {
			time.Sleep(time.Minute)
			return nil, nil
		}}
		source.Append(punches(0, 1)...)
		r := start(t, source, end)
		r.after(time.Second)
		source.Append(punches(1, 3)...) // read ahead
		r.after(time.Second)
		source.Append(punches(3, 700)...) // comes while that waits for its turn
		r.after(10 * time.Minute)
		r.wantAll(t, 700)
		var sizes []int
		for _, c := range end.calls {
			sizes = append(sizes, len(c.seqs))
		}
		if !slices.Equal(sizes, []int{1, 500, 199}) {
			t.Errorf("batches of %v", sizes)
		}
		r.stop(t)
	})
}

func TestBatchBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(punches(0, 100)...)
		one := forward.EstimateOf(sourcetest.Punch(0))
		r := start(t, source, &far{}, func(c *forward.Config) { c.BatchItems, c.BatchBytes = 30, one*7+1 })
		r.after(0)
		r.wantAll(t, 100)
		for _, c := range r.far.calls {
			if len(c.seqs) > 7 {
				t.Errorf("a batch of %d", len(c.seqs))
			}
		}
		if len(r.far.calls) != 15 {
			t.Errorf("%d requests", len(r.far.calls))
		}
		r.stop(t)
	})
	synctest.Test(t, func(t *testing.T) { // a punch over the bound goes alone
		source := sourcetest.NewMemory()
		source.Append(punches(0, 5)...)
		r := start(t, source, &far{}, func(c *forward.Config) { c.BatchBytes = 1 })
		r.after(0)
		r.wantAll(t, 5)
		r.stop(t)
	})
}

func TestNewRefuses(t *testing.T) {
	source := sourcetest.NewMemory()
	for _, cfg := range []forward.Config{{}, {Sink: &far{}}, {Source: source}, {Source: source, Sink: nameless{&far{}}}} {
		if _, err := forward.New(cfg); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
}

type nameless struct{ *far }

func (nameless) Name() string { return "" }

// Cancellation ends Run at once and without error, whatever is under way, and
// what was not answered is sent after the next start.
func TestCancelInEveryState(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name   string
		hang   bool
		err    error  // of the far end
		method string // of the source, which fails
		parked bool
	}{
		{name: "idle"},
		{name: "sending", hang: true},
		{name: "sending parked ones", hang: true, parked: true},
		{name: "waiting after a failure", err: broken},
		{name: "waiting after a failure of parked ones", err: broken, parked: true},
		{name: "stopped by 401", err: forward.Denied{Err: broken}},
		{name: "cursor fails", method: "Cursor"},
		{name: "reading fails", method: "Pending"},
		{name: "waiting fails", method: "Wait"},
		{name: "settling fails", method: "Settle"},
		{name: "due fails", method: "Due"},
		{name: "retry fails", method: "Retry"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := sourcetest.NewMemory()
				source.Append(punches(0, 10)...)
				if c.parked {
					a := forward.Answer{First: 0, Last: 9, Parked: []forward.Parked{{Seq: 3, Reason: "r", Until: time.Now()}}}
					if err := source.Settle(t.Context(), "hq", a); err != nil {
						t.Fatal(err)
					}
				}
				source.Fail(func(method string) error {
					if method == c.method {
						return broken
					}
					return nil
				})
				end := &far{hang: c.hang, script: func([]forward.Item) (forward.Receipt, error) { return nil, c.err }}
				r := start(t, source, end)
				r.Wake()
				r.after(17 * time.Minute)
				r.stop(t)
				if s := r.State(); c.err == nil && (s.Failures != 0 || s.LastError != "") {
					t.Errorf("being stopped counts as a failure: %+v", s)
				}

				source.Fail(nil)
				end.hang, end.script = false, nil
				again := start(t, source, end)
				again.after(time.Hour)
				if n := len(end.order); n != 10 && !(c.parked && n == 1) {
					t.Errorf("after the next start the far end holds %d", n)
				}
				again.wantNothingPending(t)
				again.stop(t)
			})
		})
	}
}

// An answer that comes as the forwarder is told to stop is kept.
func TestAnswerInHandIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		var r *rig
		r = start(t, source, &far{script: func([]forward.Item) (forward.Receipt, error) {
			r.cancel()
			return nil, nil
		}})
		source.Append(punches(0, 10)...)
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		r.wantAll(t, 10)
	})
}
