package rig

import (
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// TestClockJudge: what a gateway must make of its clock is let pass, and each way
// of getting it wrong is found. The gateway's clock is right for a minute, a year
// behind for a minute, and then 1970.
func TestClockJudge(t *testing.T) {
	start := time.Date(2026, 11, 4, 1, 0, 0, 0, time.UTC)
	boot := time.Unix(0, 0).Sub(start)
	run := &clockRun{epochs: []epoch{
		{0, start, start.Add(time.Minute)}, {-year, start.Add(time.Minute), start.Add(2 * time.Minute)}, {boot, start.Add(2 * time.Minute), time.Time{}},
	}}
	j := &clockJudge{run: run, who: &people{time.UTC, map[string]*attendance.Employee{"7": {ID: "E7"}, "8": {ID: "E8", Until: leftOn}}, nil, nil, nil},
		now: start.Add(3 * time.Minute), made: map[identity]*Says{{"p", "honest"}: {Verdict: attendance.Accepted}, {"p", "outside"}: {Verdict: attendance.Flagged}}}
	skew, late := attendance.ReasonClockSkew, attendance.ReasonLate
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	zk := func(pin string, made, received time.Time, off time.Duration, v attendance.Verdict, reasons ...attendance.Reason) *attendance.Punch {
		return &attendance.Punch{Badge: pin, Device: attendance.Device{Driver: "zk"}, At: made, ReceivedAt: received, Skew: &off, Verdict: v, Reasons: reasons}
	}
	phone := func(made, received time.Time, isLate bool, v attendance.Verdict, reasons ...attendance.Reason) *attendance.Punch {
		return &attendance.Punch{Device: attendance.Device{Driver: "phone"}, At: made, ReceivedAt: received, Late: isLate, Verdict: v, Reasons: reasons}
	}
	behind, boots := func(s int) time.Time { return at(s).Add(-year) }, func(s int) time.Time { return at(s).Add(boot) }
	const accepted, flagged, refused = attendance.Accepted, attendance.Flagged, attendance.Refused
	for _, c := range []struct {
		name, id string
		p        *attendance.Punch
		wrong    string // a part of what is found; empty: nothing
	}{
		{"right", "", zk("7", at(9), at(10), 0, accepted), ""},
		{"a year behind", "", zk("7", at(69), behind(70), year, flagged, skew), ""},
		{"1970, and left before", "", zk("8", at(149), boots(150), -boot, flagged, skew), ""},
		{"left, by both clocks", "", zk("8", at(69), behind(70), year, flagged, skew, attendance.ReasonNotEmployed), ""},
		{"just before the jump is measured", "", zk("7", at(60), behind(62), 0, flagged, skew), ""},
		{"an old measurement", "", zk("7", at(69), behind(70), 0, accepted), "told to be off"},
		{"no clock that it had", "", zk("7", at(9), at(10).Add(time.Hour), 0, accepted), "never showed"},
		{"believed too much", "", zk("7", at(69), behind(70), year, accepted), "reasons"},
		{"flagged without need", "", zk("7", at(9), at(10), 0, flagged, skew), "reasons"},
		{"refused", "", zk("7", at(69), behind(70), year, refused, skew), "and not"},
		{"honest", "honest", phone(at(9), at(10), false, accepted), ""},
		{"ahead", "honest", phone(at(69), behind(70), false, flagged, skew), ""},
		{"ahead, and believed", "honest", phone(at(69), behind(70), false, accepted), "reasons"},
		{"outside", "outside", phone(at(9), at(10), false, flagged), ""},
		{"late", "honest", phone(at(9).Add(-time.Hour), at(10), true, accepted, late), ""},
		{"late, and not said", "honest", phone(at(9).Add(-time.Hour), at(10), false, accepted), "late is"},
		{"very late", "honest", phone(at(9).Add(-100*time.Hour), at(10), true, flagged, late), ""},
		{"very late, and believed", "honest", phone(at(9).Add(-100*time.Hour), at(10), true, accepted, late), "and not"},
	} {
		err := j.check(Seen{Line: "p", ID: c.id}, c.p)
		switch {
		case c.wrong == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%s: %v, want %q", c.name, err, c.wrong)
		}
	}
}
