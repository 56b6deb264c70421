package rig

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/punchd/punchd/firmware-sim/phone"
)

// epoch is a time during which the daemon's clock was ahead of the site's by so
// much.
type epoch struct {
	ahead    time.Duration
	from, to time.Time // true ones; to is zero while it lasts
}

// latest is the last that the daemon's clock may be set to: Go does not measure
// time by what is beyond 2157.
var latest = time.Date(2150, 1, 1, 0, 0, 0, 0, time.UTC)

// earliest is what it shows without a battery.
func (r *clockRun) earliest() time.Time { return time.Date(r.cfg.Boot, 1, 1, 0, 0, 0, 0, time.UTC) }

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// leaps are how far clocks jump: from what is just beyond the limits of skew, up
// to what a wrong year does.
var leaps = []struct{ least, most time.Duration }{
	{6 * time.Minute, 20 * time.Minute}, {time.Hour, 30 * time.Hour}, {2 * day, 60 * day}, {year, 10 * year}, {20 * year, 50 * year},
}

// drawAhead draws how far the daemon's clock is to be ahead of the site's now.
func (r *clockRun) drawAhead() (ahead time.Duration, what string) {
	now := r.site()
	switch r.random.IntN(6) {
	case 0:
		return 0, "set right"
	case 1:
		boot := r.earliest().Add(time.Duration(r.random.IntN(100)) * time.Second)
		return boot.Sub(now).Truncate(time.Second), fmt.Sprintf("as it is without a clock, %d", r.cfg.Boot)
	}
	for {
		l := leaps[r.random.IntN(len(leaps))]
		ahead = (l.least + time.Duration(r.random.Int64N(int64(l.most-l.least)))).Truncate(time.Second)
		if r.random.IntN(2) == 0 {
			ahead = -ahead
		}
		if at := now.Add(ahead); at.After(r.earliest()) && at.Before(latest) {
			return ahead, fmt.Sprintf("off by %s", span(ahead))
		}
	}
}

// span is a duration for people.
func span(d time.Duration) string {
	if d.Abs() < 2*day {
		return d.String()
	}
	return fmt.Sprintf("%.1f days", d.Hours()/24)
}

// How a clock is set other than while the daemon runs.
const (
	acrossStop = ", across a stop and a start"
	acrossKill = ", across a kill and a start"
)

// jump sets the clock once, looks that all goes on, and counts. Its error says
// that the rig itself can't go on.
func (r *clockRun) jump(ctx context.Context, number int) error {
	ahead, what := r.drawAhead()
	how := []string{"", "", acrossStop, acrossKill}[r.random.IntN(4)]
	outage := r.random.IntN(3) == 0
	hold := shortestHold + time.Duration(r.random.Int64N(int64(longestHold-shortestHold)))
	if outage {
		r.figures.Outages++
		r.world.Central().SetDown(true)
		defer r.world.Central().SetDown(false)
		what += ", while central is down"
	}
	if err := r.set(ctx, number, ahead, how); err != nil {
		return err
	}
	phones, err := r.resumes(ctx, number)
	if err != nil {
		return err
	}
	if !wait(ctx, hold) {
		return ctx.Err()
	}
	if how != "" { // until then the reader's cards may be taken for those of before
		if !wait(ctx, max(0, afterStart-hold)) {
			return ctx.Err()
		}
		r.cards(ctx)
	}
	r.world.Central().SetDown(false)
	if !r.unsigned && ahead.Abs() > believed {
		if err := r.setRight(ctx, number); err != nil {
			return err
		}
		what += ", then set right"
	}
	began := time.Now()
	if err := r.count(ctx, number); err != nil {
		return err
	}
	drained := time.Since(began)
	if drained > drainedWithin {
		r.fail(number, "central had all %s after it could be reached, %s are allowed", drained.Round(time.Millisecond), drainedWithin)
	}
	r.figures.LongestPhoneSeconds = max(r.figures.LongestPhoneSeconds, phones.Seconds())
	r.figures.LongestDrainSeconds = max(r.figures.LongestDrainSeconds, drained.Seconds())
	r.say("jump %d of %d: %s%s; phones went on after %.1f s, central had all after %.1f s; %d at central", number+1, r.cfg.Jumps, what, how, phones.Seconds(), drained.Seconds(), len(r.seen))
	return nil
}

const (
	// believed is how far the time of a signature may be off for central.
	believed = 5 * time.Minute
	// afterStart is how long a daemon that starts with a clock that was set back
	// takes a card for the one that it read before: as long as any lies there.
	afterStart = 4 * time.Second
)

// set sets the daemon's clock, running or between two runs.
func (r *clockRun) set(ctx context.Context, number int, ahead time.Duration, how string) (err error) {
	select {
	case <-r.process.Exited():
		return fmt.Errorf("rig: the daemon ended by itself: %w", r.process.err)
	default:
	}
	if how == "" {
		return r.setRunning(ahead)
	}
	r.figures.Restarts++
	if err := r.noCards(); err != nil {
		return err
	}
	if how == acrossKill {
		err = r.process.Kill()
	} else if stopped := r.process.Stop(stopPatience); stopped != nil {
		r.fail(number, "%v", stopped)
	}
	if err != nil {
		return err
	}
	r.begin(ahead)
	r.daemon.Ahead = r.siteLead + ahead
	r.process, err = r.start(ctx)
	return err
}

// setRight sets the clock right. A daemon that central has denied meanwhile does
// not ask again for minutes; it is started anew, as whoever found that out would.
func (r *clockRun) setRight(ctx context.Context, number int) error {
	denied := r.world.Central().Stats().Denied
	if denied == r.denied {
		return r.setRunning(0)
	}
	r.denied = denied
	if err := r.set(ctx, number, 0, acrossStop); err != nil {
		return err
	}
	if !wait(ctx, afterStart) {
		return ctx.Err()
	}
	r.cards(ctx)
	return nil
}

func (r *clockRun) setRunning(ahead time.Duration) error {
	r.begin(ahead)
	return r.process.SetClock(r.siteLead + ahead)
}

// begin notes that the clock is being set.
func (r *clockRun) begin(ahead time.Duration) {
	now := time.Now()
	r.epochs[len(r.epochs)-1].to = now
	r.epochs = append(r.epochs, epoch{ahead: ahead, from: now})
}

// answered waits until the phones have an answer for all that they have made.
func (r *clockRun) answered(ctx context.Context, number int) error {
	made := len(r.world.fleet.Made())
	for began := time.Now(); ; {
		waiting := 0
		var first phone.Made
		for _, m := range r.world.fleet.Made()[:made] {
			if !m.Promised && m.Receipt == nil {
				if waiting++; waiting == 1 {
					first = m
				}
			}
		}
		if waiting == 0 {
			return nil
		}
		if time.Since(began) > answeredIn {
			r.fail(number, "%s after the clock was set right for good, phones still wait for an answer to %d check-ins; the first is that of %s of %s",
				answeredIn, waiting, first.Phone, first.At.Format(time.RFC3339Nano))
			return nil
		}
		if !wait(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// promised counts the check-ins that are, of native phones and of the others.
func (r *clockRun) promised() (native, others int) {
	for _, m := range r.world.fleet.Made() {
		switch {
		case m.Promised && m.Native:
			native++
		case m.Promised:
			others++
		}
	}
	return native, others
}

// resumes waits until a check-in of each kind of phone is promised that was not.
func (r *clockRun) resumes(ctx context.Context, number int) (time.Duration, error) {
	nativeBefore, othersBefore := r.promised()
	began := time.Now()
	for {
		if native, others := r.promised(); native > nativeBefore && others > othersBefore {
			break
		}
		if time.Since(began) > afterJump {
			r.fail(number, "within %s of the jump no check-in of a native phone, or none of OwnTracks, was promised", afterJump)
			break
		}
		select {
		case <-time.After(25 * time.Millisecond):
		case <-r.process.Exited():
			return 0, fmt.Errorf("rig: the daemon ended by itself: %w", r.process.err)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return time.Since(began), nil
}

// count looks whether central has got all that was promised until now, once and
// as it was, and whether its clocks are as they were.
func (r *clockRun) count(ctx context.Context, number int) error {
	lost, err := r.drain(ctx, r.process)
	if err != nil {
		return err
	}
	for _, f := range lost {
		r.fail(number, "%s", f)
	}
	t, err := r.tally()
	if err != nil {
		return err
	}
	if n := len(t.Faults); n > r.told {
		r.fail(number, "%s", t.Faults[r.told])
		r.told = n
	}
	j := r.judge()
	for ; r.judged < len(r.seen); r.judged++ {
		s, p := r.seen[r.judged], r.punches[r.judged]
		if r.judged > 0 && s.Sequence <= r.seen[r.judged-1].Sequence {
			err = fmt.Errorf("sequence %d came behind %d", s.Sequence, r.seen[r.judged-1].Sequence)
		} else {
			err = j.check(s, p)
		}
		if err != nil {
			r.fail(number, "%s %s, event %s: %v", s.Line, s.ID, s.Event, err)
		}
		if j.skewed(p) {
			r.figures.Skewed++
		}
		if p.Late {
			r.figures.Late++
		}
	}
	return nil
}

var errNoEpoch = errors.New("the gateway's clock never showed that")
