package phone

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/owntracks"
	"github.com/punchd/punchd/protocol/phone"
)

// hook is where the broker library asks what may happen. All methods run in
// the goroutine that reads the connection they are about.
type hook struct {
	mqtt.HookBase
	b *Broker
}

// ID implements [mqtt.Hook].
func (h *hook) ID() string { return "punchd" }

// Provides implements [mqtt.Hook].
func (h *hook) Provides(method byte) bool {
	return slices.Contains([]byte{
		mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnPacketRead, mqtt.OnPublish, mqtt.OnPacketProcessed,
	}, method)
}

var (
	// errHeld turns away who failed too often.
	errHeld = errors.New("phone: too many failed logins")
	// errGone ends the wait of a message: its connection ends, or the broker.
	errGone = errors.New("phone: the connection ends before the message is kept")
)

// OnConnect makes the connection one that leaves nothing behind: no will, no
// session.
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	cl.Properties.Will = mqtt.Will{}
	if cl.Properties.ProtocolVersion < 5 { // MQTT 5 is told by the session expiry interval
		cl.Properties.Clean = true
	}
	c := cl.Net.Conn.(*conn)
	if h.b.guard.held(c.from, string(pk.Connect.Username), time.Now()) {
		h.b.loginsHeld.Add(1)
		if err := h.b.server.SendConnack(cl, packets.ErrServerUnavailable, false, nil); err != nil {
			return err
		}
		return errHeld
	}
	return nil
}

// OnConnectAuthenticate lets in who knows the password.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	b, c := h.b, cl.Net.Conn.(*conn)
	user := string(pk.Connect.Username)
	if !b.authentic(user, pk.Connect.Password) {
		b.loginsFailed.Add(1)
		b.log.Warn("phones: login failed", "user", user[:min(len(user), 64)], "from", c.from)
		switch b.guard.fail(c.from, user, time.Now()) {
		case holdsUser:
			b.log.Warn("phones: too many failed logins; the user waits at this address", "user", user[:min(len(user), 64)], "from", c.from, "for", loginWindow)
		case holdsAddress:
			b.log.Warn("phones: too many failed logins; the address waits", "from", c.from, "for", loginWindow)
		}
		return false
	}
	c.client, c.user, c.clientID = cl, user, pk.Connect.ClientIdentifier
	c.checkIns, c.receipts = phone.CheckInTopic(b.site, user), phone.ReceiptTopic(b.site, user)
	c.owntracks = "owntracks/" + user + "/"
	b.logins.Add(1)
	b.connected.Add(1)
	old := b.registry.add(c)
	// One id in the library for every connection that ever was, so that it
	// finds no session to take over and none to inherit.
	cl.ID = user + "/" + strconv.FormatUint(c.serial, 10)
	if old != nil {
		b.log.Debug("phones: connection replaced", "user", user, "from", c.from)
		old.leave()
		// It may not read, and the new one has nothing to do with that.
		b.side.Go(func() { b.hangUp(old.client, packets.ErrSessionTakenOver) })
	}
	return true
}

// authentic compares in a time that tells neither the password nor its length.
func (b *Broker) authentic(user string, password []byte) bool {
	if !phone.ValidName(user) {
		return false
	}
	want, known := b.cfg.Users(user)
	given, expected := sha256.Sum256(password), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(given[:], expected[:]) == 1 && known && want != ""
}

// OnACLCheck says which topics are a user's own.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	c := cl.Net.Conn.(*conn)
	if write && h.b.mayPublish(c, topic) || !write && h.b.maySubscribe(c, topic) {
		return true
	}
	h.b.refuse(c, topic, write)
	return false
}

// refuse counts the use of a topic that is not the user's.
func (b *Broker) refuse(c *conn, topic string, write bool) {
	b.notAllowed.Add(1)
	b.log.Info("phones: topic refused", "user", c.user, "topic", topic[:min(len(topic), 256)], "publish", write)
}

func (b *Broker) mayPublish(c *conn, topic string) bool {
	if topic == c.checkIns {
		return b.native
	}
	if !b.owntracks || !strings.HasPrefix(topic, c.owntracks) {
		return false
	}
	_, ok := owntracks.ParseTopic(topic)
	return ok
}

// maySubscribe allows the user's own receipts and, so that the apps find what
// they look for, the commands to the user's own devices; none are ever sent.
func (b *Broker) maySubscribe(c *conn, filter string) bool {
	if filter != c.receipts || !b.native {
		rest, found := strings.CutPrefix(filter, c.owntracks)
		device, part, _ := strings.Cut(rest, "/")
		if !b.owntracks || !found || part != "cmd" || device == "" || device != "+" && strings.ContainsAny(device, "+#") {
			return false
		}
	}
	subs := c.client.State.Subscriptions
	_, again := subs.Get(filter)
	return again || subs.Len() < maxSubscriptions
}

// OnPacketRead sees a packet before the library acts on it.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := cl.Net.Conn.(*conn)
	switch pk.FixedHeader.Type {
	case packets.Puback:
		c.acked()
	case packets.Publish:
		if pk.FixedHeader.Qos > 1 { // the library would answer it like QoS 1, which its sender does not understand
			h.b.hangUp(cl, packets.ErrQosNotSupported)
			return pk, packets.ErrRejectPacket
		}
		if !c.topic(&pk) {
			h.b.hangUp(cl, packets.ErrTopicAliasInvalid)
			return pk, packets.ErrRejectPacket
		}
		if pk.FixedHeader.Qos > 0 && h.b.silent(cl, pk.TopicName) && !h.b.mayPublish(c, pk.TopicName) {
			h.b.refuse(c, pk.TopicName, true)
			h.b.hangUp(cl, packets.ErrNotAuthorized)
			return pk, packets.ErrRejectPacket
		}
		if pk.FixedHeader.Qos == 0 && !mqtt.IsValidFilter(pk.TopicName, true) { // dropped before it is asked about
			h.b.refuse(c, pk.TopicName, true)
		}
	}
	return pk, nil
}

// silent reports whether the library has no answer for a publication that is
// not allowed: it passes over what looks like $SYS or a filter, and to phones
// before MQTT 5 it would send a packet that their protocol does not have.
func (b *Broker) silent(cl *mqtt.Client, topic string) bool {
	return cl.Properties.ProtocolVersion < 5 || !mqtt.IsValidFilter(topic, true)
}

// OnPublish takes a message. The library acknowledges it when this returns
// [packets.CodeSuccessIgnore] and passes it on to nobody; with
// [packets.ErrRejectPacket] it stays silent. Any other error would be
// acknowledged to phones before MQTT 5. So a check-in that is not durable costs
// the connection, and the phone keeps it.
//
// The retain flag is the publisher's and says nothing here: a message that is
// ignored is not retained either.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	b, c := h.b, cl.Net.Conn.(*conn)
	if !b.enter() {
		b.hangUp(cl, packets.ErrServerShuttingDown)
		return pk, packets.ErrRejectPacket
	}
	c.taking = true
	reply, err := b.takeFrom(c, pk.TopicName, pk.Payload)
	if err != nil {
		code := packets.ErrServerBusy
		if errors.Is(err, protocol.ErrTooLarge) {
			code = packets.ErrPacketTooLarge
			b.log.Warn("phones: connection closed", "user", c.user, "err", err)
		}
		b.hangUp(cl, code)
		return pk, packets.ErrRejectPacket
	}
	if reply != nil {
		c.hold(pk.FixedHeader.Qos > 0) // the PUBACK comes next
		b.answer(c, reply)
		c.hold(false)
	}
	return pk, packets.CodeSuccessIgnore
}

// takeFrom is take for a connection: what proves too little and comes too fast
// waits before it is kept, and its sender with it.
func (b *Broker) takeFrom(c *conn, topic string, payload []byte) (reply []byte, err error) {
	m, err := b.open(c.user, topic, payload)
	if m == nil {
		return nil, err
	}
	if m.Auth != attendance.AuthSigned && !b.slow(c, m) {
		return nil, errGone
	}
	return b.keep(b.ctx, m)
}

// slow waits until the sender of a check-in has not sent too much; false if
// that is not to be.
func (b *Broker) slow(c *conn, m *attendance.CheckIn) bool {
	wait, first := b.brake.take(c.user, rateOf(m.Auth), len(m.Evidence.Raw), time.Now())
	if wait <= 0 {
		return true
	}
	b.slowed.Add(1)
	if first {
		b.log.Warn("phones: this user is slowed down; it sends too much that proves too little", "user", c.user, "from", c.from)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.gone:
	case <-b.stopping:
	}
	b.brake.giveBack(c.user, rateOf(m.Auth), len(m.Evidence.Raw))
	return false
}

// OnPacketProcessed runs when a message was acknowledged, or was not.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, _ packets.Packet, _ error) {
	if c := cl.Net.Conn.(*conn); c.taking {
		c.taking = false
		h.b.leave()
	}
}

// answer sends a receipt to every connection of the user that listens for it.
// Only the one that asked for it may be waited for.
func (b *Broker) answer(from *conn, receipt []byte) {
	sent := false
	for _, c := range b.registry.of(from.user) {
		if c == from {
			sent = c.answer(receipt) || sent
		} else {
			sent = c.post(receipt, b.side.Go) || sent
		}
	}
	if sent {
		b.receipts.Add(1)
	} else {
		b.unanswered.Add(1)
	}
}

// hangUp closes a connection, with a reason where the protocol has one.
func (b *Broker) hangUp(cl *mqtt.Client, code packets.Code) {
	if cl.Properties.ProtocolVersion == 5 {
		_ = b.server.DisconnectClient(cl, code) // returns the code itself
	}
	cl.Stop(code)
}
