package sourcetest

import (
	"slices"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
)

// wantDue checks which punches are due at a time, in any order.
func wantDue(t testing.TB, s forward.Source, now time.Time, want ...uint64) {
	t.Helper()
	items, err := s.Due(t.Context(), sinkName, now, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, it := range items {
		got = append(got, it.Seq)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("due are %v, want %v", got, want)
	}
}

func testParked(t *testing.T, w World) {
	appendN(t, w, 0, 4)
	now := time.Now()
	settle(t, w.Source, forward.Answer{First: 0, Last: 3, Parked: []forward.Parked{
		{Seq: 0, Reason: "unknown employee", Until: now.Add(time.Hour)},
		{Seq: 2, Reason: "closed period"}, // until its cause changes
	}})
	wantCursor(t, w.Source, 4)
	wantDue(t, w.Source, now)
	wantDue(t, w.Source, now.Add(59*time.Minute))
	wantDue(t, w.Source, now.Add(61*time.Minute), 0)
	wantDue(t, w.Source, now.Add(24*time.Hour), 0)
	if n, err := w.Source.Retry(t.Context(), sinkName); n != 2 || err != nil {
		t.Fatalf("Retry: %d, %v", n, err)
	}
	wantDue(t, w.Source, time.Now().Add(time.Second), 0, 2)
	items, err := w.Source.Due(t.Context(), sinkName, time.Now().Add(time.Second), 1)
	if err != nil || len(items) != 1 || items[0].Punch == nil {
		t.Fatalf("one of them: %v, %v", items, err)
	}
	if want := Punch(int(items[0].Seq)).Key; items[0].Punch.Key != want {
		t.Errorf("number %d is %v, want %v", items[0].Seq, items[0].Punch.Key, want)
	}
}

func testParkedAnswered(t *testing.T, w World) {
	appendN(t, w, 0, 3)
	now := time.Now()
	settle(t, w.Source, forward.Answer{First: 0, Last: 2, Parked: []forward.Parked{
		{Seq: 0, Reason: "a", Until: now}, {Seq: 1, Reason: "b", Until: now}, {Seq: 2, Reason: "c", Until: now},
	}})
	wantDue(t, w.Source, now.Add(time.Second), 0, 1, 2)
	settle(t, w.Source,
		forward.Answer{First: 0, Last: 0},
		forward.Answer{First: 1, Last: 1, Dead: []attendance.Dead{{Seq: 1, Reason: "left the company"}}},
		forward.Answer{First: 2, Last: 2, Parked: []forward.Parked{{Seq: 2, Reason: "c", Until: now.Add(time.Hour)}}})
	wantCursor(t, w.Source, 3)
	wantDue(t, w.Source, now.Add(time.Second))
	wantDue(t, w.Source, now.Add(2*time.Hour), 2)
	settle(t, w.Source, forward.Answer{First: 2, Last: 2})
	wantDue(t, w.Source, now.Add(2*time.Hour))
	if err := w.Source.Settle(t.Context(), sinkName, forward.Answer{First: 2, Last: 2}); err == nil {
		t.Error("a parked punch is answered twice, and no error")
	}
}

// Those that have waited longest come first, so that none can starve.
func testParkedOrder(t *testing.T, w World) {
	appendN(t, w, 0, 5)
	now := time.Now()
	var parked []forward.Parked
	for seq, wait := range []time.Duration{50, 20, 40, 10, 30} {
		parked = append(parked, forward.Parked{Seq: uint64(seq), Reason: "r", Until: now.Add(wait * time.Minute)})
	}
	settle(t, w.Source, forward.Answer{First: 0, Last: 4, Parked: parked})
	items, err := w.Source.Due(t.Context(), sinkName, now.Add(45*time.Minute), 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, it := range items {
		got = append(got, it.Seq)
	}
	if !slices.Equal(got, []uint64{3, 1, 4}) {
		t.Errorf("the first three are %v", got)
	}
}
