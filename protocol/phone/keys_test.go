package phone

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Keys that the standards themselves print, and one of counted bytes. Their
// private halves are public: they sign nothing but examples.
var (
	// RFC 7515, appendix A.3.
	p256Key = mustP256("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI")
	// RFC 8037, appendix A.1.
	ed25519Key = mustEd25519("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	// The gateway of the examples: bytes 00 to 1f.
	gatewayKey = mustEd25519("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func mustP256(d string) *ecdsa.PrivateKey {
	return must(ecdsa.ParseRawPrivateKey(elliptic.P256(), must(decode64([]byte(d)))))
}

func mustEd25519(seed string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(must(decode64([]byte(seed))))
}

func publicKey(t testing.TB, priv crypto.Signer) Key {
	t.Helper()
	k, err := NewKey(priv.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "v1", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The JWS examples of the standards are no check-ins, but their signatures go
// through the same code.
func TestVerifyVectors(t *testing.T) {
	for _, v := range []struct {
		name, jwk, alg, jws string
	}{
		{
			"RFC 7515 A.3", `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`, ES256,
			"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
		},
		{
			"RFC 8037 A.4", `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, EdDSA,
			"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
		},
	} {
		t.Run(v.name, func(t *testing.T) {
			key, err := ParseKey(v.jwk)
			if err != nil {
				t.Fatal(err)
			}
			if key.Algorithm() != v.alg {
				t.Errorf("algorithm %s, want %s", key.Algorithm(), v.alg)
			}
			if got := key.JWK(); got != v.jwk {
				t.Errorf("JWK written as %s, read from %s", got, v.jwk)
			}
			header, _, _, err := split([]byte(v.jws))
			if err != nil {
				t.Fatal(err)
			}
			h, err := parseHeader(header)
			if err != nil || h.Algorithm != v.alg {
				t.Fatalf("header %+v, %v", h, err)
			}
			input := SigningInput([]byte(v.jws))
			sig, err := decode64([]byte(v.jws[len(input)+1:]))
			if err != nil {
				t.Fatal(err)
			}
			if err := key.verify(v.alg, input, sig); err != nil {
				t.Error(err)
			}
			for i := range sig {
				for bit := range 8 {
					sig[i] ^= 1 << bit
					if key.verify(v.alg, input, sig) == nil {
						t.Fatalf("bit %d of byte %d of the signature does not matter", bit, i)
					}
					sig[i] ^= 1 << bit
				}
			}
		})
	}
}

// PEM of the two keys, as OpenSSL writes them.
const (
	p256PEM = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7
6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
-----END PUBLIC KEY-----
`
	ed25519PEM = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
`
)

func TestParseKeyPEM(t *testing.T) {
	for text, priv := range map[string]crypto.Signer{p256PEM: p256Key, ed25519PEM: ed25519Key} {
		key, err := ParseKey("\n  " + text)
		if err != nil {
			t.Fatal(err)
		}
		if !key.Equal(publicKey(t, priv)) {
			t.Errorf("another key than %s", key.JWK())
		}
		fromJWK, err := ParseKey(key.JWK())
		if err != nil || !fromJWK.Equal(key) {
			t.Errorf("JWK %s reads as another key: %v", key.JWK(), err)
		}
	}
	if a, b := publicKey(t, p256Key), publicKey(t, ed25519Key); a.Equal(b) || b.Equal(a) || a.Equal(Key{}) || (Key{}).Equal(b) {
		t.Error("different keys are equal")
	}
}

func TestParseKeyRefuses(t *testing.T) {
	const (
		ecX = `"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"`
		ecY = `"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"`
		edX = `"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	)
	rsa := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(hex.DecodeString("302a300506032b6570032100"))})
	for name, c := range map[string]struct{ text, want string }{
		"empty":             {" \n", "is empty"},
		"neither":           {"ssh-ed25519 AAAA", "neither a JWK"},
		"too long":          {strings.Repeat("x", maxKeyText+1), "the limit is"},
		"private JWK":       {`{"kty":"OKP","crv":"Ed25519",` + edX + `,"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`, "private key"},
		"private PEM":       {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private key"},
		"RSA":               {`{"kty":"RSA","n":"AQAB","e":"AQAB"}`, `kty "RSA"`},
		"P-384":             {`{"kty":"EC","crv":"P-384",` + ecX + `,` + ecY + `}`, `crv "P-384"`},
		"X25519":            {`{"kty":"OKP","crv":"X25519",` + edX + `}`, `crv "X25519"`},
		"symmetric":         {`{"kty":"oct","k":"AAAA"}`, `kty "oct"`},
		"off the curve":     {`{"kty":"EC","crv":"P-256",` + ecX + `,"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1"}`, "base64url"},
		"off the curve too": {`{"kty":"EC","crv":"P-256",` + ecX + `,"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a4"}`, "JWK"},
		"short coordinate":  {`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvR",` + ecY + `}`, "x is not base64url of 32 bytes"},
		"no y":              {`{"kty":"EC","crv":"P-256",` + ecX + `}`, "y is not base64url"},
		"padding":           {`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="}`, "x is not base64url"},
		"other alg":         {`{"kty":"OKP","crv":"Ed25519","alg":"ES256",` + edX + `}`, "alg"},
		"for encryption":    {`{"kty":"OKP","crv":"Ed25519","use":"enc",` + edX + `}`, "use"},
		"x twice":           {`{"kty":"OKP","crv":"Ed25519",` + edX + `,` + edX + `}`, "twice"},
		"x is a number":     {`{"kty":"OKP","crv":"Ed25519","x":7}`, "no text"},
		"broken JSON":       {`{"kty":`, "no JSON"},
		"broken PEM":        {"-----BEGIN PUBLIC KEY-----\nAA", "damaged"},
		"certificate":       {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "PUBLIC KEY is wanted"},
		"two keys":          {ed25519PEM + p256PEM, "one key alone"},
		"cut SPKI":          {string(rsa), "key"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := ParseKey(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
			if key.Algorithm() != "" {
				t.Error("an error came with a key")
			}
		})
	}
}

func TestZeroKey(t *testing.T) {
	var zero Key
	if zero.Algorithm() != "" || zero.JWK() != "" {
		t.Error("the zero key is a key")
	}
	for _, alg := range []string{"", "none", ES256, EdDSA} {
		if zero.verify(alg, []byte("x"), make([]byte, sigSize)) == nil {
			t.Errorf("the zero key verifies alg %q", alg)
		}
	}
}

func TestNewKeyRefuses(t *testing.T) {
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), nil))
	for name, pub := range map[string]crypto.PublicKey{
		"P-384": &p384.PublicKey, "short": ed25519.PublicKey{1, 2}, "nil": nil, "text": "key",
		"off the curve": &ecdsa.PublicKey{Curve: elliptic.P256(), X: p384.X, Y: p384.Y}, //lint:ignore SA1019 a broken key is the point
	} {
		if _, err := NewKey(pub); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(p256PEM)
	f.Add(ed25519PEM)
	f.Add(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`)
	f.Add(`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`)
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseKey(text)
		if err != nil {
			return
		}
		again, err := ParseKey(key.JWK())
		if err != nil || !again.Equal(key) {
			t.Fatalf("%s reads as another key: %v", key.JWK(), err)
		}
	})
}
