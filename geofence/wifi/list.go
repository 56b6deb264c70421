package wifi

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"github.com/punchd/punchd/protocol/attendance"
)

// minMaskBits is how many bits a mask must hold fixed. The first three octets
// alone name a maker, and match half a town.
const minMaskBits = 32

// maxMasks is how many different masks a list takes: each costs one look-up.
const maxMasks = 32

// Verdict is what the access point says about a check-in.
type Verdict uint8

// The verdicts.
const (
	Absent   Verdict = iota // the phone names no access point
	Unknown                 // it names one that is not ours, or none that can be
	Match                   // it is one of ours
	Emulated                // it is the one that exists in the Android emulator alone
)

// Reason is the code of v as it stands in a punch.
func (v Verdict) Reason() attendance.Reason {
	switch v {
	case Match:
		return attendance.ReasonWiFiMatch
	case Absent:
		return attendance.ReasonWiFiAbsent
	default:
		return attendance.ReasonWiFiUnknown
	}
}

// entry is one allowed access point, or a family of them.
type entry struct {
	owner int
	ssid  string // empty: any
}

// List is an allowlist. Exact addresses are found by hash; addresses with a
// mask by hash too, one look-up for each different mask. A List is safe for
// concurrent use once nothing is added any more.
type List struct {
	masks []BSSID // in the order they came
	by    []map[BSSID][]entry
}

// Add allows an access point for an owner, which is a number of the caller's.
// The error says what is wrong with the address or its mask.
func (l *List) Add(owner int, ap attendance.AccessPoint) error {
	mask := absentOnes
	if ap.Mask != "" {
		m, err := parseBits(strings.TrimSpace(ap.Mask))
		if err != nil {
			return fmt.Errorf("mask %q is no six octets like ff:ff:ff:ff:ff:f0", ap.Mask)
		}
		if n := bits.OnesCount64(uint64(m)); n < minMaskBits {
			return fmt.Errorf("mask %s holds %d bits fixed, at least %d are needed: a shorter one matches a maker, not an office", m, n, minMaskBits)
		}
		mask = m
	}
	b, err := Parse(ap.BSSID)
	switch {
	case errors.Is(err, ErrAbsent):
		return fmt.Errorf("bssid %q is what a phone writes when it may not tell; it would match every such phone", ap.BSSID)
	case err != nil:
		return err
	case b&mask == emulator&mask:
		return fmt.Errorf("bssid %s (mask %s) matches the stock Android emulator", b, mask)
	case b&mask == absentAndroid&mask, b&mask == 0:
		return fmt.Errorf("bssid %s (mask %s) matches a placeholder for an unknown address", b, mask)
	}
	i := 0
	for i < len(l.masks) && l.masks[i] != mask {
		i++
	}
	if i == len(l.masks) {
		if i == maxMasks {
			return fmt.Errorf("mask %s is the %dth different one in the roster, the limit is %d", mask, i+1, maxMasks)
		}
		l.masks = append(l.masks, mask)
		l.by = append(l.by, map[BSSID][]entry{})
	}
	for _, e := range l.by[i][b&mask] {
		if e.owner == owner && e.ssid == ap.SSID {
			return fmt.Errorf("bssid %s stands here twice", b)
		}
	}
	l.by[i][b&mask] = append(l.by[i][b&mask], entry{owner, ap.SSID})
	return nil
}

// Look judges what a phone says of its network. For a Match it appends the
// owners to dst, in no order, maybe one more than once. Only the access point
// the phone is connected to counts, not what it merely hears.
func (l *List) Look(w *attendance.WiFi, dst []int) (Verdict, []int) {
	if w == nil {
		return Absent, dst
	}
	b, err := Parse(w.BSSID)
	switch {
	case errors.Is(err, ErrAbsent):
		return Absent, dst
	case err != nil:
		return Unknown, dst
	case b == emulator:
		return Emulated, dst
	}
	ssid := cleanSSID(w.SSID)
	verdict := Unknown
	for i, mask := range l.masks {
		for _, e := range l.by[i][b&mask] {
			if e.ssid == "" || e.ssid == ssid {
				verdict = Match
				dst = append(dst, e.owner)
			}
		}
	}
	return verdict, dst
}

// cleanSSID takes off the quotes that Android puts around a name, and the
// placeholders for one it may not tell.
func cleanSSID(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	switch s {
	case "<unknown ssid>", "Wi-Fi", "WLAN":
		return ""
	}
	return s
}
