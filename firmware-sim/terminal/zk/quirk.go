package zk

import (
	"errors"
	"fmt"
	"strings"
	"time"

	wire "github.com/punchd/punchd/protocol/zk"
)

// Quirks are the ways in which terminals differ from the protocol and from each
// other. The zero value is a common terminal with a colour screen. [KnownQuirks]
// says what each one means and who shows it.
type Quirks struct {
	// What its tables are like.
	AttSize   wire.Layout // 0: 40 bytes; 8, MA300 and 16 make it a black-and-white terminal
	Sizes     int         // bytes of GET_FREE_SIZES, 0: 92
	CountLies string      // zero, off, huge
	LogFull   int         // entries for which the log has room, 0: plenty
	Charset   string      // of names, empty: utf-8
	PINAlnum  bool
	UIDReuse  bool
	NoState   bool // every entry has the state 255

	// What it answers.
	Connect        wire.Command // the code that refuses CONNECT, 0: none
	CommKey        uint32       // in place of that of the Config
	KeyClose       bool         // hangs up on a wrong key
	Bulk           wire.Command // the code that refuses DATA_WRRQ, 0: none
	Piece          int          // bytes of a piece of a chunk; 0: one piece for all
	Trailing       string       // glued, missing
	OptUnknown     string       // error, unknown, 1387, silent, empty
	CmdUnknown     string       // error, unknown
	SerialRefused  int          // times that it tells its serial number before it refuses it for some, 0: always told
	RestartNoReply bool
	DisableIgnored bool
	StuckDisabled  bool

	// Its clock.
	ClockSkew time.Duration // face minus true time
	ClockJump time.Duration // once
	DupSecond bool

	// Its events.
	RTLen      int // bytes of a record, 0: that of its generation
	SilentDrop int // events after which a connection gets no more, 0: never
	Resend     bool
	Dup        bool

	// The line.
	Split         int           // bytes of a segment, 0: whole frames
	Coalesce      bool          // many frames in a segment
	Gap           time.Duration // between the frames of a bulk answer, 0: 4 ms
	BadChecksum   bool
	SingleClient  string // refuse, starve
	ResetFirst    int    // connections that are reset when they come in
	Slow          int    // bytes a second, 0: as fast as can be
	Silence       int    // bytes of a bulk answer after which it says nothing more, 0: never
	SilenceAlways bool
	Cut           int // bytes of a bulk answer after which it hangs up, once; 0: never
}

// Values with a meaning of their own.
const (
	PieceWhole = -1                // Quirks.Piece: each chunk is one DATA packet, no stream
	ResetAll   = -1                // Quirks.ResetFirst: all connections
	NoGap      = time.Duration(-1) // Quirks.Gap
)

// maxKey is the greatest comm key that terminals take.
const maxKey = 99_999_999

// QuirkInfo describes a quirk for a person.
type QuirkInfo struct {
	Name  string
	Value string // what may stand behind '=', empty: nothing
	Means string
	Seen  string // where it was met
}

// KnownQuirks lists all quirks.
func KnownQuirks() []QuirkInfo {
	var all []QuirkInfo
	for _, b := range new(Quirks).bindings() {
		all = append(all, QuirkInfo{b.name, b.value, b.means, b.seen})
	}
	return all
}

// ParseQuirk sets in q what text says: a name, or a name and a value as in
// att_size=49. The error names the quirks or the values there are.
func ParseQuirk(q *Quirks, text string) error {
	name, value, given := strings.Cut(text, "=")
	all := q.bindings()
	names := make([]string, len(all))
	for i, b := range all {
		if names[i] = b.name; b.name != name {
			continue
		}
		if given == (b.value == "") {
			return fmt.Errorf("zk terminal: quirk %s: it takes %s", name, b.takes())
		}
		if err := b.set(value); err != nil {
			return fmt.Errorf("zk terminal: quirk %s takes %s: %w", name, b.takes(), err)
		}
		return nil
	}
	return fmt.Errorf("zk terminal: there is no quirk %.64q (known: %s)", name, strings.Join(names, ", "))
}

// String is the quirks as [ParseQuirk] reads them, with spaces between.
func (q Quirks) String() string {
	var all []string
	for _, b := range q.bindings() {
		switch value := b.get(); {
		case value == "":
		case b.value == "":
			all = append(all, b.name)
		default:
			all = append(all, b.name+"="+value)
		}
	}
	return strings.Join(all, " ")
}

// numbersOnly reports whether some form on the wire holds PINs as numbers.
func (q Quirks) numbersOnly() bool { return q.blackAndWhite() || q.RTLen == 12 }

// blackAndWhite reports whether it is of the older generation, with user
// records of 28 bytes.
func (q Quirks) blackAndWhite() bool { return q.layout() == wire.Layout16 || !q.layout().HasPIN() }

func (q Quirks) layout() wire.Layout {
	if q.AttSize == 0 {
		return wire.Layout40
	}
	return q.AttSize
}

// form is the length of a record in an event.
func (q Quirks) form() int {
	switch l := q.layout(); {
	case q.RTLen != 0:
		return q.RTLen
	case !l.HasPIN():
		return 10
	case l == wire.Layout16:
		return 12
	}
	return 32
}

// check refuses what no terminal can be, and what would leave nobody able to
// say which entries are right.
func (q Quirks) check(commKey uint32) error {
	for _, b := range q.bindings() {
		if value := b.get(); value != "" {
			if err := b.set(value); err != nil {
				return fmt.Errorf("%s=%s: it takes %s: %w", b.name, value, b.takes(), err)
			}
		}
	}
	switch {
	case q.PINAlnum && q.numbersOnly():
		return errors.New("pin_alnum: att_size=8, ma300 and 16 and rt_len=12 hold PINs as numbers")
	case q.UIDReuse && !q.layout().HasPIN():
		return errors.New("uid_reuse: att_size=8 and ma300 name people by slot alone, so nobody could tell whose the old entries are")
	case q.Dup && q.DupSecond:
		return errors.New("dup and dup_second: nobody could tell an entry that is repeated from two that are alike")
	case commKey != 0 && q.CommKey != 0 && commKey != q.CommKey:
		return errors.New("comm_key: the configuration has another one")
	}
	return nil
}
