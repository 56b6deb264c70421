// Package phone is the language of the phones that sign: check-ins on their way
// up, receipts on their way down, and the topics of both.
//
// Both are JSON Web Signatures in compact form (RFC 7515). They are read by a
// parser of their own and not by a general JOSE library, because a check-in
// must have one reading only: no second base64 spelling, no member given twice,
// no algorithm that the message itself chooses. FORMAT.md is the document for
// those who write the phone's side.
package phone

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/punchd/punchd/protocol"
)

// Bounds of a message.
const (
	MaxPayload = 64 << 10 // bytes of a whole check-in or receipt
	maxHeader  = 2 << 10  // bytes of the header, encoded
	maxName    = 128      // bytes of a phone id, a site or a place
)

// ErrSignature says that a message is well formed and not signed by the key it
// was held against.
var ErrSignature = errors.New("wrong signature")

// malformed makes an error that wraps [protocol.ErrMalformed].
func malformed(format string, args ...any) error {
	return fmt.Errorf("phone: "+format+": %w", append(args, protocol.ErrMalformed)...)
}

// CheckInTopic is where a phone publishes its check-ins.
func CheckInTopic(site, phone string) string { return "punchd/" + site + "/checkin/" + phone }

// ReceiptTopic is where a phone is answered.
func ReceiptTopic(site, phone string) string { return "punchd/" + site + "/receipt/" + phone }

// ParseCheckInTopic reads what [CheckInTopic] writes; ok is false for any other
// topic, and for one with names that [ValidName] refuses.
func ParseCheckInTopic(topic string) (site, phone string, ok bool) {
	rest, found := strings.CutPrefix(topic, "punchd/")
	if !found {
		return "", "", false
	}
	site, rest, _ = strings.Cut(rest, "/")
	phone, found = strings.CutPrefix(rest, "checkin/")
	if !found || !ValidName(site) || !ValidName(phone) {
		return "", "", false
	}
	return site, phone, true
}

// ValidName reports whether a phone id or site can stand as one level of a
// topic: 1 to 128 bytes of UTF-8 without control characters and without / + #.
func ValidName(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) &&
		!strings.ContainsAny(s, "/+#") && strings.IndexFunc(s, unicode.IsControl) < 0
}
