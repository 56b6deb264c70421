// Package zk is the language of ZKTeco terminals on port 4370: the standalone
// protocol in which a host asks and the terminal answers, in both directions.
//
// A packet travels as one UDP datagram, or over TCP behind a header that says
// its length. What its data means depends on its command and, in an answer, on
// what was asked: a [Request] has one form for each command, the parsers of
// answers stand beside it. DESIGN.md says how the parts that the protocol
// leaves open are decided, above all the layout of attendance records.
package zk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/punchd/punchd/protocol"
)

const (
	// headerSize is the length of a packet's own header, and by chance of the
	// TCP header before it too.
	headerSize = 8
	// magic opens every frame on TCP.
	magic = "\x50\x50\x82\x7d"
	// panelMark opens the frames of C3 and inBio access panels, which listen
	// on the same port and speak another protocol.
	panelMark = "\xaa\x01"
)

// MaxPacket bounds a packet, header included, in bytes. A chunk on TCP has at
// most 65,472, but some terminals send a whole dataset in one packet: this
// takes 340,000 attendance records of 49 bytes, more than any terminal keeps.
const MaxPacket = 16 << 20

// Packet is one message, request, answer or event.
type Packet struct {
	Command Command // in an answer the reply code
	// Session names the connection. In an event it is the [EventCode], in the
	// answer to STATE_RRQ the [State], and in a piece of a bulk answer it may
	// be a part counter.
	Session uint16
	// Reply numbers the requests of a session; an answer repeats it.
	Reply uint16
	Data  []byte
}

// Err is nil if the packet is an answer by which the terminal does what it was
// asked, and a [*RefusedError] otherwise.
func (p Packet) Err() error {
	switch p.Command {
	case AckOK, CmdPrepareData, CmdData:
		return nil
	}
	return &RefusedError{p.Command}
}

// RefusedError is an answer by which a terminal declines. It wraps
// [protocol.ErrUnsupported].
type RefusedError struct{ Code Command }

func (e *RefusedError) Error() string {
	hint := ""
	switch e.Code {
	case AckUnauth:
		hint = ": its comm key is missing here or another one"
	case AckPushOnly:
		hint = ": its firmware lets no host connect any more; set it to push its records instead"
	}
	return fmt.Sprintf("zk: the terminal answers %v%s", e.Code, hint)
}

// Unwrap gives the kind of error.
func (e *RefusedError) Unwrap() error { return protocol.ErrUnsupported }

// AppendPacket appends p as it stands in a UDP datagram.
func AppendPacket(dst []byte, p Packet) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(p.Command))
	dst = append(dst, 0, 0)
	dst = binary.LittleEndian.AppendUint16(dst, p.Session)
	dst = binary.LittleEndian.AppendUint16(dst, p.Reply)
	dst = append(dst, p.Data...)
	binary.LittleEndian.PutUint16(dst[start+2:], checksum(dst[start:]))
	return dst
}

// AppendFrame appends p as it stands in a TCP stream. A peer refuses more than
// [MaxPacket] bytes.
func AppendFrame(dst []byte, p Packet) []byte {
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(headerSize+len(p.Data)))
	return AppendPacket(dst, p)
}

// ParsePacket reads a datagram. Its Data shares memory with b. The error wraps
// [protocol.ErrIncomplete] if b has no whole header, [protocol.ErrTooLarge],
// or [protocol.ErrChecksum]; with the last the packet is returned all the same,
// since terminals are in use that count wrong in every packet.
//
// A datagram that lost zero bytes at its end has a correct checksum; only the
// length that the network keeps can tell.
func ParsePacket(b []byte) (Packet, error) {
	switch {
	case len(b) < headerSize:
		return Packet{}, fmt.Errorf("zk: packet of %d bytes, its header has %d: %w", len(b), headerSize, protocol.ErrIncomplete)
	case len(b) > MaxPacket:
		return Packet{}, fmt.Errorf("zk: packet of %d bytes, at most %d: %w", len(b), MaxPacket, protocol.ErrTooLarge)
	}
	p := Packet{
		Command: Command(binary.LittleEndian.Uint16(b)),
		Session: binary.LittleEndian.Uint16(b[4:]),
		Reply:   binary.LittleEndian.Uint16(b[6:]),
		Data:    b[headerSize:len(b):len(b)],
	}
	if got, want := binary.LittleEndian.Uint16(b[2:]), checksum(b); got != want {
		return p, fmt.Errorf("zk: packet %v has checksum %04x, its bytes make %04x: %w", p.Command, got, want, protocol.ErrChecksum)
	}
	return p, nil
}

// errShort is what [ParseFrame] says most often: it is no fault.
var errShort = fmt.Errorf("zk: frame: %w", protocol.ErrIncomplete)

// ParseFrame reads the first frame of a stream's unread bytes. Its Data shares
// memory with b. What n is depends on the error:
//
//   - nil or [protocol.ErrChecksum]: the length of the frame, which is returned;
//   - [protocol.ErrIncomplete]: the least number of bytes with which to try again;
//   - [protocol.ErrMalformed] and [protocol.ErrTooLarge]: how many bytes to drop
//     before the next place where a frame can begin;
//   - [protocol.ErrUnsupported]: 0, for an access panel speaks here.
func ParseFrame(b []byte) (p Packet, n int, err error) {
	if !bytes.HasPrefix(b, []byte(magic)[:min(len(b), len(magic))]) {
		if bytes.HasPrefix(b, []byte(panelMark)[:min(len(b), len(panelMark))]) {
			return Packet{}, 0, fmt.Errorf("zk: the peer speaks as a C3 or inBio access panel (frames from AA 01), not as a terminal: %w", protocol.ErrUnsupported)
		}
		n, err = garbage(b)
		return Packet{}, n, err
	}
	if len(b) < headerSize {
		return Packet{}, headerSize, errShort
	}
	size := binary.LittleEndian.Uint32(b[len(magic):])
	switch {
	case size < headerSize:
		return Packet{}, nextMagic(b), fmt.Errorf("zk: frame for a packet of %d bytes, its header has %d: %w", size, headerSize, protocol.ErrMalformed)
	case size > MaxPacket:
		return Packet{}, nextMagic(b), fmt.Errorf("zk: frame for a packet of %d bytes, at most %d: %w", size, MaxPacket, protocol.ErrTooLarge)
	}
	n = headerSize + int(size)
	if len(b) < n {
		return Packet{}, n, errShort
	}
	p, err = ParsePacket(b[headerSize:n])
	return p, n, err
}

// garbage is the error for bytes that begin no frame, and how many they are.
func garbage(b []byte) (n int, err error) {
	n = nextMagic(b)
	return n, fmt.Errorf("zk: %d bytes outside any frame, from % x: %w", n, b[:min(n, 16)], protocol.ErrMalformed)
}

// nextMagic is the first place behind b's start where a frame can begin: a
// whole magic, or the end of b if that is the beginning of one, or its end.
func nextMagic(b []byte) int {
	if i := bytes.Index(b[1:], []byte(magic)); i >= 0 {
		return 1 + i
	}
	for i := max(1, len(b)-len(magic)+1); i < len(b); i++ {
		if bytes.HasPrefix([]byte(magic), b[i:]) {
			return i
		}
	}
	return len(b)
}

// checksum is the Internet checksum over little-endian words, taken as if the
// checksum field of the packet were 0.
func checksum(packet []byte) uint16 {
	var sum, carry uint64
	b := packet[4:]
	for ; len(b) >= 8; b = b[8:] {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), carry)
	}
	var rest [8]byte
	copy(rest[:], b)
	sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(rest[:]), carry)
	sum, carry = bits.Add64(sum, uint64(binary.LittleEndian.Uint16(packet)), carry)
	sum, carry = bits.Add64(sum, 0, carry)
	sum += carry
	// 2^16 is 1 in one's-complement arithmetic, so words of any size fold.
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
