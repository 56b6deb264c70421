package rig

import (
	"fmt"
	"slices"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// As in expect.go: what is written here is from the documents (FORMAT.md of the
// records, DESIGN.md of the gateway and of the judgement), not from the code.
const (
	leadLimit  = 2 * time.Minute // of a phone's clock
	lateAfter  = 10 * time.Minute
	reviewLate = 72 * time.Hour
	mostAhead  = day  // of a terminal's
	oldest     = 2010 // the year

	clockSlack = time.Second     // of what is told in milliseconds, and takes a moment
	skewSlack  = 3 * time.Second // a terminal tells seconds, and takes a moment
	// skewAge is how old the last measurement may be when a punch comes in.
	skewAge = 6 * time.Second
)

// clockJudge knows which times the gateway's clock has shown, and what must have
// been made of them.
type clockJudge struct {
	run  *clockRun
	who  *people
	made map[identity]*Says // with the verdict that a right clock gives
	now  time.Time
}

func (r *clockRun) judge() *clockJudge {
	j := &clockJudge{run: r, who: r.world.people(), made: map[identity]*Says{}, now: time.Now()}
	for _, f := range r.world.Made(true) {
		j.made[identity{f.Line, f.ID}] = f.Says
	}
	return j
}

func (j *clockJudge) skewed(p *attendance.Punch) bool {
	return slices.Contains(p.Reasons, attendance.ReasonClockSkew)
}

// check says what is wrong with the clocks of an event, or with what was made of
// them.
func (j *clockJudge) check(s Seen, p *attendance.Punch) error {
	came, err := j.came(p.ReceivedAt)
	if err != nil {
		return err
	}
	switch p.Device.Driver {
	case "zk":
		if err := j.skew(p, came); err != nil {
			return err
		}
		return j.atDevice(p, j.who.byPIN[p.Badge])
	case "cardline":
		// The gateway's clock is the only one there is.
		if _, err := j.came(p.At); err != nil {
			return fmt.Errorf("dated %s: %w", p.At.Format(time.RFC3339Nano), err)
		}
		return j.atDevice(p, j.who.byCard[p.Badge])
	}
	return j.byPhone(p, j.made[identity{s.Line, s.ID}])
}

// came is when the gateway's clock showed a time: true times, one for each time
// it did.
func (j *clockJudge) came(at time.Time) (came []time.Time, err error) {
	for _, e := range j.run.epochs {
		t := at.Add(-e.ahead - j.run.siteLead)
		to := e.to
		if to.IsZero() {
			to = j.now
		}
		if t.After(e.from.Add(-clockSlack)) && t.Before(to.Add(clockSlack)) {
			came = append(came, t)
		}
	}
	if came == nil {
		return nil, fmt.Errorf("received at %s: %w", at.Format(time.RFC3339Nano), errNoEpoch)
	}
	return came, nil
}

// skew holds the skew that was recorded to one that was true just before. It is
// the difference of two faces; where summer time lies between them, of an hour
// more or less than that of the instants.
func (j *clockJudge) skew(p *attendance.Punch, came []time.Time) error {
	if p.Skew == nil {
		return fmt.Errorf("its terminal's clock was not measured")
	}
	var could []time.Duration
	for _, t := range came {
		for _, e := range j.run.epochs {
			if e.from.After(t.Add(clockSlack)) || !e.to.IsZero() && e.to.Before(t.Add(-skewAge)) {
				continue
			}
			site := t.Add(j.run.siteLead)
			faces := attendance.LocalOf(site.In(j.who.zone)) - attendance.LocalOf(site.Add(e.ahead).In(j.who.zone))
			could = append(could, time.Duration(faces)*time.Millisecond, -e.ahead)
		}
	}
	for _, want := range could {
		if (*p.Skew - want).Abs() <= skewSlack {
			return nil
		}
	}
	return fmt.Errorf("its terminal's clock is told to be off by %v; it was %v", *p.Skew, could)
}

// atDevice holds what a terminal's or reader's punch was judged to be to the table
// of the gateway's DESIGN.md.
func (j *clockJudge) atDevice(p *attendance.Punch, e *attendance.Employee) error {
	doubt := p.Skew != nil && p.Skew.Abs() > clockLimit || p.At.Year() < oldest || p.At.Sub(p.ReceivedAt) > mostAhead
	employed := func(at time.Time) bool {
		date := at.In(j.who.zone).Format(time.DateOnly)
		return (e.From == "" || date >= e.From) && (e.Until == "" || date <= e.Until)
	}
	want := attendance.Accepted
	switch {
	case e == nil:
		want = attendance.Unverified
	case doubt:
		want = attendance.Flagged
	case !employed(p.At):
		want = attendance.Refused
	}
	left := e != nil && !employed(p.At) && (!doubt || !employed(p.ReceivedAt))
	return j.as(p, want, map[attendance.Reason]bool{attendance.ReasonClockSkew: doubt, attendance.ReasonNotEmployed: left})
}

// byPhone holds what a check-in was judged to be to what a right clock would make
// of it, and what its lead or its age add to that.
func (j *clockJudge) byPhone(p *attendance.Punch, right *Says) error {
	if right == nil || right.Verdict == attendance.Refused { // is told as invented; proves nothing, so its times are not judged
		return nil
	}
	age := p.ReceivedAt.Sub(p.At)
	for _, limit := range []time.Duration{-leadLimit, lateAfter, reviewLate} {
		if (age - limit).Abs() < clockSlack {
			return nil // what is told in milliseconds can't tell
		}
	}
	want := right.Verdict
	if age < -leadLimit || age > reviewLate {
		want = attendance.Flagged
	}
	if p.Late != (age > lateAfter) {
		return fmt.Errorf("made at %s and received at %s, late is %v", p.At.Format(time.RFC3339Nano), p.ReceivedAt.Format(time.RFC3339Nano), p.Late)
	}
	return j.as(p, want, map[attendance.Reason]bool{attendance.ReasonClockSkew: age < -leadLimit, attendance.ReasonLate: age > lateAfter})
}

// as compares a verdict, and whether reasons are given.
func (j *clockJudge) as(p *attendance.Punch, want attendance.Verdict, reasons map[attendance.Reason]bool) error {
	for reason, given := range reasons {
		if slices.Contains(p.Reasons, reason) != given {
			return fmt.Errorf("made at %s and received at %s, skew %v, it has the reasons %v; %s: %v", p.At.Format(time.RFC3339Nano), p.ReceivedAt.Format(time.RFC3339Nano), p.Skew, p.Reasons, reason, given)
		}
	}
	if p.Verdict != want {
		return fmt.Errorf("made at %s and received at %s, skew %v, it is %v %v and not %v", p.At.Format(time.RFC3339Nano), p.ReceivedAt.Format(time.RFC3339Nano), p.Skew, p.Verdict, p.Reasons, want)
	}
	return nil
}
