package cardline

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/punchd/punchd/protocol"
)

// MaxBadge bounds what a line may name, in bytes; a roster takes no longer
// badge.
const MaxBadge = 128

// byteOrderMark is what some programs write in front of UTF-8.
const byteOrderMark = "\ufeff"

// Line says what a reader's lines look like and what to make of them. The zero
// value takes a whole line, ended by CR or LF, as the badge.
type Line struct {
	Prefix, Suffix string // stand around every line and are taken off
	Terminator     Terminator
	SevenBit       bool // the highest bit of each byte is noise or parity

	// Pattern is a regular expression (RE2) that a line must match, with the
	// named groups card, or fc and cn, or user. Empty takes the whole line.
	Pattern string
	// Base is how card is written: dec, hex or bin. Empty is text that is
	// no number to us.
	Base string
	// Bits is the width of card's number, which must not be wider. Without it
	// a hex or binary number is as wide as its digits, a decimal one 32 bits.
	Bits int
	// Layout takes card, hex or binary, for a Wiegand transmission with its
	// parity, in hex filled with zeros at its end.
	Layout Layout
	// Reverse turns the order of the number's bytes around.
	Reverse bool
	// Form is how the badge is written. [FormText] takes the text as it
	// matched; with Base, and only then, one of the others must be chosen. For
	// fc and cn it is [FormFCCN] if none is.
	Form Form
	// StripZeros takes leading zeros off, but for the last digit.
	StripZeros bool
}

// Lines is a [Line] made ready. It is safe for concurrent use.
type Lines struct {
	set          Line
	pattern      *regexp.Regexp
	card, fc, cn int // groups of the pattern; 0 is none
	layoutBits   int
	terminator   string
}

// Compile checks a Line and makes it ready.
func (l Line) Compile() (*Lines, error) {
	if l.Pattern == "" {
		l.Pattern = `^(?P<card>.+)$`
	}
	c := &Lines{set: l}
	var err error
	if c.terminator, err = l.Terminator.bytes(); err != nil {
		return nil, err
	}
	if c.pattern, err = regexp.Compile(l.Pattern); err != nil {
		return nil, fmt.Errorf("cardline: pattern: %w", err)
	}
	if err := c.groups(); err != nil {
		return nil, err
	}
	if err := l.Form.Check(); err != nil {
		return nil, err
	}
	if err := c.number(); err != nil {
		return nil, fmt.Errorf("cardline: %w", err)
	}
	if err := c.whole(); err != nil {
		return nil, err
	}
	return c, nil
}

// whole holds that a line with this prefix and suffix can come through at all.
func (c *Lines) whole() error {
	want := c.set.Prefix + "0" + c.set.Suffix
	s := c.Splitter()
	for line, err := range s.Feed(c.Append(nil, "0")) {
		if err != nil || string(line) != want {
			break
		}
		return nil
	}
	if line, err := s.Flush(); err == nil && string(line) == want {
		return nil
	}
	return errors.New("cardline: prefix or suffix holds what ends a line, a NUL, or more than fits")
}

// groups finds the named groups of the pattern.
func (c *Lines) groups() error {
	var names []string
	for _, name := range c.pattern.SubexpNames() {
		if name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	switch strings.Join(names, " ") {
	case "card":
		c.card = c.pattern.SubexpIndex("card")
	case "user":
		c.card = c.pattern.SubexpIndex("user")
		if c.set.Base != "" || c.set.Layout != "" {
			return errors.New("cardline: base and layout are for the group card, not for user")
		}
	case "cn fc":
		c.fc, c.cn = c.pattern.SubexpIndex("fc"), c.pattern.SubexpIndex("cn")
	default:
		return fmt.Errorf("cardline: pattern has the named groups %q, it needs card, or fc and cn, or user", names)
	}
	return nil
}

// number checks what is said about the number against each other.
func (c *Lines) number() error {
	l := &c.set
	switch {
	case !slices.Contains([]string{"", "dec", "hex", "bin"}, l.Base):
		return fmt.Errorf("unknown base %q (known: dec, hex, bin)", l.Base)
	case l.Bits < 0 || l.Bits > 64:
		return fmt.Errorf("%d bits are not between 1 and 64", l.Bits)
	case c.fc > 0 && (l.Base != "" || l.Bits != 0 || l.Layout != "" || l.Reverse):
		return errors.New("fc and cn are decimal numbers; base, bits, layout and reverse are for the group card")
	case c.fc > 0:
		if l.Form == FormText {
			l.Form = FormFCCN
		}
		return nil
	case l.Base == "" && (l.Bits != 0 || l.Layout != "" || l.Reverse || l.Form != FormText):
		return errors.New("bits, layout, reverse and form need a base: dec, hex or bin")
	case l.Base != "" && l.Form == FormText:
		return fmt.Errorf("base %s needs a form in which to write the number: %s, %s or %q", l.Base, FormHex, FormDec10, string(FormFCCN))
	case l.Reverse && l.Bits%8 != 0:
		return fmt.Errorf("reverse needs whole bytes, not %d bits", l.Bits)
	case l.Layout == "":
		return nil
	case l.Base == "dec" || l.Bits != 0 || l.Reverse:
		return errors.New("a layout needs base hex or bin, and neither bits nor reverse")
	case l.Layout == H10302 && l.Form == FormFCCN:
		return fmt.Errorf("layout %s has no facility code; choose form %s or %s", H10302, FormHex, FormDec10)
	}
	w, err := l.Layout.shape()
	c.layoutBits = w.bits
	return err
}

// Splitter makes a splitter for these lines.
func (c *Lines) Splitter() *Splitter {
	return &Splitter{end: c.set.Terminator, sevenBit: c.set.SevenBit, prefix: c.set.Prefix, limit: MaxLine}
}

// Append appends a line that says text, as a reader would send it.
func (c *Lines) Append(dst []byte, text string) []byte {
	return append(dst, c.set.Prefix+text+c.set.Suffix+c.terminator...)
}

// Parse reads the badge out of a line that a [Splitter] gave.
func (c *Lines) Parse(line []byte) (badge string, err error) {
	if len(line) > MaxLine {
		return "", fmt.Errorf("cardline: line of %d bytes, at most %d: %w", len(line), MaxLine, protocol.ErrTooLarge)
	}
	text := string(line)
	if !strings.HasPrefix(c.set.Prefix, byteOrderMark) {
		// Programs that play a reader begin with it, and nobody sees it in a badge.
		text = strings.TrimPrefix(text, byteOrderMark)
	}
	if !strings.HasSuffix(c.set.Suffix, "\r") && !strings.HasSuffix(c.set.Suffix, "\n") {
		text = strings.TrimRight(text, "\r\n") // of a CR LF of which one is the end, or in front of ETX
	}
	text, before := strings.CutPrefix(text, c.set.Prefix)
	text, behind := strings.CutSuffix(text, c.set.Suffix)
	switch {
	case !before:
		return "", fmt.Errorf("cardline: line of %d bytes without its prefix: %w", len(line), protocol.ErrMalformed)
	case !behind:
		return "", fmt.Errorf("cardline: line of %d bytes without its suffix: %w", len(line), protocol.ErrMalformed)
	case !utf8.ValidString(text):
		return "", fmt.Errorf("cardline: line is no UTF-8: %w", protocol.ErrMalformed)
	case strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }):
		return "", fmt.Errorf("cardline: line holds a control character: %w", protocol.ErrMalformed)
	}
	m := c.pattern.FindStringSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("cardline: line of %d bytes does not match the pattern: %w", len(line), protocol.ErrMalformed)
	}
	if badge, err = c.badge(m); err != nil {
		return "", err
	}
	switch {
	case badge == "":
		return "", fmt.Errorf("cardline: line names nothing: %w", protocol.ErrMalformed)
	case len(badge) > MaxBadge:
		return "", fmt.Errorf("cardline: badge of %d bytes, at most %d: %w", len(badge), MaxBadge, protocol.ErrTooLarge)
	}
	return badge, nil
}

func (c *Lines) badge(m []string) (string, error) {
	var card Card
	var err error
	switch {
	case c.fc > 0:
		card, err = facility(m[c.fc], m[c.cn], c.set.Form)
	case c.set.Base == "":
		return strings.TrimSpace(c.strip(strings.TrimSpace(m[c.card]))), nil
	default:
		card, err = c.digits(m[c.card])
	}
	if err != nil {
		return "", err
	}
	if c.set.Form == FormFCCN && c.set.StripZeros {
		return fmt.Sprintf("%d,%d", card.FC, card.CN), nil
	}
	return c.strip(card.Text(c.set.Form)), nil
}

func (c *Lines) strip(s string) string {
	if !c.set.StripZeros || s == "" {
		return s
	}
	return strings.TrimLeft(s[:len(s)-1], "0") + s[len(s)-1:]
}

// facility makes a card of a decimal facility code and card number. Written as
// one number they are 8 and 16 bits wide.
func facility(fc, cn string, f Form) (Card, error) {
	a, err := strconv.ParseUint(fc, 10, 16)
	if err != nil {
		return Card{}, fmt.Errorf("cardline: facility code: %w", numberError(err))
	}
	b, err := strconv.ParseUint(cn, 10, 32)
	if err != nil {
		return Card{}, fmt.Errorf("cardline: card number: %w", numberError(err))
	}
	if f != FormFCCN && (a > 0xff || b > 0xffff) {
		return Card{}, fmt.Errorf("cardline: facility code and card number are wider than 8 and 16 bits: %w", protocol.ErrTooLarge)
	}
	return Card{Value: a<<16 | b, Bits: 24, FC: uint32(a), CN: b}, nil
}

// digits reads a number as the reader writes it.
func (c *Lines) digits(text string) (Card, error) {
	base, width := 10, 32
	switch c.set.Base {
	case "hex":
		base, width = 16, 4*len(text)
	case "bin":
		base, width = 2, len(text)
	}
	v, err := strconv.ParseUint(text, base, 64)
	if err != nil {
		return Card{}, fmt.Errorf("cardline: card number: %w", numberError(err))
	}
	if c.layoutBits > 0 {
		return c.transmission(v, width)
	}
	if c.set.Bits > 0 {
		width = c.set.Bits
	}
	card, err := Number(v, width)
	if err != nil || !c.set.Reverse {
		return card, err
	}
	if width%8 != 0 {
		return Card{}, fmt.Errorf("cardline: %d digits are no whole bytes to reverse: %w", len(text), protocol.ErrMalformed)
	}
	var turned uint64
	for range width / 8 {
		turned, v = turned<<8|v&0xff, v>>8
	}
	return plain(turned, width), nil
}

// transmission takes the zeros off the end of a Wiegand transmission that was
// filled up to whole bytes, and reads it.
func (c *Lines) transmission(v uint64, width int) (Card, error) {
	fill := width - c.layoutBits
	if fill < 0 || fill > 7 || v&mask(fill) != 0 {
		return Card{}, fmt.Errorf("cardline: %d bits are no %s: %w", width, c.set.Layout, protocol.ErrMalformed)
	}
	return c.set.Layout.Decode(v >> fill)
}

// numberError sorts an error of strconv among the kinds.
func numberError(err error) error {
	if errors.Is(err, strconv.ErrRange) {
		return protocol.ErrTooLarge
	}
	return protocol.ErrMalformed
}
