package cardline

import (
	"fmt"
	"math/bits"

	"github.com/punchd/punchd/protocol"
)

// The marks around a frame.
const (
	stx = 0x02
	etx = 0x03
)

const (
	hexDigits = 12 // five bytes and their checksum
	// MaxFrame is the length in bytes of the longer of the two frames.
	MaxFrame = 1 + hexDigits + len("\r\n") + 1
)

// ParseFrame reads a frame of either module, from its STX to its ETX:
//
//	RDM6300  02  ten hex digits  two hex digits  03
//	ID-12    02  ten hex digits  two hex digits  0D 0A 03
//
// The two digits are the XOR of the five bytes before. A card of all zeros or
// all ones is noise that happens to have the right checksum (a ghost) and is
// [protocol.ErrUnsupported].
func ParseFrame(b []byte) (Card, error) {
	if len(b) > 0 && b[0] != stx {
		return Card{}, fmt.Errorf("cardline: frame begins with %#02x, not STX: %w", b[0], protocol.ErrMalformed)
	}
	var raw [hexDigits / 2]byte
	for i := range hexDigits {
		if len(b) <= 1+i {
			return Card{}, fmt.Errorf("cardline: frame of %d bytes: %w", len(b), protocol.ErrIncomplete)
		}
		d, ok := hexDigit(b[1+i])
		if !ok {
			return Card{}, fmt.Errorf("cardline: byte %d of the frame, %#02x, is no hex digit: %w", 1+i, b[1+i], protocol.ErrMalformed)
		}
		raw[i/2] = raw[i/2]<<4 | d
	}
	switch tail := string(b[1+hexDigits:]); tail {
	case "\x03", "\r\n\x03":
	case "", "\r", "\r\n":
		return Card{}, fmt.Errorf("cardline: frame of %d bytes without ETX: %w", len(b), protocol.ErrIncomplete)
	default:
		return Card{}, fmt.Errorf("cardline: frame ends with % x, not with ETX: %w", tail[:min(len(tail), 4)], protocol.ErrMalformed)
	}
	number := [5]byte(raw[:5])
	if sum := xor(number); sum != raw[5] {
		return Card{}, fmt.Errorf("cardline: frame says %02X, its bytes make %02X: %w", raw[5], sum, protocol.ErrChecksum)
	}
	if number == [5]byte{} || number == [5]byte{0xff, 0xff, 0xff, 0xff, 0xff} {
		return Card{}, fmt.Errorf("cardline: ghost read, every byte is %02X: %w", number[0], protocol.ErrUnsupported)
	}
	return EM(number), nil
}

// AppendRDM6300 appends the frame that an RDM6300 sends for an EM card.
func AppendRDM6300(dst []byte, c Card) []byte { return appendFrame(dst, c, "\x03") }

// AppendID12 appends the frame that an ID-12 sends for an EM card.
func AppendID12(dst []byte, c Card) []byte { return appendFrame(dst, c, "\r\n\x03") }

func appendFrame(dst []byte, c Card, tail string) []byte {
	number := c.bytes()
	dst = fmt.Appendf(append(dst, stx), "%X%02X", number, xor(number))
	return append(dst, tail...)
}

func xor(b [5]byte) (sum byte) {
	for _, c := range b {
		sum ^= c
	}
	return sum
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// AirFrame is what an EM4100 transponder itself sends: nine ones, ten groups of
// four bits and their even parity, the four parities of the columns, a zero.
func AirFrame(c Card) (frame [8]byte) {
	v := uint64(0x1ff)
	var columns uint64
	for i := 36; i >= 0; i -= 4 {
		nibble := c.Value >> i & 0xf
		columns ^= nibble
		v = v<<5 | nibble<<1 | uint64(bits.OnesCount64(nibble)&1)
	}
	v = v<<5 | columns<<1
	for i := range frame {
		frame[i] = byte(v >> (56 - 8*i))
	}
	return frame
}
