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
	// nothing. It is wrong so often that it only settles what is nearly even.
	Count int
	// Before is the layout that this terminal had when it had more records.
	// It is taken if it fits about as well as any.
	Before Layout
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
)

// weighed is what one layout makes of a log.
type weighed struct {
	layout    Layout
	cost      int  // bits
	sane, all int  // records
	rest      bool // the log ends within a record
}

// described lists the layouts that somebody has described.
func described() []Layout { return []Layout{Layout8, LayoutMA300, Layout16, Layout40, Layout49} }

// plausible says that nearly all records can be records. One or two must be
// without fault; of more, one may be damaged or cut off, of many one in five. A
// length that nobody has described must do with three records at least and no
// damage: one that is too long hides damaged records behind good ones.
func (w weighed) plausible() bool {
	damaged := w.all - w.sane
	if w.rest {
		damaged++
	}
	switch known := slices.Contains(described(), w.layout); {
	case w.sane == 0:
		return false
	case w.all < 3:
		return known && damaged == 0
	case !known:
		return damaged == 0
	}
	return damaged <= max(w.all/5, 1)
}

func (w weighed) String() string {
	return fmt.Sprintf("%v (%d of %d records make sense, %d bits)", w.layout, w.sane, w.all, w.cost)
}

// GuessLayout finds the layout of the records of a dataset (without the length
// before them) by what they say: it weighs how ordinary they are under each
// layout and takes the one that is by far the most ordinary. The terminal's
// own count never decides.
//
// If none makes sense of nearly all records, or two do about equally, the error
// wraps [protocol.ErrUnsupported]: nothing is guessed that wages hang on.
// That can happen with a record or two and passes when more are there. For less
// than a record it wraps [protocol.ErrIncomplete]. A dataset that did not come
// whole is not to be guessed at: its beginning may look like another layout.
func GuessLayout(records []byte, h Hints) (Guess, error) {
	if len(records) < Layout8.Size() {
		return Guess{}, fmt.Errorf("zk: attendance log of %d bytes, the shortest record has %d: %w", len(records), Layout8.Size(), protocol.ErrIncomplete)
	}
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
	best, next := all[0], 8*min(len(records), sampleSize)
	rival := "noise"
	if len(all) > 1 && all[1].cost < next {
		next, rival = all[1].cost, all[1].String()
	}
	confidence := next - best.cost
	switch {
	case !best.plausible() || best.cost > 8*min(len(records), sampleSize)-minConfidence:
		return Guess{}, fmt.Errorf("zk: no known layout makes sense of an attendance log of %d bytes; the nearest is %v: %w", len(records), best, protocol.ErrUnsupported)
	case confidence >= minConfidence:
		return Guess{best.layout, confidence, fmt.Sprintf("%v; the next is %s", best, rival)}, nil
	}
	for _, w := range all {
		if w.layout == h.Before && w.plausible() && w.cost < best.cost+minConfidence {
			return Guess{w.layout, max(next-w.cost, 0), fmt.Sprintf("%v, as this terminal had before", w)}, nil
		}
	}
	return Guess{}, fmt.Errorf("zk: an attendance log of %d bytes has two readings: %v, and %s: %w", len(records), best, rival, protocol.ErrUnsupported)
}

// weigh weighs the beginning of a log. All layouts weigh the same bytes.
func weigh(records []byte, l Layout, h Hints) weighed {
	w := weighed{layout: l, rest: len(records)%l.Size() != 0}
	if w.rest {
		w.cost += costPartial
	}
	if h.Count != 0 && h.Count*l.Size() != len(records) {
		w.cost += costWrongCount
	}
	m := meter{layout: l, now: h.Now}
	for raw := range slices.Chunk(records[:min(len(records), sampleSize)], l.Size()) {
		if len(raw) < l.Size() {
			w.cost += 8 * len(raw)
			break
		}
		cost, sane := m.weigh(raw)
		w.cost += cost
		w.all++
		if sane {
			w.sane++
		}
	}
	return w
}
