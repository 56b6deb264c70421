package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
)

// event is a record that is no punch.
func event(n int) *attendance.DeviceEvent {
	return &attendance.DeviceEvent{At: epoch, Device: attendance.Device{ID: "lobby"}, Event: "online", Detail: fmt.Sprint(n)}
}

// mixed appends ten punches with an event behind every third: records 0 to 12,
// of which 3, 7 and 11 are events.
func mixed(t *testing.T, j *Journal) {
	t.Helper()
	for n := range 10 {
		mustAppend(t, j, terminalPunch(n))
		if n%3 == 2 {
			mustAppend(t, j, event(n))
		}
	}
}

func TestPendingPassesOverOthers(t *testing.T) {
	j := openDir(t, t.TempDir())
	if items, next, err := j.Pending(t.Context(), 0, 10); err != nil || items != nil || next != 0 {
		t.Errorf("nothing yet: %v, %d, %v", items, next, err)
	}
	mixed(t, j)
	seqs, _ := pending(t, j, 0)
	if want := []uint64{0, 1, 2, 4, 5, 6, 8, 9, 10, 12}; !slices.Equal(seqs, want) {
		t.Errorf("pending %v, want %v", seqs, want)
	}
	items, next, err := j.Pending(t.Context(), 2, 2)
	if err != nil || len(items) != 2 || items[0].Seq != 2 || items[1].Seq != 4 || next != 5 {
		t.Errorf("two from 2: %v, next %d, %v", items, next, err)
	}
	if items, next, err = j.Pending(t.Context(), 11, 1); err != nil || len(items) != 1 || items[0].Seq != 12 || next != 13 {
		t.Errorf("one from 11: %v, next %d, %v", items, next, err)
	}
	if items, next, err = j.Pending(t.Context(), 99, 1); err != nil || len(items) != 0 || next != 99 {
		t.Errorf("behind the end: %v, next %d, %v", items, next, err)
	}
	if _, _, err := j.Pending(t.Context(), 0, 0); err == nil {
		t.Error("0 items asked for: no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := j.Pending(ctx, 0, 5); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestWait(t *testing.T) {
	j := openDir(t, t.TempDir())
	mustAppend(t, j, terminalPunch(0))
	if err := j.Wait(t.Context(), 0); err != nil {
		t.Errorf("for what is there: %v", err)
	}
	woken := make(chan error, 1)
	go func() { woken <- j.Wait(t.Context(), 2) }()
	mustAppend(t, j, terminalPunch(1))
	select {
	case err := <-woken:
		t.Errorf("woken by record 1: %v", err)
	default:
	}
	mustAppend(t, j, terminalPunch(2))
	if err := <-woken; err != nil {
		t.Errorf("for what came: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { woken <- j.Wait(ctx, 100) }()
	cancel()
	if err := <-woken; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	go func() { woken <- j.Wait(context.Background(), 100) }()
	closeJournal(t, j)
	if err := <-woken; !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func dead(seq uint64, reason string) attendance.Dead {
	return attendance.Dead{Seq: seq, Reason: reason}
}

func parked(seq uint64, reason string, until time.Time) forward.Parked {
	return forward.Parked{Seq: seq, Reason: reason, Until: until}
}

// checkSink compares everything that is told of a sink.
func checkSink(t *testing.T, j *Journal, want SinkStats, parkedReasons, deadReasons map[uint64]string) {
	t.Helper()
	if got := sinkStats(t, j, want.Name); got != want {
		t.Errorf("sink: %+v, want %+v", got, want)
	}
	if c, err := j.Cursor(want.Name); err != nil || c != want.Cursor {
		t.Errorf("cursor %d, %v, want %d", c, err, want.Cursor)
	}
	ps, err := j.ListParked(t.Context(), want.Name, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint64]string{}
	for _, p := range ps {
		got[p.Seq] = p.Reason
	}
	if len(got)+len(parkedReasons) > 0 && !reflect.DeepEqual(got, parkedReasons) {
		t.Errorf("parked %v, want %v", got, parkedReasons)
	}
	ds, err := j.ListDead(t.Context(), want.Name, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	got = map[uint64]string{}
	for _, d := range ds {
		got[d.Seq] = d.Reason
	}
	if len(got)+len(deadReasons) > 0 && !reflect.DeepEqual(got, deadReasons) {
		t.Errorf("dead %v, want %v", got, deadReasons)
	}
}

func dueSeqs(t *testing.T, j *Journal, sink string, now time.Time) (seqs []uint64) {
	t.Helper()
	items, err := j.Due(t.Context(), sink, now, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		if it.Punch.Key == (attendance.Key{}) {
			t.Errorf("due %d has no punch", it.Seq)
		}
		seqs = append(seqs, it.Seq)
	}
	return seqs
}

func TestSettle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openDir(t, dir)
	mixed(t, j)
	now := time.Now()
	soon, later := now.Add(time.Minute), now.Add(time.Hour)

	// 0 to 2 taken; of 4 to 6 one is dead and one parked; 8 to 10: two parked.
	mustSettle(t, j, "hq", forward.Answer{First: 0, Last: 2})
	mustSettle(t, j, "hq",
		forward.Answer{First: 4, Last: 6, Dead: []attendance.Dead{dead(4, "no such field")}, Parked: []forward.Parked{parked(6, "unknown employee", later)}},
		forward.Answer{First: 8, Last: 10, Parked: []forward.Parked{parked(8, "closed period", time.Time{}), parked(10, "later", soon)}})
	parkedNow := map[uint64]string{6: "unknown employee", 8: "closed period", 10: "later"}
	deadNow := map[uint64]string{4: "no such field"}
	want := SinkStats{Name: "hq", Cursor: 11, Pending: 1, Parked: 3, Dead: 1, Settled: 5}
	checkSink(t, j, want, parkedNow, deadNow)
	checkSink(t, j, SinkStats{Name: "other", Pending: 10}, nil, nil)
	for _, c := range []struct {
		at   time.Time
		want []uint64
	}{{now, nil}, {soon, []uint64{10}}, {later.Add(-1), []uint64{10}}, {later, []uint64{10, 6}}, {later.AddDate(100, 0, 0), []uint64{10, 6}}} {
		if got := dueSeqs(t, j, "hq", c.at); !slices.Equal(got, c.want) {
			t.Errorf("due at %v: %v, want %v", c.at, got, c.want)
		}
	}

	// The parked ones are answered for: one taken, one dead, one parked again.
	head := j.durable.get()
	mustSettle(t, j, "hq", forward.Answer{First: 10, Last: 10},
		forward.Answer{First: 6, Last: 6, Dead: []attendance.Dead{dead(6, "left the company")}})
	mustSettle(t, j, "hq", forward.Answer{First: 8, Last: 8, Parked: []forward.Parked{parked(8, "still closed", soon)}})
	if got := j.durable.get(); got != head+3 {
		t.Errorf("three answers made %d records", got-head)
	}
	parkedNow, deadNow = map[uint64]string{8: "still closed"}, map[uint64]string{4: "no such field", 6: "left the company"}
	want = SinkStats{Name: "hq", Cursor: 11, Pending: 1, Parked: 1, Dead: 2, Settled: 6}
	checkSink(t, j, want, parkedNow, deadNow)
	if got := dueSeqs(t, j, "hq", later); !slices.Equal(got, []uint64{8}) {
		t.Errorf("due %v, want 8", got)
	}

	// It is the same after opening again, and with a buffer made anew.
	for _, anew := range []bool{false, true} {
		closeJournal(t, j)
		if anew {
			if err := os.RemoveAll(filepath.Join(dir, bufferDir)); err != nil {
				t.Fatal(err)
			}
		}
		j = openDir(t, dir)
		checkSink(t, j, want, parkedNow, deadNow)
		if got := dueSeqs(t, j, "hq", time.Now().Add(2*time.Hour)); !slices.Equal(got, []uint64{8}) {
			t.Errorf("anew %v: due %v, want 8", anew, got)
		}
		seqs, _ := pending(t, j, want.Cursor)
		if !slices.Equal(seqs, []uint64{12}) {
			t.Errorf("anew %v: pending %v, want 12", anew, seqs)
		}
	}
}

// TestParkedAgain: a sink that goes on to refuse for the same reason does not
// make the ledger grow.
func TestParkedAgain(t *testing.T) {
	dir := t.TempDir()
	j := openDir(t, dir)
	mustAppend(t, j, records(0, 3, terminalPunch)...)
	now := time.Now()
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	again := func(minutes int, reason string) {
		t.Helper()
		mustSettle(t, j, "hq", forward.Answer{First: 1, Last: 1, Parked: []forward.Parked{parked(1, reason, at(minutes))}})
	}
	mustSettle(t, j, "hq", forward.Answer{First: 0, Last: 2, Parked: []forward.Parked{parked(1, "unknown", at(1))}})
	head := j.durable.get()
	for try := 2; try <= 5; try++ {
		again(try, "unknown")
		ps, err := j.ListParked(t.Context(), "hq", 0, 10)
		if err != nil || len(ps) != 1 || ps[0].Tries != uint64(try) || !ps[0].Until.Equal(at(try)) || ps[0].Reason != "unknown" || ps[0].Since.Before(now.Add(-time.Minute)) {
			t.Fatalf("try %d: %+v, %v", try, ps, err)
		}
		if got := dueSeqs(t, j, "hq", at(try).Add(-1)); got != nil {
			t.Errorf("try %d: due too early", try)
		}
		if got := dueSeqs(t, j, "hq", at(try)); !slices.Equal(got, []uint64{1}) {
			t.Errorf("try %d: due %v", try, got)
		}
	}
	if got := j.durable.get(); got != head {
		t.Errorf("the ledger grew by %d records", got-head)
	}
	again(9, "another reason")
	if got := j.durable.get(); got != head+1 {
		t.Errorf("another reason made %d records", got-head)
	}
	if s := sinkStats(t, j, "hq"); s.Parked != 1 || s.Settled != 2 {
		t.Errorf("%+v", s)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openDir(t, dir)
	const n = 1300 // more than one step of RetryAll
	mustAppend(t, j, records(0, n, terminalPunch)...)
	for first := 0; first < n; first += 650 {
		a := forward.Answer{First: uint64(first), Last: uint64(first + 649)}
		for i := range 650 {
			until := time.Time{}
			if i%2 == 0 {
				until = time.Now().Add(time.Hour)
			}
			a.Parked = append(a.Parked, parked(uint64(first+i), "closed period", until))
		}
		mustSettle(t, j, "hq", a)
	}
	if got := dueSeqs(t, j, "hq", time.Now()); got != nil {
		t.Errorf("%d due before", len(got))
	}
	if got, err := j.Retry(t.Context(), "hq"); err != nil || got != n {
		t.Errorf("retry: %d, %v, want %d", got, err, n)
	}
	if got, err := j.Retry(t.Context(), "nobody"); err != nil || got != 0 {
		t.Errorf("retry of a sink that is new: %d, %v", got, err)
	}
	items, err := j.Due(t.Context(), "hq", time.Now(), n+1)
	if err != nil || len(items) != n {
		t.Fatalf("%d due, %v, want %d", len(items), err, n)
	}
	if s := sinkStats(t, j, "hq"); s.Parked != n {
		t.Errorf("%+v", s)
	}
	// Taken in the order given, they are gone one by one.
	mustSettle(t, j, "hq", forward.Answer{First: items[0].Seq, Last: items[0].Seq})
	if got := dueSeqs(t, j, "hq", time.Now()); len(got) != 100 || slices.Contains(got, items[0].Seq) {
		t.Errorf("the first is still due")
	}
	closeJournal(t, j)
	j = openDir(t, dir)
	if items, err := j.Due(t.Context(), "hq", time.Now(), n); err != nil || len(items) != n-1 {
		t.Errorf("opened again: %d due, %v, want %d", len(items), err, n-1)
	}
}

func TestSettleRefuses(t *testing.T) {
	j := openDir(t, t.TempDir())
	mixed(t, j)
	mustSettle(t, j, "hq", forward.Answer{First: 0, Last: 4, Parked: []forward.Parked{parked(1, "x", time.Time{})}})
	checkParked := map[uint64]string{1: "x"}
	want := SinkStats{Name: "hq", Cursor: 5, Pending: 6, Parked: 1, Settled: 3}
	head := j.durable.get()
	var many []attendance.Dead
	for i := range maxNamed + 1 {
		many = append(many, dead(uint64(i), ""))
	}
	ok := forward.Answer{First: 5, Last: 6}
	for name, answers := range map[string][]forward.Answer{
		"first behind last":               {{First: 6, Last: 5}},
		"beyond the end":                  {{First: 5, Last: 99}},
		"leaves a hole":                   {{First: 6, Last: 8}},
		"goes back":                       {{First: 2, Last: 6}},
		"goes back to what was taken":     {{First: 2, Last: 2}},
		"answers twice":                   {ok, ok},
		"answers a parked one twice":      {{First: 1, Last: 1}, {First: 1, Last: 1}},
		"parked one with another named":   {{First: 1, Last: 1, Dead: []attendance.Dead{dead(2, "")}}},
		"parked one with two fates":       {{First: 1, Last: 1, Dead: []attendance.Dead{dead(1, "")}, Parked: []forward.Parked{parked(1, "", time.Time{})}}},
		"dead one outside":                {{First: 5, Last: 6, Dead: []attendance.Dead{dead(8, "")}}},
		"dead one is an event":            {{First: 5, Last: 8, Dead: []attendance.Dead{dead(7, "")}}},
		"parked one outside":              {{First: 5, Last: 6, Parked: []forward.Parked{parked(4, "", time.Time{})}}},
		"dead and parked":                 {{First: 5, Last: 6, Dead: []attendance.Dead{dead(5, "")}, Parked: []forward.Parked{parked(5, "", time.Time{})}}},
		"dead twice":                      {{First: 5, Last: 6, Dead: []attendance.Dead{dead(5, ""), dead(5, "")}}},
		"too many at once":                {{First: 5, Last: 12, Dead: many}},
		"good ones first, then a bad one": {ok, {First: 1, Last: 1}, {First: 9, Last: 9}},
	} {
		if err := j.Settle(t.Context(), "hq", answers...); !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: %v, want %v", name, err, ErrAnswer)
		}
		if got := j.durable.get(); got != head {
			t.Fatalf("%s: changed the ledger", name)
		}
	}
	checkSink(t, j, want, checkParked, nil)
	if err := j.Settle(t.Context(), "hq"); err != nil {
		t.Errorf("no answers: %v", err)
	}
	for _, name := range []string{"", "with\x00zero", "with\nline", strings.Repeat("x", 65), "\xff"} {
		if err := j.Settle(t.Context(), name, ok); err == nil {
			t.Errorf("sink %q: accepted", name)
		}
		if _, err := j.Cursor(name); err == nil {
			t.Errorf("cursor of %q: no error", name)
		}
	}
	if _, err := j.Append(t.Context(), []attendance.Record{&attendance.Settled{Sink: "hq", First: 5, Last: 6}}); err == nil {
		t.Error("a settled record was appended past Settle")
	}
	// The cursor may pass over what is no punch, and stand behind it.
	mustSettle(t, j, "hq", forward.Answer{First: 5, Last: 7})
	mustSettle(t, j, "hq", forward.Answer{First: 8, Last: 12})
	if s := sinkStats(t, j, "hq"); s.Cursor != 13 || s.Pending != 0 || s.Settled != 9 {
		t.Errorf("%+v", s)
	}
}

func TestReasonsAreBounded(t *testing.T) {
	for reason, want := range map[string]string{
		"":                         "",
		"short":                    "short",
		strings.Repeat("x", 200):   strings.Repeat("x", 200),
		strings.Repeat("x", 201):   strings.Repeat("x", 197) + "…",
		strings.Repeat("员工", 1000): strings.Repeat("员工", 1000)[:195] + "…",
	} {
		if got := cut(reason); got != want || len(got) > maxReason {
			t.Errorf("%.20q of %d bytes is cut to %d bytes: %q", reason, len(reason), len(got), got)
		}
	}
	j := openDir(t, t.TempDir())
	var a forward.Answer
	for i := range maxNamed {
		mustAppend(t, j, records(i, i+1, terminalPunch)...)
		a.Dead = append(a.Dead, dead(uint64(i), strings.Repeat("员工", 5000)))
		if i == 200 {
			break
		}
	}
	a.Last = uint64(len(a.Dead) - 1)
	mustSettle(t, j, "hq", a)
	ds, err := j.ListDead(t.Context(), "hq", 150, 7)
	if err != nil || len(ds) != 7 || ds[0].Seq != 150 || !strings.HasSuffix(ds[6].Reason, "…") {
		t.Errorf("%+v, %v", ds, err)
	}
}
