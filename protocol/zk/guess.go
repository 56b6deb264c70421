package zk

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

// Hints help [GuessLayout]. The zero value gives none.
type Hints struct {
	// Now is the host's clock in the terminal's zone: most logs end lately.
	Now attendance.LocalTime
	// Count is how many records the terminal says it has, 0 if it says
	// nothing. It is wrong so often that it decides nothing; it only makes a
	// reading with another number of records doubtful.
	Count int
	// Before is the layout that this terminal had when it had more records.
	// It decides between readings that fit, and holds where records are odd.
	Before Layout
	// Configured is the layout that a person has chosen, 0 if none. It is taken
	// unless most of the log makes no sense with it.
	Configured Layout
}

// Guess is a layout that was found.
type Guess struct {
	Layout Layout
	// Confidence is by how many bits the layout describes the log shorter than
	// the next one does: the odds are 2^Confidence to 1.
	Confidence int
	Reason     string // in words, for a person
}

const (
	// sampleSize is how many bytes of a log are weighed, at most.
	sampleSize = 64 << 10
	// minConfidence is the least difference in bits that decides: 256 to 1.
	minConfidence = 8
	// farConfidence is the least for a layout that is known from before and
	// under which many records are damaged, and for few records that are odd.
	farConfidence = 64
	// enough records tell a layout though their codes or dates are odd.
	enough = 10
	// fewest tell a layout without PINs as text: each is few bytes.
	fewest = 3
)

// weighed is what one layout makes of a log.
type weighed struct {
	layout Layout
	cost   int // bits
	all    int // records
	// possible records have a real date and a person, and one thing at most that
	// is odd. In sane ones nothing is.
	possible, sane int
	steps, rising  int  // from one time to the next, and those not back
	lately         int  // records of the last 400 days
	distinct       int  // records that do not repeat the one before
	rest           bool // the log ends within a record
	counted        bool // it has as many records as the terminal says
}

// described lists the layouts that somebody has described.
func described() []Layout { return []Layout{Layout8, LayoutMA300, Layout16, Layout40, Layout49} }

// plausible says that nearly all records can be records. One or two must be
// without fault; of more, one may be damaged or cut off, of many one in five.
// From enough records on, odd codes and dates are no fault, they only cost:
// there are function keys with codes of their own, and clocks that are years
// ahead. That holds for PINs as text only: without it a state of 20 in each
// record of one layout can be a date in each record of another. A length that nobody has described must do with three records at least
// and no fault: one that is too long hides damaged records behind good ones.
func (w weighed) plausible() bool {
	faults, damaged := w.all-w.sane, w.all-w.possible
	if w.rest {
		faults++
		damaged++
	}
	switch known := slices.Contains(described(), w.layout); {
	case w.possible == 0:
		return false
	case w.all < 3:
		return known && faults == 0
	case !known:
		return faults == 0
	case w.all < enough, !w.hasText():
		damaged = faults
	}
	return damaged <= max(w.all/5, 1)
}

// hasText says that the records have the PIN as text.
func (w weighed) hasText() bool { return w.layout >= Layout40 && w.layout != LayoutMA300 }

// text says that the log is made of whole records of a described layout with PINs
// as text, all possible. So much of them is zeros and text that a few are enough
// though each is odd in something.
func (w weighed) text() bool {
	return (w.layout == Layout40 || w.layout == Layout49) && !w.rest && w.possible == w.all
}

func (w weighed) String() string {
	return fmt.Sprintf("%v (%d of %d records make sense, %d bits)", w.layout, w.possible, w.all, w.cost)
}

// GuessLayout finds the layout of the records of a dataset (without the length
// before them) by what they say: it weighs how ordinary they are under each
// layout and takes the one that is by far the most ordinary. The terminal's
// own count never decides.
//
// If none makes sense of nearly all records, or two may be meant, the error
// wraps [protocol.ErrUnsupported]: nothing is guessed that wages hang on.
// That can happen with a record or two and passes when more are there. For less
// than a record it wraps [protocol.ErrIncomplete]. A dataset that did not come
// whole is not to be guessed at: its beginning may look like another layout.
func GuessLayout(records []byte, h Hints) (Guess, error) {
	if len(records) < Layout8.Size() {
		return Guess{}, fmt.Errorf("zk: attendance log of %d bytes, the shortest record has %d: %w", len(records), Layout8.Size(), protocol.ErrIncomplete)
	}
	if h.Configured != 0 {
		return configured(records, h)
	}
	all := weighAll(records, h)
	noise := 8 * min(len(records), sampleSize)
	best, next := all[0], noise
	rival := "noise"
	if len(all) > 1 && all[1].cost < next {
		next, rival = all[1].cost, all[1].String()
	}
	confidence := next - best.cost
	doubted, doubt := doubtful(best, all[1:], h)
	far := 8*best.cost <= 7*noise && confidence >= farConfidence
	switch {
	case best.plausible() && best.cost <= noise-minConfidence:
	case far && best.layout == h.Before:
		return Guess{best.layout, confidence, fmt.Sprintf("%v, as this terminal had before; the next is %s", best, rival)}, nil
	case far && best.text() && !doubt:
		return Guess{best.layout, confidence, fmt.Sprintf("%v, though they are odd; the next is %s", best, rival)}, nil
	default:
		return Guess{}, fmt.Errorf("zk: no known layout makes sense of an attendance log of %d bytes; the nearest is %v: %w", len(records), best, protocol.ErrUnsupported)
	}
	if doubt {
		confidence, rival = 0, doubted.String()
	}
	tooFew := !best.hasText() && best.distinct < fewest && best.layout != h.Before
	switch {
	case confidence < minConfidence:
	case tooFew:
		return Guess{}, fmt.Errorf("zk: an attendance log of %d bytes may be %v, which %d different records or more can tell: %w", len(records), best, fewest, protocol.ErrUnsupported)
	default:
		return Guess{best.layout, confidence, fmt.Sprintf("%v; the next is %s", best, rival)}, nil
	}
	for _, w := range all {
		if w.layout == h.Before && w.plausible() && (w.cost < best.cost+minConfidence || w.inOrder()) {
			return Guess{w.layout, max(next-w.cost, 0), fmt.Sprintf("%v, as this terminal had before", w)}, nil
		}
	}
	return Guess{}, fmt.Errorf("zk: an attendance log of %d bytes has two readings: %v, and %s: %w", len(records), best, rival, protocol.ErrUnsupported)
}

// configured takes the layout that a person has chosen. A wrong one would make
// punches that never were, so it must make sense of half the log.
func configured(records []byte, h Hints) (Guess, error) {
	w := weigh(records, h.Configured, h)
	if w.all == 0 || 2*w.possible < w.all {
		return Guess{}, fmt.Errorf("zk: the layout that is configured does not fit an attendance log of %d bytes: %v: %w", len(records), w, protocol.ErrUnsupported)
	}
	return Guess{w.layout, 0, fmt.Sprintf("%v, as configured", w)}, nil
}

// weighAll weighs the layouts that the log can have, the cheapest first.
func weighAll(records []byte, h Hints) []weighed {
	all := []weighed{}
	for _, l := range described() {
		if l.Size() <= len(records) {
			all = append(all, weigh(records, l, h))
		}
	}
	for l := Layout40 + 1; l <= MaxLayout; l++ {
		// Two records of 40 bytes are no record of 80.
		if l%Layout40 == 0 || l%Layout49 == 0 || len(records)%l.Size() != 0 {
			continue
		}
		if w := weigh(records, l, h); w.plausible() {
			w.cost += costOddLayout
			all = append(all, w)
		}
	}
	slices.SortStableFunc(all, func(a, b weighed) int { return cmp.Compare(a.cost, b.cost) })
	return all
}

// doubtful gives a reading because of which the cheapest is not to be taken
// without a better reason: the layout of before; one that is nearly as cheap
// and has the number of records that the terminal says; records of an MA300,
// one after the other in time, of which two can look like one of 16 bytes; one
// of 16 bytes, which can look like two of an MA300; records of 8 bytes, of which
// a few can look like those of an MA300; or records of which some are of the last
// days, where the cheapest has none.
func doubtful(best weighed, others []weighed, h Hints) (weighed, bool) {
	for _, w := range others {
		if best.lately == 0 && w.possible == w.all && 4*w.lately >= w.all && best.layout != h.Before {
			return w, true
		}
		if best.layout == LayoutMA300 && w.layout == Layout8 && best.distinct < enough && w.possible == w.all && 4*w.cost <= 5*best.cost && best.layout != h.Before {
			return w, true
		}
		if !w.plausible() {
			continue
		}
		switch {
		case best.layout == Layout16 && w.inOrder(),
			best.layout == LayoutMA300 && w.layout == Layout16 && best.layout != h.Before && (!best.inOrder() || 4*w.cost <= 5*best.cost),
			w.layout == h.Before && best.layout != h.Before,
			w.counted && !best.counted && 4*w.cost <= 5*best.cost && best.layout != h.Before:
			return w, true
		}
	}
	return weighed{}, false
}

// inOrder says that records of an MA300 follow each other in time. Of a log of
// 16 bytes, read so, every second time is a work code, which lies before.
func (w weighed) inOrder() bool {
	return w.layout == LayoutMA300 && w.steps > 0 && 5*w.rising >= 4*w.steps
}

// weigh weighs the beginning of a log. All layouts weigh the same bytes.
func weigh(records []byte, l Layout, h Hints) weighed {
	w := weighed{layout: l, rest: len(records)%l.Size() != 0, counted: h.Count != 0 && h.Count*l.Size() == len(records)}
	if w.rest {
		w.cost += costPartial
	}
	if h.Count != 0 && !w.counted {
		w.cost += costWrongCount
	}
	m := meter{layout: l, now: h.Now}
	for raw := range slices.Chunk(records[:min(len(records), sampleSize)], l.Size()) {
		if len(raw) < l.Size() {
			w.cost += 8 * len(raw)
			break
		}
		cost, possible, sane := m.weigh(raw)
		w.cost += cost
		w.all++
		if possible {
			w.possible++
		}
		if sane {
			w.sane++
		}
	}
	w.steps, w.rising, w.lately, w.distinct = m.steps, m.rising, m.lately, m.distinct
	return w
}
