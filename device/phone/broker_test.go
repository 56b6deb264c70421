package phone

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/phone"
)

// openReceipt verifies a receipt and fails the test if it is none.
func openReceipt(t testing.TB, payload []byte) *attendance.Receipt {
	t.Helper()
	r, err := phone.OpenReceipt(payload, public(t, gatewayKey))
	if err != nil {
		t.Fatalf("%v: %s", err, payload)
	}
	return r
}

func TestNativeInEveryVersion(t *testing.T) {
	s := newStore()
	b, address := startBroker(t, s, nil)
	for _, version := range []byte{3, 4, 5} {
		id := "p-" + string('0'+version)
		c := dial(t, address)
		c.ver = version
		if code := c.connect(id, "pw-"+id, id); code != 0 {
			t.Fatalf("version %d: CONNACK code %d", version, code)
		}
		if granted := c.subscribe(phone.ReceiptTopic(site, id)); granted != 1 {
			t.Fatalf("version %d: granted %#x", version, granted)
		}
		for counter := uint64(1); counter <= 3; counter++ {
			payload := signed(t, id, counter, "")
			for again := range 2 {
				c.publish(phone.CheckInTopic(site, id), uint16(counter), payload)
				got := c.puback(uint16(counter))
				if len(got) == 0 {
					got = append(got, c.receipt())
				}
				r := openReceipt(t, got[0])
				if r.Phone != id || r.Counter != counter || r.Verdict != attendance.Accepted || r.Duplicate != (again == 1) {
					t.Errorf("version %d: receipt %+v", version, r)
				}
			}
		}
	}
	kept := s.list()
	if len(kept) != 9 {
		t.Fatalf("%d check-ins kept, 9 made", len(kept))
	}
	c := kept[0]
	if c.Auth != attendance.AuthSigned || !c.Native || c.User != "p-3" || c.Topic != "punchd/xm-hq/checkin/p-3" || time.Since(c.ReceivedAt) > time.Minute {
		t.Errorf("kept as %+v", c)
	}
	if st := b.State(); !st.Online || st.Emitted != 18 || st.LastError != "" || st.LastRead.IsZero() || st.Driver != "phone" {
		t.Errorf("state %+v", st)
	}
	if notes := strings.Join(b.State().Notes, "; "); !strings.Contains(notes, "3 phones connected") || strings.Contains(notes, "TLS") {
		t.Errorf("notes %s", notes)
	}
	if n := b.Stats(); n.Receipts != 18 || n.Logins != 3 || n.Unanswered != 0 {
		t.Errorf("stats %+v", n)
	}
}

// TestReceiptsReachTheUser: each connection of the user that listens gets the
// receipt, nobody else does, and without one the phone is still acknowledged.
func TestReceiptsReachTheUser(t *testing.T) {
	s := newStore()
	b, address := startBroker(t, s, nil)
	sender, listener, other := login(t, address, "ada", "a"), login(t, address, "ada", "b"), login(t, address, "bob", "a")
	sender.publish(phone.CheckInTopic(site, "ada"), 1, signed(t, "ada", 1, ""))
	if got := sender.puback(1); len(got) != 0 {
		t.Fatal("a receipt without a subscription")
	}
	if n := b.Stats().Unanswered; n != 1 {
		t.Errorf("%d unanswered, want 1", n)
	}
	if listener.subscribe(phone.ReceiptTopic(site, "ada")) != 1 || other.subscribe(phone.ReceiptTopic(site, "bob")) != 1 {
		t.Fatal("own receipts refused")
	}
	sender.publish(phone.CheckInTopic(site, "ada"), 1, signed(t, "ada", 1, ""))
	sender.puback(1)
	if r := openReceipt(t, listener.receipt()); !r.Duplicate || r.Counter != 1 {
		t.Errorf("receipt %+v", r)
	}
	other.ping() // and nothing before the answer
	sender.ping()
}

// TestRefusedCheckIns: what proves nothing is kept with what is wrong with it.
func TestRefusedCheckIns(t *testing.T) {
	s := newStore()
	b, address := startBroker(t, s, nil)
	foreign, err := phone.SignCheckIn(phoneKey("bob"), checkIn("bob", 7, ""))
	if err != nil {
		t.Fatal(err)
	}
	wrongKey, err := phone.SignCheckIn(phoneKey("bob"), checkIn("ada", 8, ""))
	if err != nil {
		t.Fatal(err)
	}
	foreignByAda, err := phone.SignCheckIn(phoneKey("ada"), checkIn("bob", 9, ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, user, topic string
		payload           []byte
		auth              attendance.Auth
		counter           uint64
		problem           string
	}{
		{"wrong key", "ada", "", wrongKey, attendance.AuthBadSignature, 8, "wrong signature"},
		{"another's check-in", "ada", "", foreign, attendance.AuthBadSignature, 7, `names phone "bob" and was sent by "ada"`},
		{"for another", "ada", "", foreignByAda, attendance.AuthBadSignature, 9, `names phone "bob"`},
		{"not enrolled", "ghost", "", signed(t, "ghost", 3, ""), attendance.AuthUnknownPhone, 3, `no key is enrolled for phone "ghost"`},
		{"text", "ada", "", []byte("hello"), attendance.AuthMalformed, 0, "three parts"},
		{"text of an unknown phone", "ghost", "", []byte("hello"), attendance.AuthMalformed, 0, "three parts"},
		{"receipt", "ada", "", mustReceipt(t), attendance.AuthMalformed, 0, "typ is"},
		{"binary", "ada", "", bytes.Repeat([]byte{0, 0xff}, 1000), attendance.AuthMalformed, 0, "three parts"},
		{"largest", "ada", "", bytes.Repeat([]byte("."), phone.MaxPayload), attendance.AuthMalformed, 0, "three parts"},
		{"OwnTracks text", "ada", "owntracks/ada/pixel", []byte("hello"), attendance.AuthMalformed, 0, "no JSON object"},
		{"OwnTracks encrypted", "ada", "owntracks/ada/pixel", []byte(`{"_type":"encrypted","data":"AAAA"}`), attendance.AuthMalformed, 0, "encrypted"},
		{"OwnTracks without a position", "ada", "owntracks/ada/pixel", []byte(`{"_type":"location","t":"u","tst":1793753892}`), attendance.AuthMalformed, 0, "lat is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := login(t, address, c.user, "")
			conn.subscribe(phone.ReceiptTopic(site, c.user))
			topic := c.topic
			if topic == "" {
				topic = phone.CheckInTopic(site, c.user)
			}
			conn.publish(topic, 1, c.payload)
			receipts := conn.puback(1)
			got := s.next(t)
			if got.Auth != c.auth || got.Phone != c.user || got.User != c.user || got.Counter != c.counter || !strings.Contains(got.Problem, c.problem) {
				t.Errorf("kept as %+v", got)
			}
			if !bytes.Equal(got.Evidence.Raw, c.payload) || got.ReceivedAt.IsZero() || got.Topic != topic || got.Native != (c.topic == "") {
				t.Errorf("kept without its bytes or their origin: %+v", got)
			}
			if wantReceipt := c.auth != attendance.AuthMalformed; wantReceipt != (len(receipts) == 1) {
				t.Fatalf("%d receipts", len(receipts))
			} else if wantReceipt && openReceipt(t, receipts[0]).Verdict != attendance.Refused {
				t.Error("the receipt does not say refused")
			}
		})
	}
	if n := b.Stats(); n.CheckIns != 12 || n.Malformed != 8 || n.BadSignature != 3 || n.UnknownPhone != 1 {
		t.Errorf("stats %+v", n)
	}
}

func mustReceipt(t testing.TB) []byte {
	t.Helper()
	payload, err := sign(&attendance.Receipt{Phone: "ada", Counter: 1, Key: attendance.PhoneKey("ada", 1), ReceivedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func TestOwnTracks(t *testing.T) {
	s := newStore()
	b, address := startBroker(t, s, nil)
	c := login(t, address, "ada", "pixel")
	c.publish("owntracks/ada/pixel", 1, manual("0badcafe"))
	c.puback(1)
	got := s.next(t)
	if got.Auth != attendance.AuthUser || got.Native || got.Phone != "ada" || got.Message.ID != "0badcafe" || got.Evidence.WiFi.BSSID != "a2:8b:7f:c0:27:4b" {
		t.Errorf("kept as %+v", got)
	}
	// QoS 0 promises nothing and is taken too.
	c.write(c.publishPacket("owntracks/ada/pixel", 0, 0, manual("0badcaff")))
	s.next(t)
	// A topic with one level more than the apps have by default.
	c.publish("owntracks/ada/office/pixel", 2, manual("0badcafd"))
	c.puback(2)
	if got := s.next(t); got.Topic != "owntracks/ada/office/pixel" || got.Message.ID != "0badcafd" {
		t.Errorf("kept as %+v", got)
	}
	// What is no check-in is acknowledged and dropped.
	for i, m := range []struct{ topic, payload string }{
		{"owntracks/ada/pixel", ""},
		{"owntracks/ada/pixel", `{"_type":"lwt","tst":1793753892}`},
		{"owntracks/ada/pixel", strings.Replace(string(manual("1")), `"t":"u"`, `"t":"p"`, 1)},
		{"owntracks/ada/pixel", `{"_type":"something new"}`},
		{"owntracks/ada/pixel/status", `{"_type":"status","android":{"loc":0}}`},
		{"owntracks/ada/pixel/event", "garbage"},
		{phone.CheckInTopic(site, "ada"), ""},
	} {
		c.publish(m.topic, uint16(10+i), []byte(m.payload))
		c.puback(uint16(10 + i))
	}
	if n := b.Stats(); n.CheckIns != 3 || n.Ignored != 7 {
		t.Errorf("stats %+v", n)
	}
}

func TestFormats(t *testing.T) {
	s := newStore()
	_, address := startBroker(t, s, func(c *BrokerConfig) { c.Formats = []string{FormatOwnTracks}; c.Keys, c.Sign = nil, nil })
	c := login(t, address, "ada", "")
	if c.subscribe(phone.ReceiptTopic(site, "ada")) != 0x80 {
		t.Error("receipts of a format that is off")
	}
	c.publish(phone.CheckInTopic(site, "ada"), 1, signed(t, "ada", 1, ""))
	c.closed()

	_, address = startBroker(t, s, func(c *BrokerConfig) { c.Formats = []string{FormatNative} })
	c = login(t, address, "ada", "")
	if c.subscribe("owntracks/ada/+/cmd") != 0x80 {
		t.Error("commands of a format that is off")
	}
	c.publish("owntracks/ada/pixel", 1, manual("1"))
	c.closed()
	if len(s.list()) != 0 {
		t.Error("something was kept")
	}
}

// TestNotStored: a check-in that is not durable is not acknowledged, whatever
// the version; the phone sends it again and it is kept once.
func TestNotStored(t *testing.T) {
	s := newStore()
	b, address := startBroker(t, s, nil)
	for _, version := range []byte{3, 4, 5} {
		id := ident(int(version))
		payload := signed(t, id, 1, "")
		s.failWith(errors.New("disk full"))
		c := dial(t, address)
		c.ver = version
		c.connect(id, "pw-"+id, id)
		c.publish(phone.CheckInTopic(site, id), 1, payload)
		for {
			first, body, err := c.tryRead()
			if err != nil {
				break // closed
			}
			if first == 0x40 {
				t.Fatalf("version %d: acknowledged with % x", version, body)
			}
			if first == 0xe0 && (version != 5 || body[0] != 0x89) {
				t.Errorf("version %d: DISCONNECT % x", version, body)
			}
		}
		if st := b.State(); !strings.Contains(st.LastError, "disk full") || !st.Online {
			t.Errorf("state %+v", st)
		}
		s.failWith(nil)
		c = login(t, address, id, id)
		c.publish(phone.CheckInTopic(site, id), 1, payload)
		c.puback(1)
		if st := b.State(); st.LastError != "" {
			t.Errorf("the error outlives its cause: %+v", st)
		}
	}
	if kept := s.list(); len(kept) != 3 {
		t.Errorf("%d kept, want 3", len(kept))
	}
	if n := b.Stats().Failed; n != 3 {
		t.Errorf("%d failed, want 3", n)
	}
}

func TestReceiptNotSigned(t *testing.T) {
	s := newStore()
	b, address := startBroker(t, s, func(c *BrokerConfig) {
		c.Sign = func(*attendance.Receipt) ([]byte, error) { return nil, errors.New("key is gone") }
	})
	c := login(t, address, "ada", "")
	c.subscribe(phone.ReceiptTopic(site, "ada"))
	c.publish(phone.CheckInTopic(site, "ada"), 1, signed(t, "ada", 1, ""))
	if got := c.puback(1); len(got) != 0 {
		t.Error("an unsigned receipt was sent")
	}
	if st := b.State(); !strings.Contains(st.LastError, "key is gone") || b.Stats().Unanswered != 1 {
		t.Errorf("state %+v", st)
	}
}

func TestTooLarge(t *testing.T) {
	s := newStore()
	b, address := startBroker(t, s, nil)
	c := login(t, address, "ada", "")
	c.publish(phone.CheckInTopic(site, "ada"), 1, make([]byte, phone.MaxPayload+1))
	c.closed()
	c = login(t, address, "ada", "")
	c.write([]byte{0x32, 0xff, 0xff, 0xff, 0x7f}) // 256 MiB
	c.closed()
	if n := b.Stats(); n.TooLarge != 1 || n.CheckIns != 0 {
		t.Errorf("stats %+v", n)
	}
}

func TestForeignTopics(t *testing.T) {
	s := newStore()
	b, address := startBroker(t, s, nil)
	login(t, address, "bob", "b").subscribe(phone.ReceiptTopic(site, "bob"))
	foreign := []string{
		phone.CheckInTopic(site, "bob"), phone.CheckInTopic("other", "ada"), phone.ReceiptTopic(site, "ada"), phone.ReceiptTopic(site, "bob"),
		"owntracks/bob/pixel", "owntracks/adam/pixel", "owntracks/ada", "owntracks/ada/", "owntracks/ada/pixel/a/b/c", "punchd/xm-hq/checkin/ada/x", "x", "/",
		"owntracks/ada/" + strings.Repeat("x", 60_000),
	}
	for _, topic := range foreign {
		c := login(t, address, "ada", "")
		c.publish(topic, 1, signed(t, "ada", 1, ""))
		c.closed() // before MQTT 5 there is no other way to say no

		c = dial(t, address)
		c.ver = 5
		c.connect("ada", "pw-ada", "")
		c.publish(topic, 1, signed(t, "ada", 1, ""))
		if first, body := c.read(); first != 0x40 || len(body) < 3 || body[2] != 0x87 {
			t.Errorf("%.40s: answered with %#x % x, want PUBACK with not authorized", topic, first, body)
		}
	}
	c := login(t, address, "ada", "")
	silent := []string{"$SYS/broker/version", "$share/g/x", "$sys/x"} // the library has no answer for some
	for _, topic := range silent {
		before := b.Stats().NotAllowed
		c.write(c.publishPacket(topic, 0, 0, []byte("x")))
		c.ping()
		if n := b.Stats().NotAllowed - before; n != 1 {
			t.Errorf("%s: counted %d times", topic, n)
		}
	}
	for _, version := range []byte{3, 4, 5} {
		for _, topic := range append(silent, "punchd/xm-hq/checkin/bob", "owntracks/ada/+", "#") {
			if version == 5 && mqtt.IsValidFilter(topic, true) {
				continue // is told by the PUBACK
			}
			before := b.Stats().NotAllowed
			c := dial(t, address)
			c.ver = version
			c.connect("ada", "pw-ada", "")
			c.publish(topic, 1, []byte("x"))
			for {
				first, body, err := c.tryRead()
				if err != nil {
					break
				}
				if first != 0xe0 || version < 5 || body[0] != 0x87 { // a DISCONNECT from the broker is new in MQTT 5
					t.Errorf("version %d, %s: answered with %#x % x", version, topic, first, body)
				}
			}
			if n := b.Stats().NotAllowed - before; n != 1 {
				t.Errorf("version %d, %s: counted %d times", version, topic, n)
			}
		}
	}
	filters := []string{
		"#", "+/#", "+", "$SYS/#", "$SYS/broker/version", "punchd/#", "punchd/xm-hq/checkin/ada", "punchd/xm-hq/receipt/+", "punchd/xm-hq/receipt/bob", "punchd/+/receipt/ada",
		"owntracks/#", "owntracks/+/+", "owntracks/ada/#", "owntracks/ada/pixel", "owntracks/bob/+/cmd", "owntracks/ada/a/b/cmd", "owntracks/ada//cmd",
		"$share/g/punchd/xm-hq/receipt/ada", "$share/g/#",
	}
	for _, filter := range filters {
		if got := c.subscribe(filter); got != 0x80 {
			t.Errorf("%s granted with %#x", filter, got)
		}
	}
	for _, filter := range []string{phone.ReceiptTopic(site, "ada"), "owntracks/ada/+/cmd", "owntracks/ada/pixel/cmd"} {
		if got := c.subscribe(filter); got != 1 {
			t.Errorf("%s refused with %#x", filter, got)
		}
	}
	for i := range 100 {
		granted := c.subscribe("owntracks/ada/" + ident(i) + "/cmd")
		if want := i < maxSubscriptions-3; want != (granted == 1) {
			t.Fatalf("subscription %d: %#x", i, granted)
		}
	}
	c.ping()
	if len(s.list()) != 0 {
		t.Error("something was kept")
	}
	if n := b.Stats().NotAllowed; n < uint64(2*len(foreign)+len(filters)) {
		t.Errorf("only %d refusals counted", n)
	}
}

func TestLogin(t *testing.T) {
	s := newStore()
	b, address := startBroker(t, s, func(c *BrokerConfig) {
		c.Users = func(user string) (string, bool) {
			if user == "empty" || user == "a/b" || user == "#" {
				return map[string]string{"empty": ""}[user], true
			}
			return users(user)
		}
	})
	tried := 0
	for _, c := range []struct{ user, password string }{
		{"ada", "wrong"}, {"ada", ""}, {"ada", "pw-adb"}, {"nobody", "pw-nobody"}, {"nobody", ""}, {"empty", ""}, {"a/b", "pw-a/b"}, {"#", "pw-#"}, {"", ""},
	} {
		for _, version := range []byte{4, 5} {
			if tried++; tried%(loginFailures-1) == 0 {
				forgive(b) // this test is not about the waiting
			}
			conn := dial(t, address)
			conn.ver = version
			flags := byte(0x82)
			if c.password != "" {
				flags |= 0x40
			}
			parts := [][]byte{text("MQTT"), {version, flags, 0, 60}}
			if version == 5 {
				parts = append(parts, []byte{0})
			}
			parts = append(parts, text("id"), text(c.user))
			if c.password != "" {
				parts = append(parts, text(c.password))
			}
			conn.write(packet(0x10, parts...))
			first, body := conn.read()
			if want := map[byte]byte{4: 5, 5: 0x86}[version]; first != 0x20 || body[1] != want {
				t.Errorf("%q %q: %#x % x", c.user, c.password, first, body)
			}
			conn.closed()
		}
	}
	anonymous := dial(t, address)
	anonymous.write(packet(0x10, text("MQTT"), []byte{4, 2, 0, 60}, text("id")))
	if _, body := anonymous.read(); body[1] != 5 {
		t.Errorf("anonymous: CONNACK % x", body)
	}
	forgive(b)
	if n := b.Stats(); n.LoginsFailed != 19 || n.Logins != 0 || n.Connected != 0 {
		t.Errorf("stats %+v", n)
	}
	login(t, address, "ada", "")
}

func forgive(b *Broker) {
	b.guard.mu.Lock()
	defer b.guard.mu.Unlock()
	clear(b.guard.users.tries)
	clear(b.guard.addresses.tries)
}

// TestPasswordsAreNotLogged holds it for good logins, bad ones, and packets
// that the library could log whole.
func TestPasswordsAreNotLogged(t *testing.T) {
	var log bytes.Buffer
	s := newStore()
	b, err := NewBroker(BrokerConfig{Listen: "127.0.0.1:0", Users: users, Site: site, Verify: s.verify, Keys: roster(), Sign: sign, Log: debugLog(&log)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	<-b.Ready()
	address := b.State().Address
	login(t, address, "ada", "").write(connectPacket(4, "ada", "pw-ada-second-connect", ""))
	c := dial(t, address)
	c.connect("ada", "pw-guess", "")
	c.closed()
	c = login(t, address, "ada", "")
	c.publish("x", 1, []byte("secret payload"))
	c.closed()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"pw-", "secret"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, log.String())
		}
	}
	if !strings.Contains(log.String(), "login failed") || !strings.Contains(log.String(), "user=ada") {
		t.Errorf("the log does not tell of the failed login:\n%s", log.String())
	}
}

// TestGuessing: a user that fails too often at an address waits there, with a
// right password too; the others behind that address go on. An address that
// fails too often with any users waits as a whole.
func TestGuessing(t *testing.T) {
	b, address := startBroker(t, newStore(), nil)
	guess := func(user string) {
		t.Helper()
		c := dial(t, address)
		if code := c.connect(user, "guess", ""); code != 5 {
			t.Fatalf("CONNACK code %d, want 5: not authorized", code)
		}
		c.closed()
	}
	held := func(user string) {
		t.Helper()
		c := dial(t, address)
		if code := c.connect(user, "pw-"+user, ""); code != 3 {
			t.Errorf("%s: CONNACK code %d, want 3: server unavailable", user, code)
		}
		c.closed()
	}
	for range loginFailures {
		guess("ada")
	}
	for range 3 {
		held("ada")
	}
	login(t, address, "bob", "") // the same office
	if n := b.Stats(); n.LoginsFailed != loginFailures || n.LoginsHeld != 3 {
		t.Errorf("stats %+v", n)
	}
	for i := range addressLimit - loginFailures {
		guess(ident(i))
	}
	held("bob")
	if n := b.Stats(); n.LoginsFailed != addressLimit || n.LoginsHeld != 4 {
		t.Errorf("stats %+v", n)
	}
}

func TestGuard(t *testing.T) {
	var g guard
	now := time.Date(2026, 11, 4, 0, 0, 0, 0, time.UTC)
	a, b := source("192.0.2.1:1000"), source("192.0.2.2:1000")
	for i := range loginFailures {
		if g.held(a, "ada", now) {
			t.Fatalf("held after %d failures", i)
		}
		if last := g.fail(a, "ada", now); (last == holdsUser) != (i == loginFailures-1) || last == holdsAddress {
			t.Errorf("failure %d says %v", i, last)
		}
		now = now.Add(time.Second)
	}
	if !g.held(a, "ada", now) || g.held(b, "ada", now) || g.held(a, "bob", now) {
		t.Error("somebody else is held")
	}
	if end := now.Add(loginWindow - time.Second); g.held(a, "ada", end) || !g.held(a, "ada", end.Add(-time.Nanosecond)) {
		t.Error("the wait does not end a minute after the last failure")
	}
	for range loginFailures * 3 { // slowly, as a person errs
		now = now.Add(loginWindow/(loginFailures-1) + 1)
		g.fail(b, "ada", now)
		if g.held(b, "ada", now) {
			t.Fatal("held although slow")
		}
	}
	many := source("192.0.2.3:1000")
	for i := range addressLimit { // as a guesser tries users
		if g.held(many, "bob", now) {
			t.Fatalf("the address is held after %d failures", i)
		}
		if last := g.fail(many, ident(i), now); (last == holdsAddress) != (i == addressLimit-1) {
			t.Errorf("failure %d says %v", i, last)
		}
	}
	if !g.held(many, "bob", now) || g.held(b, "bob", now) {
		t.Error("the wrong address is held")
	}
	if end := now.Add(loginWindow); g.held(many, "bob", end) {
		t.Error("the wait of an address does not end")
	}
	long := strings.Repeat("x", 10_000)
	for i := range 3 * guardSize {
		g.fail(source(net.JoinHostPort(net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)).String(), "1")), long+ident(i), now)
	}
	if len(g.users.tries) > guardSize || len(g.addresses.tries) > guardSize {
		t.Errorf("%d users and %d addresses remembered, the limit is %d", len(g.users.tries), len(g.addresses.tries), guardSize)
	}
	for u := range g.users.tries {
		if len(u.user) > 128 {
			t.Fatalf("a name of %d bytes is remembered", len(u.user))
		}
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1:1", "192.0.2.1:2", true}, {"192.0.2.1:1", "192.0.2.2:1", false}, {"192.0.2.1:1", "[::ffff:192.0.2.1]:1", true},
		{"[2001:db8::1]:1", "[2001:db8::ffff:1]:2", true}, {"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false}, {"[fe80::1%eth0]:1", "[fe80::1%eth1]:1", true}, {"pipe", "@", true},
	} {
		if got := source(c.a) == source(c.b); got != c.same {
			t.Errorf("%s and %s: same is %v", c.a, c.b, got)
		}
	}
}

// TestTakeover: a client id means something within its user alone.
func TestTakeover(t *testing.T) {
	s := newStore()
	b, address := startBroker(t, s, nil)
	ada := login(t, address, "ada", "same")
	ada.subscribe(phone.ReceiptTopic(site, "ada"))
	bob := login(t, address, "bob", "same")
	ada.ping()
	bob.publish(phone.CheckInTopic(site, "bob"), 1, signed(t, "bob", 1, ""))
	if got := bob.puback(1); len(got) != 0 {
		t.Error("bob inherited a subscription")
	}
	ada.ping()

	again := login(t, address, "ada", "same") // the same phone from another network
	ada.closed()
	again.publish(phone.CheckInTopic(site, "ada"), 1, signed(t, "ada", 1, ""))
	if got := again.puback(1); len(got) != 0 {
		t.Error("a session outlived its connection")
	}
	bob.ping()

	for range 3 * maxPerUser { // the oldest make room
		login(t, address, "carl", "").ping()
	}
	if n := len(b.registry.of("carl")); n > maxPerUser {
		t.Errorf("%d connections of one user", n)
	}
	bob.ping()
	again.ping()
}

// TestNoSession: what a connection had ends with it, and the phone is told.
func TestNoSession(t *testing.T) {
	_, address := startBroker(t, newStore(), nil)
	connect := func() (*rawClient, []byte) {
		c := dial(t, address)
		c.write(packet(0x10, text("MQTT"), []byte{4, 0xc0, 0, 60}, text("id"), text("ada"), text("pw-ada"))) // clean session off
		first, body := c.read()
		if first != 0x20 || body[1] != 0 {
			t.Fatalf("%#x % x", first, body)
		}
		return c, body
	}
	c, _ := connect()
	c.subscribe(phone.ReceiptTopic(site, "ada"))
	c.nc.Close()
	c, connack := connect()
	if connack[0] != 0 {
		t.Error("session present")
	}
	c.publish(phone.CheckInTopic(site, "ada"), 1, signed(t, "ada", 1, ""))
	if got := c.puback(1); len(got) != 0 {
		t.Error("the subscription is still there")
	}
	// MQTT 5 asks for a year and is told 0.
	v5 := dial(t, address)
	v5.write(packet(0x10, text("MQTT"), []byte{5, 0xc0, 0, 60, 5, 0x11, 0x01, 0xe1, 0x33, 0x80}, text("id5"), text("ada"), text("pw-ada")))
	_, body := v5.read()
	if !bytes.Contains(body, []byte{0x11, 0, 0, 0, 0}) {
		t.Errorf("CONNACK % x does not say that the session ends at once", body)
	}
}

// TestWill: an app's retained will must not keep it out, and reaches nobody.
func TestWill(t *testing.T) {
	s, events := newStore(), newEvents()
	b, address := startBroker(t, s, func(c *BrokerConfig) { c.Log = events.log() })
	c := dial(t, address)
	c.write(packet(0x10, text("MQIsdp"), []byte{3, 0xc0 | 0x20 | 0x08 | 0x04, 0, 60}, text("id"), text("owntracks/bob/x"), text(`{"_type":"lwt","tst":1}`), text("ada"), text("pw-ada")))
	if first, body := c.read(); first != 0x20 || body[1] != 0 {
		t.Fatalf("%#x % x", first, body)
	}
	c.nc.Close()
	events.wait(t, "connection ended", 1)
	if s.calls != 0 || b.Stats().Ignored != 0 {
		t.Error("a will was taken")
	}
}

// TestRetain: the flag is the publisher's; nothing is retained.
func TestRetain(t *testing.T) {
	s := newStore()
	b, address := startBroker(t, s, nil)
	c := login(t, address, "ada", "")
	p := c.publishPacket("owntracks/ada/pixel", 1, 1, manual("1"))
	p[0] |= 1
	c.write(p)
	c.puback(1)
	s.next(t)
	p = c.publishPacket("owntracks/ada/pixel/cmd", 1, 2, []byte("x"))
	p[0] |= 1
	c.write(p)
	c.puback(2)
	c.subscribe("owntracks/ada/pixel/cmd")
	c.ping() // no retained message before the answer
	if n := b.server.Topics.Messages("owntracks/#"); len(n) != 0 {
		t.Errorf("retained: %v", n)
	}
}

func TestQoS2IsRefused(t *testing.T) {
	s := newStore()
	_, address := startBroker(t, s, nil)
	for _, version := range []byte{4, 5} {
		c := dial(t, address)
		c.ver = version
		c.connect("ada", "pw-ada", "")
		c.write(c.publishPacket(phone.CheckInTopic(site, "ada"), 2, 1, signed(t, "ada", 1, "")))
		c.closed()
	}
	if len(s.list()) != 0 {
		t.Error("taken")
	}
}

// TestTopicAlias: iOS with MQTT 5 names its topic once.
func TestTopicAlias(t *testing.T) {
	s := newStore()
	_, address := startBroker(t, s, nil)
	open := func() *rawClient {
		c := dial(t, address)
		c.ver = 5
		c.connect("ada", "pw-ada", "")
		return c
	}
	publish := func(c *rawClient, topic string, alias byte, id byte) {
		c.write(packet(0x32, text(topic), []byte{0, id, 3, 0x23, 0, alias}, manual(string('a'+rune(id)))))
	}
	c := open()
	publish(c, "owntracks/ada/phone", 1, 1)
	c.puback(1)
	publish(c, "", 1, 2)
	c.puback(2)
	if got := s.list(); len(got) != 2 || got[1].Topic != "owntracks/ada/phone" {
		t.Errorf("kept %+v", got)
	}
	publish(c, "owntracks/bob/phone", 1, 3) // not allowed by name ...
	if _, body := c.read(); body[2] != 0x87 {
		t.Errorf("PUBACK % x", body)
	}
	publish(c, "", 1, 4) // ... nor by alias
	if _, body := c.read(); body[2] != 0x87 {
		t.Errorf("PUBACK % x", body)
	}
	publish(c, "", 7, 5)
	c.closed()
	for alias := range []byte{0, maxAliases + 1, 255} {
		c = open()
		if alias == 1 {
			continue
		}
		publish(c, "owntracks/ada/phone", []byte{0, maxAliases + 1, 255}[alias], 1)
		c.closed()
	}
	if got := s.list(); len(got) != 2 {
		t.Errorf("%d kept", len(got))
	}
}

// TestStrangers: who sends no CONNECT can't hold a place for long, nor keep
// others out.
func TestStrangers(t *testing.T) {
	b, address := startBroker(t, newStore(), nil)
	for _, garbage := range [][]byte{
		[]byte("GET / HTTP/1.1\r\n\r\n"), {0x16, 3, 1, 2, 0}, {0, 0, 0, 0}, bytes.Repeat([]byte{0xff}, 100),
		{0x10, 0xff, 0xff, 0xff, 0x7f},       // 256 MiB
		{0x10, 0xff, 0xff, 0xff, 0xff, 0x01}, // a length of five bytes
		{0x10, 0x81, 0x80, 0x01},             // 16 KiB and one
		{0x10, 0x00}, {0x10, 0x04, 0, 4, 'M', 'Q'},
		packet(0x10, text("MQTT"), []byte{4, 0xc3, 0, 60}, text("id"), text("ada"), text("pw-ada")), // reserved bit
		packet(0x10, text("AMQP"), []byte{4, 0xc2, 0, 60}, text("id"), text("ada"), text("pw-ada")),
		packet(0x10, text("MQTT"), []byte{9, 0xc2, 0, 60}, text("id"), text("ada"), text("pw-ada")),
		packet(0x10, text("MQTT"), []byte{5, 0xc2, 0, 60, 0xff, 0xff, 0xff, 0x7f}),
	} {
		c := dial(t, address)
		if err := c.tryWrite(garbage); err != nil {
			t.Fatal(err)
		}
		if len(garbage) > 1 && garbage[0] == 0x10 && len(garbage) < int(garbage[1])+2 && garbage[1] < 0x80 {
			c.nc.(*net.TCPConn).CloseWrite() // incomplete: it waits for more
		}
		c.closed()
	}
	silent := make([]*rawClient, 0, maxStrangers+20)
	for range cap(silent) {
		silent = append(silent, dial(t, address))
	}
	c := login(t, address, "ada", "") // one more than there is room for
	c.ping()
	silent[0].closed() // the oldest made room
	if b.Stats().Rejected == 0 {
		t.Error("nothing rejected")
	}
}

// TestHostileBytes: behind a login, every cut and every flipped byte of real
// packets costs at most the connection.
func TestHostileBytes(t *testing.T) {
	s, events := newStore(), newEvents()
	b, address := startBroker(t, s, func(c *BrokerConfig) { c.Log = events.log() })
	honest := login(t, address, "bob", "")
	good := login(t, address, "ada", "")
	streams := [][]byte{
		good.publishPacket("owntracks/ada/pixel", 1, 7, manual("1")), packet(0x82, []byte{0, 9}, text(phone.ReceiptTopic(site, "ada")), []byte{1}),
		packet(0xa2, []byte{0, 9}, text(phone.ReceiptTopic(site, "ada"))), packet(0x40, []byte{0, 1}), packet(0x62, []byte{0, 1}), packet(0x70, []byte{0, 1}),
		packet(0xe0), packet(0xf0), packet(0x50, []byte{0, 1}), packet(0x20, []byte{0, 0}), connectPacket(4, "ada", "pw-ada", "x"),
	}
	tries := 0
	for _, version := range []byte{4, 5} {
		for _, stream := range streams {
			for i := 0; i < len(stream); i += max(1, len(stream)/12) {
				for _, mutate := range []func([]byte) []byte{
					func(b []byte) []byte { return b[:i] },
					func(b []byte) []byte { b[i] ^= 0xff; return b },
					func(b []byte) []byte { b[i] = 0; return append(b, b...) },
				} {
					c := dial(t, address)
					c.ver = version
					if code := c.connect("ada", "pw-ada", ""); code != 0 {
						t.Fatal(code)
					}
					if err := c.tryWrite(mutate(bytes.Clone(stream))); err != nil {
						t.Fatal(err)
					}
					c.nc.(*net.TCPConn).CloseWrite()
					c.closed()
					tries++
				}
			}
		}
	}
	honest.publish(phone.CheckInTopic(site, "bob"), 1, signed(t, "bob", 1, ""))
	honest.puback(1)
	events.wait(t, "connection ended", tries)
	if n := b.Stats().Connected; n != 2 {
		t.Errorf("%d connected after %d hostile streams, want the 2 honest ones", n, tries)
	}
}

// TestStop: check-ins in flight are finished and acknowledged; later ones are
// not begun.
func TestStop(t *testing.T) {
	s, events := newStore(), newEvents()
	s.block = make(chan struct{})
	b, err := NewBroker(BrokerConfig{Listen: "127.0.0.1:0", Users: users, Site: site, Verify: s.verify, Keys: roster(), Sign: sign, Log: events.log()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	<-b.Ready()
	address := b.State().Address
	c, late := login(t, address, "ada", ""), login(t, address, "bob", "")
	c.publish(phone.CheckInTopic(site, "ada"), 1, signed(t, "ada", 1, ""))
	<-s.began
	cancel()
	events.wait(t, "broker is stopping", 1)
	late.publish(phone.CheckInTopic(site, "bob"), 1, signed(t, "bob", 1, ""))
	late.closed()
	if _, err := net.DialTimeout("tcp", address, time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a stopping broker accepts: %v", err)
	}
	close(s.block)
	c.puback(1)
	c.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(s.list()) != 1 {
		t.Errorf("%d kept", len(s.list()))
	}
	if st := b.State(); st.Online || st.LastError != "" {
		t.Errorf("state %+v", st)
	}
	if err := b.Run(t.Context()); err == nil {
		t.Error("ran twice")
	}
}

func TestInClear(t *testing.T) {
	for address, noted := range map[string]bool{
		"127.0.0.1:1883": false, "[::1]:1883": false, "localhost:1883": false, "0.0.0.0:1883": true, "[::]:1883": true, "192.168.1.2:1883": true, "broker:1883": true,
	} {
		if got := inClear(address, false); (got != nil) != noted || inClear(address, true) != nil {
			t.Errorf("%s: %v", address, got)
		}
	}
}

func TestPortTaken(t *testing.T) {
	_, address := startBroker(t, newStore(), nil)
	b, err := NewBroker(BrokerConfig{Listen: address, Users: users, Site: site, Verify: newStore().verify, Keys: roster(), Sign: sign})
	if err != nil {
		t.Fatal(err)
	}
	err = b.Run(t.Context())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), address) {
		t.Errorf("error %v", err)
	}
	if st := b.State(); st.Online || st.LastError == "" {
		t.Errorf("state %+v", st)
	}
}

func TestNewBrokerRefuses(t *testing.T) {
	good := BrokerConfig{Users: users, Site: site, Verify: newStore().verify, Keys: roster(), Sign: sign}
	if _, err := NewBroker(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*BrokerConfig){
		"no users":  func(c *BrokerConfig) { c.Users = nil },
		"no site":   func(c *BrokerConfig) { c.Site = "" },
		"site":      func(c *BrokerConfig) { c.Site = "a/b" },
		"no verify": func(c *BrokerConfig) { c.Verify = nil },
		"no keys":   func(c *BrokerConfig) { c.Keys = nil },
		"no sign":   func(c *BrokerConfig) { c.Sign = nil },
		"format":    func(c *BrokerConfig) { c.Formats = []string{"natives"} },
		"half TLS":  func(c *BrokerConfig) { c.CertFile = "x" },
		"no cert":   func(c *BrokerConfig) { c.CertFile, c.KeyFile = "/nonexistent", "/nonexistent" },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := NewBroker(cfg); err == nil || !strings.HasPrefix(err.Error(), "phone: ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestMaxClients(t *testing.T) {
	events := newEvents()
	_, address := startBroker(t, newStore(), func(c *BrokerConfig) { c.MaxClients, c.Log = 2, events.log() })
	a, b := login(t, address, "ada", ""), login(t, address, "bob", "")
	c := dial(t, address)
	if code := c.connect("carl", "pw-carl", ""); code != 3 {
		t.Errorf("CONNACK code %d, want 3: server unavailable", code)
	}
	c.closed()
	a.ping()
	b.nc.Close()
	events.wait(t, "connection ended", 2)
	login(t, address, "carl", "").ping()
}

// TestUnreadReceipts: no more receipts are on their way than the phone takes.
func TestUnreadReceipts(t *testing.T) {
	s := newStore()
	b, address := startBroker(t, s, nil)
	c := dial(t, address)
	c.ver = 5
	c.write(packet(0x10, text("MQTT"), []byte{5, 0xc2, 0, 60, 3, 0x21, 0, 2}, text("id"), text("ada"), text("pw-ada"))) // receive maximum 2
	c.read()
	c.subscribe(phone.ReceiptTopic(site, "ada"))
	for i := range uint16(5) { // without acknowledging a receipt
		c.publish(phone.CheckInTopic(site, "ada"), i+1, signed(t, "ada", uint64(i)+1, ""))
	}
	receipts := 0
	for acks := 0; acks < 5; {
		switch first, _ := c.read(); first >> 4 {
		case 3:
			receipts++
		case 4:
			acks++
		}
	}
	if receipts != 2 {
		t.Errorf("%d receipts on their way, the phone takes 2", receipts)
	}
	if n := b.Stats(); n.Receipts != 2 || n.Unanswered != 3 {
		t.Errorf("stats %+v", n)
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, pool := certificate(t, dir)
	s := newStore()
	_, address := startBroker(t, s, func(c *BrokerConfig) { c.CertFile, c.KeyFile = certFile, keyFile })
	nc, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool, ServerName: "broker.test"})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	plain := dial(t, address)
	c := &rawClient{t: t, nc: nc, r: plain.r, ver: 4}
	c.r.Reset(nc)
	if code := c.connect("ada", "pw-ada", ""); code != 0 {
		t.Fatal(code)
	}
	c.publish(phone.CheckInTopic(site, "ada"), 1, signed(t, "ada", 1, ""))
	c.puback(1)
	plain = dial(t, address)
	if err := plain.tryWrite(connectPacket(4, "ada", "pw-ada", "")); err != nil {
		t.Fatal(err)
	}
	plain.closed()
}

// certificate makes a certificate for broker.test and 127.0.0.1.
func certificate(t *testing.T, dir string) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker.test"}, DNSNames: []string{"broker.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(certFile, certPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, pool
}
