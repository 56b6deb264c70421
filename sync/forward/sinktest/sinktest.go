// Package sinktest holds every forward.Sink to one suite.
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/forward/sourcetest"
)

// Far is the far end of a sink, under the test's control.
type Far struct {
	// Sink makes a sink to the far end: each time a new one, as a restart does.
	Sink func(t testing.TB) forward.Sink
	// Held are the keys of the punches that the far end holds, in order of
	// arrival; one that it holds twice is there twice.
	Held func(t testing.TB) []attendance.Key
	// Down makes the far end unreachable, and reachable again.
	Down func(t testing.TB, down bool)
	// Hang has the far end not answer the next request for longer than the test
	// is going to wait. nil: it always answers at once.
	Hang func(t testing.TB)
	// Lose has the far end take the next batch and lose its answer. nil: an
	// answer can't be lost.
	Lose func(t testing.TB)
	// Secret must stand in no error and no name.
	Secret string
}

// patience bounds each call that must succeed.
const patience = 20 * time.Second

// TestSink holds a sink to its contract. open makes a far end that holds
// nothing.
func TestSink(t *testing.T, open func(t *testing.T) Far) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, f Far)
	}{
		{"name", testName},
		{"takes in order", testOrder},
		{"takes nothing", testNothing},
		{"any text", testText},
		{"repetition", testRepetition},
		{"repetition after a restart", testRestart},
		{"down", testDown},
		{"lost answer", testLost},
		{"cancelled", testCancelled},
		{"cancelled under way", testHang},
		{"through a forwarder", testForwarder},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// items makes the items from..to-1, with gaps in their sequences.
func items(from, to int) []forward.Item {
	var its []forward.Item
	for n := from; n < to; n++ {
		its = append(its, forward.Item{Seq: uint64(3*n + 1), Punch: sourcetest.Punch(n)})
	}
	return its
}

// send sends what must be taken.
func send(t testing.TB, s forward.Sink, its []forward.Item) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := s.Send(ctx, its)
	if err != nil {
		t.Fatal(err)
	}
	if len(r) != len(its) {
		t.Fatalf("the receipt has %d results for %d punches", len(r), len(its))
	}
	for i, res := range r {
		if res.Outcome != forward.Accepted && res.Outcome != forward.Duplicate {
			t.Fatalf("number %d is not taken: %+v", i, res)
		}
	}
}

// fails sends what can't be taken now.
func fails(t testing.TB, ctx context.Context, f Far, s forward.Sink, its []forward.Item) error {
	t.Helper()
	r, err := s.Send(ctx, its)
	if err == nil {
		t.Fatalf("no error, and the receipt %v", r)
	}
	if f.Secret != "" && strings.Contains(err.Error()+fmt.Sprintf("%+v", err), f.Secret) {
		t.Errorf("the error tells the secret: %v", err)
	}
	return err
}

func wantHeld(t testing.TB, f Far, its []forward.Item) {
	t.Helper()
	var want []attendance.Key
	for _, it := range its {
		want = append(want, it.Punch.Key)
	}
	if got := f.Held(t); !slices.Equal(got, want) {
		t.Fatalf("the far end holds %d punches, want %d\ngot  %v\nwant %v", len(got), len(want), got, want)
	}
}

func testName(t *testing.T, f Far) {
	a, b := f.Sink(t), f.Sink(t)
	if a.Name() == "" || a.Name() != b.Name() {
		t.Errorf("named %q and %q", a.Name(), b.Name())
	}
	if f.Secret != "" && strings.Contains(a.Name(), f.Secret) {
		t.Error("the name tells the secret")
	}
}

func testOrder(t *testing.T, f Far) {
	s := f.Sink(t)
	its := items(0, 700)
	send(t, s, its[:1])
	wantHeld(t, f, its[:1]) // there when Send returns
	send(t, s, its[1:600])
	send(t, s, its[600:])
	wantHeld(t, f, its)
}

func testNothing(t *testing.T, f Far) {
	send(t, f.Sink(t), nil)
	wantHeld(t, f, nil)
}

func testText(t *testing.T, f Far) {
	var its []forward.Item
	for n, text := range []string{"张三", "O'Brien \"Bob\"", "line\nbreak\r\n", "nul\x00", "bad\xff\xfeutf8", "\u2028", "😀", "<b>&amp;", `\`, strings.Repeat("长", 5000)} {
		it := items(n, n+1)[0]
		it.Punch.Employee, it.Punch.Badge, it.Punch.Place = text, text, text
		it.Punch.Reasons = []attendance.Reason{attendance.Reason(text)}
		its = append(its, it)
	}
	send(t, f.Sink(t), its)
	wantHeld(t, f, its)
}

// A repetition, alone or in other company, is harmless.
func testRepetition(t *testing.T, f Far) {
	s := f.Sink(t)
	its := items(0, 50)
	send(t, s, its[:20])
	send(t, s, its[:20])
	send(t, s, its[10:30])
	send(t, s, its[19:20])
	send(t, s, its)
	wantHeld(t, f, its)
}

func testRestart(t *testing.T, f Far) {
	its := items(0, 50)
	send(t, f.Sink(t), its[:30])
	send(t, f.Sink(t), its[:30])
	send(t, f.Sink(t), its)
	wantHeld(t, f, its)
}

func testDown(t *testing.T, f Far) {
	s := f.Sink(t)
	its := items(0, 30)
	send(t, s, its[:10])
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 2 {
		f.Down(t, true)
		for range 3 {
			if err := fails(t, ctx, f, s, its[10:20]); ctx.Err() != nil {
				t.Fatalf("it takes too long to fail: %v", err)
			} else if isRejected(err) {
				t.Fatalf("an outage is held against the punches: %v", err)
			}
		}
		f.Down(t, false)
		send(t, s, its[10:20])
	}
	send(t, s, its[20:])
	wantHeld(t, f, its)
}

func isRejected(err error) bool {
	_, rejected := errors.AsType[forward.Rejected](err)
	return rejected
}

func testLost(t *testing.T, f Far) {
	if f.Lose == nil {
		t.Skip("an answer of this far end can't be lost")
	}
	s := f.Sink(t)
	its := items(0, 30)
	for n := range 3 {
		f.Lose(t)
		if err := fails(t, t.Context(), f, s, its[:10+n]); isRejected(err) {
			t.Fatalf("a lost answer is held against the punches: %v", err)
		}
	}
	send(t, s, its)
	wantHeld(t, f, its)
}

func testCancelled(t *testing.T, f Far) {
	s := f.Sink(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	its := items(0, 5)
	fails(t, ctx, f, s, its)
	send(t, s, its)
	wantHeld(t, f, its)
}

func testHang(t *testing.T, f Far) {
	if f.Hang == nil {
		t.Skip("this far end always answers at once")
	}
	s := f.Sink(t)
	its := items(0, 5)
	f.Hang(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := fails(t, ctx, f, s, its); isRejected(err) {
		t.Errorf("cancellation is held against the punches: %v", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v to stop", took)
	}
	send(t, s, its)
	wantHeld(t, f, its)
}

// A forwarder and the sink together, with the far end down at first.
func testForwarder(t *testing.T, f Far) {
	source := sourcetest.NewMemory()
	var want []forward.Item
	for n := range 1500 {
		source.Append(sourcetest.Punch(n))
		want = append(want, forward.Item{Seq: uint64(n), Punch: sourcetest.Punch(n)})
	}
	f.Down(t, true)
	fw, err := forward.New(forward.Config{Source: source, Sink: f.Sink(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- fw.Run(ctx) }()
	for ctx.Err() == nil && fw.State().Failures == 0 {
		pause(ctx)
	}
	f.Down(t, false)
	fw.Wake()
	for ctx.Err() == nil && fw.State().Sent+fw.State().Duplicates < uint64(len(want)) {
		pause(ctx)
	}
	late := ctx.Err()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if late != nil {
		t.Fatalf("not done in time: %+v", fw.State())
	}
	wantHeld(t, f, want)
}

// pause yields for a moment between two looks at a state.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Millisecond):
	}
}
