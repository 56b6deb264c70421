package phone

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"github.com/punchd/punchd/protocol"
)

// The typ of each message. It is part of what is signed, so that no receipt
// can pass as a check-in and no token of another system as either.
const (
	typeCheckIn = "punchd-checkin+jwt"
	typeReceipt = "punchd-receipt+jwt"
)

// Header is what stands before the claims of a message. Nothing in it is
// proven before the signature is.
type Header struct {
	Algorithm string // alg
	Type      string // typ
	KeyID     string // kid: the phone of a check-in; the gateway of a receipt, may be empty there
}

// token is a message taken apart.
type token struct {
	header Header
	input  []byte // header and claims as they were signed
	claims []byte // decoded
	sig    []byte // decoded
}

// SigningInput is the part of a message that its signature covers: the header
// and the claims. Two messages are the same check-in if these are, whatever
// their signatures: ECDSA has a second valid signature for every first one,
// and an honest phone that signs again makes yet another. It is nil if the
// payload is no compact signature.
func SigningInput(payload []byte) []byte {
	header, claims, _, err := split(payload)
	if err != nil {
		return nil
	}
	return payload[:len(header)+1+len(claims)]
}

// split cuts a message at its two dots.
func split(payload []byte) (header, claims, sig []byte, err error) {
	if len(payload) > MaxPayload {
		return nil, nil, nil, fmt.Errorf("phone: %d bytes, the limit is %d: %w", len(payload), MaxPayload, protocol.ErrTooLarge)
	}
	header, rest, _ := bytes.Cut(payload, []byte{'.'})
	claims, sig, found := bytes.Cut(rest, []byte{'.'})
	if !found || bytes.IndexByte(sig, '.') >= 0 {
		return nil, nil, nil, malformed("is no signed message: three parts with two dots between are wanted")
	}
	return header, claims, sig, nil
}

// parse takes a message of the wanted type apart.
func parse(payload []byte, wanted string) (t token, err error) {
	header, claims, sig, err := split(payload)
	if err != nil {
		return t, err
	}
	if t.header, err = parseHeader(header); err != nil {
		return t, err
	}
	if t.header.Type != wanted {
		return t, malformed("typ is %.40q, not %s", t.header.Type, wanted)
	}
	if t.claims, err = decode64(claims); err != nil {
		return t, malformed("claims: no canonical base64url")
	}
	if t.sig, err = decode64(sig); err != nil {
		return t, malformed("signature: no canonical base64url")
	}
	t.input = payload[:len(header)+1+len(claims)]
	return t, nil
}

// headerMembers are the members that are read, and those that must not be
// there: each of them would let the message say how it wants to be verified.
var headerMembers = []string{"alg", "typ", "kid", "crit", "b64", "jwk", "jku", "x5u", "x5c"}

func parseHeader(encoded []byte) (h Header, err error) {
	if len(encoded) > maxHeader {
		return h, fmt.Errorf("phone: header: %d bytes, the limit is %d: %w", len(encoded), maxHeader, protocol.ErrTooLarge)
	}
	text, err := decode64(encoded)
	if err != nil {
		return h, malformed("header: no canonical base64url")
	}
	if err = valid(text); err == nil {
		err = present(text, headerMembers, h.set)
	}
	if err != nil {
		return Header{}, malformed("header: %w", err)
	}
	return h, nil
}

// set reads a member of the header. What must not be there must not be there as
// null either: a library that stumbles over its name must not see another
// message than this package.
func (h *Header) set(name string, value []byte) (err error) {
	switch {
	case name != "alg" && name != "typ" && name != "kid":
		return errors.New("is not allowed")
	case string(value) == "null":
		return nil
	}
	text, err := oneLine(value, maxName)
	switch name {
	case "alg":
		h.Algorithm = text
	case "typ":
		h.Type = text
	case "kid":
		h.KeyID = text
	}
	return err
}

// sign makes a compact message of claims. The signer's random source is nil:
// the standard library's keys then sign the same claims the same way.
func sign(priv crypto.Signer, typ, kid string, claims any) ([]byte, error) {
	key, err := NewKey(priv.Public())
	if err != nil {
		return nil, err
	}
	header, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Typ string `json:"typ"`
		Kid string `json:"kid,omitempty"`
	}{key.Algorithm(), typ, kid})
	if err != nil {
		return nil, fmt.Errorf("phone: sign: %w", err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return nil, fmt.Errorf("phone: sign: %w", err)
	}
	out := make([]byte, 0, base64url.EncodedLen(len(header))+base64url.EncodedLen(len(body))+base64url.EncodedLen(sigSize)+2)
	out = base64url.AppendEncode(out, header)
	out = append(out, '.')
	out = base64url.AppendEncode(out, body)
	sig, err := key.signature(priv, out)
	if err != nil {
		return nil, fmt.Errorf("phone: sign: %w", err)
	}
	out = append(out, '.')
	out = base64url.AppendEncode(out, sig)
	if len(out) > MaxPayload {
		return nil, fmt.Errorf("phone: sign: %d bytes, the limit is %d: %w", len(out), MaxPayload, protocol.ErrTooLarge)
	}
	return out, nil
}

// signature signs input by the private half of k, in the form of RFC 7518: for
// ES256 the two numbers with 32 bytes each, where Go's signers write ASN.1.
func (k Key) signature(priv crypto.Signer, input []byte) ([]byte, error) {
	if k.ed != nil {
		return priv.Sign(nil, input, crypto.Hash(0))
	}
	sum := sha256.Sum256(input)
	der, err := priv.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &rs); err != nil || len(rest) > 0 || !ecdsa.VerifyASN1(k.ec, sum[:], der) {
		return nil, errors.New("the signer gave no ECDSA signature of its key")
	}
	sig := make([]byte, sigSize)
	rs.R.FillBytes(sig[:coordinate])
	rs.S.FillBytes(sig[coordinate:])
	return sig, nil
}
