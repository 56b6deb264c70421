package zk

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/punchd/punchd/protocol"
)

// EventCode says what an event tells; the codes are the bits of the mask in
// [RegisterEvents].
type EventCode uint16

// The events.
const (
	EventAttLog       EventCode = 0x001 // somebody punched
	EventFinger       EventCode = 0x002
	EventEnrollUser   EventCode = 0x004
	EventEnrollFinger EventCode = 0x008
	EventButton       EventCode = 0x010
	EventUnlock       EventCode = 0x020
	EventVerify       EventCode = 0x080
	EventScore        EventCode = 0x100 // EF_FPFTR
	EventAlarm        EventCode = 0x200
	EventAll          EventCode = 0xffff // as a mask
)

// String is the protocol's name with the number, or the number alone.
func (c EventCode) String() string {
	names := map[EventCode]string{
		EventAttLog: "EF_ATTLOG", EventFinger: "EF_FINGER", EventEnrollUser: "EF_ENROLLUSER", EventEnrollFinger: "EF_ENROLLFINGER",
		EventButton: "EF_BUTTON", EventUnlock: "EF_UNLOCK", EventVerify: "EF_VERIFY", EventScore: "EF_FPFTR", EventAlarm: "EF_ALARM",
	}
	if name := names[c]; name != "" {
		return fmt.Sprintf("%s (%d)", name, uint16(c))
	}
	return strconv.Itoa(int(c))
}

// Event is what a terminal tells unasked. The set is closed; [OtherEvent] holds
// what has no form of its own here. A terminal does not keep events: one that
// was missed is found in the log alone.
type Event interface {
	// Code is the code of the packet that carries the event.
	Code() EventCode
	appendData(dst []byte) ([]byte, error)
}

// Punched tells records of the attendance log, mostly one. In the forms of 10
// and 14 bytes they have the slot alone, in the others the PIN alone.
type Punched struct {
	Form    int // bytes of each record: one of 10, 12, 14, 32, 36, 37, 52
	Records []Record
}

// Verified tells that somebody was recognised, or not.
type Verified struct {
	UID   uint32 // slot
	Known bool   // false: nobody was recognised, UID is 0
}

// Scored tells how good a reading of a finger was, 0 or 100.
type Scored struct{ Score uint8 }

// FingerEnrolled tells the end of an enrolment.
type FingerEnrolled struct {
	Result uint16 // 0 done, 4 and 6 failed or timed out, 5 known already
	Size   uint16 // bytes of the template
	PIN    string // at most 9 bytes
	Finger uint8
}

// AlarmKind says what an alarm is about.
type AlarmKind uint16

// The kinds of alarm.
const (
	AlarmDuress       AlarmKind = 0x20
	AlarmPassback     AlarmKind = 0x22
	AlarmExitButton   AlarmKind = 0x35
	AlarmDoorClosed   AlarmKind = 0x36
	AlarmTamper       AlarmKind = 0x37 // the case was opened
	AlarmMisoperation AlarmKind = 0x3a
	AlarmDoorClosed2  AlarmKind = 0x54
)

// Alarm tells that something is wrong.
type Alarm struct {
	Kind AlarmKind
	// Rest are the three or seven bytes of unknown meaning behind the kind. It
	// is nil in the form that has the user instead.
	Rest  []byte
	UID   uint16
	Match uint32
}

// OtherEvent is an event without a form of its own here.
type OtherEvent struct {
	Event EventCode
	Data  []byte
}

// Code implements [Event].
func (Punched) Code() EventCode { return EventAttLog }

// Code implements [Event].
func (Verified) Code() EventCode { return EventVerify }

// Code implements [Event].
func (Scored) Code() EventCode { return EventScore }

// Code implements [Event].
func (FingerEnrolled) Code() EventCode { return EventEnrollFinger }

// Code implements [Event].
func (Alarm) Code() EventCode { return EventAlarm }

// Code implements [Event].
func (e OtherEvent) Code() EventCode { return e.Event }

// nobody stands for the user in an event about nobody known.
const nobody = 0xffffffff

// EventPacket makes the packet that tells e. It belongs to no request, so its
// reply id is 0. It fails on what the event's form has no room for.
func EventPacket(e Event) (Packet, error) {
	data, err := e.appendData(nil)
	if err != nil {
		return Packet{}, err
	}
	return Packet{Command: CmdRegEvent, Session: uint16(e.Code()), Data: data}, nil
}

// EventAck makes the packet that a host answers every event with, lest it be
// sent again.
func EventAck(session uint16) Packet { return Packet{Command: AckOK, Session: session} }

// ParseEvent reads what a terminal tells in a packet of the command REG_EVENT.
// Raw in records, Rest in alarms and Data of [OtherEvent] share memory with p.
// An [OtherEvent] is what has an unknown code or, but for punches, an unknown
// form. For punches see [ParsePunches].
func ParseEvent(p Packet) (Event, error) {
	if p.Command != CmdRegEvent {
		return nil, fmt.Errorf("zk: %v is no event: %w", p.Command, protocol.ErrMalformed)
	}
	le, d := binary.LittleEndian, p.Data
	switch code := EventCode(p.Session); {
	case code == EventAttLog:
		form, records, err := ParsePunches(d)
		if err != nil {
			return nil, err
		}
		return Punched{form, records}, nil
	case code == EventVerify && len(d) == 5 && d[4] == 1:
		if uid := le.Uint32(d); uid != nobody {
			return Verified{uid, true}, nil
		}
		return Verified{}, nil
	case code == EventScore && len(d) == 1:
		return Scored{d[0]}, nil
	case code == EventEnrollFinger && len(d) == 14 && printable(cutNUL(d[4:13])):
		return FingerEnrolled{le.Uint16(d), le.Uint16(d[2:]), string(cutNUL(d[4:13])), d[13]}, nil
	case code == EventAlarm && (len(d) == 4 || len(d) == 8):
		return Alarm{Kind: AlarmKind(d[0]), Rest: d[1:]}, nil
	case code == EventAlarm && len(d) == 12 && le.Uint32(d) == nobody:
		return Alarm{Kind: AlarmKind(le.Uint16(d[4:])), UID: le.Uint16(d[6:]), Match: le.Uint32(d[8:])}, nil
	default:
		return OtherEvent{code, d}, nil
	}
}

func (e Verified) appendData(dst []byte) ([]byte, error) {
	if e.UID == nobody || !e.Known && e.UID != 0 {
		return dst, fmt.Errorf("zk: EF_VERIFY of slot %d, known %v", e.UID, e.Known)
	}
	uid := e.UID
	if !e.Known {
		uid = nobody
	}
	return append(binary.LittleEndian.AppendUint32(dst, uid), 1), nil
}

func (e Scored) appendData(dst []byte) ([]byte, error) { return append(dst, e.Score), nil }

func (e FingerEnrolled) appendData(dst []byte) ([]byte, error) {
	if len(e.PIN) > 9 || !printable([]byte(e.PIN)) {
		return dst, fmt.Errorf("zk: EF_ENROLLFINGER has no room for the PIN %.32q", e.PIN)
	}
	le := binary.LittleEndian
	dst = le.AppendUint16(le.AppendUint16(dst, e.Result), e.Size)
	return append(appendPadded(dst, e.PIN, 9), e.Finger), nil
}

func (e Alarm) appendData(dst []byte) ([]byte, error) {
	le := binary.LittleEndian
	switch {
	case e.Rest == nil:
		dst = le.AppendUint16(le.AppendUint32(dst, nobody), uint16(e.Kind))
		return le.AppendUint32(le.AppendUint16(dst, e.UID), e.Match), nil
	case e.Kind > 0xff || len(e.Rest) != 3 && len(e.Rest) != 7 || e.UID != 0 || e.Match != 0:
		return dst, fmt.Errorf("zk: EF_ALARM of kind %#x with %d bytes behind it has no form", uint16(e.Kind), len(e.Rest))
	}
	return append(append(dst, byte(e.Kind)), e.Rest...), nil
}

func (e OtherEvent) appendData(dst []byte) ([]byte, error) { return append(dst, e.Data...), nil }
