// Package cardline is the language of readers that only talk: the 125 kHz
// modules RDM6300 and ID-12, and everything that sends a line of text for a
// card, a barcode or a magnetic stripe.
package cardline

import (
	"fmt"

	"github.com/punchd/punchd/protocol"
)

// Form is a way to write a card's number. People print the same card in each of
// them, and the roster must hold the one that its reader is set to.
type Form string

// The forms, shown for the EM card 00 04 14 CD 7E.
const (
	FormText  Form = ""      // as the reader wrote it
	FormHex   Form = "hex"   // every bit, in capitals: 000414CD7E
	FormDec10 Form = "dec10" // the low 32 bits in ten digits: 0068472190
	FormFCCN  Form = "fc,cn" // facility code and card number: 020,52606
)

// Card is a card's number without what protected it on its way.
type Card struct {
	Value uint64 // in the low Bits bits
	Bits  int    // 1 to 64
	// FC and CN are the facility code and the card number. Where no layout
	// says otherwise they are the low 24 bits, 8 and 16, as printed on EM cards.
	FC uint32
	CN uint64
}

// EM is the card of an RDM6300 or ID-12: a version byte and a 32-bit number.
func EM(b [5]byte) Card {
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return plain(v, 8*len(b))
}

// Number makes a card from a number of the given width in bits, 1 to 64.
func Number(value uint64, bits int) (Card, error) {
	if bits < 1 || bits > 64 {
		return Card{}, fmt.Errorf("cardline: a card of %d bits: %w", bits, protocol.ErrUnsupported)
	}
	if bits < 64 && value>>bits != 0 {
		return Card{}, fmt.Errorf("cardline: number is wider than %d bits: %w", bits, protocol.ErrTooLarge)
	}
	return plain(value, bits), nil
}

func plain(value uint64, bits int) Card {
	return Card{Value: value, Bits: bits, FC: uint32(value >> 16 & 0xff), CN: value & 0xffff}
}

// bytes are the five bytes of an EM card.
func (c Card) bytes() (b [5]byte) {
	for i := range b {
		b[i] = byte(c.Value >> (8 * (len(b) - 1 - i)))
	}
	return b
}

// Text writes the card's number in a form; [FormText] is hex here, since a
// number has no text of its own.
func (c Card) Text(f Form) string {
	switch f {
	case FormDec10:
		return fmt.Sprintf("%010d", uint32(c.Value))
	case FormFCCN:
		return fmt.Sprintf("%03d,%05d", c.FC, c.CN)
	}
	return fmt.Sprintf("%0*X", (c.Bits+3)/4, c.Value)
}

// Check says whether f is one of the forms.
func (f Form) Check() error {
	switch f {
	case FormText, FormHex, FormDec10, FormFCCN:
		return nil
	}
	return fmt.Errorf("cardline: unknown form %q (known: %s, %s, %q)", string(f), FormHex, FormDec10, string(FormFCCN))
}
