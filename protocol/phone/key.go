package phone

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// The algorithms, by their names in a header.
const (
	ES256 = "ES256" // ECDSA on P-256 with SHA-256, as secure elements of phones make it
	EdDSA = "EdDSA" // Ed25519
)

const (
	maxKeyText = 4 << 10 // bytes of a key's text
	coordinate = 32      // bytes of a coordinate, a scalar and an Ed25519 key
	sigSize    = 64      // bytes of a signature by either algorithm
)

// Key is a public key: P-256 or Ed25519. The zero value verifies nothing.
type Key struct {
	ec *ecdsa.PublicKey
	ed ed25519.PublicKey
}

// NewKey takes an [*ecdsa.PublicKey] on P-256 or an [ed25519.PublicKey]; any
// other key is an error.
func NewKey(pub crypto.PublicKey) (Key, error) {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() {
			return Key{}, fmt.Errorf("phone: key: curve %s is not taken; make a P-256 key", pub.Curve.Params().Name)
		}
		if _, err := pub.ECDH(); err != nil { // the one check that the point is on the curve
			return Key{}, fmt.Errorf("phone: key: %w", err)
		}
		return Key{ec: pub}, nil
	case ed25519.PublicKey:
		if len(pub) != ed25519.PublicKeySize {
			return Key{}, fmt.Errorf("phone: key: an Ed25519 key has %d bytes, this one %d", ed25519.PublicKeySize, len(pub))
		}
		return Key{ed: pub}, nil
	default:
		return Key{}, fmt.Errorf("phone: key: %T is not taken; make a P-256 or an Ed25519 key", pub)
	}
}

// ParseKey reads a public key as it stands in the roster: a JWK as JSON (RFC
// 7517), or PEM with a SubjectPublicKeyInfo. The error says what is wrong with
// it, and holds nothing of the key itself.
func ParseKey(text string) (Key, error) {
	if len(text) > maxKeyText {
		return Key{}, fmt.Errorf("phone: key: has %d bytes, the limit is %d", len(text), maxKeyText)
	}
	switch text = strings.TrimSpace(text); {
	case strings.HasPrefix(text, "{"):
		return parseJWK([]byte(text))
	case strings.HasPrefix(text, "-----BEGIN"):
		return parsePEM([]byte(text))
	case text == "":
		return Key{}, errors.New("phone: key: is empty")
	default:
		return Key{}, errors.New("phone: key: is neither a JWK (a JSON object) nor PEM (-----BEGIN PUBLIC KEY-----)")
	}
}

func parsePEM(text []byte) (Key, error) {
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return Key{}, errors.New("phone: key: the PEM block is damaged")
	case strings.Contains(block.Type, "PRIVATE"):
		return Key{}, errors.New("phone: key: is a private key; only the public one leaves the phone")
	case block.Type != "PUBLIC KEY":
		return Key{}, fmt.Errorf("phone: key: PEM block %.40q; PUBLIC KEY is wanted", block.Type)
	case len(strings.TrimSpace(string(rest))) > 0:
		return Key{}, errors.New("phone: key: something follows the PEM block; give one key alone")
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("phone: key: %w", err)
	}
	return NewKey(pub)
}

var jwkMembers = []string{"kty", "crv", "x", "y", "d", "alg", "use"}

func parseJWK(text []byte) (Key, error) {
	m := map[string]string{}
	err := document(text, jwkMembers, func(name string, value []byte) (err error) {
		m[name], err = oneLine(value, maxKeyText)
		return err
	})
	if err != nil {
		return Key{}, fmt.Errorf("phone: key: JWK: %w", err)
	}
	var key Key
	switch _, private := m["d"]; {
	case private:
		return Key{}, errors.New("phone: key: is a private key; only the public one leaves the phone")
	case m["kty"] == "EC" && m["crv"] == "P-256":
		point := []byte{4} // uncompressed
		for _, name := range []string{"x", "y"} {
			if point, err = appendCoordinate(point, m, name); err != nil {
				return Key{}, err
			}
		}
		if key.ec, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err != nil {
			return Key{}, fmt.Errorf("phone: key: JWK: %w", err)
		}
	case m["kty"] == "OKP" && m["crv"] == "Ed25519":
		if key.ed, err = appendCoordinate(nil, m, "x"); err != nil {
			return Key{}, err
		}
	default:
		return Key{}, fmt.Errorf("phone: key: JWK with kty %.20q and crv %.20q; EC with P-256 or OKP with Ed25519 is wanted", m["kty"], m["crv"])
	}
	if alg := m["alg"]; alg != "" && alg != key.Algorithm() {
		return Key{}, fmt.Errorf("phone: key: JWK is for alg %.20q, a key of this type signs %s", alg, key.Algorithm())
	}
	if use := m["use"]; use != "" && use != "sig" {
		return Key{}, fmt.Errorf("phone: key: JWK is for use %.20q, not for signatures", use)
	}
	return key, nil
}

func appendCoordinate(b []byte, m map[string]string, name string) ([]byte, error) {
	v, err := decode64([]byte(m[name]))
	if err != nil || len(v) != coordinate {
		return nil, fmt.Errorf("phone: key: JWK: %s is not base64url of %d bytes", name, coordinate)
	}
	return append(b, v...), nil
}

// Algorithm is the alg a message signed by this key must name, empty for the
// zero Key.
func (k Key) Algorithm() string {
	switch {
	case k.ec != nil:
		return ES256
	case k.ed != nil:
		return EdDSA
	}
	return ""
}

// Ed25519 is the key itself, nil if it is one of another kind.
func (k Key) Ed25519() ed25519.PublicKey { return k.ed }

// Equal reports whether two keys are the same.
func (k Key) Equal(other Key) bool {
	if k.ec != nil && other.ec != nil {
		return k.ec.Equal(other.ec)
	}
	return k.ec == nil && other.ec == nil && k.ed.Equal(other.ed)
}

// JWK is the key as JSON text, as [ParseKey] reads it. It is empty for the zero
// Key.
func (k Key) JWK() string {
	var m struct {
		Kty string `json:"kty"`
		Crv string `json:"crv"`
		X   string `json:"x"`
		Y   string `json:"y,omitempty"`
	}
	switch {
	case k.ec != nil:
		point, err := k.ec.Bytes()
		if err != nil {
			return "" // not on its curve; NewKey and ParseKey make no such key
		}
		m.Kty, m.Crv = "EC", "P-256"
		m.X, m.Y = encode64(point[1:1+coordinate]), encode64(point[1+coordinate:])
	case k.ed != nil:
		m.Kty, m.Crv, m.X = "OKP", "Ed25519", encode64(k.ed)
	default:
		return ""
	}
	text, err := json.Marshal(m)
	if err != nil {
		return "" // four strings always marshal
	}
	return string(text)
}

// verify reports whether sig is the signature of input by alg and the key.
func (k Key) verify(alg string, input, sig []byte) error {
	switch {
	case alg != k.Algorithm() || alg == "":
		// The key decides about the algorithm, never the message.
		return fmt.Errorf("phone: alg %.20q does not fit the key, which signs %s: %w", alg, k.Algorithm(), ErrSignature)
	case len(sig) != sigSize:
		return fmt.Errorf("phone: a signature has %d bytes, this one %d: %w", sigSize, len(sig), ErrSignature)
	case alg == ES256:
		sum := sha256.Sum256(input)
		r, s := new(big.Int).SetBytes(sig[:coordinate]), new(big.Int).SetBytes(sig[coordinate:])
		if !ecdsa.Verify(k.ec, sum[:], r, s) {
			return fmt.Errorf("phone: %w", ErrSignature)
		}
	case !ed25519.Verify(k.ed, input, sig):
		return fmt.Errorf("phone: %w", ErrSignature)
	}
	return nil
}

var base64url = base64.RawURLEncoding.Strict()

func encode64(b []byte) string { return base64url.EncodeToString(b) }

// decode64 reads base64url in its one canonical spelling: no padding, no spare
// bits, and none of the line breaks that the standard decoder passes over.
func decode64(b []byte) ([]byte, error) {
	for _, c := range b {
		if c == '\n' || c == '\r' {
			return nil, base64.CorruptInputError(0)
		}
	}
	out := make([]byte, base64url.DecodedLen(len(b)))
	n, err := base64url.Decode(out, b)
	return out[:n], err
}
