package cardline

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol"
)

// transmissions are published examples: the bits as sent and the same bits
// filled up to bytes.
var transmissions = []struct {
	layout       Layout
	fc           uint32
	cn           uint64
	bits, padded string
}{
	{H10301, 90, 324, "00101101000000001010001000", "2D 00 A2 00"},
	{H10301, 227, 57600, "01110001111100001000000000", "71 F0 80 00"},
	{H10301, 21, 15890, "10001010100111110000100100", "8A 9F 09 00"},
	{Wiegand34, 1000, 54321, "0000000111110100011010100001100010", "01 F4 6A 18 80"},
	{H10304, 1234, 345678, "0000001001101001010101000110010011101", "02 69 54 64 E8"},
	{H10302, 0, 12345678901, "1010110111111101110000011100001101010", "AD FD C1 C3 50"},
}

func TestTransmissions(t *testing.T) {
	for _, c := range transmissions {
		raw, err := c.layout.Encode(c.fc, c.cn)
		if err != nil {
			t.Errorf("%s %d,%d: %v", c.layout, c.fc, c.cn, err)
			continue
		}
		if got := fmt.Sprintf("%0*b", len(c.bits), raw); got != c.bits {
			t.Errorf("%s %d,%d: %s, want %s", c.layout, c.fc, c.cn, got, c.bits)
		}
		filled := make([]byte, (len(c.bits)+7)/8)
		for i := range len(c.bits) {
			filled[i/8] |= byte(raw>>(len(c.bits)-1-i)&1) << (7 - i%8)
		}
		if got := strings.ToUpper(hex.EncodeToString(filled)); got != strings.ReplaceAll(c.padded, " ", "") {
			t.Errorf("%s %d,%d: %s, want %s", c.layout, c.fc, c.cn, got, c.padded)
		}
		card, err := c.layout.Decode(raw)
		if err != nil || card.FC != c.fc || card.CN != c.cn {
			t.Errorf("%s: %+v, %v, want %d,%d", c.bits, card, err, c.fc, c.cn)
		}
	}
}

// TestTransmissionParity flips each bit of each example. The layouts of 37 bits
// have one bit under both parities, the others under one: all are seen.
func TestTransmissionParity(t *testing.T) {
	for _, c := range transmissions {
		raw, err := strconv.ParseUint(c.bits, 2, 64)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(c.bits) {
			if card, err := c.layout.Decode(raw ^ 1<<i); !errors.Is(err, protocol.ErrChecksum) || card != (Card{}) {
				t.Errorf("%s with bit %d flipped: %v, %v", c.bits, i, card, err)
			}
		}
		if _, err := c.layout.Decode(raw | 1<<len(c.bits)); !errors.Is(err, protocol.ErrTooLarge) {
			t.Errorf("%s and a bit more: %v", c.bits, err)
		}
	}
}

func TestTransmissionBounds(t *testing.T) {
	for _, c := range []struct {
		layout Layout
		fc     uint32
		cn     uint64
		kind   error
	}{
		{H10301, 255, 65535, nil}, {H10301, 256, 0, protocol.ErrTooLarge}, {H10301, 0, 65536, protocol.ErrTooLarge},
		{H10302, 0, 1<<35 - 1, nil}, {H10302, 1, 0, protocol.ErrTooLarge}, {H10302, 0, 1 << 35, protocol.ErrTooLarge},
		{"corporate1000", 0, 0, protocol.ErrUnsupported},
	} {
		raw, err := c.layout.Encode(c.fc, c.cn)
		if !errors.Is(err, c.kind) {
			t.Errorf("%s %d,%d: %v, want %v", c.layout, c.fc, c.cn, err, c.kind)
		}
		if err != nil {
			continue
		}
		if card, err := c.layout.Decode(raw); err != nil || card.FC != c.fc || card.CN != c.cn {
			t.Errorf("%s %d,%d comes back as %+v, %v", c.layout, c.fc, c.cn, card, err)
		}
	}
	if _, err := Layout("corporate1000").Decode(0); !errors.Is(err, protocol.ErrUnsupported) {
		t.Error(err)
	}
}

// FuzzTransmission holds that what has the right parity is sent the same again.
func FuzzTransmission(f *testing.F) {
	for _, c := range transmissions {
		raw, err := strconv.ParseUint(c.bits, 2, 64)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(c.layout), raw)
	}
	f.Fuzz(func(t *testing.T, layout string, raw uint64) {
		card, err := Layout(layout).Decode(raw)
		if err != nil {
			return
		}
		if again, err := Layout(layout).Encode(card.FC, card.CN); err != nil || again != raw {
			t.Fatalf("%s %b is sent again as %b, %v", layout, raw, again, err)
		}
	})
}
