package phone

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// rawClient writes and reads MQTT packets as a test wants them, right or wrong.
type rawClient struct {
	t   testing.TB
	nc  net.Conn
	r   *bufio.Reader
	ver byte
}

// patience bounds every wait for something that should happen.
const patience = 10 * time.Second

func dial(t testing.TB, address string) *rawClient {
	t.Helper()
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &rawClient{t: t, nc: nc, r: bufio.NewReader(nc), ver: 4}
}

// login connects as a user and fails the test if the broker refuses.
func login(t testing.TB, address, user, clientID string) *rawClient {
	t.Helper()
	c := dial(t, address)
	if code := c.connect(user, "pw-"+user, clientID); code != 0 {
		t.Fatalf("CONNACK code %d", code)
	}
	return c
}

func text(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

func packet(first byte, parts ...[]byte) []byte {
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	out := []byte{first}
	for n := len(body); ; {
		b := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			out = append(out, b|0x80)
			continue
		}
		out = append(out, b)
		break
	}
	return append(out, body...)
}

func connectPacket(ver byte, user, password, clientID string) []byte {
	name := "MQTT"
	if ver == 3 {
		name = "MQIsdp"
	}
	parts := [][]byte{text(name), {ver, 0x80 | 0x40 | 0x02, 0, 60}}
	if ver == 5 {
		parts = append(parts, []byte{0}) // no properties
	}
	return packet(0x10, append(parts, text(clientID), text(user), text(password))...)
}

func (c *rawClient) connect(user, password, clientID string) byte {
	c.t.Helper()
	c.write(connectPacket(c.ver, user, password, clientID))
	first, body := c.read()
	if first != 0x20 || len(body) < 2 {
		c.t.Fatalf("%#x % x instead of a CONNACK", first, body)
	}
	return body[1]
}

func (c *rawClient) write(b []byte) {
	c.t.Helper()
	if err := c.tryWrite(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawClient) tryWrite(b []byte) error {
	if err := c.nc.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := c.nc.Write(b)
	return err
}

func (c *rawClient) read() (first byte, body []byte) {
	c.t.Helper()
	first, body, err := c.tryRead()
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return first, body
}

func (c *rawClient) tryRead() (first byte, body []byte, err error) {
	if err = c.nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, err
	}
	if first, err = c.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	n := 0
	for shift := 0; ; shift += 7 {
		b, err := c.r.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		if n |= int(b&0x7f) << shift; b&0x80 == 0 {
			break
		}
	}
	body = make([]byte, n)
	_, err = io.ReadFull(c.r, body)
	return first, body, err
}

// closed waits for the broker to close the connection, passing over packets.
func (c *rawClient) closed() {
	c.t.Helper()
	for {
		first, body, err := c.tryRead()
		var timeout interface{ Timeout() bool }
		switch {
		case err == nil && first != 0xe0:
			c.t.Logf("passed over %#x % x", first, body)
		case errors.As(err, &timeout) && timeout.Timeout():
			c.t.Fatal("the connection stays open")
		case err != nil:
			return
		}
	}
}

func (c *rawClient) publishPacket(topic string, qos byte, id uint16, payload []byte) []byte {
	parts := [][]byte{text(topic)}
	if qos > 0 {
		parts = append(parts, binary.BigEndian.AppendUint16(nil, id))
	}
	if c.ver == 5 {
		parts = append(parts, []byte{0})
	}
	return packet(0x30|qos<<1, append(parts, payload)...)
}

func (c *rawClient) publish(topic string, id uint16, payload []byte) {
	c.t.Helper()
	c.write(c.publishPacket(topic, 1, id, payload))
}

// puback waits for the acknowledgement of an id. Publications that come first
// are acknowledged and returned.
func (c *rawClient) puback(id uint16) (publications [][]byte) {
	c.t.Helper()
	for {
		switch first, body := c.read(); {
		case first == 0x40 && binary.BigEndian.Uint16(body) == id:
			return publications
		case first>>4 == 3:
			publications = append(publications, c.ack(first, body))
		default:
			c.t.Fatalf("%#x % x instead of the PUBACK of %d", first, body, id)
		}
	}
}

// receipt waits for a publication, acknowledges it and returns its payload.
func (c *rawClient) receipt() []byte {
	c.t.Helper()
	first, body := c.read()
	if first>>4 != 3 {
		c.t.Fatalf("%#x % x instead of a publication", first, body)
	}
	return c.ack(first, body)
}

func (c *rawClient) ack(first byte, body []byte) []byte {
	c.t.Helper()
	body = body[2+binary.BigEndian.Uint16(body):]
	if first&6 != 0 {
		c.write(packet(0x40, body[:2]))
		body = body[2:]
	}
	if c.ver == 5 {
		body = body[1+body[0]:]
	}
	return body
}

// subscribe returns the granted QoS or the failure code.
func (c *rawClient) subscribe(filter string) byte {
	c.t.Helper()
	parts := [][]byte{{0, 9}}
	if c.ver == 5 {
		parts = append(parts, []byte{0})
	}
	c.write(packet(0x82, append(parts, text(filter), []byte{1})...))
	first, body := c.read()
	if first != 0x90 {
		c.t.Fatalf("%#x % x instead of a SUBACK", first, body)
	}
	return body[len(body)-1]
}

// ping makes sure that everything written before has been worked on.
func (c *rawClient) ping() {
	c.t.Helper()
	c.write([]byte{0xc0, 0})
	if first, body := c.read(); first != 0xd0 {
		c.t.Fatalf("%#x % x instead of a PINGRESP", first, body)
	}
}

func ident(i int) string { return fmt.Sprintf("phone-%03d", i) }
