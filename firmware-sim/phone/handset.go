package phone

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/owntracks"
	"github.com/punchd/punchd/protocol/phone"
)

const (
	metresPerDegree = 111_195
	jitter          = 12.0 // metres that two fixes of a resting phone differ by
	away            = 5000 // metres
	staleFix        = 3 * time.Hour
	replayEvery     = 3 // every third check-in of a replaying phone is a replay
	pipeline        = 3 // check-ins that a pipelining phone makes and sends at once
	foreignBSSID    = "de:ad:be:ef:00:01"
	foreignSSID     = "Elsewhere"
)

// handset is one phone. All of it belongs to the goroutine that runs it.
type handset struct {
	fleet     *Fleet
	user      string
	native    bool
	behaviour Behaviour
	random    *rand.Rand

	signer   crypto.Signer // native: what it signs with
	enrolled phone.Key     // native: what the roster knows
	dialect  owntracks.Dialect

	counter uint64 // native: the last used
	pressed int    // how often its owner has pressed
	last    *message
	waiting []*message // made and not answered, the oldest first
	kept    int        // promises had
	turned  int        // answers that were no promise
	quiet   time.Time  // until then it sends nothing: the gateway does not know it
	next    time.Time  // when its owner presses again
	id      uint16     // the last packet id

	messageID uint32 // OwnTracks on Android: the last _id
	trouble   string // why there was no connection, last
}

// message is a check-in as it goes out, again and again until it is promised.
type message struct {
	topic   string
	payload []byte
	digest  [sha256.Size]byte // of the payload; its receipt must name it
	key     attendance.Key
	place   int // among the facts of the fleet
	checkIn *attendance.CheckIn
}

func (f *Fleet) native(i int) (*handset, error) {
	h := f.handset(fmt.Sprintf("p-%03d", i+1), i, true)
	key, err := f.key(h.user, f.turn(i) == 0, 0)
	if err != nil {
		return nil, err
	}
	if h.enrolled, err = phone.NewKey(key.Public()); err != nil {
		return nil, fmt.Errorf("phone simulator: %w", err)
	}
	if h.signer = key; h.behaviour == WrongKey {
		if h.signer, err = f.key(h.user, f.turn(i) == 0, 1); err != nil {
			return nil, err
		}
	}
	h.counter = f.cfg.Counter - 1
	return h, nil
}

func (f *Fleet) owntracks(i int) *handset {
	h := f.handset(fmt.Sprintf("ot-%03d", i+1), i, false)
	if h.behaviour == WrongKey || h.behaviour == Replayed || h.behaviour == Pipelined {
		h.behaviour = Honest // OwnTracks signs and counts nothing
	}
	if f.turn(i) == 1 {
		h.dialect = owntracks.IOS
	}
	return h
}

// turn alternates, from phone to phone and from one phone of a behaviour to the
// next.
func (f *Fleet) turn(i int) int {
	n := max(len(f.cfg.Behaviours), 1)
	return (i%n + i/n) % 2
}

func (f *Fleet) handset(user string, i int, native bool) *handset {
	seed := f.derive("behaviour", user, 0)
	return &handset{
		fleet: f, user: user, native: native, behaviour: f.behaviour(i), messageID: binary.BigEndian.Uint32(seed[16:]),
		random: rand.New(rand.NewPCG(binary.BigEndian.Uint64(seed[:8]), binary.BigEndian.Uint64(seed[8:16]))),
	}
}

// key derives a phone's private key. Not every 32 bytes are a P-256 key; the
// next ones then are tried.
func (f *Fleet) key(user string, p256 bool, n uint32) (crypto.Signer, error) {
	for try := range uint32(100) {
		seed := f.derive("key", user, n<<16|try)
		if !p256 {
			return ed25519.NewKeyFromSeed(seed[:]), nil
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:]); err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("phone simulator: seed %d gives %s no key", f.cfg.Seed, user)
}

// press makes the next check-in and puts it behind those that wait.
func (h *handset) press(now time.Time) error {
	h.pressed++
	now = now.In(h.fleet.cfg.Zone)
	m, err := h.compose(now)
	if err != nil {
		return fmt.Errorf("phone simulator: %s: %w", h.user, err)
	}
	h.waiting = append(h.waiting, m)
	return nil
}

func (h *handset) compose(now time.Time) (*message, error) {
	if !h.native {
		return h.composeOwnTracks(now), nil
	}
	if h.behaviour == Replayed && h.last != nil && h.pressed%replayEvery == 0 {
		return h.replay(now)
	}
	h.counter++
	counter := h.counter
	if h.behaviour == Pipelined {
		// Of three that leave together, the middle one is the last: the newest
		// overtakes it. They are told apart by the millisecond.
		turn := (h.pressed - 1) % pipeline
		switch turn {
		case 1:
			counter++
		case 2:
			counter--
		}
		now = now.Add(time.Duration(turn) * time.Millisecond)
	}
	c := &attendance.CheckIn{
		Phone: h.user, Counter: counter, At: now, Kind: attendance.KindPunch,
		Direction: []attendance.Direction{attendance.DirIn, attendance.DirOut}[counter%2],
		Evidence:  attendance.Evidence{Fix: h.fix(now), WiFi: h.wifi()},
	}
	return h.sign(c)
}

// replay is by turns the last check-in once more, which is nothing new, and
// another one under its counter, which is.
func (h *handset) replay(now time.Time) (*message, error) {
	if h.pressed%(2*replayEvery) == 0 {
		return h.last, nil
	}
	c := *h.last.checkIn
	c.At, c.Evidence.Note = now, "the same counter again"
	return h.sign(&c)
}

// sign makes the message of a check-in and notes it as a fact.
func (h *handset) sign(c *attendance.CheckIn) (*message, error) {
	payload, err := phone.SignCheckIn(h.signer, c)
	if err != nil {
		return nil, err
	}
	m := &message{
		topic: phone.CheckInTopic(h.fleet.cfg.Site, h.user), payload: payload, digest: sha256.Sum256(payload),
		key: attendance.PhoneKey(h.user, c.Counter), checkIn: c,
	}
	if h.behaviour == WrongKey || h.last != nil && h.last.checkIn.Counter == c.Counter {
		// It can't have the key of an honest one.
		m.key = attendance.RefusedKey(h.user, m.topic, payload)
	} else {
		h.last = m
	}
	m.place = h.fleet.note(Made{Phone: h.user, Native: true, Counter: c.Counter, At: c.At, Behaviour: h.behaviour, Key: m.key})
	return m, nil
}

func (h *handset) composeOwnTracks(now time.Time) *message {
	fix, wifi := h.fix(now), h.wifi()
	l := &owntracks.Location{
		T: "u", TID: h.user[len(h.user)-2:], Lat: fix.Lat, Lon: fix.Lon, Acc: math.Round(fix.Acc), Fix: fix.At.Unix(), CreatedAt: now.Unix(),
		Conn: "w", BSSID: wifi.BSSID, SSID: wifi.SSID,
	}
	if h.dialect == owntracks.Android {
		// Random in the app. Here it never comes again, so that every check-in is
		// a fact of its own, also thousands in one second.
		h.messageID += 0x9e3779b1 // odd, so all of them are gone through
		l.ID = hex.EncodeToString(binary.BigEndian.AppendUint32(nil, h.messageID))
	}
	m := &message{
		topic:   owntracks.Topic{User: h.user, Device: "sim"}.String(),
		payload: h.dialect.Append(nil, l),
	}
	id := attendance.MessageID{ID: l.ID, T: l.T, Fix: l.Fix, CreatedAt: l.CreatedAt}
	if h.dialect == owntracks.IOS && max(l.CreatedAt-l.Fix, l.Fix-l.CreatedAt) <= 1 {
		id.CreatedAt = 0 // iOS does not tell it then
	}
	m.key = attendance.OwnTracksKey(m.topic, id, m.payload)
	pressed := id.CreatedAt // as far as the message tells it
	if pressed == 0 {
		pressed = id.Fix
	}
	m.place = h.fleet.note(Made{Phone: h.user, ID: l.ID, At: time.Unix(pressed, 0), Behaviour: h.behaviour, Key: m.key})
	return m
}

// fix is where the phone says it is. Two fixes of one phone are never the same.
func (h *handset) fix(now time.Time) *attendance.Fix {
	o := h.fleet.cfg.Office
	north, east := jitter*h.random.NormFloat64()/2, jitter*h.random.NormFloat64()/2
	if h.behaviour == Outside {
		north += away
	}
	at := now.Add(-time.Duration(h.random.IntN(4)) * time.Second)
	if h.behaviour == Stale {
		at = now.Add(-staleFix)
	}
	return &attendance.Fix{
		Lat: o.Lat + north/metresPerDegree,
		Lon: o.Lon + east/(metresPerDegree*math.Cos(o.Lat*math.Pi/180)),
		Acc: 8 + math.Round(h.random.Float64()*120)/10,
		At:  at,
	}
}

func (h *handset) wifi() *attendance.WiFi {
	o := h.fleet.cfg.Office
	switch h.behaviour {
	case Outside, WrongBSSID:
		return &attendance.WiFi{BSSID: foreignBSSID, SSID: foreignSSID}
	}
	return &attendance.WiFi{BSSID: o.BSSID, SSID: o.SSID}
}
