package roster

import (
	"cmp"
	"math"
	"slices"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/roster/strict"
)

// located gives each entry that an error names its line in the file, in the
// order of the lines; what names no entry comes last.
func located(file string, doc *strict.Document, err error) strict.Problems {
	var list strict.Problems
	for _, e := range parts(err) {
		entry, ok := e.(*attendance.EntryError)
		switch {
		case !ok:
			list = append(list, &strict.Problem{File: file, Message: e.Error()})
		case len(list) >= strict.MaxProblems: // no more are told, so they need no line
			list = append(list, &strict.Problem{File: file, Path: entry.Path, Message: entry.Err.Error()})
		case entry.ID == "":
			list = append(list, doc.Problem(entry.Path, "%v", entry.Err))
		default:
			list = append(list, doc.Problem(entry.Path, "%q: %v", entry.ID, entry.Err))
		}
	}
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
