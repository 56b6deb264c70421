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
		end := &far{script: func(items []forward.Item) (forward.Receipt, error) {
			time.Sleep(time.Second) // in the bubble; the test sees each answer by itself
			return make(forward.Receipt, len(items)), nil
		}}
		r := start(t, source, end)
		for r.State().Failures < forward.MaxUnnamed-1 {
			r.after(100 * time.Millisecond)
		}
		if s := r.State(); s.Alarm != "" || s.LastError == "" {
			t.Errorf("after %d times: %+v", s.Failures, s)
		}
		r.after(time.Hour)
		if s := r.State(); !strings.Contains(s.Alarm, "names none of the 10 punches sent") || s.Sent+s.Dead+s.Parked != 0 {
			t.Errorf("%+v", s)
		}
		if len(end.calls) < 15 { // it never gives up
			t.Errorf("%d requests in an hour", len(end.calls))
		}
		end.script = nil
		r.after(forward.MaxDelay + time.Second)
		r.wantAll(t, 10)
		if s := r.State(); s.Alarm != "" {
			t.Errorf("%+v", s)
		}
		r.stop(t)
	})
}

// An answer that may as well be a cut one is no alarm at first, and one from the
// fifth in a row on, in the sink's own words; it is asked on.
func TestNeverClear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(punches(0, 10)...)
		end := &far{script: func([]forward.Item) (forward.Receipt, error) {
			time.Sleep(time.Second) // in the bubble; the test sees each answer by itself
			return nil, forward.Unclear{Err: errors.New("200 OK, it must answer {}")}
		}}
		r := start(t, source, end)
		for r.State().Failures < forward.MaxUnnamed-1 {
			r.after(100 * time.Millisecond)
		}
		if s := r.State(); s.Alarm != "" || s.LastError != "200 OK, it must answer {}" {
			t.Errorf("after %d times: %+v", s.Failures, s)
		}
		for r.State().Failures < forward.MaxUnnamed {
			r.after(100 * time.Millisecond)
		}
		if s := r.State(); s.Alarm != "200 OK, it must answer {} (5 such answers in a row)" {
			t.Errorf("after %d times: %+v", s.Failures, s)
		}
		r.after(time.Hour)
		if s := r.State(); s.Alarm == "" || s.Sent+s.Dead+s.Parked != 0 || len(end.calls) < 15 || len(end.calls) > 60 {
			t.Errorf("%d requests in an hour, %+v", len(end.calls), s)
		}
		end.script = nil
		r.after(forward.MaxDelay + time.Second)
		r.wantAll(t, 10)
		if s := r.State(); s.Alarm != "" {
			t.Errorf("%+v", s)
		}
		r.stop(t)
	})
}

// The state tells of the brake from the last punch that died on, though the
// sink answers, until a punch is taken or an operator asks.
func TestBraked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, end := sourcetest.NewMemory(), &far{}
		reject := func([]forward.Item) (forward.Receipt, error) {
			return nil, forward.Rejected{Err: errors.New("400 Bad Request")}
		}
		end.script = reject
		r := start(t, source, end)
		for round, let := range []func(){r.Release, func() { end.script = nil }} {
			end.script = reject
			for n := range forward.MaxRejected {
				if s := r.State(); s.Braked {
					t.Errorf("braked after %d: %+v", n, s)
				}
				source.Append(sourcetest.Punch(100*round + n))
				r.after(time.Second)
			}
			if s := r.State(); !s.Braked || !s.Online || s.Alarm != "" {
				t.Errorf("not braked: %+v", s)
			}
			r.Wake()
			if r.after(time.Second); !r.State().Braked {
				t.Error("a roster lets the brake go")
			}
			let()
			r.after(0)
			if end.script == nil {
				source.Append(sourcetest.Punch(100*round + 99))
				r.after(0)
			}
			if s := r.State(); s.Braked {
				t.Errorf("still braked: %+v", s)
			}
		}
		r.stop(t)
	})
}
