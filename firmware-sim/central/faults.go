package central

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/punchd/punchd/protocol/cloudevents"
)

// Faults say how the service fails. Shares are probabilities from 0 to 1. The
// zero value never fails.
type Faults struct {
	// Of requests. They are drawn in the order in which requests come.
	Fail       float64 // share that fails, with nothing taken
	FailStatus int     // with this status; 0: one of 503, 500 and a closed connection
	Lose       float64 // share whose batch is taken and whose answer is lost
	HTML       float64 // share answered by a portal's page with status 200, with nothing taken

	Delay      time.Duration // before each answer
	Jitter     time.Duration // and up to this much more
	RetryAfter time.Duration // told with every failure that has a status, in whole seconds; 0: not told

	// Of events, by employee.
	Park   []string // not yet
	Dead   []string // never
	Poison []string // status 400 for the whole batch

	// Of events, by chance. It depends on the seed and the event alone, so that
	// a repetition fares alike; only what is parked by chance is taken when it
	// comes again.
	ParkShare   float64
	DeadShare   float64
	PoisonShare float64

	ParkFor time.Duration // retry_after of parked events; 0: not told
}

// faults are Faults made fast.
type faults struct {
	Faults
	park, dead, poison map[string]bool
}

func (f Faults) compile() (faults, error) {
	for name, share := range map[string]float64{
		"fail": f.Fail, "lose": f.Lose, "html": f.HTML, "park": f.ParkShare, "dead": f.DeadShare, "poison": f.PoisonShare,
	} {
		if !(share >= 0 && share <= 1) { // also NaN
			return faults{}, fmt.Errorf("the share %s is %v, it lies between 0 and 1", name, share)
		}
	}
	if f.FailStatus != 0 && (f.FailStatus < 300 || f.FailStatus > 599) {
		return faults{}, fmt.Errorf("the status %d is none of a failure (300 to 599)", f.FailStatus)
	}
	for name, d := range map[string]time.Duration{"delay": f.Delay, "jitter": f.Jitter, "retry-after": f.RetryAfter, "park-for": f.ParkFor} {
		if d < 0 {
			return faults{}, fmt.Errorf("the time %s is %s, it can't be negative", name, d)
		}
	}
	set := func(names []string) map[string]bool {
		m := make(map[string]bool, len(names))
		for _, n := range names {
			m[n] = true
		}
		return m
	}
	return faults{Faults: f, park: set(f.Park), dead: set(f.Dead), poison: set(f.Poison)}, nil
}

// fate is what chance has in store for one request.
type fate struct {
	status int // 0: none
	abort  bool
	html   bool
	lose   bool
	delay  time.Duration

	retryAfter time.Duration
}

// draw decides the next request's fate. It always draws the same number of
// values, so that changing one fault leaves the others where they were.
func (c *Central) draw() fate {
	f := &c.faults
	fail, kind, html, lose, jitter := c.rnd.Float64(), c.rnd.IntN(3), c.rnd.Float64(), c.rnd.Float64(), c.rnd.Float64()
	d := fate{
		html: html < f.HTML, lose: lose < f.Lose,
		delay: f.Delay + time.Duration(jitter*float64(f.Jitter)), retryAfter: f.RetryAfter,
	}
	if fail >= f.Fail {
		return d
	}
	switch {
	case f.FailStatus != 0:
		d.status = f.FailStatus
	case kind == 0:
		d.status = 503
	case kind == 1:
		d.status = 500
	default:
		d.abort = true
	}
	return d
}

// The salts keep the chances of one event apart.
const (
	saltPark = iota
	saltDead
	saltPoison
)

// chance reports whether an event is among the given share.
func (c *Central) chance(share float64, id identity, salt uint64) bool {
	if share == 0 {
		return false
	}
	// The identity is a hash already; this mixes seed and salt into it
	// (splitmix64).
	x := binary.LittleEndian.Uint64(id[:]) + (c.seed*3+salt+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x) < share*math.MaxUint64
}

// poisoned reports whether an event makes its whole batch fail.
func (c *Central) poisoned(e *cloudevents.Event, id identity) bool {
	return c.faults.poison[e.Subject] || c.chance(c.faults.PoisonShare, id, saltPoison)
}

// judge is the answer to an event that is not held.
func (c *Central) judge(e *cloudevents.Event, id identity) cloudevents.Result {
	f := &c.faults
	switch {
	case f.dead[e.Subject], c.chance(f.DeadShare, id, saltDead):
		return cloudevents.Result{ID: e.ID, Status: cloudevents.Dead, Reason: "never to be taken"}
	case f.park[e.Subject]:
		return cloudevents.Result{ID: e.ID, Status: cloudevents.Park, Reason: "unknown employee", RetryAfter: f.ParkFor}
	case c.chance(f.ParkShare, id, saltPark):
		if _, before := c.parked[id]; !before && len(c.parked) < c.maxHeld {
			c.parked[id] = struct{}{}
			return cloudevents.Result{ID: e.ID, Status: cloudevents.Park, Reason: "period is closed", RetryAfter: f.ParkFor}
		}
	}
	return cloudevents.Result{ID: e.ID, Status: cloudevents.Accepted}
}
