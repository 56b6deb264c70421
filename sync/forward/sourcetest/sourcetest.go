// Package sourcetest holds every forward.Source to one suite, and has the
// source in memory that passes it and serves in other tests.
package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
)

// World is a source with what stands behind it.
type World struct {
	Source forward.Source
	// Append makes punches durable, in order. A nil one stands for a record of
	// another kind.
	Append func(t testing.TB, punches ...*attendance.Punch)
	// AppendHead makes a signed head durable.
	AppendHead func(t testing.TB, c *attendance.Checkpoint)
	// Reopen closes the source and opens it again, as a restart does. nil: it
	// can't be.
	Reopen func(t testing.TB) forward.Source
}

// sinkName names the sink that the suite plays.
const sinkName = "hq"

// patience bounds every wait for something that must happen.
const patience = 10 * time.Second

// Punch makes the nth of a row of different punches.
func Punch(n int) *attendance.Punch {
	at := time.Date(2026, 11, 4, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Second)
	face := attendance.LocalOf(at) + 8*3600_000
	pin := fmt.Sprintf("%04d", n%50)
	return &attendance.Punch{
		Key: attendance.TerminalKey("SIM0001", pin, face, 0, 1, fmt.Sprint(n)), Kind: attendance.KindPunch,
		Employee: "E" + pin, Badge: pin, Direction: attendance.DirIn, Method: attendance.MethodFingerprint,
		Device: attendance.Device{ID: fmt.Sprintf("door-%d", n%3), Driver: "zk", Serial: "SIM0001"}, Site: "xm-hq",
		DeviceTime: face, Zone: "Asia/Shanghai", At: at, ReceivedAt: at.Add(time.Second), Verdict: attendance.Accepted, Verify: 1,
	}
}

// TestSource holds a source to its contract. open makes a new, empty one.
func TestSource(t *testing.T, open func(t *testing.T) World) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, w World)
	}{
		{"a new sink", testNewSink},
		{"pending", testPending},
		{"heads", testHeads},
		{"wait", testWait},
		{"settle", testSettle},
		{"settle refuses nonsense", testSettleRefuses},
		{"parked", testParked},
		{"parked and answered", testParkedAnswered},
		{"order of the parked", testParkedOrder},
		{"sinks are apart", testSinksApart},
		{"restart", testReopen},
		{"from many goroutines", testConcurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// all reads every punch from a sequence on, max at a time.
func all(t testing.TB, s forward.Source, from uint64, max int) []forward.Item {
	t.Helper()
	var got []forward.Item
	for {
		items, next, err := s.Pending(t.Context(), from, max)
		if err != nil {
			t.Fatal(err)
		}
		if len(items) > max || next < from {
			t.Fatalf("Pending(%d, %d) gives %d items and goes on at %d", from, max, len(items), next)
		}
		for _, it := range items {
			if it.Seq < from || it.Seq >= next || it.Punch == nil {
				t.Fatalf("Pending(%d) gives %+v and goes on at %d", from, it, next)
			}
			from = it.Seq + 1
		}
		got = append(got, items...)
		if len(items) == 0 && next == from {
			return got
		}
		from = next
	}
}

func appendN(t testing.TB, w World, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		w.Append(t, Punch(n))
	}
}

func settle(t testing.TB, s forward.Source, answers ...forward.Answer) {
	t.Helper()
	if err := s.Settle(t.Context(), sinkName, answers...); err != nil {
		t.Fatal(err)
	}
}

func wantCursor(t testing.TB, s forward.Source, want uint64) {
	t.Helper()
	if got, err := s.Cursor(sinkName); err != nil || got != want {
		t.Fatalf("cursor %d (%v), want %d", got, err, want)
	}
}

func testNewSink(t *testing.T, w World) {
	wantCursor(t, w.Source, 0)
	wantDue(t, w.Source, time.Now().Add(time.Hour))
	if n, err := w.Source.Retry(t.Context(), sinkName); n != 0 || err != nil {
		t.Errorf("Retry: %d, %v", n, err)
	}
	if got := all(t, w.Source, 0, 10); len(got) != 0 {
		t.Errorf("pending in an empty source: %v", got)
	}
}

func testPending(t *testing.T, w World) {
	want := make([]attendance.Key, 0, 20)
	for n := range 20 {
		p := Punch(n)
		w.Append(t, p)
		want = append(want, p.Key)
		if n%3 == 0 {
			w.Append(t, nil, nil)
		}
	}
	for _, max := range []int{1, 3, 20, 500} {
		got := all(t, w.Source, 0, max)
		if len(got) != len(want) {
			t.Fatalf("%d punches, want %d", len(got), len(want))
		}
		for i, it := range got {
			if it.Punch.Key != want[i] {
				t.Fatalf("number %d is %v, want %v", i, it.Punch.Key, want[i])
			}
		}
		// From the middle it goes on as if it had begun there.
		for i, it := range got {
			if rest := all(t, w.Source, it.Seq, max); len(rest) != len(got)-i || rest[0].Seq != it.Seq {
				t.Fatalf("from %d there are %d", it.Seq, len(rest))
			}
		}
	}
	p := all(t, w.Source, 0, 500)[7].Punch
	if q := Punch(7); p.Employee != q.Employee || p.DeviceTime != q.DeviceTime || !p.At.Equal(q.At) || p.Device != q.Device {
		t.Errorf("a punch is changed: %+v", p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := w.Source.Pending(ctx, 0, 1); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("after cancellation: %v", err)
	}
}

// testHeads: heads come among the punches, in order, and an answer passes over
// them without a word.
func testHeads(t *testing.T, w World) {
	for n := range 3 {
		w.Append(t, Punch(n), nil)
		w.AppendHead(t, &attendance.Checkpoint{Note: fmt.Sprint("head ", n), Edge: [][32]byte{{1}}})
	}
	items, next, err := w.Source.Pending(t.Context(), 0, 100)
	if err != nil || len(items) != 6 || next != 9 {
		t.Fatalf("%d items, then %d, %v", len(items), next, err)
	}
	for n := range 3 {
		p, h := items[2*n], items[2*n+1]
		if p.Punch == nil || p.Head != nil || p.Key() != Punch(n).Key || p.Seq != uint64(3*n) {
			t.Errorf("punch %d is %+v", n, p)
		}
		if h.Punch != nil || h.Head == nil || h.Head.Note != fmt.Sprint("head ", n) || h.Seq != uint64(3*n+2) || h.Key() == (attendance.Key{}) {
			t.Errorf("head %d is %+v", n, h)
		}
	}
	settle(t, w.Source, forward.Answer{First: 0, Last: 5})
	wantCursor(t, w.Source, 6)
	if err := w.Source.Settle(t.Context(), sinkName, forward.Answer{First: 6, Last: 8, Dead: []attendance.Dead{{Seq: 8, Reason: "no"}}}); err == nil {
		t.Error("a head is dead")
	}
	settle(t, w.Source, forward.Answer{First: 6, Last: 8})
	wantCursor(t, w.Source, 9)
}

func testWait(t *testing.T, w World) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := appendWhile(t, w, Punch(0), func() error { return w.Source.Wait(ctx, 0) }); err != nil {
		t.Fatal(err)
	}
	if err := w.Source.Wait(ctx, 0); err != nil {
		t.Fatalf("for what is there: %v", err)
	}
	_, next, err := w.Source.Pending(ctx, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	err = appendWhile(t, w, Punch(1), func() error {
		if err := w.Source.Wait(ctx, next); err != nil {
			return err
		}
		if items, _, err := w.Source.Pending(ctx, next, 1); len(items) != 1 || err != nil {
			return fmt.Errorf("Wait(%d) returned, and there is no such record (%w)", next, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.Source.Wait(stopped, 1<<40) }()
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("after cancellation: %v", err)
	}
}

// appendWhile appends a punch while wait is under way, or just before.
func appendWhile(t *testing.T, w World, p *attendance.Punch, wait func() error) error {
	done := make(chan error, 1)
	go func() { done <- wait() }()
	w.Append(t, p)
	return <-done
}

func testSettle(t *testing.T, w World) {
	w.Append(t, Punch(0), nil, Punch(1), Punch(2), nil)
	settle(t, w.Source, forward.Answer{First: 0, Last: 1})
	wantCursor(t, w.Source, 2)
	settle(t, w.Source, forward.Answer{First: 2, Last: 2, Dead: []attendance.Dead{{Seq: 2, Reason: "no such employee"}}},
		forward.Answer{First: 3, Last: 4})
	wantCursor(t, w.Source, 5)
	wantDue(t, w.Source, time.Now().Add(time.Hour))
	// Answers may be records too, but they are no punches.
	if got := all(t, w.Source, 5, 10); len(got) != 0 {
		t.Errorf("after everything is settled there is %v", got)
	}
	if got := all(t, w.Source, 0, 10); len(got) != 3 {
		t.Errorf("what is settled can't be read any more: %v", got)
	}
}

func testSettleRefuses(t *testing.T, w World) {
	appendN(t, w, 0, 4)
	settle(t, w.Source, forward.Answer{First: 0, Last: 1, Parked: []forward.Parked{{Seq: 1, Until: time.Now()}}})
	good := forward.Answer{First: 2, Last: 3}
	for name, bad := range map[string]forward.Answer{
		"backwards":          {First: 3, Last: 2},
		"a hole":             {First: 5, Last: 5},
		"beyond the end":     {First: 2, Last: 1 << 40},
		"dead elsewhere":     {First: 2, Last: 2, Dead: []attendance.Dead{{Seq: 3}}},
		"parked elsewhere":   {First: 2, Last: 2, Parked: []forward.Parked{{Seq: 3}}},
		"settled and parked": {First: 0, Last: 0},
		"a stretch behind":   {First: 0, Last: 1},
	} {
		if err := w.Source.Settle(t.Context(), sinkName, bad); err == nil {
			t.Errorf("%s: no error", name)
		}
		if name != "a hole" { // behind the good one it may be none
			if err := w.Source.Settle(t.Context(), sinkName, good, bad); err == nil {
				t.Errorf("%s behind a good one: no error", name)
			}
		}
		wantCursor(t, w.Source, 2)
		wantDue(t, w.Source, time.Now().Add(time.Hour), 1)
	}
}

func testSinksApart(t *testing.T, w World) {
	appendN(t, w, 0, 2)
	settle(t, w.Source, forward.Answer{First: 0, Last: 1, Parked: []forward.Parked{{Seq: 0, Reason: "r", Until: time.Now()}}})
	const other = "archive"
	if cursor, err := w.Source.Cursor(other); cursor != 0 || err != nil {
		t.Errorf("the other's cursor is %d, %v", cursor, err)
	}
	if items, err := w.Source.Due(t.Context(), other, time.Now().Add(time.Hour), 10); len(items) != 0 || err != nil {
		t.Errorf("due for the other: %v, %v", items, err)
	}
	if n, err := w.Source.Retry(t.Context(), other); n != 0 || err != nil {
		t.Errorf("Retry for the other: %d, %v", n, err)
	}
	if err := w.Source.Settle(t.Context(), other, forward.Answer{First: 0, Last: 0}); err != nil {
		t.Error(err)
	}
	wantCursor(t, w.Source, 2)
	wantDue(t, w.Source, time.Now().Add(time.Hour), 0)
}

func testReopen(t *testing.T, w World) {
	if w.Reopen == nil {
		t.Skip("this source does not outlive its process")
	}
	appendN(t, w, 0, 4)
	now := time.Now()
	settle(t, w.Source, forward.Answer{First: 0, Last: 2, Parked: []forward.Parked{{Seq: 1, Reason: "r", Until: now.Add(time.Hour)}, {Seq: 2, Reason: "s"}}})
	s := w.Reopen(t)
	wantCursor(t, s, 3)
	wantDue(t, s, now.Add(time.Minute))
	wantDue(t, s, now.Add(2*time.Hour), 1)
	if got := all(t, s, 3, 10); len(got) != 1 || got[0].Seq != 3 {
		t.Errorf("pending is %v", got)
	}
	if n, err := s.Retry(t.Context(), sinkName); n != 2 || err != nil {
		t.Errorf("Retry: %d, %v", n, err)
	}
}

// A reader, an appender and an answerer at once, as in the daemon.
func testConcurrent(t *testing.T, w World) {
	const n = 200
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			w.Append(t, Punch(i))
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := w.Source.Due(ctx, sinkName, time.Now(), 10); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			if cursor, err := w.Source.Cursor(sinkName); err != nil || cursor >= n {
				return
			}
		}
	})
	seen, from, settled := 0, uint64(0), uint64(0)
	for seen < n {
		items, next, err := w.Source.Pending(ctx, from, 7)
		switch {
		case err != nil:
		case len(items) > 0:
			err = w.Source.Settle(ctx, sinkName, forward.Answer{First: settled, Last: next - 1})
			seen, settled = seen+len(items), next
		case next == from:
			err = w.Source.Wait(ctx, next)
		}
		from = next
		if err != nil {
			t.Errorf("after %d punches: %v", seen, err)
			break
		}
	}
	cancel()
	wg.Wait()
}
