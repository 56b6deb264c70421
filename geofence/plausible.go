package geofence

import (
	"slices"
	"time"

	"github.com/golang/geo/s2"

	"github.com/punchd/punchd/protocol/attendance"
)

const (
	// minTravel is the distance below which no speed is looked at: positions
	// jump so far by themselves.
	minTravel = 2_000.0 // metres
	// sitting is how far apart two fixes must be to be two measurements; phones
	// answer from memory for some minutes.
	sitting = 10 * time.Minute
	// frozenAt is at which sitting with the same coordinates, to the last digit,
	// they are held to be made up. A receiver that measures does not repeat.
	frozenAt = 3
	// spots is among how many different coordinates a repetition is looked for:
	// a day of visits, so that a few honest ones between do not hide it.
	spots = 8
)

// Past is what is remembered of an employee's earlier check-ins: enough to say
// whether the next can be true, and no more. The zero value remembers nothing.
type Past struct {
	known    bool
	lat, lon float64   // the last fix, as told
	acc      float64   // metres, as told
	at       time.Time // when it was measured
	spots    [spots]spot
}

// spot is where somebody has been, the newest first.
type spot struct {
	lat, lon float64
	since    int64 // unix seconds, when the newest sitting there began
	sittings int64 // how many there were; 0: nothing is remembered
}

// After is the past once a check-in has been judged. It follows the order of
// arrival: a fix that was false, or whose clock was, gives way to the next one.
// A check-in without a fix, or with one that the phone itself calls made up,
// changes nothing; neither may one that proves no sender, which the caller has
// to see to.
func (p Past) After(c *attendance.CheckIn) Past {
	f := c.Evidence.Fix
	if f == nil || f.Mock || checkPoint(attendance.Point{Lat: f.Lat, Lon: f.Lon}) != nil {
		return p
	}
	p.known, p.lat, p.lon, p.acc, p.at = true, f.Lat, f.Lon, f.Acc, measured(c)
	s := spot{lat: f.Lat, lon: f.Lon, since: p.at.Unix(), sittings: 1}
	i := slices.IndexFunc(p.spots[:], func(o spot) bool { return o.sittings > 0 && o.lat == s.lat && o.lon == s.lon })
	if i < 0 {
		i = spots - 1 // the oldest goes
	} else if old := p.spots[i]; apart(p.at, time.Unix(old.since, 0)) < sitting {
		s.since, s.sittings = old.since, old.sittings
	} else {
		s.sittings += old.sittings
	}
	copy(p.spots[1:i+1], p.spots[:i])
	p.spots[0] = s
	return p
}

// measured is when the fix of a check-in was made.
func measured(c *attendance.CheckIn) time.Time {
	if at := c.Evidence.Fix.At; !at.IsZero() {
		return at
	}
	return c.At
}

func apart(a, b time.Time) time.Duration { return a.Sub(b).Abs() }

// plausible looks at a believable fix beside the one before it.
func (j *Judge) plausible(o *opinion, c *attendance.CheckIn, past Past) {
	if !past.known {
		return
	}
	f := c.Evidence.Fix
	at := measured(c)
	before := s2.PointFromLatLng(s2.LatLngFromDegrees(past.lat, past.lon))
	here := s2.PointFromLatLng(s2.LatLngFromDegrees(f.Lat, f.Lon))
	way := metres(before, here) - accuracyOf(f, j.opt.MaxAccuracy) - accuracyOf(&attendance.Fix{Acc: past.acc}, j.opt.MaxAccuracy)
	// Check-ins that waited on a phone come late and out of order, so the time
	// between two of them counts whichever is the earlier.
	if way >= minTravel && apart(at, past.at) < quickest(way) {
		o.add(attendance.Flagged, impossibleTravel)
	}
	if f.Acc <= j.opt.MaxAccuracy && past.After(c).spots[0].sittings >= frozenAt { // a cell tower's place does repeat
		o.add(attendance.Flagged, frozen)
	}
}

// quickest is the least time in which anybody covers a way given in metres:
// by road at first, then by fast train, then by plane. It grows with the way,
// so that to claim a place farther off never makes a journey believable.
func quickest(way float64) time.Duration {
	const (
		road, roadSpeed   = 50_000.0, 150.0 / 3.6 // up to here, in metres; metres a second
		train, trainSpeed = 500_000.0, 350.0 / 3.6
		planeSpeed        = 1000.0 / 3.6
	)
	seconds := min(way, road) / roadSpeed
	seconds += max(min(way, train)-road, 0) / trainSpeed
	seconds += max(way-train, 0) / planeSpeed
	return time.Duration(seconds * float64(time.Second))
}
