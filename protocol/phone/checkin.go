package phone

import (
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

// version is the v of the claims that are spoken here.
const version = 1

// Bounds of the claims, in bytes where nothing else is said.
const (
	MaxNote      = 1 << 10
	MaxSeen      = 64 // access points in a scan
	maxBSSID     = 32 // any spelling of an address
	maxSSID      = 128
	maxChallenge = 256
	maxPhoto     = 1 << 40
	maxAccuracy  = 1e8 // metres, more than around the world
	maxRSSI      = 200 // dBm, either sign
)

// OpenCheckIn verifies a check-in with the enrolled key of the phone that it is
// said to come from, and decodes it. The caller still has to see whose phone
// the check-in names: Phone holds it.
//
// The error wraps [ErrSignature] if the key did not sign it, and otherwise
// [protocol.ErrMalformed], [protocol.ErrTooLarge] or, for claims of another
// version, [protocol.ErrUnsupported]. Evidence.Raw of the result is the payload
// itself, not a copy.
func OpenCheckIn(payload []byte, key Key) (*attendance.CheckIn, error) {
	t, err := parse(payload, typeCheckIn)
	if err != nil {
		return nil, err
	}
	if err := key.verify(t.header.Algorithm, t.input, t.sig); err != nil {
		return nil, err
	}
	c, err := t.checkIn(payload)
	if err != nil {
		return nil, err
	}
	c.Auth = attendance.AuthSigned
	return c, nil
}

// ReadCheckIn decodes a check-in that can't be verified: its key is not
// enrolled, or did not sign it. Nothing in the result is proven, and its Auth is
// [attendance.AuthBadSignature]. The errors are those of [OpenCheckIn].
func ReadCheckIn(payload []byte) (*attendance.CheckIn, error) {
	t, err := parse(payload, typeCheckIn)
	if err != nil {
		return nil, err
	}
	c, err := t.checkIn(payload)
	if err != nil {
		return nil, err
	}
	c.Auth = attendance.AuthBadSignature
	return c, nil
}

// checkIn decodes the claims of a check-in.
func (t *token) checkIn(payload []byte) (*attendance.CheckIn, error) {
	c, err := parseClaims(t.claims)
	if err != nil {
		return nil, err
	}
	if c.Phone != t.header.KeyID {
		return nil, malformed("kid %q and phone %q are not the same", t.header.KeyID, c.Phone)
	}
	c.Evidence.Raw = payload
	return c, nil
}

var claimMembers = []string{"v", "phone", "ctr", "at", "kind", "direction", "fix", "wifi", "challenge", "note", "photo", "place"}

func parseClaims(text []byte) (*attendance.CheckIn, error) {
	var v int64
	c := &attendance.CheckIn{Native: true, Kind: attendance.KindPunch}
	err := document(text, claimMembers, func(name string, value []byte) (err error) {
		if name == "v" {
			v, err = integer(value, 0, math.MaxInt64)
			return err
		}
		return setClaim(c, name, value)
	})
	switch {
	case v > version: // said first: what a later version means by its claims is not known here
		return nil, fmt.Errorf("phone: check-in of version %d, this gateway reads %d; update the gateway: %w", v, version, protocol.ErrUnsupported)
	case err != nil:
		return nil, malformed("check-in: %w", err)
	case v != version:
		return nil, malformed("check-in: v is missing")
	case c.Phone == "":
		return nil, malformed("check-in: phone is missing")
	case c.Counter == 0:
		return nil, malformed("check-in: ctr is missing")
	case c.At.IsZero():
		return nil, malformed("check-in: at is missing")
	}
	return c, nil
}

func setClaim(c *attendance.CheckIn, name string, value []byte) (err error) {
	e := &c.Evidence
	switch name {
	case "phone":
		c.Phone, err = levelName(value)
	case "ctr":
		var n int64
		n, err = integer(value, 1, math.MaxInt64)
		c.Counter = uint64(n)
	case "at":
		c.At, err = instant(value)
	case "kind":
		var s string
		if s, err = oneLine(value, maxName); err == nil {
			c.Kind, err = attendance.ParseKind(s)
		}
	case "direction":
		var s string
		if s, err = oneLine(value, maxName); err == nil {
			c.Direction, err = attendance.ParseDirection(s)
		}
	case "fix":
		e.Fix, err = parseFix(value)
	case "wifi":
		e.WiFi, err = parseWiFi(value)
	case "challenge":
		e.Challenge, err = oneLine(value, maxChallenge)
	case "note":
		e.Note, err = anyText(value, MaxNote)
	case "photo":
		e.Photo, err = parsePhoto(value)
	case "place":
		c.Place, err = oneLine(value, maxName)
	}
	return err
}

// levelName reads a name that stands in a topic.
func levelName(value []byte) (string, error) {
	s, err := oneLine(value, maxName)
	if err == nil && !ValidName(s) {
		return "", errors.New("can't be a level of an MQTT topic")
	}
	return s, err
}

var fixMembers = []string{"lat", "lon", "acc", "at", "mock"}

func parseFix(text []byte) (*attendance.Fix, error) {
	f := &attendance.Fix{}
	var lat, lon bool
	err := members(text, fixMembers, func(name string, value []byte) (err error) {
		switch name {
		case "lat":
			lat = true
			f.Lat, err = number(value, -90, 90)
		case "lon":
			lon = true
			f.Lon, err = number(value, -180, 180)
		case "acc":
			f.Acc, err = number(value, 0, maxAccuracy)
		case "at":
			f.At, err = instant(value)
		case "mock":
			f.Mock, err = boolean(value)
		}
		return err
	})
	if err == nil && (!lat || !lon) {
		return nil, errors.New("lat and lon are both wanted")
	}
	return f, err
}

var (
	wifiMembers  = []string{"bssid", "ssid", "seen"}
	heardMembers = []string{"bssid", "rssi"}
)

func parseWiFi(text []byte) (*attendance.WiFi, error) {
	w := &attendance.WiFi{}
	err := members(text, wifiMembers, func(name string, value []byte) (err error) {
		switch name {
		case "bssid":
			w.BSSID, err = oneLine(value, maxBSSID)
		case "ssid":
			w.SSID, err = oneLine(value, maxSSID)
		case "seen":
			err = elements(value, MaxSeen, func(value []byte) error {
				h, err := parseHeard(value)
				w.Seen = append(w.Seen, h)
				return err
			})
		}
		return err
	})
	return w, err
}

func parseHeard(text []byte) (h attendance.Heard, err error) {
	err = members(text, heardMembers, func(name string, value []byte) (err error) {
		switch name {
		case "bssid":
			h.BSSID, err = oneLine(value, maxBSSID)
		case "rssi":
			var n int64
			n, err = integer(value, -maxRSSI, maxRSSI)
			h.RSSI = int(n)
		}
		return err
	})
	return h, err
}

var photoMembers = []string{"sha256", "size"}

func parsePhoto(text []byte) (*attendance.Photo, error) {
	p := &attendance.Photo{}
	err := members(text, photoMembers, func(name string, value []byte) (err error) {
		switch name {
		case "sha256":
			if p.SHA256, err = oneLine(value, maxName); err == nil {
				p.SHA256 = strings.ToLower(p.SHA256)
				if b, bad := hex.DecodeString(p.SHA256); bad != nil || len(b) != 32 {
					err = errors.New("is no SHA-256 in hex")
				}
			}
		case "size":
			p.Size, err = integer(value, 0, maxPhoto)
		}
		return err
	})
	if err == nil && p.SHA256 == "" {
		return nil, errors.New("sha256 is missing")
	}
	return p, err
}

// SignCheckIn signs a check-in as its phone does, with the phone's id as kid.
// It refuses what [OpenCheckIn] would. The private key is P-256 or Ed25519; its
// Sign is called with a nil source of randomness.
func SignCheckIn(priv crypto.Signer, c *attendance.CheckIn) ([]byte, error) {
	payload, err := sign(priv, typeCheckIn, c.Phone, claimsOf(c))
	if err != nil {
		return nil, err
	}
	if _, err := ReadCheckIn(payload); err != nil {
		return nil, err
	}
	return payload, nil
}

// The claims as they are written. A pointer is what can be left out.
type (
	claims struct {
		V         int          `json:"v"`
		Phone     string       `json:"phone"`
		Counter   uint64       `json:"ctr"`
		At        time.Time    `json:"at"`
		Kind      string       `json:"kind,omitempty"`
		Direction string       `json:"direction,omitempty"`
		Fix       *fixClaims   `json:"fix,omitempty"`
		WiFi      *wifiClaims  `json:"wifi,omitempty"`
		Challenge string       `json:"challenge,omitempty"`
		Note      string       `json:"note,omitempty"`
		Photo     *photoClaims `json:"photo,omitempty"`
		Place     string       `json:"place,omitempty"`
	}
	fixClaims struct {
		Lat  float64   `json:"lat"`
		Lon  float64   `json:"lon"`
		Acc  float64   `json:"acc,omitempty"`
		At   time.Time `json:"at,omitzero"`
		Mock bool      `json:"mock,omitempty"`
	}
	wifiClaims struct {
		BSSID string        `json:"bssid,omitempty"`
		SSID  string        `json:"ssid,omitempty"`
		Seen  []heardClaims `json:"seen,omitempty"`
	}
	heardClaims struct {
		BSSID string `json:"bssid"`
		RSSI  int    `json:"rssi"`
	}
	photoClaims struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	}
)

func claimsOf(c *attendance.CheckIn) claims {
	e := &c.Evidence
	out := claims{
		V: version, Phone: c.Phone, Counter: c.Counter, At: c.At, Kind: c.Kind.String(), Direction: c.Direction.String(),
		Challenge: e.Challenge, Note: e.Note, Place: c.Place,
	}
	if f := e.Fix; f != nil {
		out.Fix = &fixClaims{Lat: f.Lat, Lon: f.Lon, Acc: max(f.Acc, 0), At: f.At, Mock: f.Mock}
	}
	if w := e.WiFi; w != nil {
		out.WiFi = &wifiClaims{BSSID: w.BSSID, SSID: w.SSID}
		for _, h := range w.Seen {
			out.WiFi.Seen = append(out.WiFi.Seen, heardClaims(h))
		}
	}
	if p := e.Photo; p != nil {
		out.Photo = (*photoClaims)(p)
	}
	return out
}
