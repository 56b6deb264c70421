package phone

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/owntracks"
	"github.com/punchd/punchd/protocol/phone"
)

const site = "xm-hq"

var (
	gatewayKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	office     = Office{Lat: 24.479834, Lon: 118.089425, BSSID: "a2:8b:7f:c0:27:4b", SSID: "Office"}
)

func gatewayPublic(t testing.TB) phone.Key {
	t.Helper()
	k, err := phone.NewKey(gatewayKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newFleet(t testing.TB, change func(*Config)) *Fleet {
	t.Helper()
	cfg := Config{Site: site, Broker: "unused:1883", Seed: 1, Native: 2, OwnTracks: 2, Gateway: gatewayPublic(t), Office: office, Each: 5}
	change(&cfg)
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// standIn is a gateway of few words on a broker that is not ours. It keeps
// check-ins by their keys, and loses answers by chance.
type standIn struct {
	mqtt.HookBase
	t      testing.TB
	fleet  *Fleet
	server *mqtt.Server
	random *rand.Rand
	loss   float64 // of acknowledgements with their connection, and of receipts

	mu   sync.Mutex
	held map[attendance.Key]*attendance.CheckIn
	auth map[attendance.Key]attendance.Auth
	line map[string][]attendance.Key // by phone, in order of arrival
	got  int
}

func newStandIn(t testing.TB, loss float64) *standIn {
	return &standIn{t: t, loss: loss, random: rand.New(rand.NewPCG(1, 1)), held: map[attendance.Key]*attendance.CheckIn{}, auth: map[attendance.Key]attendance.Auth{}, line: map[string][]attendance.Key{}}
}

// serve runs the broker on l until the returned function is called.
func (s *standIn) serve(l net.Listener) (stop func()) {
	s.t.Helper()
	s.server = mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler), SysTopicResendInterval: 1 << 30})
	for _, err := range []error{s.server.AddHook(s, nil), s.server.AddListener(listeners.NewNet("l", l)), s.server.Serve()} {
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return func() {
		if err := s.server.Close(); err != nil {
			s.t.Error(err)
		}
	}
}

func (s *standIn) ID() string { return "stand-in" }

func (s *standIn) Provides(b byte) bool {
	return bytes.IndexByte([]byte{mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnPublish}, b) >= 0
}

func (s *standIn) OnConnectAuthenticate(_ *mqtt.Client, pk packets.Packet) bool {
	want, ok := s.fleet.Password(string(pk.Connect.Username))
	return ok && want == string(pk.Connect.Password)
}

func (s *standIn) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

func (s *standIn) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	user := string(cl.Properties.Username)
	if user == "" { // our own receipts
		return pk, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got++
	reply := s.take(user, pk.TopicName, bytes.Clone(pk.Payload))
	if s.random.Float64() < s.loss {
		cl.Stop(io.ErrUnexpectedEOF) // stored, and the answer is lost
		return pk, packets.ErrRejectPacket
	}
	if reply != nil && s.random.Float64() >= s.loss {
		if err := s.server.Publish(phone.ReceiptTopic(site, user), reply, false, 1); err != nil {
			s.t.Error(err)
		}
	}
	return pk, packets.CodeSuccessIgnore
}

func (s *standIn) take(user, topic string, payload []byte) (reply []byte) {
	if t, ok := owntracks.ParseTopic(topic); ok {
		m, err := owntracks.Parse(payload)
		if err != nil {
			s.t.Errorf("%s: %v", topic, err)
		}
		l, isLocation := m.(*owntracks.Location)
		if !isLocation {
			if _, status := m.(*owntracks.Status); !status || t.Part != "status" {
				s.t.Errorf("%s: %T", topic, m)
			}
			return nil
		}
		c := l.CheckIn(user, payload)
		s.keep(user, attendance.OwnTracksKey(topic, c.Message, payload), c)
		return nil
	}
	if topic != phone.CheckInTopic(site, user) {
		s.t.Errorf("%s publishes on %s", user, topic)
		return nil
	}
	var key phone.Key
	for _, e := range s.fleet.RosterEntries() {
		if e.Phones[0].ID == user {
			var err error
			if key, err = phone.ParseKey(e.Phones[0].Key); err != nil {
				s.t.Error(err)
			}
		}
	}
	c, err := phone.OpenCheckIn(payload, key)
	id := attendance.RefusedKey(user, topic, payload)
	switch {
	case errors.Is(err, phone.ErrSignature):
		if c, err = phone.ReadCheckIn(payload); err != nil {
			s.t.Error(err)
			return nil
		}
	case err != nil:
		s.t.Error(err)
		return nil
	default:
		own := attendance.PhoneKey(user, c.Counter)
		if before, ok := s.held[own]; !ok || bytes.Equal(phone.SigningInput(before.Evidence.Raw), phone.SigningInput(payload)) {
			id = own
		}
	}
	s.keep(user, id, c)
	answered := sha256.Sum256(payload)
	r, err := phone.SignReceipt(gatewayKey, "gw", &attendance.Receipt{Phone: user, Counter: c.Counter, Key: id, Verdict: attendance.Flagged, ReceivedAt: time.Now(), Message: answered[:]})
	if err != nil {
		s.t.Error(err)
	}
	return r
}

func (s *standIn) keep(user string, key attendance.Key, c *attendance.CheckIn) {
	if _, ok := s.held[key]; ok {
		return
	}
	s.held[key], s.auth[key] = c, c.Auth
	s.line[user] = append(s.line[user], key)
}

// count compares both sides: all that was made is promised and held once, in
// its order, and nothing else is.
func (s *standIn) count(t *testing.T, made []Made) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := map[string][]attendance.Key{}
	for _, m := range made {
		if !m.Promised || m.Native != (m.Receipt != nil) || m.Native && m.Receipt.Key != m.Key {
			t.Errorf("not promised as it should be: %+v", m)
		}
		lines[m.Phone] = append(lines[m.Phone], m.Key)
	}
	if !reflect.DeepEqual(lines, s.line) {
		t.Errorf("the phones made\n%v\nthe gateway holds\n%v", lines, s.line)
	}
}

func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestFleet(t *testing.T) {
	for name, loss := range map[string]float64{"answers come": 0, "answers get lost": 0.1} {
		t.Run(name, func(t *testing.T) {
			s, l := newStandIn(t, loss), listen(t, "127.0.0.1:0")
			s.fleet = newFleet(t, func(c *Config) {
				c.Broker, c.Native, c.OwnTracks, c.Each, c.Behaviours, c.Patience = l.Addr().String(), 14, 14, 12, Behaviours(), 100*time.Millisecond
			})
			defer s.serve(l)()
			if err := s.fleet.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			made := s.fleet.Made()
			s.count(t, made)
			// Two replaying phones press 12 times and repeat themselves twice.
			if want := 28*12 - 2*2; len(made) != want {
				t.Errorf("%d facts, want %d", len(made), want)
			}
			if loss > 0 && s.got < len(made)*21/20 {
				t.Errorf("only %d messages for %d facts: nothing got lost", s.got, len(made))
			}
		})
	}
}

func TestBehaviours(t *testing.T) {
	s, l := newStandIn(t, 0), listen(t, "127.0.0.1:0")
	s.fleet = newFleet(t, func(c *Config) {
		c.Broker, c.Native, c.OwnTracks, c.Each, c.Behaviours = l.Addr().String(), 7, 7, 6, Behaviours()
	})
	defer s.serve(l)()
	if err := s.fleet.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen, positions := map[Behaviour]int{}, map[[2]float64]bool{}
	for _, m := range s.fleet.Made() {
		c, auth := s.held[m.Key], s.auth[m.Key]
		if c == nil {
			t.Fatalf("not held: %+v", m)
		}
		seen[m.Behaviour]++
		e := c.Evidence
		distance := math.Hypot(e.Fix.Lat-office.Lat, e.Fix.Lon-office.Lon) * metresPerDegree
		if far := distance > 1000; far != (m.Behaviour == Outside) || !far && distance > 100 {
			t.Errorf("%s: %.0f m from the office", m.Behaviour, distance)
		}
		if foreign := e.WiFi.BSSID != office.BSSID; foreign != (m.Behaviour == Outside || m.Behaviour == WrongBSSID) {
			t.Errorf("%s: BSSID %s", m.Behaviour, e.WiFi.BSSID)
		}
		if stale := c.At.Sub(e.Fix.At) > time.Hour; stale != (m.Behaviour == Stale) {
			t.Errorf("%s: fix of %v at %v", m.Behaviour, e.Fix.At, c.At)
		}
		if bad := auth == attendance.AuthBadSignature; bad != (m.Behaviour == WrongKey) {
			t.Errorf("%s: auth %d", m.Behaviour, auth)
		}
		if replay := m.Native && m.Key != attendance.PhoneKey(m.Phone, m.Counter); replay != (m.Behaviour == WrongKey || e.Note != "") {
			t.Errorf("%s: key %s", m.Behaviour, m.Key)
		}
		at := [2]float64{e.Fix.Lat, e.Fix.Lon}
		if positions[at] && e.Note == "" {
			t.Errorf("%s: the same position twice", m.Behaviour)
		}
		positions[at] = true
	}
	for _, b := range Behaviours() {
		if seen[b] == 0 {
			t.Errorf("no phone is %s", b)
		}
	}
}

// TestOutage: phones press on without a broker and send all of it afterwards.
func TestOutage(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	address := l.Addr().String()
	s := newStandIn(t, 0)
	pressed := make(chan struct{}, 1000)
	s.fleet = newFleet(t, func(c *Config) {
		c.Broker, c.Native, c.OwnTracks, c.Each, c.Pace = address, 3, 3, 20, 2*time.Millisecond
		dialer := &net.Dialer{}
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				pressed <- struct{}{}
			}
			return nc, err
		}
	})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.fleet.Run(t.Context()) }()
	for range 10 { // refused, and refused again
		<-pressed
	}
	if len(s.fleet.Made()) == 0 {
		t.Error("nobody presses without a broker")
	}
	defer s.serve(listen(t, address))()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	made := s.fleet.Made()
	if len(made) != 120 {
		t.Errorf("%d facts, want 120", len(made))
	}
	s.count(t, made)
}

func TestCancel(t *testing.T) {
	s, l := newStandIn(t, 0), listen(t, "127.0.0.1:0")
	s.fleet = newFleet(t, func(c *Config) { c.Broker, c.Each, c.Pace = l.Addr().String(), 0, time.Hour })
	defer s.serve(l)()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.fleet.Run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := s.fleet.Run(ctx); err != nil || len(s.fleet.Made()) != 0 {
		t.Errorf("ran on with an ended context: %v", err)
	}
}

// TestSeed: one seed, one fleet.
func TestSeed(t *testing.T) {
	a, b := newFleet(t, func(*Config) {}), newFleet(t, func(*Config) {})
	other := newFleet(t, func(c *Config) { c.Seed = 2 })
	if !reflect.DeepEqual(a.RosterEntries(), b.RosterEntries()) {
		t.Error("one seed, two rosters")
	}
	if reflect.DeepEqual(a.RosterEntries(), other.RosterEntries()) {
		t.Error("two seeds, one roster")
	}
	algorithms := map[string]bool{}
	for _, user := range a.Users() {
		p1, ok1 := a.Password(user)
		p2, ok2 := b.Password(user)
		p3, ok3 := other.Password(user)
		if !ok1 || !ok2 || !ok3 || p1 != p2 || p1 == p3 || len(p1) < 16 {
			t.Errorf("%s: passwords %s %s %s", user, p1, p2, p3)
		}
	}
	if _, ok := a.Password("somebody"); ok {
		t.Error("a password for somebody else")
	}
	for _, e := range a.RosterEntries() {
		if e.Phones[0].Key == "" {
			continue
		}
		k, err := phone.ParseKey(e.Phones[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		algorithms[k.Algorithm()] = true
	}
	if !algorithms[phone.ES256] || !algorithms[phone.EdDSA] {
		t.Errorf("algorithms %v", algorithms)
	}
	if _, err := attendance.NewIndex(&attendance.Roster{Employees: a.RosterEntries()}); err != nil {
		t.Error(err)
	}
	mixed, kinds := newFleet(t, func(c *Config) { c.Native, c.OwnTracks, c.Behaviours = 28, 28, Behaviours() }), map[string]bool{}
	for _, h := range mixed.phones {
		kinds[string(h.behaviour)+h.enrolled.Algorithm()+string('0'+rune(h.dialect))] = true
	}
	if want := 7*2 + 4*2; len(kinds) != want { // no OwnTracks phone signs, replays or counts
		t.Errorf("%d kinds of phones, want %d: %v", len(kinds), want, kinds)
	}
	press := func(f *Fleet) (out []string) {
		for _, h := range f.phones {
			for i := range 10 {
				if err := h.press(time.Unix(1793753892+int64(i), 0)); err != nil {
					t.Fatal(err)
				}
			}
			for _, m := range h.waiting {
				out = append(out, string(m.payload))
			}
		}
		return out
	}
	if !reflect.DeepEqual(press(a), press(b)) {
		t.Error("one seed, different check-ins")
	}
}

// A fleet can be made without a gateway, to be told of, but not run: its native
// phones would believe no receipt.
func TestRunNeedsTheGatewaysKey(t *testing.T) {
	for native, want := range map[int]bool{0: true, 1: false} {
		f, err := New(Config{Site: site, Broker: "x:1", Native: native, OwnTracks: 1})
		if err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.Run(ended); (err == nil) != want {
			t.Errorf("%d native phones: error %v", native, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Site: site, Broker: "x:1", Native: 1, Gateway: gatewayPublic(t)}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"site": func(c *Config) { c.Site = "a/b" }, "broker": func(c *Config) { c.Broker = "" }, "none": func(c *Config) { c.Native = 0 },
		"too many": func(c *Config) { c.OwnTracks = MaxPhones + 1 }, "negative": func(c *Config) { c.Native = -1 },
		"behaviour": func(c *Config) { c.Behaviours = []Behaviour{"rude"} }, "pace": func(c *Config) { c.Pace = -1 },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), "phone simulator: ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// script is a broker that a test plays by hand, in a bubble with its own time.
func script(t *testing.T, change func(*Config), play func(nc net.Conn, r io.Reader)) *Fleet {
	t.Helper()
	return newFleet(t, func(c *Config) {
		c.Native, c.OwnTracks, c.Each = 1, 0, 1
		c.Dial = pipeDial(func(nc net.Conn) { play(nc, nc) })
		change(c)
	})
}

// pipeDial connects to a broker that is played in this process.
func pipeDial(play func(nc net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			play(far)
		}()
		return near, nil
	}
}

// TestHostileBroker: a broker that talks nonsense or nothing costs connections,
// never a promise.
func TestHostileBroker(t *testing.T) {
	for name, answer := range map[string][]byte{
		"silence": nil, "refusal": {0x20, 2, 0, 5}, "huge": {0x20, 0xff, 0xff, 0xff, 0x7f}, "endless length": {0x20, 0xff, 0xff, 0xff, 0xff, 0xff},
		"wrong packet": {0x40, 2, 0, 1}, "short": {0x20, 1, 0}, "no SUBACK": {0x20, 2, 0, 0, 0x40, 1, 0}, "refused subscription": {0x20, 2, 0, 0, 0x90, 3, 0, 1, 0x80},
		"unknown packet":    {0x20, 2, 0, 0, 0x90, 3, 0, 1, 1, 0xf0, 0},
		"empty publication": {0x20, 2, 0, 0, 0x90, 3, 0, 1, 1, 0x32, 0}, "cut publication": {0x20, 2, 0, 0, 0x90, 3, 0, 1, 1, 0x32, 3, 0, 9, 'x'},
		"forged receipt": append([]byte{0x20, 2, 0, 0, 0x90, 3, 0, 1, 1, 0x30, 8, 0, 1, 'x'}, "a.b.c"...),
		"other's ack":    {0x20, 2, 0, 0, 0x90, 3, 0, 1, 1, 0x40, 2, 0x7f, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := script(t, func(*Config) {}, func(nc net.Conn, r io.Reader) {
					go nc.Write(answer)
					_, _ = io.Copy(io.Discard, r) // until the phone gives up
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := f.Run(ctx); err != nil {
					t.Fatal(err)
				}
				made := f.Made()
				if len(made) > 1 || len(made) == 1 && (made[0].Promised || made[0].Receipt != nil) {
					t.Errorf("made %+v", made)
				}
			})
		})
	}
}

// TestKeepAlive: a phone at rest pings, and comes back when nobody answers.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		pings, dials := 0, 0
		f := script(t, func(c *Config) { c.Pace, c.Each = 24*time.Hour, 0 }, func(nc net.Conn, r io.Reader) {
			mu.Lock()
			dials++
			mu.Unlock()
			go nc.Write([]byte{0x20, 2, 0, 0, 0x90, 3, 0, 1, 1})
			b := make([]byte, 1<<10)
			for {
				n, err := r.Read(b)
				if err != nil {
					return
				}
				if n == 2 && b[0] == 0xc0 {
					mu.Lock()
					pings++
					answer := pings <= 3
					mu.Unlock()
					if answer {
						go nc.Write([]byte{0xd0, 0})
					} else {
						return // the broker dies
					}
				}
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if err := f.Run(ctx); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if pings < 4 || dials < 2 {
			t.Errorf("%d pings, %d connections", pings, dials)
		}
	})
}

// BenchmarkFleet is check-ins of 100 honest phones, half of them signed, with
// their promises. The stand-in and its broker are in the figure.
func BenchmarkFleet(b *testing.B) {
	s, l := newStandIn(b, 0), listen(b, "127.0.0.1:0")
	s.fleet = newFleet(b, func(c *Config) { c.Broker, c.Native, c.OwnTracks, c.Each = l.Addr().String(), 50, 50, max(b.N/100, 1) })
	defer s.serve(l)()
	b.ResetTimer()
	if err := s.fleet.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(s.fleet.Made()))/b.Elapsed().Seconds(), "checkins/s")
}
