package roster

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/roster/strict"
)

// Examined is what can be told of a roster file at once.
type Examined struct {
	Snapshot *Snapshot // as far as it can be read; never in force
	Mistakes strict.Problems
	Warnings strict.Problems // of a roster without mistakes
}

// Examine reads a roster file for a person who wants to hear of every mistake
// in it. A [Keeper] stops at the first sort of mistake it finds; this goes on,
// and leaves out what is only the consequence of another mistake. Accept is
// that of [Config], and gives warnings too; both may be [attendance.EntryError]s.
// The snapshot it is given has no Index if the employees are wrong. An error
// says that there is no file to read.
func Examine(file string, accept func(*Snapshot) (warnings []error, err error)) (*Examined, error) {
	text, _, err := readFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %s", file)
	} else if err != nil {
		return nil, err
	}
	return examine(file, text, accept), nil
}

func examine(file string, text []byte, accept func(*Snapshot) ([]error, error)) *Examined {
	sum := sha256.Sum256(text)
	s := &Snapshot{Roster: &attendance.Roster{}, Digest: hex.EncodeToString(sum[:]), Source: file}
	x := &Examined{Snapshot: s}
	doc, err := strict.Decode(file, text, s.Roster)
	if err != nil {
		x.Mistakes, _ = errors.AsType[strict.Problems](err)
		for _, p := range x.Mistakes {
			if p.Path == "" {
				return x // it is not read to its end
			}
		}
		if doc, err = strict.Open(file, text); err != nil {
			return x
		}
	}
	s.Version = cmp.Or(s.Roster.Version, s.Digest[:12])
	form := x.Mistakes
	if s.Index, err = attendance.NewIndex(s.Roster); err != nil {
		x.Mistakes = append(x.Mistakes, without(form, s.Roster, located(doc, err))...)
	}
	if accept != nil && !tooLong(s.Roster) {
		warnings, err := accept(s)
		if err != nil {
			x.Mistakes = append(x.Mistakes, without(form, s.Roster, located(doc, err))...)
		}
		if len(x.Mistakes) == 0 && len(warnings) > 0 {
			x.Warnings = located(doc, errors.Join(warnings...))
		}
	}
	sortByLine(x.Mistakes)
	return x
}

// tooLong reports whether a roster is over a bound, which is then all that is
// said of it.
func tooLong(r *attendance.Roster) bool {
	return len(r.Employees) > attendance.MaxEmployees || len(r.Places) > attendance.MaxPlaces ||
		len(r.Policies) > attendance.MaxPolicies || len(r.Excuses) > attendance.MaxExcuses
}

// without leaves out of what was found in the content what comes, or may come,
// of a mistake of the form: a key that is misspelt is missing elsewhere.
func without(form strict.Problems, r *attendance.Roster, content strict.Problems) strict.Problems {
	if len(form) == 0 {
		return content
	}
	return slices.DeleteFunc(content, func(p *strict.Problem) bool {
		return slices.ContainsFunc(form, func(f *strict.Problem) bool { return follows(p, f, r) })
	})
}

var (
	employeeOf = regexp.MustCompile(`^excuses\[\d+\]\.employee$`)
	placeOf    = regexp.MustCompile(`^policies\[\d+\]\.(place|presence)$`)
	policy     = regexp.MustCompile(`^policies\[\d+\]$`)
	missing    = regexp.MustCompile(`(is empty|is missing|no such employee)$`)
)

// follows reports whether p may be a consequence of f.
func follows(p, f *strict.Problem, r *attendance.Roster) bool {
	unknown := strings.HasPrefix(f.Message, "unknown key")
	list := unknown && !strings.Contains(f.Path, ".") // it may be any of the lists
	switch {
	case p.Path == f.Path, below(p.Path, f.Path), below(f.Path, p.Path):
		return true
	case unknown && parent(p.Path) == parent(f.Path) && missing.MatchString(p.Message):
		return true // the unknown key may be meant for it
	case employeeOf.MatchString(p.Path):
		return list || f.Path == "employees" || slices.ContainsFunc(r.Employees, func(e attendance.Employee) bool { return e.ID == "" })
	case placeOf.MatchString(p.Path):
		return list || f.Path == "places" || below(f.Path, "places")
	case policy.MatchString(p.Path): // for the same group and place as another
		return below(f.Path, "policies")
	}
	return false
}

func parent(path string) string { return path[:max(strings.LastIndexByte(path, '.'), 0)] }

// below reports whether a path leads to something inside another. The empty
// path is no place.
func below(path, above string) bool {
	return above != "" && len(path) > len(above) && strings.HasPrefix(path, above) && (path[len(above)] == '.' || path[len(above)] == '[')
}
