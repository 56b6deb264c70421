// Package wifi decides whether the access point a phone names is one of ours.
//
// A BSSID is broadcast in clear and typed by the client: a match is good
// evidence against honest GPS drift and weak evidence against cheating.
package wifi

import (
	"errors"
	"fmt"
	"strings"
)

// BSSID is an access point's address, its 48 bits in the low end.
type BSSID uint64

// String is the canonical form: six octets in lower-case hex with colons.
func (b BSSID) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", byte(b>>40), byte(b>>32), byte(b>>24), byte(b>>16), byte(b>>8), byte(b))
}

// The two ways in which a text is no BSSID.
var (
	// ErrAbsent says that the phone could not, or may not, see its access
	// point, and wrote one of the placeholders of its system.
	ErrAbsent = errors.New("no BSSID")
	// ErrInvalid says that the text is no address of an access point.
	ErrInvalid = errors.New("invalid BSSID")
)

// Addresses with a meaning of their own.
const (
	absentAndroid BSSID = 0x020000000000 // Android 8 and later without the permission
	absentZero    BSSID = 0x000000000000 // iOS 13 and later without the permission; not connected
	absentOnes    BSSID = 0xffffffffffff
	emulator      BSSID = 0x00131085fe01 // the stock Android emulator
	groupBit      BSSID = 1 << 40
)

// Parse reads an address in any of the forms that systems and people write:
// octets split by colons or dashes with one or two hex digits each, Cisco's
// three groups of four, or twelve bare digits; any case, spaces around. The
// error is [ErrAbsent] for a placeholder and wraps [ErrInvalid] for what can't
// be an access point: another length, or a group address.
//
// The local bit is no reason to refuse: access points that serve several
// networks derive their addresses with it.
func Parse(s string) (BSSID, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, ErrAbsent
	}
	b, err := parseBits(s)
	switch {
	case err != nil:
		return 0, err
	case b == absentAndroid, b == absentZero, b == absentOnes:
		return 0, ErrAbsent
	case b&groupBit != 0:
		return 0, fmt.Errorf("%w: %q is a group address", ErrInvalid, s)
	}
	return b, nil
}

// parseBits reads 48 bits without looking at what they mean.
func parseBits(s string) (BSSID, error) {
	var sep byte
	groups, width := 6, 2 // of hex digits
	switch {
	case len(s) > 17: // six octets of two digits and five separators
		return 0, fmt.Errorf("%w: %d characters", ErrInvalid, len(s))
	case strings.IndexByte(s, ':') >= 0:
		sep = ':'
	case strings.IndexByte(s, '-') >= 0:
		sep = '-'
	case strings.IndexByte(s, '.') >= 0:
		sep, groups, width = '.', 3, 4
	case len(s) != 12:
		return 0, fmt.Errorf("%w: %q has no six octets", ErrInvalid, s)
	}
	var b, group BSSID
	digits, seen := 0, 1
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == sep && sep != 0 {
			if digits == 0 || sep == '.' && digits != width {
				return 0, fmt.Errorf("%w: %q", ErrInvalid, s)
			}
			b, group, digits, seen = b<<(4*width)|group, 0, 0, seen+1
			continue
		}
		d, ok := hexDigit(s[i])
		if digits++; !ok || sep != 0 && digits > width {
			return 0, fmt.Errorf("%w: %q", ErrInvalid, s)
		}
		group = group<<4 | d
	}
	if sep == 0 {
		return group, nil
	}
	if seen != groups || digits == 0 || sep == '.' && digits != width {
		return 0, fmt.Errorf("%w: %q has no six octets", ErrInvalid, s)
	}
	return b<<(4*width) | group, nil
}

func hexDigit(c byte) (BSSID, bool) {
	switch {
	case '0' <= c && c <= '9':
		return BSSID(c - '0'), true
	case 'a' <= c && c <= 'f':
		return BSSID(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return BSSID(c-'A') + 10, true
	}
	return 0, false
}
