package attendance

import (
	"fmt"
	"slices"
	"strings"
)

// The words of each enumeration, by value. They stand in events, receipts,
// the roster and on the screen; their order is the stored number and is
// fixed for ever.
var (
	kindWords      = []string{"", "punch", "visit"}
	directionWords = []string{"unknown", "in", "out", "break-out", "break-in", "overtime-in", "overtime-out", "arrive", "leave"}
	methodWords    = []string{"unknown", "card", "fingerprint", "face", "palm", "password", "phone", "qr"}
	verdictWords   = []string{"unverified", "accepted", "flagged", "refused"}
)

func word(words []string, i uint8) string {
	if int(i) < len(words) {
		return words[i]
	}
	return fmt.Sprintf("unknown-%d", i)
}

func parseWord(what string, words []string, s string) (uint8, error) {
	i := slices.Index(words, s)
	if i < 0 || s == "" {
		return 0, fmt.Errorf("attendance: %q is no %s (known: %s)", s, what, strings.TrimPrefix(strings.Join(words, ", "), ", "))
	}
	return uint8(i), nil
}

// String is the word for k, as in events.
func (k Kind) String() string { return word(kindWords, uint8(k)) }

// String is the word for d, as in events.
func (d Direction) String() string { return word(directionWords, uint8(d)) }

// String is the word for m, as in events.
func (m Method) String() string { return word(methodWords, uint8(m)) }

// String is the word for v, as in events.
func (v Verdict) String() string { return word(verdictWords, uint8(v)) }

// ParseKind reads the word of a kind.
func ParseKind(s string) (Kind, error) {
	i, err := parseWord("kind of punch", kindWords, s)
	return Kind(i), err
}

// ParseDirection reads the word of a direction.
func ParseDirection(s string) (Direction, error) {
	i, err := parseWord("direction", directionWords, s)
	return Direction(i), err
}

// ParseMethod reads the word of a method.
func ParseMethod(s string) (Method, error) {
	i, err := parseWord("method", methodWords, s)
	return Method(i), err
}

// ParseVerdict reads the word of a verdict.
func ParseVerdict(s string) (Verdict, error) {
	i, err := parseWord("verdict", verdictWords, s)
	return Verdict(i), err
}
