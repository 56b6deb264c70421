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

// errHeld turns an address away that failed too often.
var errHeld = errors.New("phone: too many failed logins from this address")

// OnConnect makes the connection one that leaves nothing behind: no will, no
// session.
func (h *hook) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	cl.Properties.Will = mqtt.Will{}
	if cl.Properties.ProtocolVersion < 5 { // MQTT 5 is told by the session expiry interval
		cl.Properties.Clean = true
	}
	c := cl.Net.Conn.(*conn)
	if h.b.guard.held(c.from, time.Now()) {
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
		if b.guard.fail(c.from, time.Now()) {
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
		b.hangUp(old.client, packets.ErrSessionTakenOver)
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
	h.b.notAllowed.Add(1)
	h.b.log.Info("phones: topic refused", "user", c.user, "topic", topic[:min(len(topic), 256)], "publish", write)
	return false
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
	}
	return pk, nil
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
	reply, err := b.take(b.ctx, c.user, pk.TopicName, pk.Payload)
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
		b.answer(c.user, reply)
		c.hold(false)
	}
	return pk, packets.CodeSuccessIgnore
}

// OnPacketProcessed runs when a message was acknowledged, or was not.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, _ packets.Packet, _ error) {
	if c := cl.Net.Conn.(*conn); c.taking {
		c.taking = false
		h.b.leave()
	}
}

// answer sends a receipt to every connection of the user that listens for it.
func (b *Broker) answer(user string, receipt []byte) {
	sent := false
	for _, c := range b.registry.of(user) {
		sent = c.answer(receipt) || sent
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
