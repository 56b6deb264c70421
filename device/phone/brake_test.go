package phone

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/phone"
)

func TestBrake(t *testing.T) {
	var b brake
	now := time.Date(2026, 11, 4, 0, 0, 0, 0, time.UTC)
	garbage, app := rateOf(attendance.AuthMalformed), rateOf(attendance.AuthUser)
	if rateOf(attendance.AuthBadSignature) != garbage || rateOf(attendance.AuthUnknownPhone) != garbage {
		t.Error("what proves nothing has two rates")
	}
	for i := range 60 {
		if wait, _ := b.take("ada", garbage, 100, now); wait > 0 {
			t.Fatalf("message %d waits %v", i, wait)
		}
	}
	for i := range 3 {
		wait, first := b.take("ada", garbage, 100, now)
		if want := time.Duration(i+1) * time.Second; wait != want || first != (i == 0) {
			t.Errorf("message %d over it waits %v (first %v), want %v", i, wait, first, want)
		}
	}
	b.giveBack("ada", garbage, 100)
	if wait, _ := b.take("ada", garbage, 100, now); wait != 3*time.Second {
		t.Errorf("after one is given back: %v", wait)
	}
	if wait, _ := b.take("bob", garbage, 100, now); wait > 0 {
		t.Error("bob waits for ada")
	}
	if wait, _ := b.take("ada", app, 100, now); wait > 0 {
		t.Error("the one sort waits for the other")
	}
	if wait, _ := b.take("ada", garbage, 100, now.Add(4*time.Second)); wait > 0 {
		t.Errorf("waits %v although it was quiet", wait)
	}
	now = now.Add(time.Hour) // nothing is saved up beyond the limit
	size, sent := 60<<10, 0
	for wait := time.Duration(0); wait <= 0; sent++ {
		wait, _ = b.take("carl", garbage, size, now)
	}
	if total := sent * size; total < 1<<20 || total > 1<<20+2*size {
		t.Errorf("%d bytes at once", total)
	}
	sent = 0
	for wait := time.Duration(0); wait <= 0 && sent <= 100_000; sent++ {
		wait, _ = b.take("dora", app, 400, now)
	}
	if sent != 100_001 {
		t.Errorf("%d messages of an OwnTracks phone at once", sent)
	}
	if n := b.notes(now); len(n) != 1 || !strings.Contains(n[0], "carl, dora") || strings.Contains(n[0], "bob") {
		t.Errorf("notes %q", n)
	}
	for i := range 61 * 5 {
		b.take(ident(i%5), garbage, 1, now)
	}
	if n := b.notes(now); len(n) != 1 || !strings.Contains(n[0], "and 4 more") {
		t.Errorf("notes %q", n)
	}
	if n := b.notes(now.Add(time.Hour)); n != nil {
		t.Errorf("notes %q of what is over", n)
	}
}

// forget lets everybody begin anew.
func (b *brake) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.users)
}

// bubble is a broker without a network, in the time of a test.
type bubble struct {
	*Broker
	t  *testing.T
	wg sync.WaitGroup
}

func newBubble(t *testing.T, s *store) *bubble {
	t.Helper()
	b, err := NewBroker(BrokerConfig{Users: users, Site: site, Verify: s.verify, Keys: roster(), Sign: sign})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.ctx = ctx
	t.Cleanup(cancel)
	return &bubble{Broker: b, t: t}
}

// login connects a user through a pipe.
func (b *bubble) login(user, clientID string) *rawClient {
	b.t.Helper()
	near, far := net.Pipe()
	c := &conn{Conn: far, prefix: bytes.NewReader(nil), gone: make(chan struct{})}
	b.wg.Go(func() {
		_ = b.server.EstablishConnection("bubble", c) // any end is an end
		c.cut()
		b.left(c)
	})
	r := &rawClient{t: b.t, nc: near, r: bufio.NewReader(near), ver: 4}
	if code := r.connect(user, "pw-"+user, clientID); code != 0 {
		b.t.Fatalf("CONNACK code %d", code)
	}
	return r
}

// TestSlowed: who sends too much that proves nothing is read more slowly, on
// all connections, and nobody else waits. Nothing of it is dropped.
func TestSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		b := newBubble(t, s)
		thief, second, honest, other := b.login("ada", "thief"), b.login("ada", "second"), b.login("ada", "honest"), b.login("bob", "")
		topic := phone.CheckInTopic(site, "ada")
		start := time.Now()
		garbage := func(c *rawClient, n int) {
			t.Helper()
			c.publish(topic, 7, fmt.Appendf(nil, "garbage %d", n))
			c.puback(7)
		}
		for i := range 60 {
			garbage(thief, i)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the first 60 take %v", took)
		}
		if n := strings.Join(b.State().Notes, "; "); strings.Contains(n, "slowed") {
			t.Errorf("notes %s", n)
		}
		for i := range 10 { // from here on it is one a second, together
			garbage([]*rawClient{thief, second}[i%2], 60+i)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("the next 10 take %v, want 10s", took)
		}
		thief.publish(topic, 8, []byte("one more"))
		synctest.Wait()
		before := time.Now()
		honest.publish(topic, 1, signed(t, "ada", 1, "")) // the phone itself
		honest.puback(1)
		other.publish(phone.CheckInTopic(site, "bob"), 1, []byte("a mistake"))
		other.puback(1)
		if took := time.Since(before); took != 0 {
			t.Errorf("others wait %v", took)
		}
		thief.puback(8)
		if n := strings.Join(b.State().Notes, "; "); !strings.Contains(n, "slowed down") || !strings.Contains(n, "ada") {
			t.Errorf("notes %s", n)
		}
		if n := b.Stats(); n.Slowed != 11 || n.CheckIns != 73 || len(s.list()) != 73 {
			t.Errorf("%d kept, stats %+v", len(s.list()), n)
		}
		// Large messages have their own measure.
		time.Sleep(time.Hour) // of the bubble; the keepalive ends the connections
		b.wg.Wait()
		thief = b.login("ada", "thief")
		start = time.Now()
		for i := range 40 {
			thief.publish(topic, 9, bytes.Repeat([]byte{byte(i), '.'}, 30<<10))
			thief.puback(9)
		}
		// 40 of 60 KiB are 2.34 MiB; the first is free.
		if took := time.Since(start); took < 80*time.Second || took > 81*time.Second {
			t.Errorf("40 of 60 KiB take %v", took)
		}
		thief.nc.Close()
		b.wg.Wait()
	})
}

// TestSlowedEnds: nobody waits longer than the connection, or the broker. What
// was not kept is not acknowledged, and holds nobody up.
func TestSlowedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		b := newBubble(t, s)
		topic := phone.CheckInTopic(site, "ada")
		first := b.login("ada", "same")
		for i := range 60 {
			first.publish(topic, 1, fmt.Appendf(nil, "garbage %d", i))
			first.puback(1)
		}
		start := time.Now()
		first.publish(topic, 2, bytes.Repeat([]byte("x"), 60<<10))
		synctest.Wait() // it waits
		second := b.login("ada", "same")
		first.closed()
		if took := time.Since(start); took != 0 {
			t.Errorf("the connection that was replaced ends after %v", took)
		}
		synctest.Wait() // until it has given up
		second.publish(topic, 3, []byte("next"))
		second.puback(3)
		if took := time.Since(start); took != time.Second {
			t.Errorf("the next waits %v: what was given up still counts", took)
		}
		second.publish(topic, 4, []byte("one more"))
		synctest.Wait()
		start = time.Now()
		close(b.stopping)
		second.closed()
		b.wg.Wait()
		b.side.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("the broker waits %v for those who wait", took)
		}
		if n := len(s.list()); n != 61 {
			t.Errorf("%d kept, want 61", n)
		}
		if b.inFlight != 0 {
			t.Errorf("%d in flight", b.inFlight)
		}
	})
}

// TestUnreadByAnother: a connection that listens and does not read costs the
// others of its user nothing, and is cut.
func TestUnreadByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, newStore())
		honest := b.login("ada", "honest")
		honest.subscribe(phone.ReceiptTopic(site, "ada"))
		start := time.Now()
		var silent []*rawClient
		for i := range maxPerUser - 1 {
			c := b.login("ada", fmt.Sprint("silent ", i))
			c.subscribe(phone.ReceiptTopic(site, "ada"))
			silent = append(silent, c) // and never reads again
		}
		// One of them is being written to already, and holds its own connection.
		silent[0].write([]byte{0xc0, 0})
		synctest.Wait()
		for i := range uint16(2 * maxOutbox) {
			payload := signed(t, "ada", uint64(i)+1, "")
			honest.publish(phone.CheckInTopic(site, "ada"), i+1, payload)
			got := honest.puback(i + 1)
			sum := sha256.Sum256(payload)
			if len(got) != 1 || !bytes.Equal(openReceipt(t, got[0]).Message, sum[:]) {
				t.Fatalf("%d receipts of check-in %d", len(got), i)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the phone waits %v for others", took)
		}
		b.side.Wait()
		synctest.Wait()
		if n := len(b.registry.of("ada")); n != 1 {
			t.Errorf("%d connections, want the honest one", n)
		}
		honest.nc.Close()
		b.wg.Wait()
		for _, c := range silent {
			c.nc.Close()
		}
	})
}

// TestUnreadIsCut: few receipts suffice, if they are not read for long.
func TestUnreadIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, newStore())
		honest, silent := b.login("ada", "honest"), b.login("ada", "silent")
		silent.subscribe(phone.ReceiptTopic(site, "ada"))
		honest.publish(phone.CheckInTopic(site, "ada"), 1, signed(t, "ada", 1, ""))
		honest.puback(1)
		start := time.Now()
		b.side.Wait()
		synctest.Wait()
		if took := time.Since(start); took != writeTimeout || len(b.registry.of("ada")) != 1 {
			t.Errorf("%d connections after %v", len(b.registry.of("ada")), took)
		}
		honest.nc.Close()
		b.wg.Wait()
	})
}
