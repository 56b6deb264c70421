package geofence

import "github.com/punchd/punchd/protocol/attendance"

// grade says how a position lies to a fence. The best estimate decides on
// which side of the edge it is, and the accuracy only ever takes away: were a
// poor fix worth more than a good one, turning off the precise location would
// be a way in.
type grade uint8

const (
	inside         grade = iota // all of the circle of accuracy
	probablyInside              // the best estimate, but not all of the circle
	nearby                      // the circle alone reaches into the fence
	outside                     // no part of the circle
)

// gradeOf grades a best estimate that is distance metres from the edge,
// negative inside, and right to within acc metres.
func gradeOf(distance, acc float64) grade {
	switch {
	case distance+acc <= 0:
		return inside
	case distance <= 0:
		return probablyInside
	case distance <= acc:
		return nearby
	}
	return outside
}

// accuracyOf is what a fix claims, in metres. An accuracy that is not told
// counts as the worst that is still taken, since silence must not be worth
// more than a poor word.
func accuracyOf(f *attendance.Fix, worst float64) float64 {
	if f.Acc > 0 {
		return f.Acc
	}
	return worst
}
