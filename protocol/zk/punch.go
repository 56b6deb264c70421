package zk

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/punchd/punchd/protocol"
)

// maxPunches bounds the data of an EF_ATTLOG in bytes: terminals tell a few
// records at once.
const maxPunches = 64 << 10

// punchForms are the lengths of a record in an event of punches.
var punchForms = []int{10, 12, 14, 32, 36, 37, 52}

// ParsePunches reads the data of EF_ATTLOG: records of one of the known lengths,
// one behind the other. A length that can be cut in several ways is read in
// the one way that gives real dates and names. The error wraps
// [protocol.ErrMalformed] if none does, and [protocol.ErrUnsupported] if
// several do or the length is of no known form: then the log, where the same
// records stand, is to be read instead.
func ParsePunches(data []byte) (form int, records []Record, err error) {
	if len(data) > maxPunches {
		return 0, nil, fmt.Errorf("zk: EF_ATTLOG of %d bytes, at most %d: %w", len(data), maxPunches, protocol.ErrTooLarge)
	}
	fits := 0
	for _, f := range punchForms {
		if len(data) == 0 || len(data)%f != 0 {
			continue
		}
		fits++
		recs, e := parsePunches(data, f)
		switch {
		case e != nil && err == nil:
			err = e
		case e == nil && records != nil:
			return 0, nil, fmt.Errorf("zk: EF_ATTLOG of %d bytes reads as records of %d and of %d: %w", len(data), form, f, protocol.ErrUnsupported)
		case e == nil:
			form, records = f, recs
		}
	}
	switch {
	case records != nil:
		return form, records, nil
	case fits == 0:
		return 0, nil, fmt.Errorf("zk: EF_ATTLOG of %d bytes has no known form: %w", len(data), protocol.ErrUnsupported)
	}
	return 0, nil, err
}

func parsePunches(data []byte, form int) ([]Record, error) {
	records := make([]Record, 0, len(data)/form)
	for raw := range slices.Chunk(data, form) {
		r, err := parsePunch(raw)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// parsePunch reads a person, how, the state, and the time; what stands behind
// that in the longer forms is not known.
func parsePunch(b []byte) (Record, error) {
	le := binary.LittleEndian
	r := Record{Raw: b}
	at := 2 // where the person ends
	switch len(b) {
	case 10, 14:
		r.UID = le.Uint16(b)
		// The vendor says that the high half of the state is a validity here,
		// and not what it means. Such a record stands in the log too.
		if s := b[3]; s > 0x0f && s != 0xff {
			return Record{}, fmt.Errorf("zk: EF_ATTLOG with the state %02x: %w", s, protocol.ErrUnsupported)
		}
	case 12:
		at = 4
		if n := le.Uint32(b); n != 0 {
			r.PIN = interner{}.number(n)
		}
	default:
		at = 24
		pin := cutNUL(b[:at])
		if !printable(pin) {
			return Record{}, fmt.Errorf("zk: EF_ATTLOG of the PIN %q: %w", pin, protocol.ErrMalformed)
		}
		r.PIN = string(pin)
	}
	if r.UID == 0 && r.PIN == "" {
		return Record{}, fmt.Errorf("zk: EF_ATTLOG of nobody: %w", protocol.ErrMalformed)
	}
	r.Verify, r.State = b[at], b[at+1]
	var ok bool
	if r.At, ok = parseTime6(b[at+2:]); !ok {
		return Record{}, fmt.Errorf("zk: time % x of EF_ATTLOG is no date: %w", b[at+2:at+8], protocol.ErrMalformed)
	}
	return r, nil
}

// appendData fails on a record that the form would tell otherwise.
func (e Punched) appendData(dst []byte) ([]byte, error) {
	if !slices.Contains(punchForms, e.Form) || len(e.Records) == 0 {
		return dst, fmt.Errorf("zk: no EF_ATTLOG has %d records of %d bytes", len(e.Records), e.Form)
	}
	for _, r := range e.Records {
		end := len(dst) + e.Form
		number, numeric := numericPIN(r.PIN)
		switch slot := e.Form == 10 || e.Form == 14; {
		case r.WorkCode != 0, slot != (r.PIN == ""), slot != (r.UID != 0), slot && r.State > 0x0f && r.State != 0xff,
			e.Form == 12 && !numeric, len(r.PIN) > 24, !printable([]byte(r.PIN)):
			return dst, fmt.Errorf("zk: EF_ATTLOG in the form of %d bytes does not hold slot %d, PIN %.32q, state %d, work code %d", e.Form, r.UID, r.PIN, r.State, r.WorkCode)
		case slot:
			dst = binary.LittleEndian.AppendUint16(dst, r.UID)
		case e.Form == 12:
			dst = binary.LittleEndian.AppendUint32(dst, number)
		default:
			dst = appendPadded(dst, r.PIN, 24)
		}
		var err error
		if dst, err = appendTime6(append(dst, r.Verify, r.State), r.At); err != nil {
			return dst, err
		}
		dst = append(dst, make([]byte, end-len(dst))...)
	}
	return dst, nil
}
