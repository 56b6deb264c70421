package phone

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// maxAnswer bounds what a phone reads from a broker, in bytes.
const maxAnswer = 256 << 10

// The packets that are used here, by the high four bits of their first byte.
const (
	packetConnect   = 1
	packetConnack   = 2
	packetPublish   = 3
	packetPuback    = 4
	packetSubscribe = 8
	packetSuback    = 9
	packetPingreq   = 12
	packetPingresp  = 13
	packetGoodbye   = 14
)

// wire is the client's half of MQTT 3.1 and 3.1.1, as far as a phone needs it.
// A general client would take several goroutines for each phone of a fleet.
type wire struct {
	nc net.Conn
	r  *bufio.Reader
}

// login is what a phone says of itself.
type login struct {
	version             byte // 3 or 4
	user, password, id  string
	clean               bool
	willTopic, willText string // a retained will, none if empty
	keepAlive           uint16 // seconds
}

func (w *wire) connect(l login) error {
	name, flags := "MQTT", byte(0xc0) // user and password
	if l.version == 3 {
		name = "MQIsdp"
	}
	if l.clean {
		flags |= 0x02
	}
	body := append(field(name), l.version)
	var will []byte
	if l.willTopic != "" {
		flags |= 0x04 | 0x08 | 0x20 // QoS 1, retained
		will = append(field(l.willTopic), field(l.willText)...)
	}
	body = append(body, flags)
	body = binary.BigEndian.AppendUint16(body, l.keepAlive)
	body = append(append(body, field(l.id)...), will...)
	body = append(append(body, field(l.user)...), field(l.password)...)
	if err := w.send(packetConnect<<4, body); err != nil {
		return err
	}
	first, answer, err := w.read()
	switch {
	case err != nil:
		return err
	case first>>4 != packetConnack || len(answer) != 2:
		return fmt.Errorf("the broker answers the login with packet type %d", first>>4)
	case answer[1] != 0:
		return fmt.Errorf("the broker refuses the login with code %d", answer[1])
	}
	return nil
}

// subscribe asks for a topic with QoS 1 and waits for the broker's yes.
// Publications that come before it are handed to early.
func (w *wire) subscribe(filter string, early func(payload []byte)) error {
	const id = 1
	body := append(binary.BigEndian.AppendUint16(nil, id), field(filter)...)
	if err := w.send(packetSubscribe<<4|2, append(body, 1)); err != nil {
		return err
	}
	for {
		p, err := w.next()
		switch {
		case err != nil:
			return err
		case p.kind == packetPublish:
			early(p.payload)
		case p.kind == packetSuback && p.id == id:
			if len(p.payload) != 1 || p.payload[0] > 2 {
				return fmt.Errorf("the broker refuses the subscription to %s", filter)
			}
			return nil
		}
	}
}

// publish sends with QoS 1. A message is sent once on a connection, so none is
// ever a duplicate in the sense of the protocol.
func (w *wire) publish(topic string, id uint16, retain bool, payload []byte) error {
	_, err := w.nc.Write(publication(topic, id, retain, payload))
	return err
}

// publication is a whole PUBLISH packet with QoS 1.
func publication(topic string, id uint16, retain bool, payload []byte) []byte {
	first := byte(packetPublish<<4 | 1<<1)
	if retain {
		first |= 1
	}
	body := binary.BigEndian.AppendUint16(field(topic), id)
	return frame(first, append(body, payload...))
}

func (w *wire) ping() error { return w.send(packetPingreq<<4, nil) }

// goodbye is best effort: the connection is closed behind it.
func (w *wire) goodbye() { _ = w.send(packetGoodbye<<4, nil) }

// packet is what a broker sends a phone.
type packet struct {
	kind    byte
	id      uint16
	payload []byte
}

var errAnswer = errors.New("the broker sends a packet that is none")

// next reads a packet and acknowledges it, if it is a publication.
func (w *wire) next() (packet, error) {
	first, body, err := w.read()
	if err != nil {
		return packet{}, err
	}
	p := packet{kind: first >> 4}
	switch p.kind {
	case packetPublish:
		if len(body) < 2 {
			return p, errAnswer
		}
		n := 2 + int(binary.BigEndian.Uint16(body))
		qos := first >> 1 & 3
		if len(body) < n+2 && qos > 0 || len(body) < n || qos > 1 {
			return p, errAnswer
		}
		if p.payload = body[n:]; qos == 1 {
			id := body[n : n+2]
			p.payload = body[n+2:]
			return p, w.send(packetPuback<<4, id)
		}
	case packetPuback, packetSuback:
		if len(body) < 2 {
			return p, errAnswer
		}
		p.id, p.payload = binary.BigEndian.Uint16(body), body[2:]
	case packetPingresp:
	default:
		return p, errAnswer
	}
	return p, nil
}

func (w *wire) read() (first byte, body []byte, err error) {
	if first, err = w.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	n := 0
	for shift := 0; ; shift += 7 {
		b, err := w.r.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		if n |= int(b&0x7f) << shift; n > maxAnswer || shift > 14 {
			return 0, nil, errAnswer
		}
		if b&0x80 == 0 {
			break
		}
	}
	body = make([]byte, n)
	_, err = io.ReadFull(w.r, body)
	return first, body, err
}

func (w *wire) send(first byte, body []byte) error {
	_, err := w.nc.Write(frame(first, body))
	return err
}

// frame is a whole packet: the length stands in seven bits a byte, the lowest
// first, as in a varint.
func frame(first byte, body []byte) []byte {
	b := binary.AppendUvarint([]byte{first}, uint64(len(body)))
	return append(b, body...)
}

// within bounds everything read and written until it is called again.
func (w *wire) within(d time.Duration) error { return w.nc.SetDeadline(time.Now().Add(d)) }

func field(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}
