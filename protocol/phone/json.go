package phone

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// encoding/json takes the last of two members with one name, takes AT for at,
// and mends what is no UTF-8. Two readers of one signed text could so see two
// things. Here a member has its exact name and stands once; what is not known is
// passed over.

// document checks that text is one JSON object in UTF-8 and reads it with
// [members].
func document(text []byte, known []string, set func(name string, value []byte) error) error {
	if err := valid(text); err != nil {
		return err
	}
	return members(text, known, set)
}

// valid checks that text is JSON in UTF-8.
func valid(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("is no UTF-8")
	}
	if !json.Valid(text) {
		return errors.New("is no JSON")
	}
	return nil
}

// members hands the known members of a JSON object to set, in the order they
// stand. A null is as good as no member. The text must be valid JSON.
func members(text []byte, known []string, set func(name string, value []byte) error) error {
	return present(text, known, func(name string, value []byte) error {
		if string(value) == "null" {
			return nil
		}
		return set(name, value)
	})
}

// present is members for those that must see a null, too.
func present(text []byte, known []string, set func(name string, value []byte) error) error {
	p := scanner{text: text}
	if p.next() != '{' {
		return errors.New("is no JSON object")
	}
	var seen uint32
	for p.pos++; p.next() != '}'; {
		if p.next() == ',' {
			p.pos++
			p.next()
		}
		name, err := unquote(p.value())
		if err != nil {
			return err
		}
		p.next()
		p.pos++ // the colon
		p.next()
		value := p.value()
		i := slices.Index(known, name)
		if i < 0 {
			continue
		}
		if seen&(1<<i) != 0 {
			return fmt.Errorf("%s stands twice", name)
		}
		seen |= 1 << i
		if err := set(known[i], value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// elements hands the elements of a JSON array to each, at most max of them. The
// text must be valid JSON.
func elements(text []byte, max int, each func(value []byte) error) error {
	p := scanner{text: text}
	if p.next() != '[' {
		return errors.New("is no JSON array")
	}
	n := 0
	for p.pos++; p.next() != ']'; n++ {
		if p.next() == ',' {
			p.pos++
			p.next()
		}
		if n == max {
			return fmt.Errorf("has more than %d entries", max)
		}
		if err := each(p.value()); err != nil {
			return fmt.Errorf("[%d]: %w", n, err)
		}
	}
	return nil
}

// scanner finds the ends of values in a text that is known to be valid JSON.
type scanner struct {
	text []byte
	pos  int
}

// next passes over white space and gives the byte there.
func (p *scanner) next() byte {
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; c {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return c
		}
	}
	return 0
}

// value passes over the value at the position and returns its bytes.
func (p *scanner) value() []byte {
	start, depth := p.pos, 0
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case '"':
			p.quoted()
			if depth == 0 {
				return p.text[start:p.pos]
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // the end of what a bare word stands in
				return p.text[start:p.pos]
			}
			if depth--; depth == 0 {
				p.pos++
				return p.text[start:p.pos]
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return p.text[start:p.pos]
			}
		}
		p.pos++
	}
	return p.text[start:p.pos]
}

// quoted passes over a string.
func (p *scanner) quoted() {
	for p.pos++; p.pos < len(p.text); p.pos++ {
		switch p.text[p.pos] {
		case '\\':
			p.pos++
		case '"':
			p.pos++
			return
		}
	}
}

// unquote reads a JSON string.
func unquote(value []byte) (string, error) {
	if len(value) < 2 || value[0] != '"' {
		return "", errors.New("is no text")
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1]), nil
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return "", errors.New("is no text")
	}
	return s, nil
}

// oneLine reads a text of one line: no control character.
func oneLine(value []byte, max int) (string, error) {
	s, err := anyText(value, max)
	if err == nil && strings.IndexFunc(s, unicode.IsControl) >= 0 {
		return "", errors.New("holds a control character")
	}
	return s, err
}

// anyText reads a text that may have several lines. NUL is refused all the same:
// databases behind the gateway can't store it.
func anyText(value []byte, max int) (string, error) {
	s, err := unquote(value)
	switch {
	case err != nil:
		return "", err
	case len(s) > max:
		return "", fmt.Errorf("has %d bytes, the limit is %d", len(s), max)
	case strings.IndexByte(s, 0) >= 0:
		return "", errors.New("holds a NUL")
	}
	return s, nil
}

// number reads a JSON number between two bounds.
func number(value []byte, low, high float64) (float64, error) {
	if len(value) == 0 || value[0] != '-' && (value[0] < '0' || value[0] > '9') {
		return 0, errors.New("is no number")
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || math.IsNaN(f) || f < low || f > high {
		return 0, fmt.Errorf("is not between %v and %v", low, high)
	}
	return f, nil
}

// integer reads a JSON number written without fraction and exponent.
func integer(value []byte, low, high int64) (int64, error) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("is no whole number from %d to %d", low, high)
	}
	return n, nil
}

func boolean(value []byte) (bool, error) {
	switch string(value) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("is neither true nor false")
}

// Years that a clock can honestly show: a phone's, and that of a gateway, which
// begins with 1970 after a power cut if it has no battery.
const minYear, minGatewayYear, maxYear = 2000, 1970, 2199

// maxOffset is the largest offset from UTC that any place keeps.
const maxOffset = 14 * time.Hour

// instant reads RFC 3339 with an offset, which stays in the result's location
// whatever zone this machine is in.
func instant(value []byte) (time.Time, error) { return instantFrom(value, minYear) }

// instantFrom is instant for a clock that may show earlier years.
func instantFrom(value []byte, minYear int) (time.Time, error) {
	s, err := unquote(value)
	if err != nil {
		return time.Time{}, err
	}
	// The standard parser also takes 8:58:12 and 08:58:12,250.
	const shortest, longest = "2026-11-04T08:58:12Z", "2026-11-04T08:58:12.123456789+08:00"
	var t time.Time
	if len(s) < len(shortest) || len(s) > len(longest) || s[13] != ':' || s[19] == ',' || t.UnmarshalText([]byte(s)) != nil {
		return time.Time{}, errors.New("is no RFC 3339 time with an offset, like 2026-11-04T08:58:12+08:00")
	}
	if y := t.Year(); y < minYear || y > maxYear {
		return time.Time{}, fmt.Errorf("year %d is not between %d and %d", y, minYear, maxYear)
	}
	_, offset := t.Zone()
	if d := time.Duration(offset) * time.Second; d < -maxOffset || d > maxOffset {
		return time.Time{}, fmt.Errorf("an offset of %v is no zone's", d)
	}
	if offset == 0 {
		return t.UTC(), nil
	}
	return t.In(time.FixedZone("", offset)), nil
}
