package forward_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/forward/sourcetest"
)

// A roster that changes gives no punch away: the parked ones stay parked until
// the service comes to reason, and before the brake the count goes on.
func TestWakeKeepsTheBrake(t *testing.T) {
	everything := func([]forward.Item) (forward.Receipt, error) {
		return nil, forward.Rejected{Err: errors.New("400 Bad Request")}
	}
	synctest.Test(t, func(t *testing.T) {
		source, end := sourcetest.NewMemory(), &far{}
		end.script = end.parking(0, 0, 1, 2)
		source.Append(punches(0, 3)...)
		r := start(t, source, end)
		r.after(time.Minute)
		end.script = everything
		source.Append(punches(3, 30)...)
		r.after(time.Hour)
		for range 3 {
			r.Wake()
			r.after(time.Hour)
		}
		if s := r.State(); s.Dead != forward.MaxRejected || s.Alarm == "" || len(source.Parked("hq")) != 3 {
			t.Errorf("%+v, parked are %v", s, source.Parked("hq"))
		}
		end.script = nil
		r.Wake()
		r.after(forward.MaxDelay)
		if s := r.State(); len(end.order) != 30-forward.MaxRejected || s.Alarm != "" || len(source.Parked("hq")) != 0 {
			t.Errorf("%d taken, %+v", len(end.order), s)
		}
		r.stop(t)
	})
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		r := start(t, source, &far{script: everything})
		for n := range forward.MaxRejected + 10 {
			source.Append(sourcetest.Punch(n))
			r.Wake()
			r.after(time.Minute)
		}
		if s := r.State(); s.Dead != forward.MaxRejected || s.Alarm == "" {
			t.Errorf("%+v", s)
		}
		r.stop(t)
	})
}

// A service that never names what it was sent needs a person, who is told
// after a few times; it is asked on.
func TestNeverNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(punches(0, 10)...)
		end := &far{script: func(items []forward.Item) (forward.Receipt, error) { return make(forward.Receipt, len(items)), nil }}
		r := start(t, source, end)
		for len(end.calls) < forward.MaxUnnamed-1 {
			r.after(100 * time.Millisecond)
		}
		if s := r.State(); s.Alarm != "" || s.LastError == "" {
			t.Errorf("after %d times: %+v", len(end.calls), s)
		}
		r.after(time.Hour)
		if s := r.State(); !strings.Contains(s.Alarm, "names none of the 10 punches sent") || s.Sent+s.Dead+s.Parked != 0 {
			t.Errorf("%+v", s)
		}
		if len(end.calls) < 15 { // it never gives up
			t.Errorf("%d requests in an hour", len(end.calls))
		}
		end.script = nil
		r.after(forward.MaxDelay)
		r.wantAll(t, 10)
		if s := r.State(); s.Alarm != "" {
			t.Errorf("%+v", s)
		}
		r.stop(t)
	})
}
