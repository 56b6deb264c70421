package phone

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/phone"
)

const site = "xm-hq"

// phoneKey and gatewayKey are keys that a test can make again.
func phoneKey(id string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("phone " + id))
	return ed25519.NewKeyFromSeed(seed[:])
}

var gatewayKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func public(t testing.TB, priv ed25519.PrivateKey) phone.Key {
	t.Helper()
	k, err := phone.NewKey(priv.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// roster makes the Keys of a gateway: all phones but ghosts are enrolled.
func roster() Keys {
	var known sync.Map
	return func(id string) (phone.Key, bool) {
		if strings.HasPrefix(id, "ghost") {
			return phone.Key{}, false
		}
		if k, ok := known.Load(id); ok {
			return k.(phone.Key), true
		}
		k, err := phone.NewKey(phoneKey(id).Public())
		known.Store(id, k)
		return k, err == nil
	}
}

func sign(r *attendance.Receipt) ([]byte, error) { return phone.SignReceipt(gatewayKey, "gw", r) }

// users know the password pw-<user>; nobody-* are none.
func users(user string) (string, bool) { return "pw-" + user, !strings.HasPrefix(user, "nobody") }

// store stands in for the ledger: what it has accepted it keeps, and a message
// it knows is a duplicate.
type store struct {
	mu    sync.Mutex
	fail  error // returned instead of storing
	seen  map[attendance.Key]int
	kept  []*attendance.CheckIn
	calls int
	block chan struct{} // if set, Verify waits for it or for the context
	began chan struct{} // a token for every wait
	came  chan *attendance.CheckIn
}

func newStore() *store {
	return &store{seen: map[attendance.Key]int{}, began: make(chan struct{}, 10_000), came: make(chan *attendance.CheckIn, 10_000)}
}

func (s *store) verify(ctx context.Context, c *attendance.CheckIn) (*attendance.Receipt, error) {
	if s.block != nil {
		s.began <- struct{}{}
		select {
		case <-s.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.came <- c
	if s.fail != nil {
		return nil, s.fail
	}
	var key attendance.Key
	switch c.Auth {
	case attendance.AuthSigned:
		key = attendance.PhoneKey(c.Phone, c.Counter)
	case attendance.AuthUser:
		key = attendance.OwnTracksKey(c.Topic, c.Message, c.Evidence.Raw)
	default:
		key = attendance.RefusedKey(c.User, c.Topic, c.Evidence.Raw)
	}
	seq, duplicate := s.seen[key]
	if !duplicate {
		seq = len(s.kept)
		s.seen[key] = seq
		s.kept = append(s.kept, c)
	}
	if !c.Native || c.Auth == attendance.AuthMalformed {
		return nil, nil
	}
	verdict := attendance.Accepted
	if c.Auth != attendance.AuthSigned {
		verdict = attendance.Refused
	}
	answered := sha256.Sum256(c.Evidence.Raw)
	return &attendance.Receipt{
		Phone: c.Phone, Counter: c.Counter, Key: key, Seq: uint64(seq), Verdict: verdict, ReceivedAt: c.ReceivedAt, Duplicate: duplicate, Message: answered[:],
	}, nil
}

func (s *store) failWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *store) list() []*attendance.CheckIn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*attendance.CheckIn(nil), s.kept...)
}

// next waits for the next call of verify.
func (s *store) next(t testing.TB) *attendance.CheckIn {
	t.Helper()
	select {
	case c := <-s.came:
		return c
	case <-time.After(patience):
		t.Fatal("no check-in came")
		return nil
	}
}

// events is a log that a test can wait for.
type events struct {
	slog.Handler
	mu    sync.Mutex
	count map[string]int
	more  chan struct{} // one token if count has changed
}

func newEvents() *events {
	return &events{Handler: slog.DiscardHandler, count: map[string]int{}, more: make(chan struct{}, 1)}
}

func (e *events) log() *slog.Logger                        { return slog.New(e) }
func (e *events) Enabled(context.Context, slog.Level) bool { return true }

func (e *events) Handle(_ context.Context, r slog.Record) error {
	e.mu.Lock()
	e.count[strings.TrimPrefix(r.Message, "phones: ")]++
	e.mu.Unlock()
	select {
	case e.more <- struct{}{}:
	default:
	}
	return nil
}

// wait waits until a message has been logged so often.
func (e *events) wait(t testing.TB, message string, times int) {
	t.Helper()
	timeout := time.After(patience)
	for {
		e.mu.Lock()
		n := e.count[message]
		e.mu.Unlock()
		if n >= times {
			return
		}
		select {
		case <-e.more:
		case <-timeout:
			t.Fatalf("%q was logged %d times, want %d", message, n, times)
		}
	}
}

// startBroker runs a broker until the test ends and returns its address.
func startBroker(t testing.TB, s *store, change func(*BrokerConfig)) (*Broker, string) {
	t.Helper()
	cfg := BrokerConfig{Listen: "127.0.0.1:0", Users: users, Site: site, Verify: s.verify, Keys: roster(), Sign: sign}
	if change != nil {
		change(&cfg)
	}
	b, err := NewBroker(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(2 * drainTime):
			t.Error("Run does not return")
		}
	})
	select {
	case <-b.Ready():
	case err := <-done:
		done <- nil
		t.Fatalf("Run: %v", err)
	}
	return b, b.State().Address
}

// signed makes a native check-in.
func signed(t testing.TB, id string, counter uint64, note string) []byte {
	t.Helper()
	payload, err := phone.SignCheckIn(phoneKey(id), checkIn(id, counter, note))
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func checkIn(id string, counter uint64, note string) *attendance.CheckIn {
	return &attendance.CheckIn{
		Phone: id, Counter: counter, At: time.Date(2026, 11, 4, 8, 58, 12, 0, time.FixedZone("", 8*3600)), Kind: attendance.KindPunch, Direction: attendance.DirIn,
		Evidence: attendance.Evidence{Fix: &attendance.Fix{Lat: 24.479834, Lon: 118.089425, Acc: 12}, Note: note},
	}
}

// manual is what the OwnTracks app publishes when its user presses the button.
func manual(id string) []byte {
	return []byte(`{"_type":"location","BSSID":"a2:8b:7f:c0:27:4b","SSID":"Office","_id":"` + id + `","acc":12,"alt":5,"batt":100,"bs":0,"cog":0,"conn":"w","created_at":1793753893,"lat":24.479834,"lon":118.089425,"m":2,"t":"u","tid":"ad","tst":1793753892,"vac":0,"vel":0}`)
}

func debugLog(w *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
