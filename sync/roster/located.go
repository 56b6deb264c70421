package roster

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/roster/strict"
)

// located gives each entry that an error names its line in the file, in the
// order of the lines; what names no entry comes last.
func located(doc *strict.Document, err error) strict.Problems {
	var list strict.Problems
	for _, e := range parts(err) {
		p := &strict.Problem{Message: e.Error()}
		if entry, ok := e.(*attendance.EntryError); ok {
			p.Path, p.Message = entry.Path, entry.Err.Error()
			if entry.ID != "" {
				p.Message = fmt.Sprintf("%.128q: %v", entry.ID, entry.Err)
			}
		}
		list = append(list, p)
	}
	doc.Place(list)
	sortByLine(list)
	return list
}

// sortByLine puts what has no line last.
func sortByLine(list strict.Problems) {
	slices.SortStableFunc(list, func(a, b *strict.Problem) int {
		line := func(p *strict.Problem) int {
			if p.Line == 0 {
				return math.MaxInt
			}
			return p.Line
		}
		return cmp.Or(cmp.Compare(line(a), line(b)), cmp.Compare(a.Column, b.Column))
	})
}

// parts takes an error apart where that leads to entries; any other stays
// whole.
func parts(err error) []error {
	if isEntry(err) {
		return []error{err}
	}
	var inner []error
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			inner = append(inner, parts(one)...)
		}
	case interface{ Unwrap() error }:
		inner = parts(e.Unwrap())
	}
	if slices.ContainsFunc(inner, isEntry) {
		return inner
	}
	return []error{err}
}

func isEntry(err error) bool { _, ok := err.(*attendance.EntryError); return ok }
