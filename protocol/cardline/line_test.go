package cardline

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/punchd/punchd/protocol"
)

// typical are lines as readers send them, with what the set-up makes of them.
var typical = []struct {
	name  string
	set   Line
	sent  string // on the wire
	text  string // what the reader was told to say
	badge string
}{
	{"decimal", Line{Terminator: EndCRLF, Pattern: `^(?P<card>\d{10})$`}, "0009351929\r\n", "0009351929", "0009351929"},
	{"decimal without zeros", Line{Pattern: `^(?P<card>\d{10})$`, StripZeros: true}, "0009351929\r\n", "0009351929", "9351929"},
	{"decimal as hex", Line{Base: "dec", Bits: 40, Form: FormHex}, "0068472190\r\n", "0068472190", "000414CD7E"},
	{"decimal as fc,cn", Line{Base: "dec", Form: FormFCCN}, "0068472190\r\n", "0068472190", "020,52606"},
	{"facility and card", Line{Pattern: `^(?P<fc>\d{1,3})[,:-](?P<cn>\d{1,5})$`}, "142,45817\r\n", "142,45817", "142,45817"},
	{"facility and card with a dash", Line{Pattern: `^(?P<fc>\d{1,3})[,:-](?P<cn>\d{1,5})$`}, "090-00324\r\n", "090-00324", "090,00324"},
	{"the same as a number", Line{Pattern: `^(?P<fc>\d+)-(?P<cn>\d+)$`, Form: FormDec10}, "090-00324\r\n", "090-00324", "0005898564"},
	{"the same without zeros", Line{Pattern: `^(?P<fc>\d+)-(?P<cn>\d+)$`, StripZeros: true}, "090-00324\r\n", "090-00324", "90,324"},
	{"hex transmission", Line{Terminator: EndCR, Base: "hex", Layout: H10301, Form: FormFCCN}, "2D00A200\r", "2D00A200", "090,00324"},
	{"hex payload", Line{Base: "hex", Form: FormFCCN}, "5A0144\r\n", "5A0144", "090,00324"},
	{"hex payload of 24 bits", Line{Base: "hex", Bits: 24, Form: FormHex}, "005a0144\r\n", "005a0144", "5A0144"},
	{"bits", Line{Terminator: EndCR, Base: "bin", Layout: H10301, Form: FormFCCN}, "00101101000000001010001000\r", "00101101000000001010001000", "090,00324"},
	{"37 bits without a facility code", Line{Base: "hex", Layout: H10302, Form: FormHex}, "ADFDC1C350\r\n", "ADFDC1C350", "2DFDC1C35"},
	{"turned around", Line{Base: "hex", Reverse: true, Form: FormHex}, "7ECD140400\r\n", "7ECD140400", "000414CD7E"},
	{"turned around, then decimal", Line{Base: "hex", Reverse: true, Form: FormDec10}, "7ECD140400\r\n", "7ECD140400", "0068472190"},
	{"track 2", Line{Pattern: `^;(?P<card>\d+)=.*\?$`}, ";1234567890=99120000?\r\n", ";1234567890=99120000?", "1234567890"},
	{"track 1", Line{Pattern: `^%B?(?P<card>\d+)\^`, Terminator: EndIdle}, "%B1234567890^DOE/JOHN^9912?", "%B1234567890^DOE/JOHN^9912?", "1234567890"},
	{"barcode with its symbology", Line{Pattern: `^(?:\][A-Za-z]\d)?(?P<user>[A-Z0-9]+)$`}, "]C0EMP00042\r\n", "]C0EMP00042", "EMP00042"},
	{"barcode without", Line{Pattern: `^(?:\][A-Za-z]\d)?(?P<user>[A-Z0-9]+)$`}, "EMP00042\r\n", "EMP00042", "EMP00042"},
	{"prefix and suffix", Line{Prefix: "\x02<", Suffix: ">", Terminator: EndETX}, "\x02<42>\x03", "42", "42"},
	{"tab", Line{Terminator: EndTab}, "42\t", "42", "42"},
	{"a name", Line{}, "门禁 王小明\r\n", "门禁 王小明", "门禁 王小明"},
	{"spaces around", Line{}, "  42 \r\n", "  42 ", "42"},
	{"nothing but zeros", Line{StripZeros: true}, "0000\r\n", "0000", "0"},
	{"zeros before a space", Line{StripZeros: true}, "00 42\r\n", "00 42", "42"},
	{"zeros of a word", Line{StripZeros: true}, "00门\r\n", "00门", "门"},
}

func compile(t *testing.T, l Line) *Lines {
	t.Helper()
	c, err := l.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTypicalLines(t *testing.T) {
	for _, c := range typical {
		t.Run(c.name, func(t *testing.T) {
			lines := compile(t, c.set)
			if got := lines.Append(nil, c.text); string(got) != c.sent {
				t.Errorf("sent as %q, want %q", got, c.sent)
			}
			s := lines.Splitter()
			var badges []string
			for line, err := range s.Feed([]byte(c.sent)) {
				if err != nil {
					t.Fatal(err)
				}
				badge, err := lines.Parse(line)
				if err != nil {
					t.Fatal(err)
				}
				badges = append(badges, badge)
			}
			if rest, err := s.Flush(); err != nil {
				t.Fatal(err)
			} else if len(rest) > 0 {
				badge, err := lines.Parse(rest)
				if err != nil {
					t.Fatal(err)
				}
				badges = append(badges, badge)
			}
			if len(badges) != 1 || badges[0] != c.badge {
				t.Errorf("read as %q, want %q", badges, c.badge)
			}
		})
	}
}

// TestTransmissionsInLines reads the published transmissions as hex and as bits.
func TestTransmissionsInLines(t *testing.T) {
	for _, c := range transmissions {
		for base, text := range map[string]string{"hex": strings.ReplaceAll(c.padded, " ", ""), "bin": c.bits} {
			card, err := c.layout.Encode(c.fc, c.cn)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := c.layout.Decode(card)
			if err != nil {
				t.Fatal(err)
			}
			badge, err := compile(t, Line{Base: base, Layout: c.layout, Form: FormHex}).Parse([]byte(text))
			if err != nil || badge != whole.Text(FormHex) {
				t.Errorf("%s: %s, %v, want %s", text, badge, err, whole.Text(FormHex))
			}
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for _, c := range []struct {
		set  Line
		want string
	}{
		{Line{Pattern: `(`}, "cardline: pattern: error parsing regexp: missing closing ): `(`"},
		{Line{Pattern: `^\d+$`}, `cardline: pattern has the named groups [], it needs card, or fc and cn, or user`},
		{Line{Pattern: `^(?P<fc>\d+)$`}, `cardline: pattern has the named groups ["fc"], it needs card, or fc and cn, or user`},
		{Line{Pattern: `^(?P<card>\d)(?P<user>\d)$`}, `cardline: pattern has the named groups ["card" "user"], it needs card, or fc and cn, or user`},
		{Line{Terminator: "\n"}, `cardline: unknown terminator "\n" (known: cr, lf, crlf, tab, etx, idle): unsupported`},
		{Line{Form: "dec"}, `cardline: unknown form "dec" (known: hex, dec10, "fc,cn")`},
		{Line{Base: "oct"}, `cardline: unknown base "oct" (known: dec, hex, bin)`},
		{Line{Base: "hex"}, `cardline: base hex needs a form in which to write the number: hex, dec10 or "fc,cn"`},
		{Line{Base: "hex", Bits: 65, Form: FormHex}, `cardline: 65 bits are not between 1 and 64`},
		{Line{Base: "hex", Bits: -1, Form: FormHex}, `cardline: -1 bits are not between 1 and 64`},
		{Line{Bits: 24}, `cardline: bits, layout, reverse and form need a base: dec, hex or bin`},
		{Line{Form: FormHex}, `cardline: bits, layout, reverse and form need a base: dec, hex or bin`},
		{Line{Base: "hex", Bits: 26, Reverse: true, Form: FormHex}, `cardline: reverse needs whole bytes, not 26 bits`},
		{Line{Base: "dec", Layout: H10301, Form: FormHex}, `cardline: a layout needs base hex or bin, and neither bits nor reverse`},
		{Line{Base: "hex", Bits: 26, Layout: H10301, Form: FormHex}, `cardline: a layout needs base hex or bin, and neither bits nor reverse`},
		{Line{Base: "hex", Layout: "26", Form: FormHex}, `cardline: unknown layout "26" (known: h10301, wiegand34, h10304, h10302): unsupported`},
		{Line{Base: "hex", Layout: H10302, Form: FormFCCN}, `cardline: layout h10302 has no facility code; choose form hex or dec10`},
		{Line{Pattern: `(?P<user>.+)`, Base: "hex", Form: FormHex}, `cardline: base and layout are for the group card, not for user`},
		{Line{Pattern: `(?P<fc>.+)(?P<cn>.+)`, Base: "hex"}, `cardline: fc and cn are decimal numbers; base, bits, layout and reverse are for the group card`},
		{Line{Prefix: "\r"}, `cardline: prefix or suffix holds what ends a line, a NUL, or more than fits`},
		{Line{Suffix: "\t", Terminator: EndTab}, `cardline: prefix or suffix holds what ends a line, a NUL, or more than fits`},
		{Line{Prefix: "\x00"}, `cardline: prefix or suffix holds what ends a line, a NUL, or more than fits`},
		{Line{Prefix: "门", SevenBit: true}, `cardline: prefix or suffix holds what ends a line, a NUL, or more than fits`},
		{Line{Prefix: strings.Repeat("x", MaxLine)}, `cardline: prefix or suffix holds what ends a line, a NUL, or more than fits`},
		{Line{Prefix: "\n", Terminator: EndIdle}, `cardline: prefix or suffix holds what ends a line, a NUL, or more than fits`},
	} {
		lines, err := c.set.Compile()
		if err == nil || lines != nil {
			t.Errorf("%+v is taken, want %s", c.set, c.want)
			continue
		}
		if err.Error() != c.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", c.set, err, c.want)
		}
	}
}

func TestParseLineErrors(t *testing.T) {
	for _, c := range []struct {
		set  Line
		line string
		kind error
	}{
		{Line{Pattern: `^(?P<card>\d{10})$`}, "000935192", protocol.ErrMalformed},
		{Line{Pattern: `^(?P<card>\d{10})$`}, "00093519290", protocol.ErrMalformed},
		{Line{Pattern: `^(?P<card>\d*)$`}, "", protocol.ErrMalformed},
		{Line{Pattern: `^x(?P<card>\d*)$`}, "x", protocol.ErrMalformed},
		{Line{Pattern: `^(?:(?P<fc>\d)(?P<cn>\d)|x)$`}, "x", protocol.ErrMalformed},
		{Line{}, "   ", protocol.ErrMalformed},
		{Line{}, "\ufeff", protocol.ErrMalformed},
		{Line{}, "\xff\xfe", protocol.ErrMalformed},
		{Line{}, "4\x7f2", protocol.ErrMalformed},
		{Line{}, "4\x1b[2J2", protocol.ErrMalformed},
		{Line{}, strings.Repeat("9", MaxBadge+1), protocol.ErrTooLarge},
		{Line{}, strings.Repeat("9", MaxLine+1), protocol.ErrTooLarge},
		{Line{Prefix: "<"}, "42>", protocol.ErrMalformed},
		{Line{Suffix: ">"}, "<42", protocol.ErrMalformed},
		{Line{Prefix: "%", Suffix: "%"}, "%", protocol.ErrMalformed},
		{Line{Base: "dec", Form: FormHex}, "4294967296", protocol.ErrTooLarge},
		{Line{Base: "dec", Form: FormHex}, "99999999999999999999", protocol.ErrTooLarge},
		{Line{Base: "dec", Form: FormHex}, "-1", protocol.ErrMalformed},
		{Line{Base: "dec", Form: FormHex}, "1_0", protocol.ErrMalformed},
		{Line{Base: "dec", Form: FormHex}, "٤٢", protocol.ErrMalformed},
		{Line{Base: "hex", Form: FormHex}, "0x42", protocol.ErrMalformed},
		{Line{Base: "hex", Bits: 24, Form: FormHex}, "1000000", protocol.ErrTooLarge},
		{Line{Base: "hex", Form: FormHex}, "00000000000000001", protocol.ErrUnsupported},
		{Line{Base: "hex", Reverse: true, Form: FormHex}, "123", protocol.ErrMalformed},
		{Line{Base: "bin", Form: FormHex}, "012", protocol.ErrMalformed},
		{Line{Base: "hex", Layout: H10301, Form: FormFCCN}, "2D00A201", protocol.ErrMalformed}, // the fill is not zero
		{Line{Base: "hex", Layout: H10301, Form: FormFCCN}, "2D00A2", protocol.ErrMalformed},   // too short
		{Line{Base: "hex", Layout: H10301, Form: FormFCCN}, "2D00A20000", protocol.ErrMalformed},
		{Line{Base: "hex", Layout: H10301, Form: FormFCCN}, "2D01A200", protocol.ErrChecksum},
		{Line{Base: "bin", Layout: H10301, Form: FormFCCN}, "00101101000000001010001001", protocol.ErrChecksum},
		{Line{Pattern: `^(?P<fc>\d+)-(?P<cn>\d+)$`}, "65536-1", protocol.ErrTooLarge},
		{Line{Pattern: `^(?P<fc>\d+)-(?P<cn>\d+)$`}, "1-4294967296", protocol.ErrTooLarge},
		{Line{Pattern: `^(?P<fc>\d+)-(?P<cn>\d+)$`, Form: FormHex}, "256-1", protocol.ErrTooLarge},
		{Line{Pattern: `^(?P<fc>\d+)-(?P<cn>\d+)$`, Form: FormHex}, "1-65536", protocol.ErrTooLarge},
	} {
		if badge, err := compile(t, c.set).Parse([]byte(c.line)); !errors.Is(err, c.kind) || badge != "" {
			t.Errorf("%+v: %q: %q, %v, want %v", c.set, c.line, badge, err, c.kind)
		}
	}
}

// FuzzLine holds that whatever comes, a badge is one a roster can hold, that it
// does not change from one reading to the next, and that an error has one kind.
func FuzzLine(f *testing.F) {
	for i, c := range typical {
		f.Add(uint8(i), []byte(c.text))
	}
	for i := range typical {
		f.Add(uint8(i), []byte("\xff\x00"))
	}
	all := make([]*Lines, len(typical))
	for i, c := range typical {
		lines, err := c.set.Compile()
		if err != nil {
			f.Fatal(err)
		}
		all[i] = lines
	}
	f.Fuzz(func(t *testing.T, set uint8, line []byte) {
		lines := all[int(set)%len(all)]
		badge, err := lines.Parse(line)
		if err != nil {
			n := 0
			for _, kind := range []error{protocol.ErrMalformed, protocol.ErrTooLarge, protocol.ErrChecksum, protocol.ErrUnsupported} {
				if errors.Is(err, kind) {
					n++
				}
			}
			if n != 1 || badge != "" {
				t.Fatalf("%q: %q, %v", line, badge, err)
			}
			return
		}
		if badge == "" || len(badge) > MaxBadge || !utf8.ValidString(badge) || strings.TrimSpace(badge) != badge {
			t.Fatalf("%q gives the badge %q", line, badge)
		}
		if again, err := lines.Parse(line); err != nil || again != badge {
			t.Fatalf("%q gives %q, then %q, %v", line, badge, again, err)
		}
	})
}
