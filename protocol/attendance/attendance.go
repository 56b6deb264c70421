// Package attendance is punchd's own vocabulary: punches, check-ins, verdicts,
// the roster, the key of a fact and the form in which records are stored.
//
// Everything here is a value. Times are instants in UTC unless the name says
// otherwise; a [LocalTime] is what a device's clock face showed.
package attendance

import "time"

// Kind says what sort of fact a punch is.
type Kind uint8

// The kinds of punch.
const (
	KindPunch Kind = iota + 1 // at the workplace
	KindVisit                 // away from the office, at a customer
)

// Direction is the way a punch points, as far as the device knows.
type Direction uint8

// The directions; Unknown is common, since many terminals have no state keys.
const (
	DirUnknown Direction = iota
	DirIn
	DirOut
	DirBreakOut
	DirBreakIn
	DirOvertimeIn
	DirOvertimeOut
	DirArrive
	DirLeave
)

// Method says how the person was recognised.
type Method uint8

// The methods.
const (
	MethodUnknown Method = iota
	MethodCard
	MethodFingerprint
	MethodFace
	MethodPalm
	MethodPassword
	MethodPhone
	MethodQR
)

// Verdict is the outcome of judging a punch. It never decides whether a punch
// is kept: all of them are.
type Verdict uint8

// The verdicts.
const (
	Unverified Verdict = iota // a device's punch that names nobody in the roster, or that no rule judges
	Accepted
	Flagged
	Refused
)

// Device names what a punch came from.
type Device struct {
	ID     string // as in the config; for a phone its id
	Driver string // zk, cardline, phone, owntracks, ...
	Serial string // as the device tells it, or what stands in for it in keys (FORMAT.md); empty if it has none
}

// Fix is a position as a phone claims it, in WGS-84 degrees.
type Fix struct {
	Lat, Lon float64
	Acc      float64   // metres, radius of 68 %; 0 or less means not told
	At       time.Time // when the position was measured; zero if not told
	Mock     bool      // the phone says that a test provider made it
}

// Heard is one access point in a phone's scan.
type Heard struct {
	BSSID string
	RSSI  int // dBm
}

// WiFi is what a phone says of the network around it, as it wrote it.
type WiFi struct {
	BSSID, SSID string
	Seen        []Heard
}

// Photo names a photo by digest; the photo itself travels elsewhere.
type Photo struct {
	SHA256 string // hex
	Size   int64  // bytes
}

// Evidence is what a verdict was founded on: the personal part of a punch,
// kept apart in the stored form so that it can be sealed and forgotten alone.
type Evidence struct {
	Fix       *Fix
	WiFi      *WiFi
	Note      string
	Photo     *Photo
	Challenge string
	// Raw is the message or record as it came, bounded by the driver that
	// read it; a signed check-in stays provable by it.
	Raw []byte
}

// Punch is the fact: this person, here, then. It is immutable once it is in
// the ledger.
type Punch struct {
	Key       Key
	Kind      Kind
	Employee  string // id in the roster, empty if nobody there matches
	Badge     string // what the device read: a card number or a PIN; empty for a phone
	Direction Direction
	Method    Method
	Device    Device
	Site      string
	Place     string

	// DeviceTime is the device's clock face, Zone the IANA zone (or fixed
	// "+08:00") it is read in, and At the instant the two make. For a device
	// without a clock all three are the gateway's.
	DeviceTime LocalTime
	Zone       string
	At         time.Time
	// ReceivedAt is the gateway's clock when the punch came in.
	ReceivedAt time.Time
	// Skew is the device's clock minus the gateway's at the last measurement,
	// nil if it was never measured.
	Skew *time.Duration

	Verdict Verdict
	Reasons []Reason
	Late    bool // came in long after it happened; policy in geofence

	State  int // the device's raw state code, -1 if it has none
	Verify int // the device's raw verify code, -1 if it has none

	Counter uint64 // a native phone's counter, 0 otherwise
	Gap     uint64 // how many counters before this one had not arrived when it came

	Evidence Evidence
}

// CheckIn is a phone's claim before it is judged.
type CheckIn struct {
	Phone   string // phone id (native) or the OwnTracks user
	Native  bool   // false: OwnTracks
	Counter uint64 // native only
	// At is when the person pressed, by the phone's clock, keeping the
	// phone's own offset in its location.
	At        time.Time
	Kind      Kind
	Direction Direction
	Place     string // the place the phone says it visits, empty if it names none
	Evidence  Evidence

	// Message identifies an OwnTracks message: its _id, tst and created_at.
	Message MessageID

	// What the gateway knows by itself, never from the payload:
	User       string // authenticated MQTT user; on an external broker the topic's user
	Topic      string
	ReceivedAt time.Time
	Auth       Auth
	// Problem says in words why Auth is AuthMalformed or AuthBadSignature.
	Problem string
	Foreign bool // it names another phone than its sender
}

// MessageID holds the fields of an OwnTracks message that tell it from others.
type MessageID struct {
	ID        string // _id, empty on iOS
	T         string // t: what triggered it
	Fix       int64  // tst, unix seconds
	CreatedAt int64  // created_at, unix seconds, 0 if absent
}

// Auth says how far a check-in's sender is known.
type Auth uint8

// The grades of authentication.
const (
	AuthMalformed    Auth = iota // the payload is no check-in at all; only Raw is set
	AuthUnknownPhone             // no key is enrolled for the phone it names
	AuthBadSignature             // signature wrong, or it names another phone than its sender
	AuthUser                     // the broker knows the user; nothing is signed (OwnTracks)
	AuthSigned                   // signed by the phone's enrolled key
)

// Receipt is the gateway's answer to a native check-in.
type Receipt struct {
	Phone      string
	Counter    uint64
	Key        Key
	Seq        uint64 // ledger sequence
	Verdict    Verdict
	Reasons    []Reason
	ReceivedAt time.Time
	Duplicate  bool // the ledger had it already; the rest is what it was told the first time
	// Message is SHA-256 over the message that this answers, as it was
	// published; nil if the receipt does not tell. Without it, an answer to
	// somebody else's message with the same counter would pass for one's own.
	Message []byte
	// Keep says that the answer is not final: the gateway does not know the
	// phone or its key (yet), so the phone keeps the message and sends it again
	// later.
	Keep bool
}
