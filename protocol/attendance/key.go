package attendance

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// Key identifies a fact: the first 16 bytes of SHA-256 over what identifies
// it. Repeating a message at any hop gives the same key, so the repetition is
// harmless. It never holds a device's slot number or a packet id.
type Key [16]byte

// String is the key in hex, as it stands in events and receipts.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// ParseKey reads what [Key.String] writes.
func ParseKey(s string) (Key, error) {
	var k Key
	if len(s) != 2*len(k) {
		return k, fmt.Errorf("attendance: a key has %d hex digits, %q has %d", 2*len(k), s, len(s))
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		return k, fmt.Errorf("attendance: key %q: %w", s, err)
	}
	return k, nil
}

// MarshalText implements [encoding.TextMarshaler].
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (k *Key) UnmarshalText(b []byte) (err error) {
	*k, err = ParseKey(string(b))
	return err
}

// tuple collects fields so that no two different tuples give the same bytes:
// a domain, then each field behind its length.
type tuple []byte

func newTuple(domain string) tuple {
	return append(make(tuple, 0, 160), "punchd/key/v1/"+domain+"\x00"...)
}

func (t tuple) text(s string) tuple {
	t = binary.AppendUvarint(t, uint64(len(s)))
	return append(t, s...)
}

func (t tuple) number(n int64) tuple { return binary.AppendVarint(t, n) }

func (t tuple) key() Key {
	sum := sha256.Sum256(t)
	return Key(sum[:16])
}

// TerminalKey identifies an entry of a terminal's log. index is the device's
// own unique record id where the dialect has one, empty otherwise; a slot
// number that can be reused is none in a log that tells PINs. Where a log tells
// slots alone, the index is "slot N" and pin is empty: the person behind the slot
// is looked up and may change, the fact may not. pin is the text the terminal uses:
// "0012" and "12" are two people.
func TerminalKey(serial, pin string, at LocalTime, state, verify int, index string) Key {
	return newTuple("terminal").text(serial).text(pin).number(int64(at)).
		number(int64(state)).number(int64(verify)).text(index).key()
}

// DamagedKey identifies an entry of a terminal's log that can't be read, by its
// bytes and the layout in which they were read: another reading of the same
// bytes is another fact.
func DamagedKey(serial, layout string, raw []byte) Key {
	return newTuple("damaged").text(serial).text(layout).text(string(raw)).key()
}

// ReaderKey identifies a card presented to a reader, which has no clock: at is
// the gateway's, taken once when the frame was complete.
func ReaderKey(reader, badge string, at time.Time) Key {
	return newTuple("reader").text(reader).text(badge).number(at.UnixNano()).key()
}

// PhoneKey identifies a native check-in that its phone's key has signed.
func PhoneKey(phone string, counter uint64) Key {
	return newTuple("phone").text(phone).number(int64(counter)).key()
}

// OwnTracksKey identifies an OwnTracks message. The four random bytes of _id
// alone would collide once in some thousands of employee-years, so the two
// times stand beside it: a repeated message repeats them too. Without _id (iOS)
// the payload's hash takes its place.
func OwnTracksKey(topic string, id MessageID, payload []byte) Key {
	t := newTuple("owntracks").text(topic).text(id.ID).number(id.Fix).number(id.CreatedAt).text(id.T)
	if id.ID == "" {
		sum := sha256.Sum256(payload)
		t = t.text(string(sum[:]))
	}
	return t.key()
}

// CheckpointKey identifies a signed head of the ledger by all that it says.
func CheckpointKey(note string) Key { return newTuple("checkpoint").text(note).key() }

// RefusedKey identifies a message whose sender could not be authenticated, or
// that claims a counter already used by another message. Such a message must
// not be able to occupy the key of an honest one, so its key comes from who
// sent it (the authenticated MQTT user) and every byte of it.
func RefusedKey(user, topic string, payload []byte) Key {
	sum := sha256.Sum256(payload)
	return newTuple("refused").text(user).text(topic).text(string(sum[:])).key()
}
