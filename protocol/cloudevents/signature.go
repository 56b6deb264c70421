package cloudevents

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The header names of Standard Webhooks.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

// Tolerance is how far the time of a signature may lie from the receiver's
// clock, either way.
const Tolerance = 5 * time.Minute

// maxSignatures bounds the list in webhook-signature; a sender that rotates
// its key writes two.
const maxSignatures = 16

// ErrSignature says that no signature of a message fits any key.
var ErrSignature = errors.New("cloudevents: no signature fits")

// ErrTimestamp says that a message was signed too long ago or in the future.
var ErrTimestamp = errors.New("cloudevents: signed outside the tolerated time")

// Headers are the three headers of a signed message.
type Headers struct {
	ID        string // the same for every attempt to send one message; without a dot
	Timestamp string // seconds since 1970 of this attempt
	Signature string // one or several, with a space between
}

// Key signs or verifies. Its text never shows the secret.
type Key struct {
	secret  []byte             // v1: HMAC-SHA256
	private ed25519.PrivateKey // v1a
	public  ed25519.PublicKey
}

// ParseKey reads a key: whsec_ and base64 of 24 to 64 bytes (v1), whsk_ and
// base64 of an Ed25519 seed or private key, or whpk_ and base64 of a public
// key, which can only verify (v1a). No error tells the key's text.
func ParseKey(text string) (Key, error) {
	kind, encoded, _ := strings.Cut(text, "_")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Key{}, errors.New("cloudevents: the key's part behind the underscore is not base64")
	}
	switch kind {
	case "whsec":
		if len(raw) < 24 || len(raw) > 64 {
			return Key{}, fmt.Errorf("cloudevents: a whsec_ secret has 24 to 64 bytes, this one has %d", len(raw))
		}
		return Key{secret: raw}, nil
	case "whsk":
		if len(raw) != ed25519.SeedSize && len(raw) != ed25519.PrivateKeySize {
			return Key{}, fmt.Errorf("cloudevents: a whsk_ key has %d or %d bytes, this one has %d", ed25519.SeedSize, ed25519.PrivateKeySize, len(raw))
		}
		private := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
		if len(raw) == ed25519.PrivateKeySize && !private.Equal(ed25519.PrivateKey(raw)) {
			return Key{}, errors.New("cloudevents: the two halves of the whsk_ key do not belong together")
		}
		return Key{private: private, public: private.Public().(ed25519.PublicKey)}, nil
	case "whpk":
		if len(raw) != ed25519.PublicKeySize {
			return Key{}, fmt.Errorf("cloudevents: a whpk_ key has %d bytes, this one has %d", ed25519.PublicKeySize, len(raw))
		}
		return Key{public: raw}, nil
	}
	return Key{}, errors.New("cloudevents: a key begins with whsec_, whsk_ or whpk_")
}

// String names the kind of key and keeps the secret to itself.
func (k Key) String() string {
	switch {
	case k.secret != nil:
		return "whsec_(hidden)"
	case k.private != nil:
		return "whsk_(hidden)"
	case k.public != nil:
		return "whpk_(hidden)"
	}
	return "no key"
}

// GoString is [Key.String], so that %#v hides the secret too.
func (k Key) GoString() string { return k.String() }

// Sign makes the headers of one attempt at the time at to send body. The id
// must not be empty or contain a dot.
func (k Key) Sign(id string, at time.Time, body []byte) (Headers, error) {
	if id == "" || strings.ContainsAny(id, ". ") {
		return Headers{}, fmt.Errorf("cloudevents: %q can't be a message's id: it is empty or has a dot or space in it", id)
	}
	h := Headers{ID: id, Timestamp: strconv.FormatInt(at.Unix(), 10)}
	switch {
	case k.secret != nil:
		h.Signature = "v1," + base64.StdEncoding.EncodeToString(k.mac(h, body))
	case k.private != nil:
		h.Signature = "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(k.private, signed(h, body)))
	default:
		return Headers{}, errors.New("cloudevents: this key can't sign")
	}
	return h, nil
}

// signed is what is signed: id, timestamp and body with dots between.
func signed(h Headers, body []byte) []byte {
	b := make([]byte, 0, len(h.ID)+len(h.Timestamp)+len(body)+2)
	b = append(append(b, h.ID...), '.')
	b = append(append(b, h.Timestamp...), '.')
	return append(b, body...)
}

func (k Key) mac(h Headers, body []byte) []byte {
	m := hmac.New(sha256.New, k.secret)
	m.Write([]byte(h.ID + "." + h.Timestamp + ".")) // a hash never fails to write
	m.Write(body)
	return m.Sum(nil)
}

// Verify checks that one of the signatures was made over the body by one of
// the keys, within [Tolerance] of now. The error is [ErrTimestamp],
// [ErrSignature], or says which header is no header of a signed message.
func Verify(h Headers, body []byte, now time.Time, keys ...Key) error {
	sec, err := strconv.ParseInt(h.Timestamp, 10, 64)
	if err != nil || h.ID == "" || h.Signature == "" {
		return fmt.Errorf("cloudevents: %s, %s and %s are needed, and one is missing or wrong", HeaderID, HeaderTimestamp, HeaderSignature)
	}
	if now.Unix() > sec+int64(Tolerance/time.Second) || now.Unix() < sec-int64(Tolerance/time.Second) {
		return fmt.Errorf("%w: signed at %d, received at %d", ErrTimestamp, sec, now.Unix())
	}
	list := strings.SplitN(h.Signature, " ", maxSignatures+1)
	for _, entry := range list[:min(len(list), maxSignatures)] {
		version, encoded, _ := strings.Cut(entry, ",")
		sig, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue // another scheme's, or damaged: it just does not fit
		}
		for _, k := range keys {
			if k.fits(version, sig, h, body) {
				return nil
			}
		}
	}
	return ErrSignature
}

func (k Key) fits(version string, sig []byte, h Headers, body []byte) bool {
	switch {
	case version == "v1" && k.secret != nil:
		return hmac.Equal(sig, k.mac(h, body))
	case version == "v1a" && k.public != nil:
		return len(sig) == ed25519.SignatureSize && ed25519.Verify(k.public, signed(h, body), sig)
	}
	return false
}
