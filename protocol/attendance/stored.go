package attendance

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/punchd/punchd/protocol"
)

// MaxStored bounds the stored form of one record in bytes.
const MaxStored = 1 << 20

// AppendRecord appends the stored form of r (FORMAT.md) to dst. It panics on a
// Record this package does not define, which no input can cause.
func AppendRecord(dst []byte, r Record) []byte {
	switch r := r.(type) {
	case *Punch:
		return appendPunch(dst, r)
	case *Settled:
		return appendSettled(dst, r)
	case *Parked:
		return appendParked(dst, r)
	case *Checkpoint:
		return appendCheckpoint(dst, r)
	case *Operator:
		return appendOperator(dst, r)
	case *ClockReading:
		return appendClock(dst, r)
	case *DeviceEvent:
		return appendDeviceEvent(dst, r)
	}
	panic(fmt.Sprintf("attendance: no stored form for %T", r))
}

// DecodeRecord reads the payload of a ledger frame of the given kind. The
// result shares no memory with payload. Fields it does not know are passed
// over, since a newer version may have written them; a kind it does not know
// is [protocol.ErrUnsupported].
func DecodeRecord(kind RecordKind, payload []byte) (Record, error) {
	if len(payload) > MaxStored {
		return nil, fmt.Errorf("attendance: record of %d bytes, at most %d: %w", len(payload), MaxStored, protocol.ErrTooLarge)
	}
	var (
		r   Record
		err error
	)
	switch kind {
	case RecordPunch:
		r, err = decodePunch(payload)
	case RecordSettled:
		r, err = decodeSettled(payload)
	case RecordParked:
		r, err = decodeParked(payload)
	case RecordCheckpoint:
		r, err = decodeCheckpoint(payload)
	case RecordOperator:
		r, err = decodeOperator(payload)
	case RecordClock:
		r, err = decodeClock(payload)
	case RecordDevice:
		r, err = decodeDeviceEvent(payload)
	default:
		return nil, fmt.Errorf("attendance: record of %v: %w", kind, protocol.ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("attendance: %v record: %w", kind, err)
	}
	return r, nil
}

// field is one field of a stored message: num holds a varint or fixed value,
// data a length-delimited one.
type field struct {
	id   protowire.Number
	num  uint64
	data []byte
}

func (f field) text() string { return string(f.data) }
func (f field) int() int64   { return protowire.DecodeZigZag(f.num) }

// small is the value of an enumeration, refused when it can't be one.
func (f field) small() (uint8, error) {
	if f.num > 0xff {
		return 0, fmt.Errorf("field %d: %d is no enumeration value: %w", f.id, f.num, protocol.ErrMalformed)
	}
	return uint8(f.num), nil
}

// eachField walks a message in the protobuf wire format.
func eachField(b []byte, visit func(field) error) error {
	for len(b) > 0 {
		id, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("tag: %w", protocol.ErrMalformed)
		}
		b = b[n:]
		f := field{id: id}
		switch typ {
		case protowire.VarintType:
			f.num, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			f.num, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			f.data, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(id, typ, b)
		}
		if n < 0 {
			return fmt.Errorf("field %d: %w", id, protocol.ErrMalformed)
		}
		b = b[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

func appendText(b []byte, id protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, id, protowire.BytesType), s)
}

func appendBytes(b []byte, id protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, id, protowire.BytesType), v)
}

func appendUint(b []byte, id protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, id, protowire.VarintType), v)
}

func appendInt(b []byte, id protowire.Number, v int64) []byte {
	return appendUint(b, id, protowire.EncodeZigZag(v))
}

func appendBool(b []byte, id protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return appendUint(b, id, 1)
}

// appendNested appends a message built by fill as field id, even if it is
// empty: presence is then the meaning.
func appendNested(b []byte, id protowire.Number, fill func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, id, protowire.BytesType)
	at := len(b)
	b = fill(b)
	n := len(b) - at
	// The length stands before the content and is known after it: make room.
	var size [10]byte
	head := protowire.AppendVarint(size[:0], uint64(n))
	b = append(b, head...)
	copy(b[at+len(head):], b[at:at+n])
	copy(b[at:], head)
	return b
}

// appendTime stores an instant as seconds since 1970 and nanoseconds; the zero
// time is left out.
func appendTime(b []byte, id protowire.Number, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return appendNested(b, id, func(b []byte) []byte {
		b = appendInt(b, 1, t.Unix())
		return appendUint(b, 2, uint64(t.Nanosecond()))
	})
}

func decodeTime(b []byte) (time.Time, error) {
	var sec, nano int64
	err := eachField(b, func(f field) error {
		switch f.id {
		case 1:
			sec = f.int()
		case 2:
			if f.num >= uint64(time.Second) {
				return fmt.Errorf("%d nanoseconds: %w", f.num, protocol.ErrMalformed)
			}
			nano = int64(f.num)
		}
		return nil
	})
	return time.Unix(sec, nano).UTC(), err
}
