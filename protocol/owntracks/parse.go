package owntracks

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/punchd/punchd/protocol"
)

// wire holds every field that any message is read for. encoding/json finds a
// field whatever the case of its name, which is how BSSID and bssid are one.
type wire struct {
	Type text `json:"_type"`
	T    text `json:"t"`
	ID   text `json:"_id"`
	TID  text `json:"tid"`

	Lat       number `json:"lat"`
	Lon       number `json:"lon"`
	Acc       number `json:"acc"`
	Rad       number `json:"rad"`
	Fix       number `json:"tst"`
	CreatedAt number `json:"created_at"`

	Conn  text `json:"conn"`
	BSSID text `json:"bssid"`
	SSID  text `json:"ssid"`
	POI   text `json:"poi"`
	Tag   text `json:"tag"`
	Image text `json:"image"`

	Event     text            `json:"event"`
	Desc      text            `json:"desc"`
	Name      text            `json:"name"`
	Waypoints json.RawMessage `json:"waypoints"`
	Android   json.RawMessage `json:"android"`
}

// text is a JSON string, or a number or boolean as it is written. Anything else
// counts as not given.
type text string

// UnmarshalJSON never fails: one odd field must not cost a check-in.
func (t *text) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '"':
		if bytes.IndexByte(b, '\\') < 0 && utf8.Valid(b) {
			*t = text(b[1 : len(b)-1])
			return nil
		}
		var s string
		if json.Unmarshal(b, &s) == nil {
			*t = text(s)
		}
	case '{', '[', 'n':
	default:
		*t = text(b)
	}
	return nil
}

// number is a JSON number, or a text that holds one.
type number struct {
	value float64
	state uint8
}

// The states of a number.
const (
	absent uint8 = iota
	given
	unreadable
)

// UnmarshalJSON never fails; what is no finite number is marked.
func (n *number) UnmarshalJSON(b []byte) error {
	s := strings.TrimSpace(strings.Trim(string(b), `"`))
	if s == "null" || s == "" {
		return nil
	}
	// ParseFloat would also take Inf, NaN, hex and underscores.
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.Trim(s, "+-.0123456789eE") != "" || math.IsInf(f, 0) {
		*n = number{state: unreadable}
		return nil
	}
	*n = number{f, given}
	return nil
}

// Parse reads a message. An empty payload is [Cleared]. The error wraps
// [protocol.ErrMalformed], [protocol.ErrTooLarge], or
// [protocol.ErrUnsupported] for an encrypted message.
//
// Only a location that a user sent is held to the rules of a check-in: position
// and times must be there and possible. Of any other, what can't be read is
// zero.
func Parse(payload []byte) (Message, error) {
	if len(payload) == 0 {
		return Cleared{}, nil
	}
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("owntracks: %d bytes, the limit is %d: %w", len(payload), MaxPayload, protocol.ErrTooLarge)
	}
	var w wire
	if first := bytes.TrimLeft(payload, " \t\r\n"); len(first) == 0 || first[0] != '{' {
		return nil, malformed("is no JSON object")
	}
	if err := json.Unmarshal(payload, &w); err != nil {
		return nil, malformed("is no JSON object: %v", err)
	}
	switch w.Type {
	case "":
		return nil, malformed("_type is missing")
	case "location":
		return w.location()
	case "encrypted":
		return nil, fmt.Errorf("owntracks: the message is encrypted; turn encryption off in the app and use TLS: %w", protocol.ErrUnsupported)
	case "transition":
		return &Transition{Event: clean(w.Event, maxType), Desc: clean(w.Desc, maxName), Lat: w.Lat.value, Lon: w.Lon.value, Acc: w.Acc.value, Fix: w.Fix.integer()}, nil
	case "lwt":
		return &LWT{Connected: w.Fix.integer()}, nil
	case "waypoint":
		return w.waypoint(), nil
	case "waypoints":
		return w.waypoints()
	case "card":
		return &Card{Name: clean(w.Name, maxName)}, nil
	case "status":
		return w.status(), nil
	}
	return &Unknown{Type: clean(w.Type, maxType), Raw: payload}, nil
}

func (w *wire) location() (Message, error) {
	l := &Location{
		T: clean(w.T, maxType), ID: clean(w.ID, maxID), TID: clean(w.TID, maxType),
		Lat: w.Lat.value, Lon: w.Lon.value, Acc: w.Acc.value, Fix: w.Fix.integer(), CreatedAt: w.CreatedAt.integer(),
		Conn: clean(w.Conn, maxType), BSSID: clean(w.BSSID, maxBSSID), SSID: clean(w.SSID, maxSSID),
		POI: clean(w.POI, maxNote), Tag: clean(w.Tag, maxNote),
	}
	if l.ID != string(w.ID) {
		l.ID = "" // too long or unprintable: cut, it would tell less than it should
	}
	if image, err := base64.StdEncoding.DecodeString(string(w.Image)); err == nil && len(image) > 0 {
		l.Image = image
	}
	if l.IsCheckIn() {
		if err := w.check(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// The unix seconds of the years that a phone's clock can honestly show, 2000
// to 2199.
const minTime, maxTime = 946_684_800, 7_258_118_400 - 1

// check holds the numbers of a check-in against what is possible. Exactly 0 is
// no coordinate: apps have sent it for "not known", and no office stands there.
func (w *wire) check() error {
	switch {
	case w.Lat.state != given || w.Lat.value == 0 || math.Abs(w.Lat.value) > 90:
		return malformed("lat is missing or impossible")
	case w.Lon.state != given || w.Lon.value == 0 || math.Abs(w.Lon.value) > 180:
		return malformed("lon is missing or impossible")
	case w.Acc.value < 0:
		return malformed("acc is negative")
	case w.Fix.state != given || w.Fix.value < minTime || w.Fix.value > maxTime:
		return malformed("tst is missing or impossible")
	case w.CreatedAt.state == unreadable || w.CreatedAt.value != 0 && (w.CreatedAt.value < minTime || w.CreatedAt.value > maxTime):
		return malformed("created_at is impossible")
	}
	return nil
}

func (w *wire) waypoint() *Waypoint {
	return &Waypoint{Desc: clean(w.Desc, maxName), Lat: w.Lat.value, Lon: w.Lon.value, Radius: w.Rad.value, Made: w.Fix.integer()}
}

func (w *wire) waypoints() (Message, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(orNull(w.Waypoints), &list); err != nil {
		return nil, malformed("waypoints: %v", err)
	}
	if len(list) > maxWaypoints {
		return nil, fmt.Errorf("owntracks: %d waypoints, the limit is %d: %w", len(list), maxWaypoints, protocol.ErrTooLarge)
	}
	out := &Waypoints{List: make([]Waypoint, len(list))}
	for i, raw := range list {
		var w wire
		if err := json.Unmarshal(raw, &w); err != nil {
			return nil, malformed("waypoints[%d]: %v", i, err)
		}
		out.List[i] = *w.waypoint()
	}
	return out, nil
}

func (w *wire) status() *Status {
	var android struct {
		Loc number `json:"loc"`
		BO  number `json:"bo"`
	}
	if json.Unmarshal(orNull(w.Android), &android) != nil {
		return &Status{} // another shape: an iPhone, or a version that tells something else
	}
	return &Status{Location: android.Loc.integer(), Optimised: android.BO.integer()}
}

func orNull(raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return []byte("null")
	}
	return raw
}

// integer is the whole part, 0 for what is not given or beyond all use.
func (n number) integer() int64 {
	if math.Abs(n.value) > 1<<53 {
		return 0
	}
	return int64(n.value)
}

// clean makes a text fit for a record: at most max bytes, without control
// characters. The payload keeps what it was.
func clean(t text, max int) string {
	s := string(t)
	if strings.IndexFunc(s, unsafe) >= 0 {
		s = strings.Map(func(r rune) rune {
			if unsafe(r) {
				return -1
			}
			return r
		}, s)
	}
	for len(s) > max {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

func unsafe(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
