package cardline

import (
	"fmt"
	"math/bits"

	"github.com/punchd/punchd/protocol"
)

// Layout names a Wiegand card format: which bits of a transmission are parity,
// facility code and card number. It must be configured, since 37 bits fit two
// layouts with the same parity.
type Layout string

// The layouts.
const (
	H10301    Layout = "h10301"    // 26 bits: facility 8, card 16
	Wiegand34 Layout = "wiegand34" // 34 bits: facility 16, card 16
	H10304    Layout = "h10304"    // 37 bits: facility 16, card 19
	H10302    Layout = "h10302"    // 37 bits: card 35
)

// wiegand is a layout's shape. The first bit is even parity over the first span
// bits behind it, the last is odd parity over the last span bits before it.
type wiegand struct {
	bits, fc, cn, span int
}

func (l Layout) shape() (wiegand, error) {
	switch l {
	case H10301:
		return wiegand{26, 8, 16, 12}, nil
	case Wiegand34:
		return wiegand{34, 16, 16, 16}, nil
	case H10304:
		return wiegand{37, 16, 19, 18}, nil
	case H10302:
		return wiegand{37, 0, 35, 18}, nil
	}
	return wiegand{}, fmt.Errorf("unknown layout %q (known: %s, %s, %s, %s): %w", string(l), H10301, Wiegand34, H10304, H10302, protocol.ErrUnsupported)
}

// Decode reads a transmission, its first bit the highest of as many as the
// layout has. Wrong parity is [protocol.ErrChecksum].
func (l Layout) Decode(raw uint64) (Card, error) {
	w, err := l.shape()
	if err != nil {
		return Card{}, fmt.Errorf("cardline: %w", err)
	}
	if raw>>w.bits != 0 {
		return Card{}, fmt.Errorf("cardline: more than the %d bits of %s: %w", w.bits, l, protocol.ErrTooLarge)
	}
	value := raw >> 1 & mask(w.fc+w.cn)
	if raw != w.protect(value) {
		return Card{}, fmt.Errorf("cardline: parity of %s: %w", l, protocol.ErrChecksum)
	}
	return Card{Value: value, Bits: w.fc + w.cn, FC: uint32(value >> w.cn), CN: value & mask(w.cn)}, nil
}

// Encode is the transmission of a card, as Decode reads it.
func (l Layout) Encode(fc uint32, cn uint64) (uint64, error) {
	w, err := l.shape()
	if err != nil {
		return 0, fmt.Errorf("cardline: %w", err)
	}
	if uint64(fc) > mask(w.fc) || cn > mask(w.cn) {
		return 0, fmt.Errorf("cardline: %d,%d does not fit %s: %w", fc, cn, l, protocol.ErrTooLarge)
	}
	return w.protect(uint64(fc)<<w.cn | cn), nil
}

// protect puts the two parity bits around a value.
func (w wiegand) protect(value uint64) uint64 {
	n := w.fc + w.cn
	even := bits.OnesCount64(value>>(n-w.span)) & 1
	odd := bits.OnesCount64(value&mask(w.span))&1 ^ 1
	return uint64(even)<<(n+1) | value<<1 | uint64(odd)
}

func mask(n int) uint64 { return 1<<n - 1 }
