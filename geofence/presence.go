package geofence

import (
	"github.com/punchd/punchd/geofence/wifi"
	"github.com/punchd/punchd/protocol/attendance"
)

// showing is what a check-in is worth at one place.
type showing struct {
	place    int32
	rule     rule
	verdict  attendance.Verdict
	why      reasons
	strength int     // of the evidence
	size     float64 // of the place, metres
}

// better prefers the better verdict, then the better evidence, then the
// smaller place: the building before the campus it stands on.
func (s showing) better(than showing) bool {
	switch {
	case s.verdict != than.verdict:
		return s.verdict < than.verdict
	case s.strength != than.strength:
		return s.strength > than.strength
	case s.size != than.size:
		return s.size < than.size
	}
	return s.place < than.place
}

// degree says how far presence is shown.
type degree uint8

const (
	notShown degree = iota
	doubtful
	shown
)

// show judges the check-in at a place whose edge is distance metres away, or
// infinitely far if the position says nothing of it; match says that the phone
// is at one of its access points.
func (h *hearing) show(n int32, r rule, distance float64, match bool) showing {
	p := &h.j.places[n]
	s := showing{place: n, rule: r, size: p.size}
	if h.excused {
		s.rule.outside = attendance.Accepted
	}
	g, tells := outside, p.fence != nil && h.usable
	if tells {
		g = gradeOf(distance, h.acc)
	}
	by := presenceBy(r.presence, p, g, match, tells && distance > wifiReach)
	switch by {
	case shown:
		s.verdict = attendance.Accepted
	case doubtful:
		s.verdict = min(attendance.Flagged, s.rule.outside)
	default:
		s.verdict = s.rule.outside
	}
	if tells {
		s.why |= fenceReason(g)
	}
	if match {
		s.why.add(wifiMatch)
		s.strength += 2
	} else if p.wifi && by != shown {
		s.why |= h.withoutMatch()
	}
	if g == inside {
		s.strength++
	}
	h.askPhoto(&s)
	return s
}

// presenceBy applies the choice of a policy to what is seen at a place. What a
// place does not have can't be asked for there.
func presenceBy(asked presence, p *place, g grade, match, contradicted bool) degree {
	byFence := [...]degree{inside: shown, probablyInside: doubtful, nearby: notShown, outside: notShown}[g]
	byWiFi := notShown
	if match {
		byWiFi = shown
		if contradicted {
			byWiFi = doubtful
		}
	}
	switch {
	case !p.wifi:
		return byFence
	case p.fence == nil:
		return byWiFi
	case asked == allOf:
		return min(byFence, byWiFi)
	case asked == wifiFirst:
		return max(min(byFence, doubtful), byWiFi)
	}
	return max(byFence, byWiFi)
}

// nowhere judges a check-in that nothing puts at a place.
func (h *hearing) nowhere() {
	j := h.j
	s := showing{place: none}
	fenced, networked := j.fenced[h.kind], j.networked[h.kind]
	switch h.named {
	case none:
		s.rule = j.policies.nowhere(h.e.Groups, h.kind, func(n int32) kind { return j.places[n].kind })
		if s.rule.line == builtIn && !fenced && !networked {
			h.best = s // there is nothing to judge it by
			return
		}
		fenced = fenced || !networked // no place of its kind: outside of all
	case unknown:
		s.rule = j.policies.anywhere(h.e.Groups)
		fenced, networked = true, false
	default:
		s.place = h.named
		s.rule = j.policies.at(h.e.Groups, h.named)
		fenced, networked = j.places[h.named].fence != nil, j.places[h.named].wifi
	}
	if h.excused {
		s.rule.outside = attendance.Accepted
	}
	s.verdict = s.rule.outside
	if !h.usable {
		// Not known to be elsewhere either, which is no better than that.
		s.verdict = max(s.verdict, attendance.Flagged)
	} else if fenced {
		s.why |= fenceReason(outside)
		if h.nearby {
			s.why = fenceReason(nearby)
		}
	}
	if networked {
		s.why |= h.withoutMatch()
	}
	h.askPhoto(&s)
	h.best = s
}

func fenceReason(g grade) reasons {
	switch g {
	case inside:
		return 0
	case outside:
		return 1 << outsideFence
	}
	return 1 << uncertainFence
}

// withoutMatch is the reason of an access point that is not one of the place.
func (h *hearing) withoutMatch() reasons {
	if h.network == wifi.Absent {
		return 1 << wifiAbsent
	}
	return 1 << wifiUnknown
}

func (h *hearing) askPhoto(s *showing) {
	if s.rule.photo && h.c.Evidence.Photo == nil {
		s.verdict = max(s.verdict, attendance.Flagged)
		s.why.add(photoMissing)
	}
}
