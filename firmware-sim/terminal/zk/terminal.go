// Package zk simulates a ZKTeco terminal: the box on the wall that keeps its own
// log and answers hosts on TCP port 4370.
//
// What it answers follows captures of real terminals where there are any, and
// not what this project's own driver would like to hear. [Quirks] make it one
// of the many that differ. DESIGN.md says what is known and what is chosen.
package zk

import (
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	wire "github.com/punchd/punchd/protocol/zk"
)

// Bounds of a Config.
const (
	maxUsers = 60_000
	maxLogs  = 1_000_000
)

// Config says which terminal to be. The zero value is one without people.
type Config struct {
	ID     string // names it in messages; "sim" if empty
	Serial string // made of Seed and ID if empty
	Users  int    // people, at most 60,000
	Logs   int    // entries in the log when it is switched on, at most 1,000,000
	// Seed decides everything that is drawn. Terminals with one seed have the
	// same people, in other slots; their logs differ with the Serial.
	Seed uint64

	Name, Platform, Firmware string // as it tells hosts; usual ones if empty

	CommKey uint32         // 0: none
	Zone    *time.Location // in which its clock is read; nil: UTC
	// Clock is the true time; nil: time.Now. The face must show a year from
	// 2000 to 2099, and the Logs must have room before it.
	Clock  func() time.Time
	Quirks Quirks
	Log    *slog.Logger // nil: none
}

// Terminal is a simulated terminal. All methods may be called from any
// goroutine.
type Terminal struct {
	cfg     Config
	names   wire.Charset
	logRoom int
	drawn   []string // for a person, what the seed has chosen
	lie     int      // entries that GET_FREE_SIZES says more than there are
	seat    chan struct{}
	cut     atomic.Bool // the quirk of that name has happened
	silent  atomic.Bool

	mu      sync.Mutex
	random  *rand.Rand // of Run
	people  roll
	options map[string]string
	ledger  ledger
	offset  attendance.LocalTime // face minus true time
	jumpAt  int                  // live punches until the clock jumps
	lock    lock
	conns   []*conn // in the order in which they came
	resets  int
	serials int // times that its serial number was asked for
	counts  Counts
}

// Counts is what a terminal has been through.
type Counts struct {
	Users int // now
	Made  int // entries ever made
	First int // Seq of the oldest entry that the log still has; Made if it has none

	Connections       int    // now
	Accepted, Refused uint64 // connections
	Requests          uint64
	BadFrames         uint64 // damaged, or bytes outside any frame

	EventsSent    uint64 // repetitions included
	EventsAcked   uint64
	EventsDropped uint64 // nobody took them fast enough, or a quirk swallowed them
}

// New makes a terminal that is switched on. The error says which part of cfg
// can't be.
func New(cfg Config) (*Terminal, error) {
	t := &Terminal{cfg: cfg, seat: make(chan struct{}, 1)}
	if err := t.build(); err != nil {
		return nil, fmt.Errorf("zk terminal: %w", err)
	}
	return t, nil
}

func (t *Terminal) build() (err error) {
	if err := t.check(); err != nil {
		return err
	}
	c, q := &t.cfg, &t.cfg.Quirks
	if q.Charset != "" {
		if t.names, err = wire.ParseCharset(q.Charset); err != nil {
			return err
		}
	}
	t.logRoom = q.LogFull
	if t.logRoom == 0 {
		t.logRoom = max(100_000, 2*c.Logs)
	}
	t.ledger.room = t.logRoom
	own := fnv.New64a()
	fmt.Fprintf(own, "%d %s", c.Seed, c.Serial)
	seed := own.Sum64()
	t.random = rand.New(rand.NewPCG(seed, streamRun))
	t.offset = attendance.LocalTime(q.ClockSkew.Milliseconds())
	t.resets = q.ResetFirst
	t.options = c.options()
	if t.people, err = newRoll(c, t.names, rand.New(rand.NewPCG(seed, streamSlots))); err != nil {
		return err
	}
	t.draw(rand.New(rand.NewPCG(seed, streamDraw)))
	return t.makeHistory(rand.New(rand.NewPCG(seed, streamHistory)))
}

// What is drawn apart, so that one more or less leaves the others as they are.
const (
	streamPeople = iota + 1
	streamSlots
	streamDraw
	streamHistory
	streamRun
)

// check validates the Config and fills its defaults in.
func (t *Terminal) check() error {
	c := &t.cfg
	if err := c.Quirks.check(c.CommKey); err != nil {
		return err
	}
	switch {
	case c.Users < 0 || c.Users > maxUsers:
		return fmt.Errorf("%d users are not from 0 to %d", c.Users, maxUsers)
	case c.Logs < 0 || c.Logs > maxLogs:
		return fmt.Errorf("%d log entries are not from 0 to %d", c.Logs, maxLogs)
	case c.Logs > 0 && c.Users == 0:
		return errors.New("log entries need users who made them")
	case c.CommKey > maxKey:
		return fmt.Errorf("comm key %d has more than eight digits", c.CommKey)
	}
	if c.Quirks.CommKey != 0 {
		c.CommKey = c.Quirks.CommKey
	}
	setDefault(&c.ID, "sim")
	setDefault(&c.Firmware, "Ver 6.60 Apr 26 2016")
	if c.Quirks.blackAndWhite() {
		setDefault(&c.Platform, "ZEM500")
		setDefault(&c.Name, "A6")
	}
	setDefault(&c.Platform, "ZMM220_TFT")
	setDefault(&c.Name, "K40/ID")
	if c.Serial == "" {
		h := fnv.New32a()
		fmt.Fprintf(h, "%d %s", c.Seed, c.ID)
		c.Serial = fmt.Sprintf("SIM%010d", h.Sum32())
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Log = c.Log.With("terminal", c.ID)
	for what, text := range map[string]string{"serial": c.Serial, "name": c.Name, "platform": c.Platform, "firmware": c.Firmware} {
		if len(text) > maxOption || strings.ContainsRune(text, 0) || strings.HasPrefix(text, "=") {
			return fmt.Errorf("%.64q can't be the %s of a terminal", text, what)
		}
	}
	return nil
}

func setDefault(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// draw makes the choices that hold for the terminal's whole life. What is not
// needed is drawn too.
func (t *Terminal) draw(random *rand.Rand) {
	off, sign, jump := 1+random.IntN(7), random.IntN(2), 1+random.IntN(16)
	if sign == 1 {
		off = -off
	}
	q := &t.cfg.Quirks
	t.note("serial %s, people and log of seed %d", t.cfg.Serial, t.cfg.Seed)
	if q.CountLies == "off" {
		t.lie = off
		t.note("count_lies: %+d entries", off)
	}
	if q.ClockJump != 0 {
		t.jumpAt = jump
		t.note("clock_jump: after punch %d", jump)
	}
}

func (t *Terminal) note(format string, args ...any) {
	t.drawn = append(t.drawn, fmt.Sprintf(format, args...))
}

// Drawn says what the seed has chosen, beside the people and the log, in words.
func (t *Terminal) Drawn() []string { return append([]string(nil), t.drawn...) }

// String names the terminal with everything that decides what it does.
func (t *Terminal) String() string {
	s := fmt.Sprintf("%s: %s %s, serial %s, seed %d", t.cfg.ID, t.cfg.Platform, t.cfg.Name, t.cfg.Serial, t.cfg.Seed)
	if q := t.cfg.Quirks.String(); q != "" {
		s += ", " + q
	}
	return s
}

// Serial is what it tells hosts.
func (t *Terminal) Serial() string { return t.cfg.Serial }

// Counts is what it has been through so far.
func (t *Terminal) Counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts
	c.Users, c.Made, c.First, c.Connections = len(t.people.slots), len(t.ledger.entries), t.ledger.first, len(t.conns)
	return c
}

// face is what the clock shows, to the second. mu is held.
func (t *Terminal) face() attendance.LocalTime {
	now := t.fine()
	return now - now%1000
}

// fine is the face with its milliseconds, which nobody sees. Behind 2099 comes
// 2000 again.
func (t *Terminal) fine() attendance.LocalTime {
	since := (t.unbounded() - epoch) % century
	return epoch + (since+century)%century
}

func (t *Terminal) unbounded() attendance.LocalTime {
	return attendance.LocalOf(t.cfg.Clock().In(t.cfg.Zone)) + t.offset
}

// What a clock can show begins with 2000-01-01 and lasts a hundred years.
const (
	epoch   = attendance.LocalTime(946684800 * 1000)
	century = 36525 * dayLength
)

// lock is what DISABLEDEVICE did.
type lock struct {
	closed bool
	by     *conn
	until  time.Time // zero: until somebody opens it
}

// disabled reports whether people can't use the terminal. mu is held.
func (t *Terminal) disabled() bool {
	return t.lock.closed && (t.lock.until.IsZero() || time.Now().Before(t.lock.until))
}
