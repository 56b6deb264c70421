package geofence

import (
	"slices"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// excuses holds for each employee the times for which there is an excuse,
// apart from each other and in order.
type excuses map[string][]span

type span struct{ from, until time.Time }

func newExcuses(list []attendance.Excuse) excuses {
	x := excuses{}
	for _, e := range list {
		x[e.Employee] = append(x[e.Employee], span{e.From, e.Until})
	}
	for who, spans := range x {
		slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
		merged := spans[:1]
		for _, s := range spans[1:] {
			last := &merged[len(merged)-1]
			if s.from.After(last.until) {
				merged = append(merged, s)
			} else if s.until.After(last.until) {
				last.until = s.until
			}
		}
		x[who] = merged
	}
	return x
}

// cover reports whether an employee is excused at a time: from the beginning
// of an excuse on, until its end.
func (x excuses) cover(employee string, at time.Time) bool {
	spans := x[employee]
	i, found := slices.BinarySearchFunc(spans, at, func(s span, at time.Time) int { return s.from.Compare(at) })
	if found {
		return true
	}
	return i > 0 && at.Before(spans[i-1].until)
}
