package forward_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/forward/sourcetest"
)

func head(n int) *attendance.Checkpoint {
	return &attendance.Checkpoint{Note: string(rune('a' + n))}
}

// Signed heads go along in order, and what the sink says of them is never that
// of a punch: it counts nothing, and one that is refused is passed over.
func TestHeads(t *testing.T) {
	park := forward.Result{Outcome: forward.Park, Reason: "what is that"}
	for name, c := range map[string]struct {
		script  func(items []forward.Item) (forward.Receipt, error)
		witness bool
	}{
		"taken":  {nil, true},
		"parked": {func(items []forward.Item) (forward.Receipt, error) { return answerHeads(items, park), nil }, false},
		"dead": {func(items []forward.Item) (forward.Receipt, error) {
			return answerHeads(items, forward.Result{Outcome: forward.Dead}), nil
		}, false},
		"rejected": {func(items []forward.Item) (forward.Receipt, error) {
			if slices.ContainsFunc(items, func(it forward.Item) bool { return it.Head != nil }) {
				return nil, forward.Rejected{Err: errors.New("400 Bad Request")}
			}
			return nil, nil
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source, end := sourcetest.NewMemory(), &far{script: c.script}
				for n := range 3 * forward.MaxRejected {
					source.Append(sourcetest.Punch(n))
					source.AppendHead(head(n))
				}
				r := start(t, source, end)
				r.after(time.Hour)
				s := r.State()
				if s.Sent != 3*forward.MaxRejected || s.Parked+s.Dead > 0 || s.Alarm != "" || s.Braked || (s.NoWitness == "") != c.witness {
					t.Errorf("%+v", s)
				}
				if !slices.IsSorted(end.order) {
					t.Errorf("taken in the order %v", end.order)
				}
				if cursor, err := source.Cursor("hq"); err != nil || cursor < 6*forward.MaxRejected {
					t.Errorf("the cursor is %d, %v", cursor, err)
				}
				end.script = nil
				source.AppendHead(head(100))
				r.after(time.Minute)
				if s := r.State(); s.NoWitness != "" {
					t.Errorf("after one that was taken: %s", s.NoWitness)
				}
				r.stop(t)
			})
		})
	}
}

// answerHeads takes punches, and answers for heads what is given. It is no
// receipt if there are none, so that the far end takes all.
func answerHeads(items []forward.Item, r forward.Result) forward.Receipt {
	receipt := forward.All(len(items), forward.Accepted)
	for i, it := range items {
		if it.Head != nil {
			receipt[i] = r
		}
	}
	return receipt
}
