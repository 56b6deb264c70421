package config

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"

	"github.com/punchd/punchd/protocol/phone"
)

// NewKey makes a gateway's key as it stands in its two files: the private one
// is Ed25519, PKCS #8 in PEM, and the public one a JWK.
func NewKey() (private, public []byte, err error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return nil, nil, err
	}
	key, err := phone.NewKey(pub)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), []byte(key.JWK() + "\n"), nil
}

// ParseKey reads what [NewKey] makes. The error holds nothing of the key.
func ParseKey(text string) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("is no private key in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("holds a private key that can't be read")
	}
	priv, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("holds a private key of another kind; an Ed25519 key is needed")
	}
	return priv, nil
}

// newKeyHelp is for whoever has lost the key. init writes into no directory
// that has a configuration already, so it is sent to another one.
const newKeyHelp = "put a copy of the key back; or make a new one in another directory, punchd init DIR, copy DIR/keys/gateway here, " +
	"and give the phones DIR/keys/gateway.pub, since they trust the old key alone"

// gatewayKey looks at the key that signs receipts and the ledger, which stands
// where `punchd init` puts it if no other is named. A gateway can do without if it
// signs no receipts; its ledger then proves nothing to others.
func (c *checker) gatewayKey(raw *rawGateway, cfg *Config) {
	if raw == nil {
		return
	}
	const path = "gateway.key"
	s, ok := Secret{path: c.path("keys/gateway")}, true
	if raw.Key != nil {
		s, ok = c.secretAt(path, raw.Key)
	}
	cfg.Gateway.Key = s
	if !ok || !s.IsSet() {
		return
	}
	native := cfg.Phones != nil && slices.Contains(cfg.Phones.Formats, FormatNative)
	text, err := s.Read()
	switch {
	case errors.Is(err, errNoSecret) && raw.Key == nil && !native:
		cfg.Gateway.Key = Secret{}
		c.warn(path, "there is no file %s: the ledger is not signed, so that nobody can prove that it was not changed (make the key in another directory, punchd init DIR, and copy DIR/keys/gateway here)", s.path)
	case errors.Is(err, errNoSecret):
		c.hint(path, newKeyHelp, "neither receipts to phones nor the ledger can be signed: %v", err)
	case err != nil: // it says what to do
		c.fail(path, "%v", err)
	default:
		if _, err := ParseKey(text); err != nil {
			c.hint(path, newKeyHelp, "neither receipts to phones nor the ledger can be signed: %s %v", s.path, err)
		}
	}
}
