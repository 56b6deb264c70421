package cloudevents

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/punchd/punchd/protocol/attendance"
)

// appendName appends a member's name and colon, with a comma unless it is the
// object's first. The name needs no escape.
func appendName(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

// appendMember appends a member, unless its value is empty.
func appendMember(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendText(appendName(dst, name), value)
}

const hexDigits = "0123456789abcdef"

// appendText appends s as a JSON string. Only what JSON demands is escaped;
// bytes that are no UTF-8 become U+FFFD, since a receiver would refuse the
// whole batch for them.
func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\uFFFD"...)
		} else {
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// A clock face is written if its year has four digits, since RFC 3339 has no
// way to write another; an instant if it is a year further from the ends, so
// that every offset can be added to it. Clocks outside are broken.
var (
	firstFace    = attendance.LocalDate(0, 1, 1, 0, 0, 0, 0)
	lastFace     = attendance.LocalDate(9999, 12, 31, 23, 59, 59, 999)
	firstInstant = int64(attendance.LocalDate(1, 1, 1, 0, 0, 0, 0))
	lastInstant  = int64(attendance.LocalDate(9998, 12, 31, 23, 59, 59, 999))
)

func writableFace(face attendance.LocalTime) bool { return firstFace <= face && face <= lastFace }

// writable reports whether an instant can be written, and gives it in
// milliseconds since 1970. The zero time means that there is none.
func writable(t time.Time) (ms int64, ok bool) {
	ms = t.UnixMilli()
	return ms, firstInstant < ms && ms <= lastInstant
}

// appendFace appends 2026-11-04T08:58:12, with .250 if asked for.
func appendFace(dst []byte, face attendance.LocalTime, milli bool) []byte {
	t := time.UnixMilli(int64(face)).UTC()
	year, month, day := t.Date()
	hour, minute, sec := t.Clock()
	dst = append(dst, byte('0'+year/1000), byte('0'+year/100%10), byte('0'+year/10%10), byte('0'+year%10))
	dst = appendTwo(append(dst, '-'), int(month))
	dst = appendTwo(append(dst, '-'), day)
	dst = appendTwo(append(dst, 'T'), hour)
	dst = appendTwo(append(dst, ':'), minute)
	dst = appendTwo(append(dst, ':'), sec)
	if milli {
		ms := t.Nanosecond() / int(time.Millisecond)
		dst = appendTwo(append(dst, '.', byte('0'+ms/100)), ms%100)
	}
	return dst
}

// appendOffset appends Z or +08:00; d is whole minutes under a day.
func appendOffset(dst []byte, d time.Duration) []byte {
	if d == 0 {
		return append(dst, 'Z')
	}
	minutes, sign := int(d/time.Minute), byte('+')
	if minutes < 0 {
		minutes, sign = -minutes, '-'
	}
	dst = appendTwo(append(dst, sign), minutes/60)
	return appendTwo(append(dst, ':'), minutes%60)
}

func appendTwo(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }

// appendPadded appends n in at least width digits, so that texts sort as the
// numbers do.
func appendPadded(dst []byte, n uint64, width int) []byte {
	var digits [20]byte
	text := strconv.AppendUint(digits[:0], n, 10)
	for range width - len(text) {
		dst = append(dst, '0')
	}
	return append(dst, text...)
}
