package attendance

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a roster. They are far over any office and keep a wrong file from
// eating the memory of a small box.
const (
	MaxEmployees = 200_000
	MaxPlaces    = 50_000
	MaxPolicies  = 10_000
	MaxExcuses   = 1_000_000
	maxPerPerson = 64  // badges, PINs, phones or groups of one employee
	maxName      = 128 // bytes of an id, badge, PIN or user
	maxProblems  = 100 // errors told at once; the rest is counted
)

// EntryError says which entry of a roster is wrong. Path is written as in
// employees[3].badges[0], so that a reader of the file can find the line.
type EntryError struct {
	Path string
	ID   string // the entry's own id, empty if it has none
	Err  error
}

func (e *EntryError) Error() string {
	if e.ID == "" {
		return e.Path + ": " + e.Err.Error()
	}
	return e.Path + " (" + e.ID + "): " + e.Err.Error()
}

func (e *EntryError) Unwrap() error { return e.Err }

// Index finds the employee behind what a device tells. It is read-only, and so
// safe for concurrent use; the [Roster] it was made from must not change.
//
// Text is compared exactly: PIN 0012 is not PIN 12, and phone P-1 is not p-1.
// Badges alone are compared without regard to the case of ASCII letters, since
// the same hex number is printed both ways.
type Index struct {
	byID, byPIN, byBadge, byPhone, byUser map[string]*Employee
}

// NewIndex validates a roster and indexes it. The error joins an [EntryError]
// for each wrong entry: an id, badge, PIN, phone or MQTT user that is empty,
// malformed or stands for two people, a date that is none, an excuse of
// nobody. What places and policies mean is checked where they are judged.
func NewIndex(r *Roster) (*Index, error) {
	b := builder{owner: map[string]claimed{}, ix: &Index{
		byID: make(map[string]*Employee, len(r.Employees)), byPIN: make(map[string]*Employee, len(r.Employees)),
		byBadge: map[string]*Employee{}, byPhone: map[string]*Employee{}, byUser: map[string]*Employee{},
	}}
	b.bound("employees", len(r.Employees), MaxEmployees)
	b.bound("places", len(r.Places), MaxPlaces)
	b.bound("policies", len(r.Policies), MaxPolicies)
	b.bound("excuses", len(r.Excuses), MaxExcuses)
	if len(b.errs) > 0 {
		return nil, b.err()
	}
	for i := range r.Employees {
		b.employee(i, &r.Employees[i])
	}
	places := make(map[string]int, len(r.Places))
	for i := range r.Places {
		id := r.Places[i].ID
		path := fmt.Sprintf("places[%d].id", i)
		if err := checkName(id); err != nil {
			b.fail(path, id, err)
		} else if first, taken := places[id]; taken {
			b.fail(path, id, fmt.Errorf("places[%d] has the same id", first))
		} else {
			places[id] = i
		}
	}
	for i := range r.Excuses {
		b.excuse(i, &r.Excuses[i])
	}
	if err := b.err(); err != nil {
		return nil, err
	}
	return b.ix, nil
}

// ByID finds an employee by id.
func (x *Index) ByID(id string) (*Employee, bool) { e, ok := x.byID[id]; return e, ok }

// ByPIN finds an employee by the user id on a terminal.
func (x *Index) ByPIN(pin string) (*Employee, bool) { e, ok := x.byPIN[pin]; return e, ok }

// ByBadge finds an employee by the number of a card; the case of ASCII letters
// does not count.
func (x *Index) ByBadge(badge string) (*Employee, bool) {
	e, ok := x.byBadge[foldBadge(badge)]
	return e, ok
}

// ByPhone finds the owner of a native phone by the phone's id.
func (x *Index) ByPhone(phone string) (*Employee, bool) { e, ok := x.byPhone[phone]; return e, ok }

// ByOwnTracksUser finds the owner of an OwnTracks phone by its MQTT user.
func (x *Index) ByOwnTracksUser(user string) (*Employee, bool) { e, ok := x.byUser[user]; return e, ok }

// builder collects an index and everything that is wrong with its roster.
type builder struct {
	ix    *Index
	owner map[string]claimed // by kind and text, for the errors
	errs  []error
	more  int
}

// claimed says which entry took a badge, PIN, phone or user first.
type claimed struct {
	path, id string
}

func (b *builder) fail(path, id string, err error) {
	if len(b.errs) == maxProblems {
		b.more++
		return
	}
	if len(id) > maxName { // one that is no id, and may be of any length
		id = fmt.Sprintf("%.40s", id)
	}
	b.errs = append(b.errs, &EntryError{Path: path, ID: id, Err: err})
}

func (b *builder) err() error {
	if b.more > 0 {
		return errors.Join(append(b.errs, fmt.Errorf("and %d more", b.more))...)
	}
	return errors.Join(b.errs...)
}

func (b *builder) bound(what string, n, limit int) {
	if n > limit {
		b.fail(what, "", fmt.Errorf("%d are too many, the limit is %d", n, limit))
	}
}

func (b *builder) employee(i int, e *Employee) {
	path := func(rest string) string { return fmt.Sprintf("employees[%d]%s", i, rest) }
	if err := checkName(e.ID); err != nil {
		b.fail(path(".id"), e.ID, err)
	} else {
		b.claim("id", e.ID, path(".id"), e, b.ix.byID)
	}
	tooMany := false
	for _, list := range []struct {
		key string
		n   int
	}{{".badges", len(e.Badges)}, {".pins", len(e.PINs)}, {".phones", len(e.Phones)}, {".groups", len(e.Groups)}} {
		if list.n > maxPerPerson {
			b.fail(path(list.key), e.ID, fmt.Errorf("%d are too many, the limit is %d", list.n, maxPerPerson))
			tooMany = true
		}
	}
	if tooMany {
		return
	}
	for j, badge := range e.Badges {
		b.named("badge", foldBadge(badge), path(fmt.Sprintf(".badges[%d]", j)), e, b.ix.byBadge)
	}
	for j, pin := range e.PINs {
		b.named("PIN", pin, path(fmt.Sprintf(".pins[%d]", j)), e, b.ix.byPIN)
	}
	for j := range e.Phones {
		b.phone(path(fmt.Sprintf(".phones[%d]", j)), e, &e.Phones[j])
	}
	for j, g := range e.Groups {
		if err := checkName(g); err != nil {
			b.fail(path(fmt.Sprintf(".groups[%d]", j)), e.ID, err)
		}
	}
	from, until := b.date(path(".from"), e.ID, e.From), b.date(path(".until"), e.ID, e.Until)
	if from && until && e.Until < e.From {
		b.fail(path(".until"), e.ID, fmt.Errorf("%s is before from, %s", e.Until, e.From))
	}
}

// date reports whether a day is given and is one; an empty one is open.
func (b *builder) date(path, id, day string) bool {
	if day == "" {
		return false
	}
	if _, err := time.Parse(time.DateOnly, day); err != nil {
		b.fail(path, id, fmt.Errorf("%.40q is no date like 2026-11-04", day))
		return false
	}
	return true
}

// phone takes a native phone or an OwnTracks user. Both are MQTT users of one
// broker, so a name of either sort belongs to one person.
func (b *builder) phone(path string, e *Employee, p *Phone) {
	switch {
	case p.Key != "" && p.OwnTracksUser != "":
		b.fail(path, e.ID, errors.New("has both a key and an owntracks_user; make it two phones"))
	case p.Key != "":
		b.topicName("phone", p.ID, path+".id", e, b.ix.byPhone)
	case p.OwnTracksUser != "":
		b.topicName("phone", p.OwnTracksUser, path+".owntracks_user", e, b.ix.byUser)
	default:
		b.fail(path, e.ID, errors.New("needs a key (native) or an owntracks_user"))
	}
}

func (b *builder) topicName(kind, text, path string, e *Employee, in map[string]*Employee) {
	if strings.ContainsAny(text, "/+#") {
		b.fail(path, e.ID, fmt.Errorf("%.40q can't be a level of an MQTT topic: it holds one of / + #", text))
		return
	}
	b.named(kind, text, path, e, in)
}

func (b *builder) named(kind, text, path string, e *Employee, in map[string]*Employee) {
	if err := checkName(text); err != nil {
		b.fail(path, e.ID, err)
		return
	}
	b.claim(kind, text, path, e, in)
}

func (b *builder) claim(kind, text, path string, e *Employee, in map[string]*Employee) {
	key := kind + "\x00" + text
	if first, taken := b.owner[key]; taken {
		b.fail(path, e.ID, fmt.Errorf("%s %q stands at %s (%s) already", kind, text, first.path, first.id))
		return
	}
	b.owner[key] = claimed{path, e.ID}
	in[text] = e
}

func (b *builder) excuse(i int, x *Excuse) {
	path := fmt.Sprintf("excuses[%d]", i)
	if _, known := b.ix.byID[x.Employee]; !known {
		b.fail(path+".employee", x.Employee, errors.New("no such employee"))
	}
	switch {
	case x.From.IsZero():
		b.fail(path+".from", x.Employee, errors.New("is missing"))
	case x.Until.IsZero():
		b.fail(path+".until", x.Employee, errors.New("is missing"))
	case !x.From.Before(x.Until):
		b.fail(path+".until", x.Employee, errors.New("is not after from"))
	}
}

// checkName refuses what looks like another text than it is: employees find
// their PIN by comparing it with what they see.
func checkName(s string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case len(s) > maxName:
		return fmt.Errorf("has %d bytes, the limit is %d", len(s), maxName)
	case !utf8.ValidString(s):
		return fmt.Errorf("%q is no UTF-8", s)
	case strings.TrimSpace(s) != s:
		return fmt.Errorf("%q has a space at an end", s)
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) { // Cf: zero width, marks of direction
			return fmt.Errorf("%q holds a character that nobody sees", s)
		}
	}
	return nil
}

// foldBadge lowers ASCII letters alone: no other alphabet has hex digits.
func foldBadge(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return strings.Map(func(r rune) rune {
				if 'A' <= r && r <= 'Z' {
					return r + 'a' - 'A'
				}
				return r
			}, s)
		}
	}
	return s
}
