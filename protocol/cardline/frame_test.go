package cardline

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/punchd/punchd/protocol"
)

// captures are frames of real readers: ten digits of the card and two of the
// checksum. 0009351929 and 0009466639 are what is printed on those two cards.
var captures = []struct{ card, sum, dec10, fccn string }{
	{"000414CD7E", "A3", "0068472190", "020,52606"},
	{"01C8F00800", "31", "3371173888", "240,02048"},
	{"61008EB2F9", "A4", "0009351929", "142,45817"},
	{"380090730F", "D4", "0009466639", "144,29455"},
	{"330092A6D7", "D0", "0009610967", "146,42711"},
	{"1F00644BB6", "86", "0006572982", "100,19382"},
	{"0D00319CD0", "70", "0003251408", "049,40144"},
}

// ghosts are frames that noise made, with a right checksum.
var ghosts = []string{"000000078F88", "00F00000F000", "F000060007F1", "B59A99E5A9FA", "4FFB388FFFFC"}

func TestCaptures(t *testing.T) {
	for _, c := range captures {
		rdm, id12 := "\x02"+c.card+c.sum+"\x03", "\x02"+c.card+c.sum+"\r\n\x03"
		for _, frame := range []string{rdm, id12} {
			card, err := ParseFrame([]byte(frame))
			if err != nil {
				t.Errorf("%q: %v", frame, err)
				continue
			}
			for form, want := range map[Form]string{FormText: c.card, FormHex: c.card, FormDec10: c.dec10, FormFCCN: c.fccn} {
				if got := card.Text(form); got != want {
					t.Errorf("%s as %q is %s, want %s", c.card, form, got, want)
				}
			}
		}
		number, err := hex.DecodeString(c.card)
		if err != nil {
			t.Fatal(err)
		}
		card := EM([5]byte(number))
		if got := AppendRDM6300(nil, card); string(got) != rdm {
			t.Errorf("RDM6300 sends %q, want %q", got, rdm)
		}
		if got := AppendID12(nil, card); string(got) != id12 {
			t.Errorf("ID-12 sends %q, want %q", got, id12)
		}
	}
	// The two byte by byte, as the sources give them.
	card := EM([5]byte{0x00, 0x04, 0x14, 0xCD, 0x7E})
	for want, got := range map[string][]byte{
		"0230303034313443443745413303":          AppendRDM6300(nil, card),
		"02303030343134434437454133" + "0d0a03": AppendID12(nil, card),
	} {
		if hex.EncodeToString(got) != want {
			t.Errorf("got %x, want %s", got, want)
		}
	}
}

func TestAirFrame(t *testing.T) {
	got := AirFrame(EM([5]byte{0x00, 0x04, 0x14, 0xCD, 0x7E}))
	if want := [8]byte{0xFF, 0x80, 0x00, 0x48, 0xD3, 0x8D, 0xBF, 0xB2}; got != want {
		t.Errorf("got % X, want % X", got, want)
	}
}

func TestGhosts(t *testing.T) {
	for _, g := range ghosts { // nothing but a second reading tells them from cards
		if _, err := ParseFrame([]byte("\x02" + g + "\x03")); err != nil {
			t.Errorf("%s: %v", g, err)
		}
	}
	for _, g := range []string{"000000000000", "FFFFFFFFFFFF", "ffffffffffff"} {
		if card, err := ParseFrame([]byte("\x02" + g + "\x03")); !errors.Is(err, protocol.ErrUnsupported) || card != (Card{}) {
			t.Errorf("%s: %v, %v", g, card, err)
		}
	}
}

func TestParseFrameErrors(t *testing.T) {
	const good = "\x02000414CD7EA3\r\n\x03"
	for n := range len(good) {
		if card, err := ParseFrame([]byte(good[:n])); !errors.Is(err, protocol.ErrIncomplete) || card != (Card{}) {
			t.Errorf("%q: %v, %v", good[:n], card, err)
		}
	}
	for _, c := range []struct {
		frame string
		kind  error
	}{
		{"000414CD7EA3\x03", protocol.ErrMalformed},
		{"\x020004G4CD7EA3\x03", protocol.ErrMalformed},
		{"\x02000414CD7EA\x03", protocol.ErrMalformed},
		{"\x02000414CD7EA30\x03", protocol.ErrMalformed},
		{"\x02000414CD7EA3\n\x03", protocol.ErrMalformed},
		{good + "\x02", protocol.ErrMalformed},
		{"\x02000414CD7EA7\x03", protocol.ErrChecksum},
		{"\x02100414CD7EA3\x03", protocol.ErrChecksum},
		{"\x0261008EB2F9C5\x03", protocol.ErrChecksum}, // over bytes 2 to 5 alone, as some firmware has it
	} {
		if card, err := ParseFrame([]byte(c.frame)); !errors.Is(err, c.kind) || card != (Card{}) {
			t.Errorf("%q: %v, %v, want %v", c.frame, card, err, c.kind)
		}
	}
}

// TestEveryFlippedBitIsSeen holds that no single wrong bit makes another card.
func TestEveryFlippedBitIsSeen(t *testing.T) {
	card := EM([5]byte{0x00, 0x04, 0x14, 0xCD, 0x7E})
	for _, good := range [][]byte{AppendRDM6300(nil, card), AppendID12(nil, card)} {
		for i := range len(good) * 8 {
			bad := bytes.Clone(good)
			bad[i/8] ^= 1 << (i % 8)
			if got, err := ParseFrame(bad); err == nil && got != card { // 0x20 makes a small letter of a capital
				t.Errorf("bit %d flipped: card %s", i, got.Text(FormHex))
			}
		}
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		value uint64
		bits  int
		kind  error
	}{
		{0, 1, nil}, {1<<24 - 1, 24, nil}, {1<<64 - 1, 64, nil},
		{1 << 24, 24, protocol.ErrTooLarge}, {0, 0, protocol.ErrUnsupported}, {0, 65, protocol.ErrUnsupported}, {0, -1, protocol.ErrUnsupported},
	} {
		if _, err := Number(c.value, c.bits); !errors.Is(err, c.kind) {
			t.Errorf("%d in %d bits: %v, want %v", c.value, c.bits, err, c.kind)
		}
	}
	c, err := Number(0x123, 12)
	if err != nil || c.Text(FormHex) != "123" {
		t.Errorf("%s, %v", c.Text(FormHex), err)
	}
}

// FuzzFrame holds that a frame that is read is written the same again.
func FuzzFrame(f *testing.F) {
	for _, c := range captures {
		f.Add([]byte("\x02" + c.card + c.sum + "\x03"))
		f.Add([]byte("\x02" + c.card + c.sum + "\r\n\x03"))
	}
	for _, g := range ghosts {
		f.Add([]byte("\x02" + g + "\x03"))
	}
	f.Add([]byte("\x02000000000000\x03"))
	f.Add([]byte("\x02000414cd7ea3\x03"))
	f.Fuzz(func(t *testing.T, b []byte) {
		card, err := ParseFrame(b)
		if err != nil {
			if card != (Card{}) {
				t.Fatalf("both %v and %v", card, err)
			}
			return
		}
		again := AppendRDM6300(nil, card)
		if len(b) == MaxFrame {
			again = AppendID12(nil, card)
		}
		if !bytes.EqualFold(again, b) {
			t.Fatalf("%q is written as %q", b, again)
		}
	})
}
