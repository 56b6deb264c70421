package buffer

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/ledger"
)

// version is that of the keys and values (FORMAT.md). A buffer of another one
// is not converted: it is put aside and made anew from the ledger.
const version = 1

// The keys that stand alone.
var (
	keyVersion = []byte("m/version")
	keyLedger  = []byte("m/ledger")
	keyApplied = []byte("m/applied")
	keyCounts  = []byte("m/counts")
	keyHead    = []byte("m/head")
	keyClean   = []byte("m/clean")
)

// The prefixes of the others.
const (
	prefixBlock  = "r/"
	prefixKey    = "k/"
	prefixPhone  = "c/"
	prefixSink   = "s/"
	prefixParked = "p/"
	prefixDue    = "t/"
	prefixDead   = "d/"

	prefixFinding = "f/"
)

// lost is the value of a block whose frames the ledger had lost before they
// were copied. An empty value would not do: that is also what Badger gives for
// one it can't read, with a nil error.
var lost = []byte{0}

// maxInline is the size in bytes up to which a value stands in Badger's tables,
// which are verified when they are opened. All but blocks must be smaller.
const maxInline = 127

// MaxSinkName bounds a sink's name in bytes.
const MaxSinkName = 64

// CheckSinkName says what is wrong with a sink's name, nil if nothing is.
func CheckSinkName(name string) error {
	if name == "" || len(name) > MaxSinkName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("buffer: sink name %.80q must have 1 to %d bytes of printable text", name, MaxSinkName)
	}
	return nil
}

func blockKey(first uint64, count uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64([]byte(prefixBlock), first), count)
}

func parseBlockKey(k []byte) (first uint64, count uint32, err error) {
	if len(k) != len(prefixBlock)+12 {
		return 0, 0, fmt.Errorf("buffer: block key %x: %w", k, protocol.ErrMalformed)
	}
	k = k[len(prefixBlock):]
	return binary.BigEndian.Uint64(k), binary.BigEndian.Uint32(k[8:]), nil
}

func punchKey(k attendance.Key) []byte { return append([]byte(prefixKey), k[:]...) }

// phoneKey holds a digest, so that no length of an id can make a key too long.
func phoneKey(phone string) []byte {
	sum := sha256.Sum256([]byte(phone))
	return append([]byte(prefixPhone), sum[:16]...)
}

func sinkKey(sink string) []byte { return []byte(prefixSink + sink) }

// sinkPrefix begins the keys of a sink's records. A name holds no zero byte.
func sinkPrefix(prefix, sink string) []byte { return []byte(prefix + sink + "\x00") }

func recordKey(prefix, sink string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(sinkPrefix(prefix, sink), seq)
}

func parseRecordKey(k []byte) (seq uint64) { return binary.BigEndian.Uint64(k[len(k)-8:]) }

func dueKey(sink string, until time.Time, seq uint64) []byte {
	k := binary.BigEndian.AppendUint64(sinkPrefix(prefixDue, sink), nanos(until))
	return binary.BigEndian.AppendUint64(k, seq)
}

func parseDueKey(k []byte) (until time.Time, seq uint64) {
	return instant(binary.BigEndian.Uint64(k[len(k)-16:])), binary.BigEndian.Uint64(k[len(k)-8:])
}

// nanos keeps an instant as nanoseconds since 1970, 0 for the unset time. An
// instant before 1970 is the first after it, one beyond 2262 the last.
func nanos(t time.Time) uint64 {
	switch {
	case t.IsZero():
		return 0
	case t.Before(time.Unix(0, 1)):
		return 1
	case t.After(time.Unix(0, 1<<63-1)):
		return 1<<63 - 1
	}
	return uint64(t.UnixNano())
}

func instant(n uint64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(min(n, 1<<63-1))).UTC()
}

// numbers is the form of every value but a block: big-endian numbers of 64 bits.
func numbers(n ...uint64) []byte {
	b := make([]byte, 0, 8*len(n))
	for _, v := range n {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func parseNumbers(key, b []byte, to ...*uint64) error {
	if len(b) != 8*len(to) {
		return fmt.Errorf("buffer: value of %q has %d bytes, want %d: %w", key, len(b), 8*len(to), protocol.ErrMalformed)
	}
	for i, p := range to {
		*p = binary.BigEndian.Uint64(b[8*i:])
	}
	return nil
}

// Counts are totals over all records applied.
type Counts struct {
	Kinds    [8]uint64 // records by attendance.RecordKind; 0 counts kinds that are not known
	Verdicts [4]uint64 // punches by attendance.Verdict; 0 counts unknown ones too
}

// Records is the number of all records.
func (c Counts) Records() (n uint64) {
	for _, k := range c.Kinds {
		n += k
	}
	return n
}

// Punches is the number of punches.
func (c Counts) Punches() uint64 { return c.Kinds[attendance.RecordPunch] }

func (c *Counts) fields() []*uint64 {
	var f []*uint64
	for i := range c.Kinds {
		f = append(f, &c.Kinds[i])
	}
	for i := range c.Verdicts {
		f = append(f, &c.Verdicts[i])
	}
	return f
}

func (c *Counts) encode() []byte {
	var n []uint64
	for _, f := range c.fields() {
		n = append(n, *f)
	}
	return numbers(n...)
}

// Sink is what is known of one sink.
type Sink struct {
	Cursor uint64 // first sequence it has not answered for
	Passed uint64 // punches before the cursor
	Parked uint64 // punches it will not take yet
	Dead   uint64 // punches it never will take
}

func (s *Sink) encode() []byte { return numbers(s.Cursor, s.Passed, s.Parked, s.Dead) }

func (s *Sink) decode(key, b []byte) error {
	return parseNumbers(key, b, &s.Cursor, &s.Passed, &s.Parked, &s.Dead)
}

// Parked is a punch that a sink will not take yet.
type Parked struct {
	Seq    uint64
	At     uint64 // sequence of the record that says so, which holds the reason
	Reason uint64 // ReasonHash of the reason
	Since  time.Time
	Until  time.Time // when it is to be sent again; zero: when the cause changes
	Tries  uint64    // how often the sink has said so
}

func (p *Parked) encode() []byte {
	return numbers(p.At, p.Reason, nanos(p.Since), nanos(p.Until), p.Tries)
}

func (p *Parked) decode(key, b []byte) error {
	var since, until uint64
	err := parseNumbers(key, b, &p.At, &p.Reason, &since, &until, &p.Tries)
	p.Seq, p.Since, p.Until = parseRecordKey(key), instant(since), instant(until)
	return err
}

// ReasonHash tells whether two reasons are the same, without keeping them.
func ReasonHash(reason string) uint64 {
	sum := sha256.Sum256([]byte(reason))
	return binary.BigEndian.Uint64(sum[:])
}

// Dead is a punch that a sink never will take.
type Dead struct {
	Seq uint64
	At  uint64 // sequence of the record that says so, which holds the reason
}

func encodeLedger(id ledger.Identity) []byte { return append(id.ID[:], id.Salt[:]...) }

func decodeLedger(b []byte) (id ledger.Identity, err error) {
	if len(b) != len(id.ID)+len(id.Salt) {
		return id, fmt.Errorf("buffer: value of %q has %d bytes: %w", keyLedger, len(b), protocol.ErrMalformed)
	}
	copy(id.ID[:], b)
	copy(id.Salt[:], b[len(id.ID):])
	return id, nil
}
