package zk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

// Layout is the form of a terminal's attendance records. A terminal does not
// say which it has: see [GuessLayout].
type Layout uint16

// The layouts. A record longer than 40 bytes begins like one of 40; what newer
// firmware puts behind it is not known. Layout(n) is such a one of n bytes.
const (
	Layout8     Layout = 8         // slot, verify, time, state
	LayoutMA300 Layout = 0x100 | 8 // the same length, slot, verify, state, time: MA300
	Layout16    Layout = 16        // PIN as a number, time, verify, state, work code
	Layout40    Layout = 40        // slot, PIN as text, verify, time, state
	Layout49    Layout = 49        // of 40, and nine bytes more

	// MaxLayout is the longest record that is read as one of 40 and more.
	MaxLayout Layout = 128
)

// Size is the length of a record in bytes.
func (l Layout) Size() int { return int(l & 0xff) }

// HasPIN reports whether records name their person by PIN. The others have the
// slot alone: the PIN stands in the user table.
func (l Layout) HasPIN() bool { return l != Layout8 && l != LayoutMA300 }

// Valid reports whether l is one of the layouts.
func (l Layout) Valid() bool {
	return l == Layout8 || l == LayoutMA300 || l == Layout16 || l >= Layout40 && l <= MaxLayout
}

// String is the layout as [ParseLayout] reads it: 40, or 8-ma300.
func (l Layout) String() string {
	if l == LayoutMA300 {
		return "8-ma300"
	}
	return strconv.Itoa(int(l))
}

// ParseLayout reads a layout that a person has chosen.
func ParseLayout(s string) (Layout, error) {
	if s == LayoutMA300.String() {
		return LayoutMA300, nil
	}
	if n, err := strconv.ParseUint(s, 10, 8); err == nil && Layout(n).Valid() {
		return Layout(n), nil
	}
	return 0, fmt.Errorf("zk: %.32q is no layout of attendance records (known: 8, 8-ma300, 16, 40, 49, others up to %d)", s, MaxLayout)
}

// Record is an entry of a terminal's attendance log.
type Record struct {
	UID    uint16 // slot in the user table at that time, 0 if the layout has none
	PIN    string // who it is, empty if the record has the slot alone; 0012 is not 12
	Verify uint8  // how, as a code: 0 password, 1 fingerprint, 2 card, 15 face, ...
	State  uint8  // the state key: 0 in, 1 out, 2 and 3 break out and in, 4 and 5 overtime in and out, 255 none
	At     attendance.LocalTime
	// WorkCode is what the person typed in beside the state, 0 if nothing.
	WorkCode uint32
	Raw      []byte // the record as it came; shares memory with what was parsed
}

// filler is what stands in bytes 32 to 39 of a record of 40.
const filler = "\x00\x00\x00\x00\xff\x00\x00\x00"

// fields are a record's parts before anything is thought of them.
type fields struct {
	uid           uint16
	pin           []byte // the field of 24 bytes, nil if the layout has none
	number        uint32 // the PIN of Layout16
	verify, state uint8
	time          uint32
	reserved      uint16 // Layout16
	workCode      uint32
	rest          []byte // from byte 32 on
}

func (l Layout) fields(b []byte) fields {
	le := binary.LittleEndian
	switch l {
	case Layout8:
		return fields{uid: le.Uint16(b), verify: b[2], time: le.Uint32(b[3:]), state: b[7]}
	case LayoutMA300:
		return fields{uid: le.Uint16(b), verify: b[2], state: b[3], time: le.Uint32(b[4:])}
	case Layout16:
		return fields{number: le.Uint32(b), time: le.Uint32(b[4:]), verify: b[8], state: b[9], reserved: le.Uint16(b[10:]), workCode: le.Uint32(b[12:])}
	}
	return fields{uid: le.Uint16(b), pin: b[2:26], verify: b[26], time: le.Uint32(b[27:]), state: b[31], rest: b[32:]}
}

// ParseRecords reads the records of a dataset. Those that can't be read, with
// an impossible date or nobody's name, are kept apart with their bytes, and so
// is what is left at the end: nothing is lost, and one damaged record does not
// hold up the rest. The error says that there is no such layout, or wraps
// [protocol.ErrTooLarge].
func ParseRecords(b []byte, l Layout) (records []Record, bad []Bad, err error) {
	switch {
	case !l.Valid():
		return nil, nil, fmt.Errorf("zk: there is no attendance record of the layout %d: %w", l, protocol.ErrUnsupported)
	case len(b) > MaxDataset:
		return nil, nil, fmt.Errorf("zk: attendance log of %d bytes, at most %d: %w", len(b), MaxDataset, protocol.ErrTooLarge)
	}
	size := l.Size()
	records = make([]Record, 0, len(b)/size)
	pins := interner{}
	i := 0
	for raw := range slices.Chunk(b, size) {
		if len(raw) < size {
			bad = append(bad, partial(i, raw, size))
		} else if r, err := parseRecord(raw, l, pins); err != nil {
			bad = append(bad, Bad{i, raw, err})
		} else {
			records = append(records, r)
		}
		i++
	}
	return records, bad, nil
}

func parseRecord(b []byte, l Layout, pins interner) (Record, error) {
	f := l.fields(b)
	at, ok := unpack(f.time)
	if !ok {
		return Record{}, fmt.Errorf("zk: time %08x of an attendance record is no date: %w", f.time, protocol.ErrMalformed)
	}
	r := Record{UID: f.uid, Verify: f.verify, State: f.state, At: at, WorkCode: f.workCode, Raw: b}
	switch pin := cutNUL(f.pin); {
	case !printable(pin):
		return Record{}, fmt.Errorf("zk: PIN %q of an attendance record: %w", pin, protocol.ErrMalformed)
	case len(pin) > 0:
		r.PIN = pins.text(pin)
	case f.number != 0:
		r.PIN = pins.number(f.number)
	case f.uid == 0:
		return Record{}, fmt.Errorf("zk: attendance record of nobody: %w", protocol.ErrMalformed)
	}
	return r, nil
}

// Salvage reads what can be read of a record that [ParseRecords] gives back as
// bad: At is 0 if its time is no date, and PIN and UID are empty if they name
// nobody. It needs all bytes of the record.
func Salvage(raw []byte, l Layout) (Record, error) {
	if !l.Valid() || len(raw) != l.Size() {
		return Record{}, fmt.Errorf("zk: %d bytes are no whole attendance record of the layout %v: %w", len(raw), l, protocol.ErrMalformed)
	}
	f := l.fields(raw)
	r := Record{UID: f.uid, Verify: f.verify, State: f.state, WorkCode: f.workCode, Raw: raw}
	if at, ok := unpack(f.time); ok {
		r.At = at
	}
	switch pin := cutNUL(f.pin); {
	case !printable(pin):
	case len(pin) > 0:
		r.PIN = string(pin)
	case f.number != 0:
		r.PIN = strconv.FormatUint(uint64(f.number), 10)
	}
	return r, nil
}

// interner keeps one string for each PIN: a log names the same few hundred
// people a hundred thousand times.
type interner map[string]string

func (in interner) text(b []byte) string {
	s, ok := in[string(b)]
	if !ok {
		s = string(b)
		in[s] = s
	}
	return s
}

func (in interner) number(n uint32) string {
	var digits [10]byte
	return in.text(strconv.AppendUint(digits[:0], uint64(n), 10))
}

// AppendRecord appends r in a layout; bytes of unknown meaning are those most
// often seen. It fails if the layout has no room for what r says: a PIN that
// is no number in [Layout16], a work code anywhere else.
func AppendRecord(dst []byte, l Layout, r Record) ([]byte, error) {
	t, err := EncodeTime(r.At)
	if err != nil {
		return dst, err
	}
	le := binary.LittleEndian
	number, numeric := numericPIN(r.PIN)
	switch {
	case !l.Valid():
		return dst, fmt.Errorf("zk: there is no attendance record of the layout %d: %w", l, protocol.ErrUnsupported)
	case l != Layout16 && r.WorkCode != 0:
		return dst, fmt.Errorf("zk: the layout %v has no work code", l)
	case l == Layout16 && (!numeric || r.UID != 0):
		return dst, fmt.Errorf("zk: the layout %v has no slot and takes a number as PIN, not %.32q", l, r.PIN)
	case l == Layout16:
		dst = le.AppendUint32(le.AppendUint32(dst, number), t)
		return le.AppendUint32(append(dst, r.Verify, r.State, 0, 0), r.WorkCode), nil
	case !l.HasPIN() && r.PIN != "":
		return dst, fmt.Errorf("zk: the layout %v has the slot alone, not PIN %.32q", l, r.PIN)
	case r.UID == 0 && r.PIN == "" || len(r.PIN) > 24 || !printable([]byte(r.PIN)):
		return dst, fmt.Errorf("zk: an attendance record of slot %d and PIN %.32q", r.UID, r.PIN)
	}
	dst = le.AppendUint16(dst, r.UID)
	switch l {
	case Layout8:
		return append(le.AppendUint32(append(dst, r.Verify), t), r.State), nil
	case LayoutMA300:
		return le.AppendUint32(append(dst, r.Verify, r.State), t), nil
	}
	dst = append(appendPadded(dst, r.PIN, 24), r.Verify)
	dst = append(le.AppendUint32(dst, t), r.State)
	return append(append(dst, filler...), make([]byte, l.Size()-int(Layout40))...), nil
}

// appendPadded appends text in a field of zeros. The caller knows that it fits.
func appendPadded(dst []byte, text string, room int) []byte {
	dst = append(dst, text...)
	return append(dst, bytes.Repeat([]byte{0}, room-len(text))...)
}
