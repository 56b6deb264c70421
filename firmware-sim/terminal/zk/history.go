package zk

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

const (
	dayLength = attendance.LocalTime(24 * 60 * 60 * 1000)
	// maxDays is how many working days a log tells of; it has more entries a
	// day rather than more days.
	maxDays = 1000
	// turn bounds how far from his hour somebody comes, in seconds.
	turn = 1200
)

// errNoRoom: a terminal's clock begins with 2000, and so does its log.
var errNoRoom = errors.New("the clock must show a year from 2000 to 2099 and leave room for the log before it: set Clock")

// makeHistory fills the log with what happened before the terminal is used
// here: working days up to yesterday, on which people come and go.
func (t *Terminal) makeHistory(random *rand.Rand) error {
	now := t.unbounded()
	if now < epoch || now >= epoch+century {
		return errNoRoom
	}
	logs, staff := t.cfg.Logs, len(t.people.slots)
	if logs == 0 {
		return nil
	}
	perDay := max(2*staff, (logs+maxDays-1)/maxDays)
	perDay += perDay % 2 // who comes also goes
	var days []attendance.LocalTime
	for day := now - now%dayLength - dayLength; len(days)*perDay < logs; day -= dayLength {
		if day < epoch {
			return errNoRoom
		}
		if wd := time.UnixMilli(int64(day)).UTC().Weekday(); wd != time.Saturday && wd != time.Sunday {
			days = append(days, day)
		}
	}
	t.ledger.entries = make([]Entry, 0, logs)
	for i, day := range slices.Backward(days) {
		n := perDay
		if i == len(days)-1 {
			n = logs - (len(days)-1)*perDay
		}
		for _, e := range t.makeDay(random, day, n, i >= len(days)/2) {
			t.ledger.add(e)
		}
	}
	return nil
}

// makeDay makes n entries of a day in the order of their time, of which no two
// have one person and second.
func (t *Terminal) makeDay(random *rand.Rand, day attendance.LocalTime, n int, old bool) []Entry {
	type moment struct {
		uid    uint16
		second int
	}
	const seconds = 24 * 60 * 60
	taken := make(map[moment]bool, n)
	entries := make([]Entry, 0, n)
	staff := len(t.people.slots)
	for i := range n {
		// All come and go, then all have a break, then come and go again.
		p := t.people.people[t.people.slots[i/2%staff]]
		going, breaks := i%2, i/(2*staff)%2
		hour := p.shift + 9*going
		state := uint8(going)
		if breaks == 1 {
			hour, state = p.shift+4+going, uint8(2+going)
		}
		m := moment{p.UID, (hour*3600 + random.IntN(2*turn) - turn + seconds) % seconds}
		for taken[m] {
			m.second = (m.second + 1) % seconds
		}
		taken[m] = true
		e := t.entry(p, random, state)
		e.At = day + attendance.LocalTime(m.second)*1000
		if old && p.former != "" {
			e.PIN = p.former
		}
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return cmp.Compare(a.At, b.At) })
	return entries
}

// entry is one of p without a time, recognised in one of his ways.
func (t *Terminal) entry(p *person, random *rand.Rand, state uint8) Entry {
	if t.cfg.Quirks.NoState {
		state = noState
	}
	return Entry{UID: p.UID, PIN: p.PIN, State: state, Verify: p.ways[random.IntN(len(p.ways))]}
}
