package zk

import (
	"bytes"
	"math/bits"
	"slices"

	"github.com/punchd/punchd/protocol/attendance"
)

// The costs below are lengths in bits of a code for records: what is ordinary
// is short, what is odd is long. Under each, the values of a field together
// have at most the probability 1 (the sum of 2^-cost), so two properties hold.
// Noise gains k bits on its own 8 bits a byte with probability 2^-k at most;
// and the costs of the same bytes under two layouts can be compared. DESIGN.md
// has the table with the reasons.

// A day and a year in milliseconds, as [attendance.LocalTime] is.
const (
	day  = 24 * 60 * 60 * 1000
	year = 366 * day
)

// Costs of a whole record or of what is left of one.
const (
	costPartial    = 24 // and 8 for each byte
	costDamage     = 8  // and 8 for each byte: the most that a record takes
	costOddLayout  = 12 // a length of record that nobody has described
	costWrongCount = 3  // another number of records than the terminal says
)

// meter weighs the records of one layout, in order.
type meter struct {
	layout Layout
	now    attendance.LocalTime // the host's clock, 0 if not known

	before         []byte // the record before, to see repetitions
	possible, sane bool   // whether that one was
	prev           attendance.LocalTime
	seen           bool // prev is set
	steps, rising  int  // from one time to the next, and those not back
	lately         int  // records of the last 400 days
	distinct       int  // records that do not repeat the one before
}

// weigh is the cost of a record, whether it can be one (a real date, a person,
// and one thing at most that is odd), and whether it is sane: nothing is odd. Odd
// are codes in no known use, a date far ahead, and a PIN of other characters than
// are in most. Text that is no log is odd in several at once.
func (m *meter) weigh(b []byte) (cost int, possible, sane bool) {
	if m.possible && bytes.Equal(b, m.before) {
		// A repetition says nothing new of the layout; so that it does not
		// count for any, its cost goes by length.
		m.step(m.prev)
		return len(b), true, m.sane
	}
	m.distinct++
	f := m.layout.fields(b)
	at, ok := unpack(f.time)
	cost = m.timeCost(at, ok) + verifyCost(f.verify) + stateCost(f.state)
	person, odd := false, 0
	switch {
	case m.layout == Layout16:
		cost += numberCost(f.number, 5) + workCodeCost(f.workCode)
		if f.reserved == 0 {
			cost++
		} else {
			cost += 17
		}
		person = f.number != 0
	case f.pin == nil:
		cost += numberCost(uint32(f.uid), 4)
		person = f.uid != 0
	default:
		cost += numberCost(uint32(f.uid), 4) + pinCost(f.pin) + fillerCost(f.rest[:8])
		for _, c := range f.rest[8:] {
			cost += extraCost(c)
		}
		pin := cutNUL(f.pin)
		person = len(pin) > 0 && !slices.ContainsFunc(pin, func(c byte) bool { return pinByteCost(c) > printableCost })
		if slices.ContainsFunc(pin, func(c byte) bool { return pinByteCost(c) > letterCost }) {
			odd++
		}
	}
	for _, is := range []bool{!knownVerify(f.verify), !knownState(f.state), m.now != 0 && at >= m.now+10*year} {
		if is {
			odd++
		}
	}
	possible, sane = ok && person && odd <= 1, ok && person && odd == 0
	m.before, m.possible, m.sane = b, possible, sane
	if ok {
		m.step(at)
		m.prev, m.seen = at, true
	}
	return min(cost, 8*len(b)+costDamage), possible, sane
}

// step counts what the times of the records tell of each other and of now.
func (m *meter) step(to attendance.LocalTime) {
	if m.now != 0 && to > m.now-400*day && to <= m.now+2*day {
		m.lately++
	}
	if !m.seen {
		return
	}
	m.steps++
	if to >= m.prev {
		m.rising++
	}
}

// timeCost is the least of what two ways of telling a time take: as a date, or
// as seconds after or before the record before, where few are shorter than
// many. A date is short if it lies in the last year, longer in the month after a
// reset to 2000, and long where the log of a right clock can't be.
func (m *meter) timeCost(at attendance.LocalTime, ok bool) int {
	if !ok {
		return 48
	}
	cost := 31
	switch {
	case at < reset+31*day:
		cost = 34
	case at < firstUse, at > lastUse, m.now != 0 && at > m.now+2*day:
		cost = 40
	case m.now == 0:
		cost = 32
	case at > m.now-400*day:
		cost = 28
	}
	switch {
	case m.seen && at >= m.prev:
		cost = min(cost, 1+secondsCost(at-m.prev))
	case m.seen:
		cost = min(cost, 5+secondsCost(m.prev-at))
	}
	return cost
}

// Marks in time: where a clock without a battery begins (2000-01-01), and the
// span in which the log of a right clock lies (2010-01-01 to 2050-01-01).
const (
	reset    attendance.LocalTime = 946684800 * 1000
	firstUse attendance.LocalTime = 1262304000 * 1000
	lastUse  attendance.LocalTime = 2524608000 * 1000
)

func secondsCost(d attendance.LocalTime) int { return numberCost(uint32(d/1000)+1, 5) }

func knownVerify(c uint8) bool { return c < 30 || c == 200 || c == 255 }

func verifyCost(c uint8) int {
	switch {
	case c <= 4, c == 15, c == 25:
		return 3
	case knownVerify(c):
		return 8
	}
	return 14
}

func knownState(c uint8) bool { return c < 16 || c == 255 }

func stateCost(c uint8) int {
	switch {
	case c <= 1, c == 255:
		return 2
	case c <= 5:
		return 5
	case knownState(c):
		return 9
	}
	return 14
}

// numberCost tells the length of n and then its bits: small numbers are
// likelier than great ones. 2^width lengths must be enough.
func numberCost(n uint32, width int) int {
	if n == 0 {
		return 32
	}
	return width + bits.Len32(n) - 1
}

// workCodeCost: terminals take eight digits.
func workCodeCost(n uint32) int {
	switch {
	case n == 0:
		return 1
	case n <= 99_999_999:
		return 2 + numberCost(n, 5)
	}
	return 60
}

// pinCost: text of a few digits, a NUL, and zeros.
func pinCost(field []byte) int {
	pin := cutNUL(field)
	cost := pinLengthCost(len(pin))
	for _, c := range pin {
		cost += pinByteCost(c)
	}
	if tail := field[len(pin):]; len(tail) > 0 {
		cost += zerosCost(tail[1:])
	}
	return cost
}

func pinLengthCost(n int) int {
	switch {
	case n == 0:
		return 20
	case n <= 9:
		return 4
	case n <= 14:
		return 7
	case n <= 23:
		return 9
	}
	return 12
}

// What a letter takes in a PIN, and what another character does that can be
// printed. What takes more is in none.
const (
	letterCost    = 8
	printableCost = 10
)

func pinByteCost(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return 4
	case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', c == '-', c == '_', c == '.', c == '/':
		return letterCost
	case ' ' <= c && c <= '~':
		return printableCost
	}
	return 14
}

// zerosCost is for bytes that are zeros, or else anything.
func zerosCost(b []byte) int {
	if len(bytes.Trim(b, "\x00")) == 0 {
		return 1
	}
	cost := 2
	for _, c := range b {
		if c == 0 {
			cost++
		} else {
			cost += 9
		}
	}
	return cost
}

func fillerCost(b []byte) int {
	if string(b) == filler {
		return 1
	}
	return 1 + zerosCost(b)
}

// extraCost is for the bytes that newer firmware appends.
func extraCost(c byte) int {
	switch c {
	case 0:
		return 2
	case 255:
		return 3
	}
	return 9
}
