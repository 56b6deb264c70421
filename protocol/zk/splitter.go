package zk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/punchd/punchd/protocol"
)

// Splitter cuts a TCP stream into packets: several frames may come in one
// read, and one frame in many. The zero value is ready.
type Splitter struct {
	unread  []byte
	skipped uint64
	begun   bool // a frame or garbage was seen: an access panel would have spoken first
}

// Feed takes the next bytes of the stream, which it copies. Memory grows with
// what comes in, never with what a header announces. The error wraps
// [protocol.ErrTooLarge] if the caller feeds without ever calling Next.
func (s *Splitter) Feed(b []byte) error {
	if len(s.unread) >= headerSize+MaxPacket {
		return fmt.Errorf("zk: %d bytes are waiting to be taken out: %w", len(s.unread), protocol.ErrTooLarge)
	}
	// Bytes that were handed out are never written again: appending goes on
	// behind them, or in a new array.
	s.unread = append(s.unread, b...)
	return nil
}

// Next takes out the next packet. Its Data is the caller's. After each Feed it
// is to be called until it says [protocol.ErrIncomplete]: feed more. With
// [protocol.ErrChecksum] the packet is returned too. [protocol.ErrMalformed]
// and [protocol.ErrTooLarge] say that bytes were thrown away up to the next
// place where a frame can begin, and that Next can go on there.
// [protocol.ErrUnsupported] says that the peer is an access panel; it stays.
func (s *Splitter) Next() (Packet, error) {
	if !s.begun && len(s.unread) == 1 && strings.HasPrefix(panelMark, string(s.unread)) {
		return Packet{}, errShort // an access panel, or a stray byte
	}
	p, n, err := ParseFrame(s.unread)
	if errors.Is(err, protocol.ErrUnsupported) && s.begun {
		n, err = garbage(s.unread)
	}
	switch {
	case err == nil, errors.Is(err, protocol.ErrChecksum):
		s.unread = s.unread[n:]
	case errors.Is(err, protocol.ErrIncomplete), errors.Is(err, protocol.ErrUnsupported):
		return Packet{}, err
	default:
		s.skipped += uint64(n)
		s.unread = s.unread[n:]
	}
	if len(s.unread) == 0 {
		s.unread = nil // an array that held a whole log is not kept for the next event
	}
	s.begun = true
	return p, err
}

// Begins tells the header of the packet whose frame has begun and is not whole
// yet, as far as it can be seen already: a reader that waits for an answer can
// tell it from something else that comes in between.
func (s *Splitter) Begins() (p Packet, ok bool) {
	const whole = 2 * headerSize // of the frame and of the packet: command, checksum, session, reply
	if len(s.unread) < whole || string(s.unread[:len(magic)]) != magic {
		return Packet{}, false
	}
	b, le := s.unread[headerSize:], binary.LittleEndian
	return Packet{Command: Command(le.Uint16(b)), Session: le.Uint16(b[4:]), Reply: le.Uint16(b[6:])}, true
}

// Waiting is how many bytes of an unfinished frame, or not yet taken out, are
// kept. A peer that stops in the middle of a frame leaves it above 0.
func (s *Splitter) Waiting() int { return len(s.unread) }

// Skipped is how many bytes were thrown away so far because no frame held them.
func (s *Splitter) Skipped() uint64 { return s.skipped }
