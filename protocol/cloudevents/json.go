package cloudevents

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/punchd/punchd/protocol"
)

// scanner reads JSON (RFC 8259) from front to back.
//
// It is here, and not encoding/json, because an envelope is matched exactly:
// that package takes "ID" for id, the last of two ids, and broken UTF-8; and
// because it reads a batch in a third of the time, which the stand-in
// central needs beside the daemon it measures.
type scanner struct {
	b []byte
	i int
}

// fail is the error for what stands at s.i: incomplete if nothing does.
func (s *scanner) fail(want string) error {
	if s.i >= len(s.b) {
		return fmt.Errorf("ends at byte %d, %s expected: %w", s.i, want, protocol.ErrIncomplete)
	}
	return fmt.Errorf("%q at byte %d, %s expected: %w", s.b[s.i], s.i, want, protocol.ErrMalformed)
}

func (s *scanner) bad(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s: %w", s.i, fmt.Sprintf(format, args...), protocol.ErrMalformed)
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return
		}
	}
}

// peek is the first byte of the next token, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// take passes over c, which must be next.
func (s *scanner) take(c byte, want string) error {
	if s.peek() != c {
		return s.fail(want)
	}
	s.i++
	return nil
}

// end checks that nothing but white space is left.
func (s *scanner) end() error {
	s.space()
	if s.i < len(s.b) {
		return s.fail("the end")
	}
	return nil
}

// list reads what stands between two brackets: visit is called at the start of
// each element and must read it.
func (s *scanner) list(open, closing byte, want string, visit func() error) error {
	if err := s.take(open, want); err != nil {
		return err
	}
	if s.peek() == closing {
		s.i++
		return nil
	}
	for {
		s.space()
		if err := visit(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case closing:
			s.i++
			return nil
		default:
			return s.fail("a comma or " + strconv.QuoteRune(rune(closing)))
		}
	}
}

func (s *scanner) array(visit func() error) error { return s.list('[', ']', "an array", visit) }

// object calls visit with each member's name, its value being next.
func (s *scanner) object(visit func(name []byte) error) error {
	return s.list('{', '}', "an object", func() error {
		raw, escaped, err := s.str("a member's name")
		if err != nil {
			return err
		}
		if escaped {
			text, err := s.unescape(raw)
			if err != nil {
				return err
			}
			raw = []byte(text)
		}
		if err := s.take(':', "a colon"); err != nil {
			return err
		}
		s.space()
		return visit(raw)
	})
}

// str reads a string and gives what stands between its quotes.
func (s *scanner) str(want string) (raw []byte, escaped bool, err error) {
	if err := s.take('"', want); err != nil {
		return nil, false, err
	}
	b, i := s.b, s.i // in registers: this loop is most of the work
	var all byte     // every byte of the text or-ed together
	for ; i < len(b); i++ {
		c := b[i]
		if c == '"' {
			raw = b[s.i:i]
			s.i = i + 1
			if all >= utf8.RuneSelf && !utf8.Valid(raw) {
				return nil, false, s.bad("a text is no UTF-8")
			}
			return raw, escaped, nil
		}
		if c < ' ' || c == '\\' {
			break
		}
		all |= c
	}
	return s.escapedStr(i)
}

// escapedStr goes on with a string at its first escape, at i, or says what is
// wrong there.
func (s *scanner) escapedStr(i int) (raw []byte, escaped bool, err error) {
	start := s.i
	for s.i = i; s.i < len(s.b); {
		switch c := s.b[s.i]; {
		case c == '"':
			raw = s.b[start:s.i]
			s.i++
			if !utf8.Valid(raw) {
				return nil, false, s.bad("a text is no UTF-8")
			}
			return raw, true, nil
		case c == '\\':
			s.i++
			if err := s.escape(); err != nil {
				return nil, false, err
			}
		case c < ' ':
			return nil, false, s.fail("a text without control characters")
		default:
			s.i++
		}
	}
	return nil, false, s.fail("the end of a text")
}

// escape checks what follows a backslash.
func (s *scanner) escape() error {
	if s.i >= len(s.b) {
		return s.fail("an escape")
	}
	switch s.b[s.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return nil
	case 'u':
		s.i++
		for range 4 {
			if s.i >= len(s.b) || !isHex(s.b[s.i]) {
				return s.fail("four hex digits")
			}
			s.i++
		}
		return nil
	}
	return s.fail("an escape")
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// unescape gives the text of a string that has escapes. Half a surrogate pair
// is an error: no text contains one.
func (s *scanner) unescape(raw []byte) (string, error) {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		i++
		switch c := raw[i]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := unit(raw[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if len(raw) > i+6 && raw[i+1] == '\\' && raw[i+2] == 'u' {
					low = unit(raw[i+3:])
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					return "", s.bad("half a surrogate pair in a text")
				}
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return string(out), nil
}

// unit reads four hex digits, which str has checked.
func unit(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		switch {
		case c <= '9':
			r = r<<4 | rune(c-'0')
		default:
			r = r<<4 | rune(c|0x20-'a'+10)
		}
	}
	return r
}
