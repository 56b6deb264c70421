package cloudevents

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

// ParseBatch reads a batch. It is strict about the attributes that it knows
// and passes over those that it doesn't, since a newer gateway may write more.
// The events' Data and Raw share memory with b. Errors wrap
// [protocol.ErrIncomplete], [protocol.ErrMalformed], [protocol.ErrTooLarge] or
// [protocol.ErrUnsupported].
func ParseBatch(b []byte) ([]Event, error) {
	if len(b) > MaxBatch {
		return nil, fmt.Errorf("cloudevents: batch of %d bytes, at most %d: %w", len(b), MaxBatch, protocol.ErrTooLarge)
	}
	s := scanner{b: b}
	events := make([]Event, 0, min(len(b)/512+1, MaxEvents)) // events are about that long
	var before Event                                         // repeated texts are taken from it
	err := s.array(func() error {
		if len(events) == MaxEvents {
			return fmt.Errorf("more than %d events: %w", MaxEvents, protocol.ErrTooLarge)
		}
		e, err := s.event(&before)
		if err != nil {
			return fmt.Errorf("event %d: %w", len(events), err)
		}
		events = append(events, e)
		before = e
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, fmt.Errorf("cloudevents: batch: %w", err)
	}
	return events, nil
}

// ParseEvent reads one event that stands alone, as in a file of lines. Its
// Data and Raw share memory with b.
func ParseEvent(b []byte) (Event, error) {
	if len(b) > MaxBatch {
		return Event{}, fmt.Errorf("cloudevents: event of %d bytes, at most %d: %w", len(b), MaxBatch, protocol.ErrTooLarge)
	}
	s := scanner{b: b}
	e, err := s.event(&Event{})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return Event{}, fmt.Errorf("cloudevents: event: %w", err)
	}
	return e, nil
}

// The attributes an event is known to have, as bits: each stands once.
const (
	hasVersion = 1 << iota
	hasID
	hasSource
	hasType
	hasSubject
	hasTime
	hasRecorded
	hasSequence
	hasPartition
	hasContentType
	hasData

	required = hasVersion | hasID | hasSource | hasType
)

var attributes = map[string]int{
	"specversion": hasVersion, "id": hasID, "source": hasSource, "type": hasType, "subject": hasSubject,
	"time": hasTime, "recordedtime": hasRecorded, "sequence": hasSequence, "partitionkey": hasPartition,
	"datacontenttype": hasContentType, "data": hasData, "data_base64": hasData,
}

func (s *scanner) event(before *Event) (e Event, err error) {
	seen := 0
	s.space()
	start := s.i
	err = s.object(func(name []byte) error {
		bit, known := attributes[string(name)]
		if !known {
			_, err := s.skip()
			return err
		}
		if seen&bit != 0 {
			return s.bad("a second %s", name)
		}
		if bit != hasData { // for data, null is a value
			if null, err := s.null(); null || err != nil {
				return err
			}
		}
		seen |= bit
		if err := s.attribute(&e, string(name), before); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err == nil && seen&required != required {
		err = s.bad("specversion, id, source and type are required, and one is missing")
	}
	e.Raw = s.b[start:s.i]
	return e, err
}

func (s *scanner) attribute(e *Event, name string, before *Event) (err error) {
	switch name {
	case "specversion":
		err = s.exactly("1.0")
	case "id":
		e.ID, err = s.required("")
	case "source":
		e.Source, err = s.required(before.Source)
	case "type":
		e.Type, err = s.required(before.Type)
	case "subject":
		e.Subject, err = s.required(before.Subject)
	case "time":
		e.Time, err = s.instant()
	case "recordedtime":
		e.RecordedTime, err = s.instant()
		e.RecordedTime = e.RecordedTime.UTC()
	case "sequence":
		e.Seq, err = s.sequence()
	case "partitionkey":
		e.PartitionKey, err = s.required(e.Subject)
	case "datacontenttype":
		err = s.exactly("application/json")
	case "data":
		e.Data, err = s.skip()
	default: // data_base64
		err = fmt.Errorf("binary data: %w", protocol.ErrUnsupported)
	}
	return err
}

// exactly reads a text that has one value that is understood here.
func (s *scanner) exactly(want string) error {
	got, err := s.text(want)
	if err == nil && got != want {
		err = fmt.Errorf("%.40q, only %q is understood: %w", got, want, protocol.ErrUnsupported)
	}
	return err
}

// required reads a text that may not be empty.
func (s *scanner) required(before string) (string, error) {
	got, err := s.text(before)
	if err == nil && got == "" {
		err = s.bad("empty")
	}
	return got, err
}

// instant reads a time with its offset.
func (s *scanner) instant() (time.Time, error) {
	text, err := s.text("")
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || !strict(text) {
		return time.Time{}, s.bad("%.40q is no time like 2026-11-04T08:58:12+08:00", text)
	}
	if _, ok := writable(t); !ok {
		return time.Time{}, s.bad("%.40q lies outside the years 1 to 9998", text)
	}
	// The zone of this machine must not show through where its offset happens
	// to be the one written.
	if _, offset := t.Zone(); offset != 0 {
		return t.In(time.FixedZone("", offset)), nil
	}
	return t.UTC(), nil
}

// strict reports whether what time.Parse took is RFC 3339: it also takes an
// hour of one digit, a comma before the fraction, and offsets of a day.
func strict(text string) bool {
	zone := text[len(text)-1] == 'Z'
	if !zone {
		at := len(text) - len("+08:00")
		zone = text[at+1:at+3] < "24" && text[at+4:] < "60"
	}
	return zone && text[len("2026-11-04T08")] == ':' && !strings.Contains(text, ",")
}

// face reads a clock face without a zone.
func (s *scanner) face() (attendance.LocalTime, error) {
	text, err := s.text("")
	if err != nil {
		return 0, err
	}
	face, err := attendance.ParseLocal(text)
	if err != nil {
		return 0, s.bad("%.40q is no local time like 2026-11-04T08:58:12", text)
	}
	return face, nil
}

func (s *scanner) sequence() (uint64, error) {
	text, err := s.text("")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || len(text) > 20 {
		return 0, s.bad("%.40q is no sequence of up to 20 digits", text)
	}
	return n, nil
}

// Punch reads the data of an event of [TypePunch]: everything that
// [AppendEvent] wrote. The zone is the offset alone, and times are whole
// milliseconds. Errors wrap the same kinds as those of [ParseBatch]; an
// unknown word, of a newer gateway, is [protocol.ErrUnsupported].
func (e *Event) Punch() (*attendance.Punch, error) {
	if e.Type != TypePunch {
		return nil, fmt.Errorf("cloudevents: event %.40q is of type %.40q, not %s: %w", e.ID, e.Type, TypePunch, protocol.ErrUnsupported)
	}
	if e.Data == nil {
		return nil, fmt.Errorf("cloudevents: event %.40q has no data: %w", e.ID, protocol.ErrMalformed)
	}
	key, err := attendance.ParseKey(e.ID)
	if err != nil {
		return nil, fmt.Errorf("cloudevents: event %.40q: %w: %w", e.ID, err, protocol.ErrMalformed)
	}
	p := &attendance.Punch{Key: key, State: -1, Verify: -1}
	if !e.Time.IsZero() {
		p.At = time.UnixMilli(e.Time.UnixMilli()).UTC()
		p.DeviceTime = attendance.LocalOf(e.Time)
	}
	if !e.RecordedTime.IsZero() {
		p.ReceivedAt = time.UnixMilli(e.RecordedTime.UnixMilli()).UTC()
	}
	s := scanner{b: e.Data}
	err = s.object(func(name []byte) error {
		if null, err := s.null(); null || err != nil {
			return err
		}
		if err := s.punchMember(p, string(name)); err != nil {
			return fmt.Errorf("%.40s: %w", name, err)
		}
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, fmt.Errorf("cloudevents: data of event %s: %w", e.ID, err)
	}
	p.Zone = time.Unix(0, 0).In(time.FixedZone("", int(zoneOffset(p)/time.Second))).Format("-07:00")
	return p, nil
}

func (s *scanner) punchMember(p *attendance.Punch, name string) (err error) {
	switch name {
	case "employee":
		p.Employee, err = s.text("")
	case "badge":
		p.Badge, err = s.text("")
	case "kind":
		p.Kind, err = word(s, attendance.ParseKind)
	case "direction":
		p.Direction, err = word(s, attendance.ParseDirection)
	case "method":
		p.Method, err = word(s, attendance.ParseMethod)
	case "device":
		err = s.object(func(name []byte) error { return s.device(&p.Device, string(name)) })
	case "site":
		p.Site, err = s.text("")
	case "place":
		p.Place, err = s.text("")
	case "device_time":
		p.DeviceTime, err = s.face()
	case "skew_ms":
		const most = math.MaxInt64 / int64(time.Millisecond)
		var ms int64
		ms, err = s.whole(-most, most)
		skew := time.Duration(ms) * time.Millisecond
		p.Skew = &skew
	case "verdict":
		p.Verdict, err = word(s, attendance.ParseVerdict)
	case "reasons":
		p.Reasons = nil
		err = s.array(func() error {
			r, err := s.text("")
			p.Reasons = append(p.Reasons, attendance.Reason(r))
			return err
		})
	case "late":
		p.Late, err = s.boolean()
	case "raw":
		err = s.object(func(name []byte) error { return s.rawCodes(p, string(name)) })
	case "phone":
		err = s.object(func(name []byte) error { return s.phone(p, string(name)) })
	default:
		_, err = s.skip()
	}
	return err
}

// word reads a text that is one of a set. One that is not in it is no
// syntax error: it has a meaning that is not known here.
func word[T any](s *scanner, parse func(string) (T, error)) (T, error) {
	text, err := s.text("")
	if err != nil {
		var none T
		return none, err
	}
	v, err := parse(text)
	if err != nil {
		return v, fmt.Errorf("%w: %w", err, protocol.ErrUnsupported)
	}
	return v, nil
}

func (s *scanner) device(d *attendance.Device, name string) (err error) {
	switch name {
	case "id":
		d.ID, err = s.text("")
	case "driver":
		d.Driver, err = s.text("")
	case "serial":
		d.Serial, err = s.text("")
	default:
		_, err = s.skip()
	}
	return err
}

func (s *scanner) rawCodes(p *attendance.Punch, name string) error {
	to := &p.State
	switch name {
	case "state":
	case "verify":
		to = &p.Verify
	default:
		_, err := s.skip()
		return err
	}
	n, err := s.whole(math.MinInt32, math.MaxInt32)
	*to = int(n)
	return err
}

func (s *scanner) phone(p *attendance.Punch, name string) (err error) {
	switch name {
	case "counter":
		p.Counter, err = s.count()
	case "gap":
		p.Gap, err = s.count()
	default:
		_, err = s.skip()
	}
	return err
}
