// Package rig puts simulated devices, a daemon and a stand-in central together
// and counts, from what the two outer ends know, what the daemon lost, doubled,
// invented, altered or put out of order.
//
// Nothing the daemon says of itself enters the count.
//
// What it can't find: a daemon that acknowledges a terminal's or reader's punch
// before it is durable, and is killed in between. A terminal keeps its log
// whatever is acknowledged, and a new process reads all of it, so nothing is
// lost; what a reader shows to a daemon that is being killed is lost by any
// daemon, so it is no promise. Gateway tests with a ledger that can't be written
// see to that.
package rig

import (
	"fmt"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

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
	Says     *Says // nil: not looked at
}

// Says is what central must be told of a fact beside what identifies it, so
// that nobody is paid for what another one did, or for another hour.
type Says struct {
	Employee  string // of the roster; empty: nobody
	At        time.Time
	Verdict   attendance.Verdict
	Direction attendance.Direction
	Method    attendance.Method

	// Within is how far At may be off, for what the daemon's own clock dates.
	Within time.Duration
}

// differs says in words what of the fact central was told otherwise.
func (want *Says) differs(told *Says) string {
	text := ""
	add := func(same bool, what string, told, want any) {
		if !same {
			text += fmt.Sprintf(", %s %q is told as %q", what, fmt.Sprint(want), fmt.Sprint(told))
		}
	}
	add(told.Employee == want.Employee, "employee", told.Employee, want.Employee)
	add(told.At.Sub(want.At).Abs() <= want.Within, "time", told.At.UTC().Format(time.RFC3339Nano), want.At.UTC().Format(time.RFC3339Nano))
	add(told.Verdict == want.Verdict, "verdict", told.Verdict, want.Verdict)
	add(told.Direction == want.Direction, "direction", told.Direction, want.Direction)
	add(told.Method == want.Method, "method", told.Method, want.Method)
	return text
}

// Seen is one thing central holds, in order of first arrival.
type Seen struct {
	Line, ID string
	// Event is central's own identity of it. Two events with one ID are one
	// fact counted twice.
	Event string
	// Sequence is its place in the gateway's ledger.
	Sequence uint64
	Says     *Says
}

// Fault is one thing that went wrong.
type Fault struct {
	Kind     FaultKind
	Line, ID string
	Index    int // of the fact among those of its line; -1 for what nobody made
	Event    string
	What     string // is Altered, and how
}

// FaultKind says what went wrong.
type FaultKind string

// The kinds of fault.
const (
	Lost       FaultKind = "lost"         // promised and not at central
	Doubled    FaultKind = "doubled"      // one fact as several events
	Invented   FaultKind = "invented"     // at central and made by nobody
	OutOfOrder FaultKind = "out of order" // arrived behind a later one of the same line
	Altered    FaultKind = "altered"      // at central as somebody else's, at another time, or with another verdict, direction or method
)

// String describes the fault for a person to search.
func (f Fault) String() string {
	s := fmt.Sprintf("%s: %s %s", f.Kind, f.Line, f.ID)
	if f.Index >= 0 {
		s += fmt.Sprintf(", number %d of its line", f.Index)
	}
	if f.Event != "" {
		s += ", event " + f.Event
	}
	return s + f.What
}

// Tally is the outcome of a count. A run is clean if it has no faults.
type Tally struct {
	Made     int // facts the devices made
	Promised int // those they may rely on
	Held     int // distinct facts central holds

	Lost, Doubled, Invented, OutOfOrder, Altered int

	Faults []Fault // the first maxFaults of them
}

// maxFaults bounds the faults that are told one by one.
const maxFaults = 10_000

// Clean reports whether nothing went wrong.
func (t *Tally) Clean() bool { return t.Lost+t.Doubled+t.Invented+t.OutOfOrder+t.Altered == 0 }

// String counts the faults.
func (t *Tally) String() string {
	return fmt.Sprintf("lost %d, doubled %d, invented %d, out of order %d, altered %d", t.Lost, t.Doubled, t.Invented, t.OutOfOrder, t.Altered)
}

// add adds the counts of faults of another run.
func (t *Tally) add(other *Tally) {
	t.Lost, t.Doubled, t.Invented = t.Lost+other.Lost, t.Doubled+other.Doubled, t.Invented+other.Invented
	t.OutOfOrder, t.Altered = t.OutOfOrder+other.OutOfOrder, t.Altered+other.Altered
}

// Examples describes the first few faults.
func (t *Tally) Examples() []string {
	var examples []string
	for _, f := range t.Faults[:min(len(t.Faults), 10)] {
		examples = append(examples, f.String())
	}
	return examples
}

func (t *Tally) fault(f Fault) {
	switch f.Kind {
	case Lost:
		t.Lost++
	case Doubled:
		t.Doubled++
	case Invented:
		t.Invented++
	case OutOfOrder:
		t.OutOfOrder++
	case Altered:
		t.Altered++
	}
	if len(t.Faults) < maxFaults {
		t.Faults = append(t.Faults, f)
	}
}

// identity is what a fact is found by.
type identity struct{ line, id string }

// place is where a fact stands.
type place struct {
	index int // in its line
	says  *Says
}

// Check compares what devices made with what central holds. Devices can make
// two facts that nothing tells apart (one card twice at a reader without a
// clock); such facts are matched by their number.
func Check(made []Fact, held []Seen) *Tally {
	t := &Tally{Made: len(made)}
	places := make(map[identity][]place, len(made))
	next := map[string]int{}
	for _, f := range made {
		id := identity{f.Line, f.ID}
		places[id] = append(places[id], place{next[f.Line], f.Says})
		next[f.Line]++
		if f.Promised {
			t.Promised++
		}
	}
	taken := make(map[identity]int, len(held))
	latest := map[string]int{}
	for _, s := range held {
		id := identity{s.Line, s.ID}
		n := taken[id]
		taken[id]++
		switch of := places[id]; {
		case len(of) == 0:
			t.fault(Fault{Invented, s.Line, s.ID, -1, s.Event, ""})
		case n >= len(of):
			t.fault(Fault{Doubled, s.Line, s.ID, of[len(of)-1].index, s.Event, ""})
		default:
			t.Held++
			at := of[n]
			if at.index < latest[s.Line] {
				t.fault(Fault{OutOfOrder, s.Line, s.ID, at.index, s.Event, ""})
			} else {
				latest[s.Line] = at.index
			}
			if at.says != nil && s.Says != nil {
				if what := at.says.differs(s.Says); what != "" {
					t.fault(Fault{Altered, s.Line, s.ID, at.index, s.Event, what})
				}
			}
		}
	}
	clear(next)
	for _, f := range made {
		id := identity{f.Line, f.ID}
		index := next[f.Line]
		next[f.Line]++
		if taken[id] > 0 {
			taken[id]--
		} else if f.Promised {
			t.fault(Fault{Lost, f.Line, f.ID, index, "", ""})
		}
	}
	return t
}
