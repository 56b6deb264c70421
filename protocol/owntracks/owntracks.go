// Package owntracks is the language of the OwnTracks apps, as far as a gateway
// listens to it: the JSON that Android and iOS publish, and its topics.
//
// The apps of twelve years write one field in several ways, so this decoder is
// tolerant where the others are strict: a number may be a text, an integer may
// have a fraction, and the case of a name does not count. What it makes of a
// message is a value like any other; what can't be read is an error.
package owntracks

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/punchd/punchd/protocol"
)

// MaxPayload is the largest message that is read, in bytes. The largest real
// ones carry a picture of 192 by 192 pixels.
const MaxPayload = 64 << 10

// Bounds of the texts in a message, in bytes.
const (
	maxLevel = 128 // of a topic
	maxType  = 64
	maxID    = 64
	maxBSSID = 32
	maxSSID  = 128
	maxNote  = 1 << 10
	maxName  = 256 // of a region or a person
)

// maxWaypoints bounds an exported list.
const maxWaypoints = 1000

// Message is one of [*Location], [*Transition], [*LWT], [*Waypoint],
// [*Waypoints], [*Card], [*Status], [*Unknown] and [Cleared].
type Message interface{ message() }

// Location is where a phone was, and with T "u" a check-in: its user pressed
// publish. Fields that only decorate a map are not kept.
type Location struct {
	T         string // what triggered it: u user, r remote request, c region, p ping, t timer, empty automatic, ...
	ID        string // _id; only Android sends one
	TID       string // two characters for the display; no identity
	Lat, Lon  float64
	Acc       float64 // metres, 68 %; 0 is not told
	Fix       int64   // tst, unix seconds: when the position was measured
	CreatedAt int64   // unix seconds: when the message was made, 0 if not told
	Conn      string  // w WiFi, m mobile, o offline, empty if not told
	BSSID     string
	SSID      string
	POI, Tag  string
	Image     []byte // decoded; a photo from the phone's library, so no proof of anything
}

// Transition says that a phone entered or left a region, by its own opinion.
type Transition struct {
	Event    string // enter, leave
	Desc     string
	Lat, Lon float64
	Acc      float64
	Fix      int64 // tst
}

// LWT is the will of a connection that broke.
type LWT struct {
	Connected int64 // unix seconds at which the lost connection was made
}

// Waypoint is a region that was made on a phone.
type Waypoint struct {
	Desc     string
	Lat, Lon float64
	Radius   float64 // metres
	Made     int64   // tst
}

// Waypoints is an export of all regions of a phone.
type Waypoints struct {
	List []Waypoint
}

// Card is the name behind a phone; the face is not kept.
type Card struct {
	Name string
}

// Status is what an app tells of its own permissions. Zero is good.
type Status struct {
	Location  int64 // Android: not 0 says that a permission is missing
	Optimised int64 // Android: 1 says that the system may put the app to sleep
}

// Unknown is a message of a type that is not read here.
type Unknown struct {
	Type string
	Raw  []byte // the payload itself, not a copy
}

// Cleared is an empty payload: somebody deleted a retained message.
type Cleared struct{}

func (*Location) message()   {}
func (*Transition) message() {}
func (*LWT) message()        {}
func (*Waypoint) message()   {}
func (*Waypoints) message()  {}
func (*Card) message()       {}
func (*Status) message()     {}
func (*Unknown) message()    {}
func (Cleared) message()     {}

// malformed makes an error that wraps [protocol.ErrMalformed].
func malformed(format string, args ...any) error {
	return fmt.Errorf("owntracks: "+format+": %w", append(args, protocol.ErrMalformed)...)
}

// Topic is owntracks/<user>/<device>, with what may follow.
type Topic struct {
	User, Device string
	Part         string // empty for the base topic; event, status, cmd, waypoint, ...
}

// ParseTopic takes a topic apart; ok is false if it is none of OwnTracks.
func ParseTopic(topic string) (t Topic, ok bool) {
	rest, found := strings.CutPrefix(topic, "owntracks/")
	if !found {
		return Topic{}, false
	}
	t.User, rest, _ = strings.Cut(rest, "/")
	t.Device, t.Part, found = strings.Cut(rest, "/")
	if !validLevel(t.User) || !validLevel(t.Device) || found && !validLevel(t.Part) {
		return Topic{}, false
	}
	return t, true
}

func validLevel(s string) bool {
	return s != "" && len(s) <= maxLevel && utf8.ValidString(s) &&
		!strings.ContainsAny(s, "/+#") && strings.IndexFunc(s, unicode.IsControl) < 0
}

func (t Topic) String() string {
	s := "owntracks/" + t.User + "/" + t.Device
	if t.Part != "" {
		s += "/" + t.Part
	}
	return s
}
