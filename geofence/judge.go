package geofence

import (
	"math"
	"time"

	"github.com/golang/geo/s2"

	"github.com/punchd/punchd/geofence/wifi"
	"github.com/punchd/punchd/protocol/attendance"
)

// wifiReach is how far outside a fence a fix may lie without contradicting an
// access point that is heard inside: a strong network's range, and what a
// receiver under a roof is wrong by.
const wifiReach = 500.0 // metres

// Judge says what a check-in of e is worth. e is nil if nobody in the roster
// has the phone; past is what [Past.After] made of e's check-ins before this
// one. A replayed check-in is the caller's to find, since that takes the
// ledger.
func (j *Judge) Judge(c *attendance.CheckIn, e *attendance.Employee, past Past) Finding {
	f := Finding{Site: j.opt.Site}
	if why, proven := sender(c, e); !proven {
		f.Verdict, f.Reasons = attendance.Refused, []attendance.Reason{told[why]}
		return f
	}
	var o opinion
	f.Late = j.times(&o, c, e)

	var owners [16]int
	h := hearing{j: j, c: c, e: e, named: none}
	h.network, h.owners = j.list.Look(c.Evidence.WiFi, owners[:0])
	h.look(&o)
	if h.real {
		j.plausible(&o, c, past)
	}
	if at := h.presence(&o); at >= 0 {
		f.Place, f.Site = j.places[at].id, j.places[at].site
	}
	f.Verdict, f.Reasons = o.verdict, o.why.list()
	return f
}

// sender says whether it is proven who sent a check-in. What is not proven is
// not looked at any further: its content is anybody's.
func sender(c *attendance.CheckIn, e *attendance.Employee) (why code, proven bool) {
	switch {
	case c.Auth == attendance.AuthBadSignature:
		return badSignature, false
	case c.Auth == attendance.AuthUnknownPhone:
		return unknownPhone, false
	case c.Auth != attendance.AuthUser && c.Auth != attendance.AuthSigned:
		return malformed, false
	case e == nil:
		return unknownPhone, false
	}
	return 0, true
}

// times judges when it was: the phone's clock, the way here, the employment.
func (j *Judge) times(o *opinion, c *attendance.CheckIn, e *attendance.Employee) (isLate bool) {
	delay := c.ReceivedAt.Sub(c.At)
	if -delay > j.opt.MaxClockLead {
		o.add(attendance.Flagged, clockSkew)
	}
	if delay > j.opt.LateAfter {
		isLate = true
		o.why.add(late)
		if delay > j.opt.ReviewAfter {
			o.worsen(attendance.Flagged)
		}
	}
	if !j.employed(e, c.At) {
		o.add(attendance.Refused, notEmployed)
	} else if isLate && !j.employed(e, c.ReceivedAt) {
		// What a leaver did before still counts, but only the phone says when
		// it was.
		o.add(attendance.Flagged, notEmployed)
	}
	return isLate
}

func (j *Judge) employed(e *attendance.Employee, at time.Time) bool {
	return e.From == "" && e.Until == "" || e.EmployedOn(at.In(j.opt.Zone).Format(time.DateOnly))
}

// The places a check-in can name.
const (
	none    int32 = -1 // it names none
	unknown int32 = -2 // one that is not in the roster, or where nobody may be
)

// hearing is one check-in before the judge.
type hearing struct {
	j *Judge
	c *attendance.CheckIn
	e *attendance.Employee

	real    bool // there is a position, and not one that is known to be made up
	usable  bool // it is fresh and accurate enough to show where somebody was
	at      s2.LatLng
	point   s2.Point
	acc     float64 // metres
	network wifi.Verdict
	owners  []int // places of the access point

	kind    kind  // of the places it can be at
	named   int32 // the only one, if it names one
	excused bool
	best    showing
	nearby  bool // some fence is within the accuracy of the position
	noGo    bool
}

// look judges the fix by itself.
func (h *hearing) look(o *opinion) {
	f, limit := h.c.Evidence.Fix, h.j.opt.MaxAccuracy
	if f == nil || checkPoint(attendance.Point{Lat: f.Lat, Lon: f.Lon}) != nil {
		o.why.add(noFix)
		if h.network == wifi.Emulated {
			o.add(attendance.Flagged, mockLocation)
		}
		return
	}
	if f.Mock || h.network == wifi.Emulated {
		o.add(attendance.Flagged, mockLocation)
		return
	}
	h.real = true
	h.at = s2.LatLngFromDegrees(f.Lat, f.Lon)
	h.point = s2.PointFromLatLng(h.at)
	h.acc = accuracyOf(f, limit)
	h.usable = true
	// A time that is not told is zero, and so an old one.
	if apart(f.At, h.c.At) > h.j.opt.MaxFixAge {
		o.why.add(staleFix)
		h.usable = false
	}
	if h.acc > limit {
		o.why.add(lowAccuracy)
		h.usable = false
	}
}

// presence finds the place where the check-in is shown best, judges it there,
// and gives the place's number; or what it is worth at no place, and the place
// it names, if it does.
func (h *hearing) presence(o *opinion) int32 {
	j := h.j
	if h.c.Kind == attendance.KindVisit {
		h.kind = customer
	}
	if h.c.Place != "" {
		h.named = unknown
		if n, known := j.byID[h.c.Place]; known && j.places[n].kind != noGo {
			h.named = n
		}
	}
	if h.excused = j.excuses.cover(h.e.ID, h.c.At); h.excused {
		o.why.add(excused)
	}
	h.best.place = none
	if h.usable {
		h.fences()
	}
	h.accessPoints()
	if h.best.place == none {
		h.nowhere()
	}
	if h.noGo {
		// Whatever else is shown, it is as if at no place, and never accepted.
		o.add(max(attendance.Flagged, h.best.rule.outside), noGoZone)
	}
	o.worsen(h.best.verdict)
	o.why |= h.best.why
	return h.best.place
}

// wanted reports whether the check-in can be at a place.
func (h *hearing) wanted(n int32) bool {
	if h.named != none {
		return n == h.named
	}
	return h.j.places[n].kind == h.kind
}

// fences considers the places whose fence holds the best estimate.
func (h *hearing) fences() {
	var buf [32]int32
	for _, n := range h.j.cells.near(h.at, buf[:0]) {
		p := &h.j.places[n]
		if p.kind != noGo && !h.wanted(n) || !within(p.fence, h.point, h.acc) {
			continue
		}
		d := p.fence.distance(h.point)
		switch {
		case p.kind == noGo:
			h.noGo = h.noGo || d <= 0
		case d <= 0:
			h.consider(n, d, false)
		default:
			h.nearby = h.nearby || d <= h.acc
		}
	}
}

// accessPoints considers the places of the access point, those once more whose
// fence has been considered: a match makes none of them worse.
func (h *hearing) accessPoints() {
	for _, owner := range h.owners {
		n := int32(owner)
		p := &h.j.places[n]
		if p.kind == noGo {
			h.noGo = true
			continue
		}
		if !h.wanted(n) {
			continue
		}
		d := math.Inf(1)
		if p.fence != nil && h.usable {
			d = p.fence.distance(h.point)
		}
		h.consider(n, d, true)
	}
}

// consider judges the check-in at one place and keeps the better showing.
func (h *hearing) consider(n int32, distance float64, match bool) {
	r := h.j.policies.at(h.e.Groups, n)
	if s := h.show(n, r, distance, match); h.best.place == none || s.better(h.best) {
		h.best = s
	}
}
