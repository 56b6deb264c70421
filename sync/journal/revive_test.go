package journal

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/ledger"
)

var operator = &attendance.Operator{At: epoch, Who: "ada", Action: "dead replay", Detail: "hq"}

func TestRevive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openDir(t, dir)
	mustAppend(t, j, records(0, 6, terminalPunch)...)
	mustSettle(t, j, "hq", forward.Answer{First: 0, Last: 4, Dead: []attendance.Dead{dead(1, "no such field"), dead(3, "left"), dead(4, "left")}})

	// What is not dead changes nothing, not even in company.
	head := j.durable.get()
	for name, seqs := range map[string][]uint64{"taken": {1, 2}, "waiting": {5}, "unknown": {99}, "none": nil, "too many": make([]uint64, MaxRevived+1)} {
		err := j.Revive(t.Context(), "hq", operator, seqs)
		if err == nil || len(seqs) > 0 && len(seqs) < 9 && !errors.Is(err, ErrNotDead) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := j.Revive(t.Context(), "other", operator, []uint64{1}); !errors.Is(err, ErrNotDead) {
		t.Errorf("dead for another sink: %v", err)
	}
	if got := j.durable.get(); got != head {
		t.Fatalf("the ledger grew by %d", got-head)
	}

	// One record says who, and one for each punch that it is sent again.
	if err := j.Revive(t.Context(), "hq", operator, []uint64{4, 1, 4}); err != nil {
		t.Fatal(err)
	}
	if got := j.durable.get(); got != head+3 {
		t.Errorf("reviving two made %d records", got-head)
	}
	f, err := j.frame(head)
	if err != nil {
		t.Fatal(err)
	}
	if rec, err := record(&f); err != nil || !reflect.DeepEqual(rec, operator) {
		t.Errorf("%+v, %v", rec, err)
	}
	parkedNow := map[uint64]string{1: "sent again by an operator; it was dead: no such field", 4: "sent again by an operator; it was dead: left"}
	deadNow := map[uint64]string{3: "left"}
	want := SinkStats{Name: "hq", Cursor: 5, Pending: 1, Parked: 2, Dead: 1, Settled: 2}
	same := func(parked, dead map[uint64]string, due ...uint64) {
		t.Helper()
		for _, anew := range []bool{false, true} {
			checkSink(t, j, want, parked, dead)
			if got := dueSeqs(t, j, "hq", time.Now().Add(time.Second)); !slices.Equal(got, due) {
				t.Errorf("anew %v: due %v, want %v", anew, got, due)
			}
			checkRefusals(t, dir, parked, dead)
			closeJournal(t, j)
			if anew {
				if err := os.RemoveAll(filepath.Join(dir, bufferDir)); err != nil {
					t.Fatal(err)
				}
			}
			j = openDir(t, dir)
		}
		checkSink(t, j, want, parked, dead)
	}
	same(parkedNow, deadNow, 1, 4)

	// The sink answers: one is taken, the other refused for ever once more.
	mustSettle(t, j, "hq", forward.Answer{First: 1, Last: 1}, forward.Answer{First: 4, Last: 4, Dead: []attendance.Dead{dead(4, "still not")}})
	deadNow[4] = "still not"
	want = SinkStats{Name: "hq", Cursor: 5, Pending: 1, Dead: 2, Settled: 3}
	same(nil, deadNow)

	// And again, as often as it takes.
	if err := j.Revive(t.Context(), "hq", operator, []uint64{3, 4}); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, j, "hq", forward.Answer{First: 3, Last: 3}, forward.Answer{First: 4, Last: 4})
	want = SinkStats{Name: "hq", Cursor: 5, Pending: 1, Settled: 5}
	same(nil, nil)
}

// checkRefusals compares what the ledger alone says of sink hq.
func checkRefusals(t *testing.T, dir string, parked, dead map[uint64]string) {
	t.Helper()
	r, err := ReadRefusals(t.Context(), dir, func(d *ledger.Damage) error { return d })
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Sinks(); !slices.Equal(got, []string{"hq"}) {
		t.Errorf("sinks %v", got)
	}
	var want []Refusal
	for seq := range uint64(10) {
		if why, ok := parked[seq]; ok {
			want = append(want, Refusal{seq, why, false})
		}
		if why, ok := dead[seq]; ok {
			want = append(want, Refusal{seq, why, true})
		}
	}
	if got := r.Of("hq"); !slices.Equal(got, want) {
		t.Errorf("refusals %v, want %v", got, want)
	}
	if got := r.Of("other"); got != nil {
		t.Errorf("another sink: %v", got)
	}
}
