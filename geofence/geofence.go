// Package geofence judges check-ins: whether somebody was where a check-in
// says, as far as position, access point and past can show it.
//
// It is a pure function of the check-in, the roster and what is remembered of
// the employee. Nothing it says decides whether a check-in is kept. DESIGN.md
// holds the table of every situation and its verdict.
package geofence

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang/geo/s2"

	"github.com/punchd/punchd/geofence/wifi"
	"github.com/punchd/punchd/protocol/attendance"
)

// Options are what a judge knows beside the roster. A limit that is zero has
// its default.
type Options struct {
	// Site is that of a place that names none, and of a check-in at no place.
	Site string
	// Zone is where the days of an employment begin and end; UTC if nil.
	Zone *time.Location

	MaxAccuracy  float64       // metres; a fix that claims to be worse shows nothing; 150
	MaxFixAge    time.Duration // between the fix and the pressing, either way; 5 minutes
	MaxClockLead time.Duration // of the phone before the gateway; 2 minutes
	LateAfter    time.Duration // between pressing and arrival; 10 minutes
	ReviewAfter  time.Duration // from when on a person looks at a late one; 72 hours
}

// Finding is what a check-in is worth, and why.
type Finding struct {
	Verdict attendance.Verdict
	Reasons []attendance.Reason // in the order of the reasons in package attendance
	Late    bool                // it came in long after it was made
	Site    string
	Place   string // where it was judged; empty if it is at no place and names none
}

// kind is what a place is for.
type kind uint8

const (
	office kind = iota
	customer
	noGo
	kinds // how many there are
)

var kindWords = []string{"office", "customer", "no-go"}

// place is a place of the roster as it is judged.
type place struct {
	id, site string
	kind     kind
	fence    fence // nil: none
	wifi     bool  // it has access points
	size     float64
}

// Judge judges check-ins by one version of the roster. It never changes, and
// is safe for concurrent use.
type Judge struct {
	opt      Options
	places   []place
	byID     map[string]int32
	cells    cells
	list     wifi.List // the owner of an entry is the number of its place
	policies policies
	excuses  excuses
	// fenced and networked say for each kind whether any place of it has a
	// fence, and an access point.
	fenced, networked [kinds]bool
	warnings          []*attendance.EntryError
}

// New makes the judge of a roster that [attendance.NewIndex] has found right.
// The error joins an [attendance.EntryError] for each place or policy that is
// wrong: a datum, kind or choice that is unknown, a fence that is none, an
// access point that could be anybody's, a policy for a place that is not there
// or that never counts.
func New(r *attendance.Roster, opt Options) (*Judge, error) {
	opt.MaxAccuracy = cmp.Or(opt.MaxAccuracy, 150)
	opt.MaxFixAge = cmp.Or(opt.MaxFixAge, 5*time.Minute)
	opt.MaxClockLead = cmp.Or(opt.MaxClockLead, 2*time.Minute)
	opt.LateAfter = cmp.Or(opt.LateAfter, 10*time.Minute)
	opt.ReviewAfter = cmp.Or(opt.ReviewAfter, 72*time.Hour)
	opt.Zone = cmp.Or(opt.Zone, time.UTC)
	j := &Judge{opt: opt, byID: make(map[string]int32, len(r.Places)), places: make([]place, len(r.Places))}
	b := builder{j: j, wrong: map[int32]bool{}}
	for i := range r.Places {
		b.place(int32(i), &r.Places[i])
	}
	b.policyList(r.Policies)
	b.warn(r)
	if err := b.err(); err != nil {
		return nil, err
	}
	j.excuses = newExcuses(r.Excuses)
	return j, nil
}

// Warnings are what is allowed in the roster and probably not meant, such as a
// policy for a group that nobody is in. It must not be changed.
func (j *Judge) Warnings() []*attendance.EntryError { return j.warnings }

// maxProblems is how many mistakes are told at once.
const maxProblems = 100

// builder makes a judge and collects what is wrong with its roster.
type builder struct {
	j     *Judge
	wrong map[int32]bool // places with a mistake of their own
	errs  []error
	more  int
}

func (b *builder) fail(path, id string, err error) {
	if len(b.errs) == maxProblems {
		b.more++
		return
	}
	b.errs = append(b.errs, &attendance.EntryError{Path: path, ID: id, Err: err})
}

// failed counts the mistakes so far.
func (b *builder) failed() int { return len(b.errs) + b.more }

func (b *builder) err() error {
	if b.more > 0 {
		return errors.Join(append(b.errs, fmt.Errorf("and %d more", b.more))...)
	}
	return errors.Join(b.errs...)
}

// place takes one place of the roster.
func (b *builder) place(n int32, p *attendance.Place) {
	before := b.failed()
	path := fmt.Sprintf("places[%d]", n)
	at := &b.j.places[n]
	at.id, at.site = p.ID, cmp.Or(p.Site, b.j.opt.Site)
	b.j.byID[p.ID] = n

	k, err := word(p.Kind, kindWords)
	if err != nil {
		b.fail(path+".kind", p.ID, err)
	}
	at.kind = kind(k)
	at.fence, err = newFence(p)
	if wrong, ok := errors.AsType[*partError](err); ok {
		b.fail(path+"."+wrong.part, p.ID, wrong.err)
	}
	for i, ap := range p.WiFi {
		at.wifi = true
		if err := b.j.list.Add(int(n), ap); err != nil {
			b.fail(fmt.Sprintf("%s.wifi[%d]", path, i), p.ID, err)
		}
	}
	if b.failed() > before {
		at.fence = nil
		b.wrong[n] = true
		return
	}
	switch {
	case at.fence == nil && !at.wifi:
		b.fail(path, p.ID, errors.New("can't be recognised: give it a circle, a polygon or wifi"))
		b.wrong[n] = true
		return
	case at.fence != nil:
		area := at.fence.bound()
		at.size = area.Radius().Radians() * earthRadius
		b.j.cells.add(n, area.Expanded(angle(b.j.opt.MaxAccuracy)))
		b.j.fenced[at.kind] = true
	}
	b.j.networked[at.kind] = b.j.networked[at.kind] || at.wifi
}

// warn looks for policies that concern nobody. That is no error: when the last
// driver leaves, the policy for drivers may stay.
func (b *builder) warn(r *attendance.Roster) {
	members := map[string]bool{}
	for i := range r.Employees {
		for _, g := range r.Employees[i].Groups {
			members[g] = true
		}
	}
	for i, p := range r.Policies {
		if p.Group == "" || members[p.Group] {
			continue
		}
		why := fmt.Errorf("nobody is in the group %q", p.Group)
		for g := range members {
			if strings.EqualFold(g, p.Group) {
				why = fmt.Errorf("nobody is in the group %q, but somebody in %q", p.Group, g)
			}
		}
		b.j.warnings = append(b.j.warnings, &attendance.EntryError{Path: fmt.Sprintf("policies[%d].group", i), Err: why})
	}
}

// within reports whether a point is near enough to a fence for its distance to
// matter, without asking the fence itself.
func within(f fence, at s2.Point, reach float64) bool {
	area := f.bound()
	return metres(area.Center(), at) <= area.Radius().Radians()*earthRadius+reach
}
