// Package rig puts simulated devices, a daemon and a stand-in central together
// and counts, from what the two outer ends know, what the daemon lost, doubled,
// invented or put out of order.
//
// Nothing the daemon says of itself enters the count.
package rig

import "fmt"

// Fact is one thing a simulated device made.
type Fact struct {
	// Line is the device whose own order must be kept; facts of one Line are
	// given in that order.
	Line string
	// ID identifies the fact by what the device put into it.
	ID string
	// Promised says that the device may rely on it: a terminal's log entry, an
	// acknowledged check-in. What is not promised may be at central or not.
	Promised bool
}

// Seen is one thing central holds, in order of first arrival.
type Seen struct {
	Line, ID string
	// Event is central's own identity of it. Two events with one ID are one
	// fact counted twice.
	Event string
}

// Tally is the outcome of a count. A run is clean if every number but Promised,
// Made and Held is 0.
type Tally struct {
	Made     int `json:"made"`     // facts the devices made
	Promised int `json:"promised"` // those they may rely on
	Held     int `json:"held"`     // distinct facts central holds

	Lost       int `json:"lost"`         // promised and not at central
	Doubled    int `json:"doubled"`      // one fact as several events
	Invented   int `json:"invented"`     // at central and made by nobody
	OutOfOrder int `json:"out_of_order"` // arrived behind a later one of the same line

	// Examples names the first few of what went wrong, for a person to search.
	Examples []string `json:"examples,omitempty"`
}

// Clean reports whether nothing went wrong.
func (t Tally) Clean() bool { return t.Lost+t.Doubled+t.Invented+t.OutOfOrder == 0 }

const maxExamples = 10

func (t *Tally) example(format string, args ...any) {
	if len(t.Examples) < maxExamples {
		t.Examples = append(t.Examples, fmt.Sprintf(format, args...))
	}
}

// Check compares what devices made with what central holds. Devices can make
// two facts that nothing tells apart (one card twice at a reader without a
// clock); such facts are matched by their number.
func Check(made []Fact, held []Seen) Tally {
	t := Tally{Made: len(made)}
	type place struct {
		index    int // in its line
		promised bool
	}
	places := map[string][]place{} // by Line and ID, in the line's order
	next := map[string]int{}
	for _, f := range made {
		id := f.Line + "\x00" + f.ID
		places[id] = append(places[id], place{next[f.Line], f.Promised})
		next[f.Line]++
		if f.Promised {
			t.Promised++
		}
	}
	taken := map[string]int{}
	latest := map[string]int{}
	for _, s := range held {
		id := s.Line + "\x00" + s.ID
		n := taken[id]
		taken[id]++
		switch of := places[id]; {
		case len(of) == 0:
			t.Invented++
			t.example("invented: %s %s (event %s)", s.Line, s.ID, s.Event)
		case n >= len(of):
			t.Doubled++
			t.example("doubled: %s %s (event %s)", s.Line, s.ID, s.Event)
		default:
			t.Held++
			if at := of[n].index; at < latest[s.Line] {
				t.OutOfOrder++
				t.example("out of order: %s %s came behind number %d of its line", s.Line, s.ID, latest[s.Line])
			} else {
				latest[s.Line] = at
			}
		}
	}
	for _, f := range made {
		id := f.Line + "\x00" + f.ID
		if taken[id] > 0 {
			taken[id]--
			continue
		}
		if f.Promised {
			t.Lost++
			t.example("lost: %s %s", f.Line, f.ID)
		}
	}
	return t
}
