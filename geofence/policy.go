package geofence

import (
	"fmt"
	"slices"
	"strings"

	"github.com/punchd/punchd/protocol/attendance"
)

// presence is what shows that somebody is at a place.
type presence uint8

const (
	anyOf     presence = iota // the fence or an access point
	allOf                     // the fence and an access point
	wifiFirst                 // an access point; the fence alone is looked at by a person
)

// rule is a policy as it is applied.
type rule struct {
	presence presence
	outside  attendance.Verdict // of a check-in whose presence is not shown
	photo    bool
	line     int // number of the policy in the roster; builtIn if none matches
}

const builtIn = -1

// policies finds the rule of an employee at a place: the most exact policy
// counts, and of two that are equally exact the first in the roster.
type policies struct {
	exact   map[groupPlace]rule
	group   map[string]rule
	place   map[int32]rule
	general rule
	// exactOf holds the places that a group has a policy of its own for.
	exactOf map[string][]int32
	// strict counts for each kind of place what is asked there of people whose
	// groups no policy names.
	strict [kinds]tally
}

type groupPlace struct {
	group string
	place int32
}

func (p *policies) forGroup(groups []string) (rule, bool) {
	best, found := rule{}, false
	for _, g := range groups {
		if r, ok := p.group[g]; ok && (!found || r.line < best.line) {
			best, found = r, true
		}
	}
	return best, found
}

// anywhere is the rule where no place is known.
func (p *policies) anywhere(groups []string) rule {
	if r, ok := p.forGroup(groups); ok {
		return r
	}
	return p.general
}

// at is the rule at one place.
func (p *policies) at(groups []string, place int32) rule {
	best, found := rule{}, false
	for _, g := range groups {
		if r, ok := p.exact[groupPlace{g, place}]; ok && (!found || r.line < best.line) {
			best, found = r, true
		}
	}
	if found {
		return best
	}
	if r, ok := p.forGroup(groups); ok {
		return r
	}
	return p.withoutGroup(place)
}

func (p *policies) withoutGroup(place int32) rule {
	if r, ok := p.place[place]; ok {
		return r
	}
	return p.general
}

// nowhere is the rule of a check-in that is at no place of a kind. It is
// outside of all of them, so the strictest that any of them asks is asked.
// Were it the nearest one's, walking away from it could make things better.
func (p *policies) nowhere(groups []string, of kind, kindOf func(place int32) kind) rule {
	t := p.strict[of]
	group, grouped := p.forGroup(groups)
	if grouped {
		t = tally{}
		t.count(group, p.strict[of].places)
	}
	for _, g := range groups {
		for _, place := range p.exactOf[g] {
			r := p.at(groups, place)
			if kindOf(place) != of || r.line != p.exact[groupPlace{g, place}].line {
				continue // another kind, or another of the groups has the say there
			}
			if grouped {
				t.count(group, -1)
			} else {
				t.count(p.withoutGroup(place), -1)
			}
			t.count(r, 1)
		}
	}
	r := p.anywhere(groups)
	if t.places > 0 {
		r.outside, r.photo = t.strictest()
	}
	return r
}

// tally counts what the places of a kind ask.
type tally struct {
	places  int
	outside [attendance.Refused + 1]int // by verdict
	photo   int
}

func (t *tally) count(r rule, n int) {
	t.places += n
	t.outside[r.outside] += n
	if r.photo {
		t.photo += n
	}
}

func (t *tally) strictest() (outside attendance.Verdict, photo bool) {
	outside = attendance.Refused
	for outside > attendance.Accepted && t.outside[outside] == 0 {
		outside--
	}
	return outside, t.photo > 0
}

// The words of a policy, the default first.
var (
	presenceWords = []string{"any", "all", "wifi-first"}
	outsideWords  = []string{"flag", "allow", "refuse"}
	photoWords    = []string{"none", "required"}
)

// word gives the number of a word; an empty one is the first.
func word(s string, words []string) (int, error) {
	if s == "" {
		return 0, nil
	}
	if i := slices.Index(words, s); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%q is unknown (known: %s)", s, strings.Join(words, ", "))
}

// policyList takes the policies of a roster.
func (b *builder) policyList(list []attendance.Policy) {
	p := &b.j.policies
	p.exact, p.group, p.place = map[groupPlace]rule{}, map[string]rule{}, map[int32]rule{}
	p.exactOf = map[string][]int32{}
	p.general = rule{outside: attendance.Flagged, line: builtIn}
	seen := make(map[[2]string]int, len(list))
	for i := range list {
		policy := &list[i]
		if first, twice := seen[[2]string{policy.Group, policy.Place}]; twice {
			b.fail(fmt.Sprintf("policies[%d]", i), "", fmt.Errorf("never counts: policies[%d] is for the same group and place", first))
			continue
		}
		seen[[2]string{policy.Group, policy.Place}] = i
		r, place, ok := b.policy(i, policy)
		switch {
		case !ok:
		case policy.Group != "" && policy.Place != "":
			p.exact[groupPlace{policy.Group, place}] = r
			p.exactOf[policy.Group] = append(p.exactOf[policy.Group], place)
		case policy.Group != "":
			p.group[policy.Group] = r
		case policy.Place != "":
			p.place[place] = r
		default:
			p.general = r
		}
	}
	for n := range b.j.places {
		p.strict[b.j.places[n].kind].count(p.withoutGroup(int32(n)), 1)
	}
}

// policy checks one policy and gives its rule and, if it names one, the place.
func (b *builder) policy(i int, policy *attendance.Policy) (r rule, place int32, ok bool) {
	before := b.failed()
	path := fmt.Sprintf("policies[%d]", i)
	choose := func(key, text string, words []string) int {
		n, err := word(text, words)
		if err != nil {
			b.fail(path+"."+key, "", err)
		}
		return n
	}
	r.line = i
	r.presence = presence(choose("presence", policy.Presence, presenceWords))
	r.outside = []attendance.Verdict{attendance.Flagged, attendance.Accepted, attendance.Refused}[choose("outside", policy.Outside, outsideWords)]
	r.photo = choose("photo", policy.Photo, photoWords) == 1
	if policy.Place == "" {
		return r, 0, b.failed() == before
	}
	place, known := b.j.byID[policy.Place]
	if !known {
		b.fail(path+".place", "", fmt.Errorf("there is no place %q", policy.Place))
		return r, 0, false
	}
	at := &b.j.places[place]
	switch {
	case b.wrong[place]: // its own mistake comes first
	case at.kind == noGo:
		b.fail(path+".place", "", fmt.Errorf("%q is a no-go place, which asks for nothing", policy.Place))
	case r.presence != anyOf && !at.wifi:
		b.fail(path+".presence", "", fmt.Errorf("%q can't be shown at %q, which has no wifi", policy.Presence, policy.Place))
	case r.presence == allOf && at.fence == nil:
		b.fail(path+".presence", "", fmt.Errorf("%q can't be shown at %q, which has no circle or polygon", policy.Presence, policy.Place))
	}
	return r, place, b.failed() == before
}
