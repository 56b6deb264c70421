// Package phone simulates telephones that check in over MQTT: the native app
// and OwnTracks on Android and iOS, honest ones and those that cheat.
//
// A simulated phone does what a good app does: it keeps a check-in until it is
// promised, by a receipt that the gateway signed or, for OwnTracks, by the
// broker's acknowledgement, and sends it again after every loss. What the
// phones made and what they were promised is the one side of every count.
package phone

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/phone"
)

// Behaviour is how a phone's owner uses it.
type Behaviour string

// The behaviours.
const (
	Honest     Behaviour = "honest"
	Outside    Behaviour = "outside"     // checks in from kilometres away
	WrongBSSID Behaviour = "wrong-bssid" // names an access point that is not the office's
	WrongKey   Behaviour = "wrong-key"   // signs with a key that was not enrolled; native only
	Replayed   Behaviour = "replayed"    // sends a check-in again, and another under its counter; native only
	Stale      Behaviour = "stale"       // with a position from hours ago
	Pipelined  Behaviour = "pipelined"   // honest; sends several at once, the middle one of three last; native only
)

// Behaviours lists all of them.
func Behaviours() []Behaviour {
	return []Behaviour{Honest, Outside, WrongBSSID, WrongKey, Replayed, Stale, Pipelined}
}

// Office is where honest phones are.
type Office struct {
	Lat, Lon    float64 // WGS-84 degrees
	BSSID, SSID string
}

// Bounds of a fleet.
const (
	MaxPhones       = 10_000 // of either kind
	defaultPatience = 10 * time.Second
	defaultAgain    = 2 * time.Minute
	maxWaiting      = 64 // check-ins a phone keeps; its owner waits before the next
)

// Config says how many phones there are and what they do.
type Config struct {
	Site   string // the gateway's
	Broker string // host:port
	Seed   uint64 // two fleets with one seed have the same phones, keys and passwords
	// Native and OwnTracks are how many phones of each kind there are. Native
	// phones sign with ES256 and EdDSA by turns, OwnTracks phones are Android
	// and iOS by turns.
	Native, OwnTracks int
	// Gateway is the key that receipts are signed with; native phones believe
	// no other. [Fleet.Run] needs it if there are any.
	Gateway phone.Key
	Office  Office
	Zone    *time.Location // of the phones' clocks; UTC if nil
	// Behaviours go round the phones of each kind: the first phone has the
	// first, and so on. All are honest if it is empty.
	Behaviours []Behaviour
	// Pace is the mean time between two check-ins of one phone, drawn between
	// half and one and a half of it. 0: the next as soon as the last is promised.
	Pace time.Duration
	// Each is how many check-ins each phone makes; 0: until the context ends.
	Each int
	// Counter is a native phone's first; 1 if 0. A fleet that goes on where
	// another ended needs a higher one.
	Counter uint64
	// Patience is how long a phone waits for an answer before it connects
	// anew; 10 s if 0.
	Patience time.Duration
	// Again is how long a phone that the gateway does not know (yet) keeps its
	// check-ins before it sends them again; 2 min if 0.
	Again time.Duration
	// Clock is what the phones' clocks show; time.Now if nil.
	Clock func() time.Time
	// Dial connects to the broker; TCP if nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger
}

// Made is a check-in that a phone made.
type Made struct {
	Phone     string // phone id, or the OwnTracks user: its MQTT user either way
	Native    bool
	Counter   uint64    // native
	ID        string    // OwnTracks on Android: _id
	At        time.Time // when its owner pressed, as the message tells it
	Behaviour Behaviour
	// Key is what the gateway must know it by.
	Key attendance.Key
	// Promised says that the phone may rely on it: it has a receipt, or, for
	// OwnTracks, the broker's acknowledgement. A receipt that says the gateway
	// took the check-in for something else is an answer and no promise.
	Promised bool
	Receipt  *attendance.Receipt // native, once it is there
}

// Fleet is a number of phones.
type Fleet struct {
	cfg    Config
	phones []*handset
	users  map[string]bool

	mu   sync.Mutex
	made []Made
}

// New makes the phones of a fleet, with their keys. They do nothing before Run.
func New(cfg Config) (*Fleet, error) {
	switch {
	case !phone.ValidName(cfg.Site):
		return nil, fmt.Errorf("phone simulator: site %q can't be a level of a topic", cfg.Site)
	case cfg.Broker == "":
		return nil, errors.New("phone simulator: no broker is given")
	case cfg.Native < 0, cfg.OwnTracks < 0, cfg.Native > MaxPhones, cfg.OwnTracks > MaxPhones, cfg.Native+cfg.OwnTracks == 0:
		return nil, fmt.Errorf("phone simulator: %d native and %d OwnTracks phones; 1 to %d are wanted", cfg.Native, cfg.OwnTracks, MaxPhones)
	case cfg.Pace < 0, cfg.Each < 0, cfg.Patience < 0, cfg.Again < 0:
		return nil, errors.New("phone simulator: pace, number, patience and the wait of an unknown phone can't be negative")
	}
	for _, b := range cfg.Behaviours {
		if !slices.Contains(Behaviours(), b) {
			return nil, fmt.Errorf("phone simulator: behaviour %q is not known (known: %s)", b, joined(Behaviours()))
		}
	}
	cfg.Counter = max(cfg.Counter, 1)
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.Again == 0 {
		cfg.Again = defaultAgain
	}
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: cfg.Patience}).DialContext
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Fleet{cfg: cfg, users: map[string]bool{}}
	for i := range cfg.Native {
		h, err := f.native(i)
		if err != nil {
			return nil, err
		}
		f.phones = append(f.phones, h)
	}
	for i := range cfg.OwnTracks {
		f.phones = append(f.phones, f.owntracks(i))
	}
	for _, h := range f.phones {
		f.users[h.user] = true
	}
	return f, nil
}

func joined(bs []Behaviour) string {
	words := make([]string, len(bs))
	for i, b := range bs {
		words[i] = string(b)
	}
	return strings.Join(words, ", ")
}

// Run has the phones check in until ctx ends, or until each has made its number
// and all are promised. It returns nil either way. It may be called again, and
// the phones then go on.
func (f *Fleet) Run(ctx context.Context) error {
	// Not asked for by New: what a gateway must know of a fleet can be told
	// before there is a gateway.
	if f.cfg.Native > 0 && f.cfg.Gateway.Algorithm() == "" {
		return errors.New("phone simulator: native phones need the gateway's public key to believe its receipts")
	}
	var wg sync.WaitGroup
	for _, h := range f.phones {
		wg.Go(func() { h.run(ctx) })
	}
	wg.Wait()
	return nil
}

// Made lists what the phones made so far, each phone's in its order.
func (f *Fleet) Made() []Made {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.made)
}

// note keeps a fact before it is sent and returns its place.
func (f *Fleet) note(m Made) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made = append(f.made, m)
	return len(f.made) - 1
}

// answer marks a fact as answered, and as promised if it is. Receipts of
// repetitions do not replace the first.
func (f *Fleet) answer(place int, r *attendance.Receipt, promised bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := &f.made[place]
	m.Promised = m.Promised || promised
	if m.Receipt == nil {
		m.Receipt = r
	}
}

// RosterEntries are the employees whose phones these are, one each, as the
// roster must list them.
func (f *Fleet) RosterEntries() []attendance.Employee {
	out := make([]attendance.Employee, len(f.phones))
	for i, h := range f.phones {
		out[i] = attendance.Employee{ID: "sim-" + h.user, Name: "Simulated " + h.user}
		if h.native {
			out[i].Phones = []attendance.Phone{{ID: h.user, Key: h.enrolled.JWK()}}
		} else {
			out[i].Phones = []attendance.Phone{{OwnTracksUser: h.user}}
		}
	}
	return out
}

// Users are the MQTT users of the phones, in their order.
func (f *Fleet) Users() []string {
	out := make([]string, len(f.phones))
	for i, h := range f.phones {
		out[i] = h.user
	}
	return out
}

// Password is what a user of the fleet logs in with; false for anybody else.
func (f *Fleet) Password(user string) (string, bool) {
	if !f.users[user] {
		return "", false
	}
	sum := f.derive("password", user, 0)
	return hex.EncodeToString(sum[:12]), true
}

// derive makes 32 bytes that depend on the seed alone.
func (f *Fleet) derive(purpose, name string, n uint32) [32]byte {
	b := binary.BigEndian.AppendUint64([]byte("punchd simulated phone\x00"), f.cfg.Seed)
	b = append(append(b, purpose...), 0)
	b = append(append(b, name...), 0)
	return sha256.Sum256(binary.BigEndian.AppendUint32(b, n))
}

func (f *Fleet) behaviour(i int) Behaviour {
	if len(f.cfg.Behaviours) == 0 {
		return Honest
	}
	return f.cfg.Behaviours[i%len(f.cfg.Behaviours)]
}
