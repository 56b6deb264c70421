package gateway

import (
	"errors"
	"fmt"
	"time"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/geofence"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/phone"
	"github.com/punchd/punchd/sync/roster"
)

// judgement is everything that a version of the roster decides. It never
// changes; a new roster makes a new one, which replaces the old in one step.
type judgement struct {
	roster *roster.Snapshot
	judge  *geofence.Judge
	keys   map[string]phone.Key // of native phones, by phone id
	site   string
	zone   *time.Location
	// warnings are what is allowed in the roster and probably not meant.
	warnings []error
}

// newJudgement makes the judgement of a roster. Its error joins an
// [attendance.EntryError] for each entry that is wrong.
func newJudgement(cfg *config.Config, s *roster.Snapshot) (*judgement, error) {
	j := &judgement{roster: s, keys: map[string]phone.Key{}, site: cfg.Site.ID, zone: cfg.Site.Zone}
	errs := j.phoneKeys(s.Roster)
	judge, err := geofence.New(s.Roster, geofence.Options{Site: cfg.Site.ID, Zone: cfg.Site.Zone})
	if errs = append(errs, err); errors.Join(errs...) != nil {
		return nil, errors.Join(errs...)
	}
	j.judge = judge
	for _, w := range judge.Warnings() {
		j.warnings = append(j.warnings, w)
	}
	j.warnings = append(j.warnings, strangeBadges(cfg, s.Roster)...)
	j.warnings = append(j.warnings, shutOut(cfg, s.Roster)...)
	return j, nil
}

// What a device's clock may differ by before a person must look at its punches;
// DESIGN.md says why. The year is older than any punch that can come.
const (
	maxSkew    = 5 * time.Minute
	maxAhead   = 24 * time.Hour
	oldestYear = 2010
)

// doubtful reports whether the time of a device's punch can't be believed: its
// clock was measured to be off, or shows what can't be.
func doubtful(p *attendance.Punch) bool {
	return p.Skew != nil && p.Skew.Abs() > maxSkew || p.At.Year() < oldestYear || p.At.Sub(p.ReceivedAt) > maxAhead
}

// identify finds the employee of a device's punch and judges what can be
// judged of it without a position: whether that person is employed on that day,
// and whether the day can be believed.
func (j *judgement) identify(p *attendance.Punch) {
	if p.Site == "" {
		p.Site = j.site
	}
	find := j.roster.Index.ByBadge
	if readsPINs(p.Device.Driver) {
		find = j.roster.Index.ByPIN
	}
	e, known := find(p.Badge)
	employed := func(at time.Time) bool { return e.EmployedOn(at.In(j.zone).Format(time.DateOnly)) }
	doubt := doubtful(p)
	switch {
	case !known:
		p.Verdict = attendance.Unverified
		p.Reasons = append(p.Reasons, attendance.ReasonUnknownBadge)
	case employed(p.At), doubt && employed(p.ReceivedAt):
		p.Verdict = attendance.Accepted
	default:
		p.Verdict = attendance.Refused
		p.Reasons = append(p.Reasons, attendance.ReasonNotEmployed)
	}
	if known {
		p.Employee = e.ID
	}
	if doubt {
		p.Reasons = append(p.Reasons, attendance.ReasonClockSkew)
		if known { // nobody is believed or turned away by a wrong clock
			p.Verdict = attendance.Flagged
		}
	}
}

// readsPINs reports whether a driver's badges are the user numbers of a
// terminal and not the numbers of cards.
func readsPINs(driver string) bool { return driver == config.DriverZK }

// employee is whom a check-in speaks for: the owner of the key that signed it,
// or of the user that the broker let in. What proves nothing speaks for nobody.
func (j *judgement) employee(c *attendance.CheckIn) *attendance.Employee {
	var e *attendance.Employee
	switch c.Auth {
	case attendance.AuthSigned:
		e, _ = j.roster.Index.ByPhone(c.Phone)
	case attendance.AuthUser:
		e, _ = j.roster.Index.ByOwnTracksUser(c.User)
	}
	return e
}

// takeRoster checks a roster for the keeper and, if it is good, puts it in force.
func (g *Gateway) takeRoster(s *roster.Snapshot) error {
	j, err := newJudgement(g.cfg, s)
	if err != nil {
		return err
	}
	g.judgement.Store(j)
	g.history.forget(s.Index)
	for _, w := range j.warnings {
		g.log.Warn("roster: "+w.Error(), "file", s.Source)
	}
	// A punch may have been parked because central did not know what the
	// roster tells now.
	for _, f := range g.forwarders {
		f.Wake()
	}
	return nil
}

// maxStrange is how many badges are warned of one by one. If a reader's form is
// set wrong, they are all strange.
const maxStrange = 10

// strangeBadges warns of badges that no reader here can send as they are written.
// They are no mistakes: the roster may be that of several offices.
func strangeBadges(cfg *config.Config, r *attendance.Roster) []error {
	var list []error
	more := 0
	for i := range r.Employees {
		e := &r.Employees[i]
		for k, badge := range e.Badges {
			if cfg.ReadsBadge(badge) {
				continue
			}
			if len(list) == maxStrange {
				more++
				continue
			}
			list = append(list, &attendance.EntryError{Path: fmt.Sprintf("employees[%d].badges[%d]", i, k), ID: e.ID,
				Err: fmt.Errorf("no reader here can send the badge %q (forms: %s)", badge, cfg.BadgeForms())})
		}
	}
	if more > 0 {
		list = append(list, fmt.Errorf("and %d more badges that no reader here can send", more))
	}
	return list
}

// ExamineRoster says what is wrong with a roster and what is probably not
// meant, as the daemon would. It is for [roster.Examine].
func ExamineRoster(cfg *config.Config) func(*roster.Snapshot) ([]error, error) {
	return func(s *roster.Snapshot) ([]error, error) {
		j, err := newJudgement(cfg, s)
		if err != nil {
			return nil, err
		}
		return j.warnings, nil
	}
}
