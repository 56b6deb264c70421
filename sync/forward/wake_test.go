package forward_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/forward/sourcetest"
)

// A try out of turn that fails makes the pauses no longer: after a Wake they go
// on from where they were, and an operator has them begin anew.
func TestTriesOutOfTurn(t *testing.T) {
	down := func([]forward.Item) (forward.Receipt, error) { return nil, errDown }
	for _, parked := range []bool{false, true} { // a batch waits in its pause, parked ones for their time
		synctest.Test(t, func(t *testing.T) {
			source, end := sourcetest.NewMemory(), &far{script: down}
			source.Append(punches(0, 10)...)
			if parked {
				end.script = end.parking(0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
			}
			r := start(t, source, end)
			if parked {
				r.after(time.Minute)
				end.script = down
				r.Wake() // the first failure
			}
			r.after(0)
			for n := range 30 { // each of these would have doubled it
				before := len(end.calls)
				r.Wake()
				r.after(0)
				if s := r.State(); len(end.calls) == before || time.Until(s.NextTry) > time.Second/2 {
					t.Fatalf("woken %d times: %d requests, the next in %v", n+1, len(end.calls)-before, time.Until(s.NextTry))
				}
			}
			r.after(12 * time.Hour) // to the cap
			for range 10 {
				before := len(end.calls)
				r.Release()
				r.after(0)
				if s := r.State(); len(end.calls) == before || time.Until(s.NextTry) > time.Second/2 {
					t.Fatalf("an operator asks: %d requests, the next in %v", len(end.calls)-before, time.Until(s.NextTry))
				}
			}
			end.script = nil
			r.Wake()
			r.after(0)
			r.wantAll(t, 10)
			r.stop(t)
		})
	}
}
