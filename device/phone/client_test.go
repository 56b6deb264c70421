package phone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/phone"
)

// gateway is a Client that runs until it is stopped.
type gateway struct {
	t      testing.TB
	client *Client
	store  *store
	events *events
	cancel context.CancelFunc
	done   chan error
	came   int // subscriptions waited for
}

func startGateway(t testing.TB, address string, s *store, change func(*ClientConfig)) *gateway {
	t.Helper()
	g := &gateway{t: t, store: s, events: newEvents(), done: make(chan error, 1)}
	cfg := ClientConfig{
		URL: "mqtt://" + address, ClientID: "gw-01", Username: "gw-01", Password: func() (string, error) { return "pw-gw-01", nil },
		Site: site, Verify: s.verify, Keys: roster(), Sign: sign, Log: g.events.log(),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if g.client, err = NewClient(cfg); err != nil {
		t.Fatal(err)
	}
	g.client.retry = 20 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	go func() { g.done <- g.client.Run(ctx) }()
	t.Cleanup(g.stop)
	return g
}

// subscribed waits for the next subscription.
func (g *gateway) subscribed() {
	g.t.Helper()
	g.came++
	g.events.wait(g.t, "subscribed", g.came)
}

func (g *gateway) stop() {
	g.cancel()
	select {
	case err := <-g.done:
		g.done <- nil
		if err != nil {
			g.t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		g.t.Error("Run does not return")
	}
}

func TestClient(t *testing.T) {
	m, s := startMosquitto(t), newStore()
	// What was retained before the gateway came is not a check-in of now.
	m.publish("ada", "owntracks/ada/pixel", manual("retained"), "-r")
	g := startGateway(t, m.address, s, nil)
	g.subscribed()

	m.publish("ada", "owntracks/ada/pixel", manual("live"), "-r") // retained by the broker, and live here
	if c := s.next(t); c.Message.ID != "live" || c.Auth != attendance.AuthUser || c.User != "ada" || c.Topic != "owntracks/ada/pixel" {
		t.Errorf("kept as %+v", c)
	}
	phone1 := login(t, m.address, "bob", "bob")
	phone1.subscribe(phone.ReceiptTopic(site, "bob"))
	for counter := range uint64(3) {
		payload := signed(t, "bob", counter+1, "")
		for again := range 2 {
			phone1.publish(phone.CheckInTopic(site, "bob"), 7, payload)
			got := phone1.puback(7)
			if len(got) == 0 {
				got = append(got, phone1.receipt())
			}
			if r := openReceipt(t, got[0]); r.Counter != counter+1 || r.Duplicate != (again == 1) || r.Verdict != attendance.Accepted {
				t.Errorf("receipt %+v", r)
			}
		}
	}
	if n := g.client.Stats(); n.Retained != 1 || n.CheckIns != 7 {
		t.Errorf("stats %+v", n)
	}
	if kept := s.list(); len(kept) != 4 {
		t.Errorf("%d kept, want 4", len(kept))
	}
	st := g.client.State()
	if !st.Online || st.LastError != "" || st.Address != "mqtt://"+m.address || !strings.Contains(strings.Join(st.Notes, " "), "ACL") {
		t.Errorf("state %+v", st)
	}
	g.stop()
	if st := g.client.State(); st.Online {
		t.Errorf("state after the end %+v", st)
	}
}

// TestClientNotStored: what is not stored is not acknowledged, and the broker
// sends it again, with everything behind it, in order.
func TestClientNotStored(t *testing.T) {
	m, s := startMosquitto(t), newStore()
	g := startGateway(t, m.address, s, nil)
	g.subscribed()
	g.stop()
	for i := range 5 {
		m.publish("ada", phone.CheckInTopic(site, "ada"), signed(t, "ada", uint64(i+1), ""))
	}
	s.failWith(errors.New("disk full"))
	g = startGateway(t, m.address, s, nil)
	g.events.wait(t, "broker is away", 3)
	if st := g.client.State(); st.Online || !strings.Contains(st.LastError, "disk full") || len(s.list()) != 0 || g.client.Stats().Failed < 3 {
		t.Errorf("state %+v, %+v", st, g.client.Stats())
	}
	s.failWith(nil)
	for next := uint64(1); next <= 5; {
		switch c := s.next(t); {
		case c.Counter == next:
			if len(s.list()) >= int(next) {
				next++
			}
		case c.Counter > next:
			t.Fatalf("check-in %d before %d", c.Counter, next)
		}
	}
	for i, c := range s.list() {
		if c.Counter != uint64(i+1) {
			t.Errorf("check-in %d kept as number %d", c.Counter, i+1)
		}
	}
}

// TestClientAway: the broker keeps messages while the gateway is away, and each
// is stored once although its acknowledgement may have been lost.
func TestClientAway(t *testing.T) {
	m, s := startMosquitto(t), newStore()
	g := startGateway(t, m.address, s, nil)
	g.subscribed()
	m.publish("ada", "owntracks/ada/pixel", manual("1"), "-r")
	s.next(t)
	g.stop()
	for i := range 30 {
		m.publish("ada", "owntracks/ada/pixel", manual(ident(i)), "-r")
		m.publish("bob", phone.CheckInTopic(site, "bob"), signed(t, "bob", uint64(i+1), ""))
	}
	g = startGateway(t, m.address, s, nil)
	g.subscribed()
	for len(s.list()) < 61 {
		s.next(t)
	}
	if n := g.client.Stats().Retained; n > 1 {
		t.Errorf("%d retained", n)
	}
	// The broker goes away as well, keeps what it has, and comes back.
	m.stop()
	g.events.wait(t, "broker is away", 1)
	if st := g.client.State(); st.Online || st.LastError == "" {
		t.Errorf("state %+v", st)
	}
	m.start()
	g.subscribed()
	m.publish("carl", phone.CheckInTopic(site, "carl"), signed(t, "carl", 1, ""))
	for len(s.list()) < 62 {
		s.next(t)
	}
	if st := g.client.State(); !st.Online || st.LastError != "" {
		t.Errorf("state %+v", st)
	}
}

// TestClientOrder: many phones at once, each in its own order, although they
// are worked on side by side.
func TestClientOrder(t *testing.T) {
	m, s := startMosquitto(t), newStore()
	g := startGateway(t, m.address, s, nil)
	g.subscribed()
	const each = 100
	var wg sync.WaitGroup
	for _, user := range []string{"ada", "bob", "carl"} {
		c := login(t, m.address, user, user)
		wg.Go(func() {
			for i := range uint16(each) {
				if err := c.tryWrite(c.publishPacket(phone.CheckInTopic(site, user), 1, i+1, signed(t, user, uint64(i)+1, ""))); err != nil {
					t.Error(err)
				}
			}
			for range each {
				if first, _, err := c.tryRead(); err != nil || first != 0x40 {
					t.Errorf("%#x, %v", first, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for range 3 * each {
		s.next(t)
	}
	last := map[string]uint64{}
	for _, c := range s.list() {
		if c.Counter != last[c.User]+1 {
			t.Fatalf("%s: %d behind %d", c.User, c.Counter, last[c.User])
		}
		last[c.User]++
	}
}

func TestClientLargeMessage(t *testing.T) {
	m, s := startMosquitto(t), newStore()
	g := startGateway(t, m.address, s, nil)
	g.subscribed()
	m.publish("ada", phone.CheckInTopic(site, "ada"), bytes.Repeat([]byte("x"), 100_000))
	if c := s.next(t); c.Auth != attendance.AuthMalformed || len(c.Evidence.Raw) != phone.MaxPayload {
		t.Errorf("kept as %v with %d bytes", c.Auth, len(c.Evidence.Raw))
	}
	m.publish("ada", phone.CheckInTopic(site, "ada"), signed(t, "ada", 1, ""))
	if c := s.next(t); c.Auth != attendance.AuthSigned {
		t.Errorf("kept as %+v", c)
	}
	if n := g.client.Stats(); n.TooLarge != 1 || !g.client.State().Online {
		t.Errorf("stats %+v", n)
	}
}

func TestClientRefused(t *testing.T) {
	m, s := startMosquitto(t), newStore()
	asked := make(chan bool, 1000)
	g := startGateway(t, m.address, s, func(c *ClientConfig) {
		c.Password = func() (string, error) { asked <- true; return "wrong", nil }
	})
	for range 3 { // it goes on trying
		select {
		case <-asked:
		case <-time.After(patience):
			t.Fatal("no further try")
		}
	}
	if st := g.client.State(); st.Online || !strings.Contains(st.LastError, "gw-01") || strings.Contains(st.LastError, "wrong") {
		t.Errorf("state %+v", st)
	}
	g.stop()

	// A broker that refuses the subscription: ours, which lets nobody see
	// what belongs to others.
	_, address := startBroker(t, newStore(), nil)
	g = startGateway(t, address, s, nil)
	g.events.wait(t, "broker is away", 1)
	if st := g.client.State(); st.Online || !strings.Contains(st.LastError, "refuses the subscription") {
		t.Errorf("state %+v", st)
	}
}

func TestClientPassword(t *testing.T) {
	m, s := startMosquitto(t), newStore()
	tries := 0
	g := startGateway(t, m.address, s, func(c *ClientConfig) {
		c.Password = func() (string, error) {
			if tries++; tries == 1 {
				return "", errors.New("file is gone")
			}
			return "pw-gw-01", nil
		}
	})
	g.subscribed()
	if st := g.client.State(); !st.Online || st.LastError != "" {
		t.Errorf("state %+v", st)
	}
}

// TestClientTLS: only a broker whose certificate an authority of ours has
// signed is talked to.
func TestClientTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, _ := certificate(t, dir)
	b, address := startBroker(t, newStore(), func(c *BrokerConfig) { c.CertFile, c.KeyFile = certFile, keyFile })
	secure := func(ca string) func(*ClientConfig) {
		return func(c *ClientConfig) { c.URL, c.CAFile = "mqtts://"+address, ca }
	}
	g := startGateway(t, address, newStore(), secure(""))
	g.events.wait(t, "broker is away", 1)
	if st := g.client.State(); !strings.Contains(st.LastError, "certificate") {
		t.Errorf("state %+v", st)
	}
	if n := b.Stats().Logins; n != 0 {
		t.Errorf("%d logins on a connection that nobody vouches for", n)
	}
	g.stop()
	g = startGateway(t, address, newStore(), secure(certFile))
	g.events.wait(t, "broker is away", 1) // refused the subscription, so logged in
	if b.Stats().Logins == 0 {
		t.Error("no login")
	}
}

func TestNewClientRefuses(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bad, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := ClientConfig{URL: "mqtt://broker", ClientID: "gw-01", Site: site, Verify: newStore().verify, Keys: roster(), Sign: sign}
	c, err := NewClient(good)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.State().Address; got != "mqtt://broker:1883" {
		t.Errorf("address %s", got)
	}
	for name, spoil := range map[string]func(*ClientConfig){
		"no URL":         func(c *ClientConfig) { c.URL = "" },
		"no scheme":      func(c *ClientConfig) { c.URL = "broker:1883" },
		"other scheme":   func(c *ClientConfig) { c.URL = "http://broker" },
		"no host":        func(c *ClientConfig) { c.URL = "mqtt://:1883" },
		"password":       func(c *ClientConfig) { c.URL = "mqtt://ada:sesame@broker" },
		"odd password":   func(c *ClientConfig) { c.URL = "mqtt://ada:sesame%zz@broker" },
		"path":           func(c *ClientConfig) { c.URL = "mqtt://broker/x" },
		"query":          func(c *ClientConfig) { c.URL = "mqtt://broker?x=1" },
		"CA without TLS": func(c *ClientConfig) { c.CAFile = bad },
		"bad CA":         func(c *ClientConfig) { c.URL, c.CAFile = "mqtts://broker", bad },
		"missing CA":     func(c *ClientConfig) { c.URL, c.CAFile = "mqtts://broker", bad+"x" },
		"no client id":   func(c *ClientConfig) { c.ClientID = "" },
		"no site":        func(c *ClientConfig) { c.Site = "" },
		"format":         func(c *ClientConfig) { c.Formats = []string{"x"} },
		"no keys":        func(c *ClientConfig) { c.Keys = nil },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := NewClient(cfg); err == nil || !strings.HasPrefix(err.Error(), "phone: ") || strings.Contains(fmt.Sprint(err), "sesame") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
