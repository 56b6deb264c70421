package cloudevents

import (
	"fmt"
	"strconv"

	"github.com/punchd/punchd/protocol"
)

// maxDepth bounds how deep arrays and objects nest.
const maxDepth = 64

// text reads a string; before is given back instead of a copy if it is the
// same, since the events of a batch repeat each other.
func (s *scanner) text(before string) (string, error) {
	raw, escaped, err := s.str("a text")
	switch {
	case err != nil:
		return "", err
	case escaped:
		return s.unescape(raw)
	case string(raw) == before:
		return before, nil
	}
	return string(raw), nil
}

// number reads a number and gives its text.
func (s *scanner) number() (string, error) {
	s.space()
	start := s.i
	if s.peek() == '-' {
		s.i++
	}
	if s.i < len(s.b) && s.b[s.i] == '0' {
		s.i++
	} else if err := s.digits(); err != nil {
		return "", err
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if err := s.digits(); err != nil {
			return "", err
		}
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if err := s.digits(); err != nil {
			return "", err
		}
	}
	return string(s.b[start:s.i]), nil
}

func (s *scanner) digits() error {
	start := s.i
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	if s.i == start {
		return s.fail("a digit")
	}
	return nil
}

// whole reads a whole number between least and most.
func (s *scanner) whole(least, most int64) (int64, error) {
	text, err := s.number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, s.bad("%.40s is no whole number from %d to %d", text, least, most)
	}
	return n, nil
}

func (s *scanner) count() (uint64, error) {
	text, err := s.number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, s.bad("%.40s is no count", text)
	}
	return n, nil
}

func (s *scanner) boolean() (bool, error) {
	if s.peek() == 't' {
		return true, s.word("true")
	}
	return false, s.word("false")
}

func (s *scanner) word(w string) error {
	for j := range len(w) {
		if s.i >= len(s.b) || s.b[s.i] != w[j] {
			return s.fail("a value")
		}
		s.i++
	}
	return nil
}

// null passes over a null if one is next. An attribute that is null counts as
// absent (CloudEvents JSON format, section 2.1).
func (s *scanner) null() (bool, error) {
	if s.peek() != 'n' {
		return false, nil
	}
	return true, s.word("null")
}

// skip passes over any value and gives its bytes.
func (s *scanner) skip() ([]byte, error) {
	s.space()
	start := s.i
	err := s.pass(0)
	return s.b[start:s.i], err
}

func (s *scanner) pass(depth int) (err error) {
	if depth == maxDepth {
		return fmt.Errorf("byte %d: nested deeper than %d: %w", s.i, maxDepth, protocol.ErrTooLarge)
	}
	switch s.peek() {
	case '{':
		return s.list('{', '}', "", func() error {
			if _, _, err := s.str("a member's name"); err != nil {
				return err
			}
			if err := s.take(':', "a colon"); err != nil {
				return err
			}
			return s.pass(depth + 1)
		})
	case '[':
		return s.list('[', ']', "", func() error { return s.pass(depth + 1) })
	case '"':
		_, _, err = s.str("")
	case 't':
		err = s.word("true")
	case 'f':
		err = s.word("false")
	case 'n':
		err = s.word("null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		_, err = s.number()
	default:
		err = s.fail("a value")
	}
	return err
}
