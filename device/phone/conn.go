package phone

import (
	"bytes"
	"container/list"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Bounds of one connection.
const (
	writeTimeout     = 10 * time.Second // for a phone that does not read
	maxUnacked       = 1 << 14          // receipts on their way, below the 65,535 packet ids
	maxOutbox        = 64               // receipts for what another connection sent, not written yet
	maxSubscriptions = 16
	maxAliases       = 16 // topic aliases of MQTT 5
)

// conn is one phone's connection. The broker library reads and writes through
// it; what it does not know of a connection stands here.
type conn struct {
	net.Conn
	from   netip.Prefix
	prefix *bytes.Reader // the CONNECT packet, read before the library saw the connection
	place  *list.Element // among the strangers of the gate, whose lock guards it

	gone     chan struct{} // closed with the connection; nil in a test without
	goneOnce sync.Once

	// Set when the user is known, before the registry shows the connection.
	client    *mqtt.Client
	user      string
	clientID  string
	serial    uint64 // of the login; larger is later
	checkIns  string // the topic for native check-ins
	owntracks string // the prefix of its OwnTracks topics
	receipts  string // the topic it is answered on

	// Only of the goroutine that reads.
	aliases map[uint16]string
	taking  bool // a message is in the intake or its acknowledgement not written

	mu       sync.Mutex
	packetID uint16
	unacked  int
	outbox   [][]byte // what deliver writes; it runs while there is something here

	writing sync.Mutex
	holding bool   // what is written waits for the next write
	held    []byte // and stands here
}

// Read gives the CONNECT packet first.
func (c *conn) Read(b []byte) (int, error) {
	if c.prefix != nil {
		if n, _ := c.prefix.Read(b); n > 0 {
			return n, nil
		}
		c.prefix = nil
	}
	return c.Conn.Read(b)
}

// Write bounds every write on its own, so that a phone that does not read
// can't hold a goroutine. A write that fails ends the connection: part of a
// packet may be out, and whoever did not read would be waited for again and
// again.
func (c *conn) Write(b []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.holding {
		c.held = append(c.held, b...)
		return len(b), nil
	}
	defer func() {
		if err != nil {
			c.cut()
		}
	}()
	if err := c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	if len(c.held) == 0 {
		return c.Conn.Write(b)
	}
	held := len(c.held)
	n, err = c.Conn.Write(append(c.held, b...))
	c.held = c.held[:0]
	return max(n-held, 0), err
}

// hold makes what is written wait for the next write after hold(false). A
// receipt and the acknowledgement behind it are then one packet of the network,
// which spares both sides a wake-up.
func (c *conn) hold(on bool) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.holding = on
}

// SetDeadline is how the library enforces the keepalive, which is about reading
// alone.
func (c *conn) SetDeadline(t time.Time) error { return c.Conn.SetReadDeadline(t) }

// cut closes the socket without the farewell of TLS, which could wait for a
// peer that does not read.
func (c *conn) cut() {
	c.leave()
	nc := c.Conn
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	nc.Close() // an error says it is closed
}

// Close is how the library ends a connection.
func (c *conn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// leave tells those who wait for something on behalf of the connection.
func (c *conn) leave() {
	c.goneOnce.Do(func() {
		if c.gone != nil {
			close(c.gone)
		}
	})
}

// topic resolves a topic alias of MQTT 5. The library would do so too, but
// after it has asked whether the topic is allowed. false: the alias is unknown
// or one too many.
func (c *conn) topic(pk *packets.Packet) bool {
	if !pk.Properties.TopicAliasFlag {
		return true
	}
	alias := pk.Properties.TopicAlias
	pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 0, false
	if pk.TopicName == "" {
		pk.TopicName = c.aliases[alias]
		return pk.TopicName != ""
	}
	if alias == 0 || alias > maxAliases {
		return false
	}
	if c.aliases == nil {
		c.aliases = map[uint16]string{}
	}
	c.aliases[alias] = pk.TopicName
	return true
}

// answer sends a receipt if the connection has subscribed to it and still acks
// what it got. It does not pass through the library's queue of messages: that
// keeps one map of packet ids for both directions, in which a phone's own ids
// overwrite those of its receipts.
func (c *conn) answer(payload []byte) bool {
	sub, subscribed := c.client.State.Subscriptions.Get(c.receipts)
	if !subscribed {
		return false
	}
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: min(sub.Qos, 1)},
		TopicName:   c.receipts, Payload: payload,
	}
	if pk.FixedHeader.Qos > 0 {
		var ok bool
		if pk.PacketID, ok = c.nextID(); !ok {
			return false
		}
	}
	return c.client.WritePacket(pk) == nil
}

// post queues a receipt for what another connection of the user sent; false if
// this one did not subscribe, or does not read. start runs the delivery.
func (c *conn) post(payload []byte, start func(func())) bool {
	if _, subscribed := c.client.State.Subscriptions.Get(c.receipts); !subscribed {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.outbox) >= maxOutbox {
		c.cut()
		return false
	}
	if c.outbox = append(c.outbox, payload); len(c.outbox) == 1 {
		start(c.deliver)
	}
	return true
}

// deliver writes what was posted. It ends when nothing is left, and soon after
// the connection is cut.
func (c *conn) deliver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.outbox) > 0 {
		next := c.outbox[0]
		c.mu.Unlock()
		c.answer(next) // if it can't be had, the phone asks again
		c.mu.Lock()
		c.outbox = c.outbox[1:]
	}
	c.outbox = nil
}

// nextID takes a packet id for a receipt, unless the phone owes too many acks.
func (c *conn) nextID() (uint16, bool) {
	limit := maxUnacked
	if n := int(c.client.Properties.Props.ReceiveMaximum); n > 0 { // MQTT 5
		limit = min(limit, n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unacked >= limit {
		return 0, false
	}
	c.unacked++
	if c.packetID++; c.packetID == 0 {
		c.packetID = 1
	}
	return c.packetID, true
}

// acked takes note of the phone's PUBACK for a receipt.
func (c *conn) acked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unacked = max(c.unacked-1, 0)
}
