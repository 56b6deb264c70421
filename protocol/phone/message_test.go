package phone

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

var update = flag.Bool("update", false, "write the golden files anew")

var china = time.FixedZone("", 8*60*60)

// example is the check-in of FORMAT.md.
func example() *attendance.CheckIn {
	return &attendance.CheckIn{
		Phone: "p-7f3a", Native: true, Counter: 42,
		At:   time.Date(2026, 11, 4, 8, 58, 12, 250e6, china),
		Kind: attendance.KindPunch, Direction: attendance.DirIn, Place: "customer-17",
		Evidence: attendance.Evidence{
			Fix:       &attendance.Fix{Lat: 24.479834, Lon: 118.089425, Acc: 12, At: time.Date(2026, 11, 4, 8, 58, 11, 0, china)},
			WiFi:      &attendance.WiFi{BSSID: "a2:8b:7f:c0:27:4b", SSID: "Office", Seen: []attendance.Heard{{BSSID: "a2:8b:7f:c0:27:4b", RSSI: -61}, {BSSID: "a2:8b:7f:c0:27:4c", RSSI: -74}}},
			Challenge: "Zk3q-91", Note: "在三楼会议室",
			Photo: &attendance.Photo{SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Size: 48211},
		},
	}
}

// exampleReceipt answers the golden check-in by the P-256 key.
func exampleReceipt() *attendance.Receipt {
	answered := sha256.Sum256(must(SignCheckIn(p256Key, example())))
	return &attendance.Receipt{
		Phone: "p-7f3a", Counter: 42, Key: attendance.PhoneKey("p-7f3a", 42), Seq: 1834, Verdict: attendance.Flagged,
		Reasons:    []attendance.Reason{attendance.ReasonUncertainFence, attendance.ReasonWiFiMatch},
		ReceivedAt: time.Date(2026, 11, 4, 0, 58, 13, 120e6, time.UTC),
		Message:    answered[:],
	}
}

// TestGolden opens what earlier versions wrote, for ever, and holds that the
// same claims are still written the same way.
func TestGolden(t *testing.T) {
	for name, priv := range map[string]crypto.Signer{"checkin-es256.jws": p256Key, "checkin-eddsa.jws": ed25519Key} {
		t.Run(name, func(t *testing.T) {
			signed, err := SignCheckIn(priv, example())
			if err != nil {
				t.Fatal(err)
			}
			payload := goldenOrUpdate(t, name, signed)
			if !bytes.Equal(signed, payload) {
				t.Errorf("signed as\n%s\nthe golden file holds\n%s", signed, payload)
			}
			got, err := OpenCheckIn(payload, publicKey(t, priv))
			if err != nil {
				t.Fatal(err)
			}
			want := example()
			want.Auth, want.Evidence.Raw = attendance.AuthSigned, payload
			if !reflect.DeepEqual(got, want) {
				t.Errorf("opened as\n%+v\nwant\n%+v", got, want)
			}
		})
	}
	t.Run("receipt.jws", func(t *testing.T) {
		signed, err := SignReceipt(gatewayKey, "gw-01", exampleReceipt())
		if err != nil {
			t.Fatal(err)
		}
		payload := goldenOrUpdate(t, "receipt.jws", signed)
		if !bytes.Equal(signed, payload) {
			t.Errorf("signed as\n%s\nthe golden file holds\n%s", signed, payload)
		}
		got, err := OpenReceipt(payload, publicKey(t, gatewayKey))
		if err != nil || !reflect.DeepEqual(got, exampleReceipt()) {
			t.Errorf("opened as %+v, %v", got, err)
		}
	})
}

func goldenOrUpdate(t *testing.T, name string, signed []byte) []byte {
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", "v1", name), signed, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return golden(t, name)
}

// TestDocumentHoldsTheGoldenFiles keeps the worked example true.
func TestDocumentHoldsTheGoldenFiles(t *testing.T) {
	doc, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"checkin-es256.jws", "checkin-eddsa.jws", "receipt.jws"} {
		payload := golden(t, name)
		if !bytes.Contains(doc, payload) {
			t.Errorf("FORMAT.md does not show %s", name)
		}
		tok, err := parse(payload, map[bool]string{true: typeReceipt, false: typeCheckIn}[name == "receipt.jws"])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(doc, tok.claims) {
			t.Errorf("FORMAT.md does not show the claims of %s: %s", name, tok.claims)
		}
	}
	for _, key := range []Key{publicKey(t, p256Key), publicKey(t, ed25519Key), publicKey(t, gatewayKey)} {
		if !bytes.Contains(doc, []byte(key.JWK())) {
			t.Errorf("FORMAT.md does not show %s", key.JWK())
		}
	}
}

// TestForeign signs with one implementation and verifies with the other, both
// ways.
func TestForeign(t *testing.T) {
	for alg, priv := range map[jose.SignatureAlgorithm]crypto.Signer{jose.ES256: p256Key, jose.EdDSA: ed25519Key} {
		payload, err := SignCheckIn(priv, example())
		if err != nil {
			t.Fatal(err)
		}
		foreign, err := jose.ParseSignedCompact(string(payload), []jose.SignatureAlgorithm{alg})
		if err != nil {
			t.Fatal(err)
		}
		claims, err := foreign.Verify(priv.Public())
		if err != nil {
			t.Fatal(err)
		}
		opts := (&jose.SignerOptions{}).WithType(typeCheckIn).WithHeader("kid", "p-7f3a")
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: priv}, opts)
		if err != nil {
			t.Fatal(err)
		}
		object, err := signer.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		text, err := object.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		got, err := OpenCheckIn([]byte(text), publicKey(t, priv))
		if err != nil {
			t.Fatal(err)
		}
		if got.Counter != 42 || got.Evidence.Note != "在三楼会议室" {
			t.Errorf("%s: opened as %+v", alg, got)
		}
	}
	jwk := must(json.Marshal(jose.JSONWebKey{Key: p256Key.Public(), KeyID: "p-7f3a", Algorithm: ES256, Use: "sig"}))
	if key, err := ParseKey(string(jwk)); err != nil || !key.Equal(publicKey(t, p256Key)) {
		t.Errorf("a foreign JWK reads as %s: %v", key.JWK(), err)
	}
}

// raw signs any header and claims, valid or not.
func raw(priv crypto.Signer, header, claims string) []byte {
	input := []byte(encode64([]byte(header)) + "." + encode64([]byte(claims)))
	sig := must(must(NewKey(priv.Public())).signature(priv, input))
	return append(append(input, '.'), encode64(sig)...)
}

const goodHeader = `{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a"}`

// minimal is the least that a check-in must say, with room for more.
func minimal(more string) string {
	return `{"v":1,"phone":"p-7f3a","ctr":1,"at":"2026-11-04T08:58:12+08:00"` + more + `}`
}

func TestHeaders(t *testing.T) {
	key := publicKey(t, p256Key)
	for name, c := range map[string]struct {
		header string
		want   error // nil: opens
	}{
		"good":            {goodHeader, nil},
		"unknown member":  {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a","iss":"app"}`, nil},
		"white space":     {" {\n\"alg\" : \"ES256\" ,\t\"typ\":\"punchd-checkin+jwt\", \"kid\":\"p-7f3a\"}\r\n", nil},
		"escapes":         {`{"\u0061lg":"ES256","typ":"punchd-checkin\u002bjwt","kid":"p-7f3a"}`, nil},
		"none":            {`{"alg":"none","typ":"punchd-checkin+jwt","kid":"p-7f3a"}`, ErrSignature},
		"no alg":          {`{"typ":"punchd-checkin+jwt","kid":"p-7f3a"}`, ErrSignature},
		"other alg":       {`{"alg":"EdDSA","typ":"punchd-checkin+jwt","kid":"p-7f3a"}`, ErrSignature},
		"HMAC":            {`{"alg":"HS256","typ":"punchd-checkin+jwt","kid":"p-7f3a"}`, ErrSignature},
		"lower case alg":  {`{"alg":"es256","typ":"punchd-checkin+jwt","kid":"p-7f3a"}`, ErrSignature},
		"receipt":         {`{"alg":"ES256","typ":"punchd-receipt+jwt","kid":"p-7f3a"}`, protocol.ErrMalformed},
		"JWT":             {`{"alg":"ES256","typ":"JWT","kid":"p-7f3a"}`, protocol.ErrMalformed},
		"no typ":          {`{"alg":"ES256","kid":"p-7f3a"}`, protocol.ErrMalformed},
		"TYP":             {`{"alg":"ES256","TYP":"punchd-checkin+jwt","kid":"p-7f3a"}`, protocol.ErrMalformed},
		"other kid":       {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3b"}`, protocol.ErrMalformed},
		"no kid":          {`{"alg":"ES256","typ":"punchd-checkin+jwt"}`, protocol.ErrMalformed},
		"crit":            {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a","crit":["exp"],"exp":1}`, protocol.ErrMalformed},
		"embedded key":    {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a","jwk":{"kty":"EC"}}`, protocol.ErrMalformed},
		"key by URL":      {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a","jku":"https://example.com/"}`, protocol.ErrMalformed},
		"certificate":     {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a","x5c":["AAAA"]}`, protocol.ErrMalformed},
		"unencoded":       {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a","b64":false}`, protocol.ErrMalformed},
		"crit null":       {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a","crit":null}`, protocol.ErrMalformed},
		"b64 null":        {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a","b64":null}`, protocol.ErrMalformed},
		"jwk null":        {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a","jwk":null}`, protocol.ErrMalformed},
		"jku null":        {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a","jku":null}`, protocol.ErrMalformed},
		"x5u null":        {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a","x5u":null}`, protocol.ErrMalformed},
		"x5c null":        {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a","x5c":null}`, protocol.ErrMalformed},
		"alg null":        {`{"alg":null,"typ":"punchd-checkin+jwt","kid":"p-7f3a"}`, ErrSignature},
		"typ null":        {`{"alg":"ES256","typ":null,"kid":"p-7f3a"}`, protocol.ErrMalformed},
		"alg twice":       {`{"alg":"none","alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a"}`, protocol.ErrMalformed},
		"escaped twice":   {`{"alg":"none","\u0061lg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a"}`, protocol.ErrMalformed},
		"no UTF-8":        {"{\"alg\":\"ES256\",\"typ\":\"punchd-checkin+jwt\",\"kid\":\"p-7f3a\",\"x\":\"\xff\"}", protocol.ErrMalformed},
		"array":           {`["ES256"]`, protocol.ErrMalformed},
		"empty":           {``, protocol.ErrMalformed},
		"two objects":     {goodHeader + goodHeader, protocol.ErrMalformed},
		"alg is a number": {`{"alg":256,"typ":"punchd-checkin+jwt","kid":"p-7f3a"}`, protocol.ErrMalformed},
		"too long":        {`{"alg":"ES256","typ":"punchd-checkin+jwt","kid":"p-7f3a","x":"` + strings.Repeat("x", maxHeader) + `"}`, protocol.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, raw(p256Key, c.header, minimal("")), key, c.want)
		})
	}
}

// check opens a payload and looks at the kind of the error.
func check(t *testing.T, payload []byte, key Key, want error) *attendance.CheckIn {
	t.Helper()
	c, err := OpenCheckIn(payload, key)
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
	if (c == nil) != (err != nil) {
		t.Error("neither or both of a check-in and an error")
	}
	if err != nil && !strings.HasPrefix(err.Error(), "phone: ") {
		t.Errorf("error %q does not say where it comes from", err)
	}
	return c
}

func TestClaims(t *testing.T) {
	key := publicKey(t, p256Key)
	at := func(s string) string { return strings.Replace(minimal(""), "2026-11-04T08:58:12+08:00", s, 1) }
	ctr := func(s string) string { return strings.Replace(minimal(""), `"ctr":1`, `"ctr":`+s, 1) }
	seen := func(n int) string {
		return `,"wifi":{"seen":[` + strings.TrimSuffix(strings.Repeat(`{"bssid":"a2:8b:7f:c0:27:4b","rssi":-61},`, n), ",") + `]}`
	}
	const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	good := map[string]string{
		"minimal":            minimal(""),
		"unknown claims":     minimal(`,"app":"1.2","nested":{"phone":"x","ctr":[1,2,{"v":2}]},"at2":null`),
		"other case":         minimal(`,"AT":"yesterday","Ctr":-1`),
		"nulls":              minimal(`,"fix":null,"wifi":null,"note":null,"photo":null,"place":null,"kind":null,"direction":null`),
		"largest counter":    ctr("9223372036854775807"),
		"half-hour zone":     at("2026-11-04T06:28:12+05:30"),
		"Z":                  at("2026-11-04T00:58:12Z"),
		"nanoseconds":        at("2026-11-04T08:58:12.123456789+08:00"),
		"west":               at("2026-11-04T08:58:12-09:30"),
		"midnight":           at("2026-11-04T00:00:00+08:00"),
		"leap day":           at("2028-02-29T23:59:59+08:00"),
		"poles":              minimal(`,"fix":{"lat":-90,"lon":180}`),
		"null island":        minimal(`,"fix":{"lat":0,"lon":-0.0,"acc":0}`),
		"exponent":           minimal(`,"fix":{"lat":2.4479834e1,"lon":1.18e2,"acc":1E1}`),
		"empty wifi":         minimal(`,"wifi":{}`),
		"64 seen":            minimal(seen(MaxSeen)),
		"longest note":       minimal(`,"note":"` + strings.Repeat("x", MaxNote) + `"`),
		"lines in the note":  minimal(`,"note":"one\ntwo\ttabbed \"quoted\" \\ \u6253\u5361"`),
		"upper case digest":  minimal(`,"photo":{"sha256":"` + strings.ToUpper(sum) + `","size":0}`),
		"all directions":     minimal(`,"direction":"overtime-out","kind":"visit"`),
		"white space":        " \r\n{ \"v\" : 1 , \"phone\" : \"p-7f3a\",\"ctr\":1\t,\"at\":\"2026-11-04T08:58:12+08:00\" } ",
		"braces in a string": minimal(`,"note":"}]\"{[,:","x":"\\"`),
	}
	for name, claims := range good {
		t.Run(name, func(t *testing.T) { check(t, raw(p256Key, goodHeader, claims), key, nil) })
	}
	bad := map[string]string{
		"empty":                  ``,
		"array":                  `[]`,
		"text":                   `"v"`,
		"cut":                    `{"v":1,"phone":"p-7f3a"`,
		"trailing":               minimal("") + "{}",
		"no v":                   `{"phone":"p-7f3a","ctr":1,"at":"2026-11-04T08:58:12+08:00"}`,
		"v 0":                    `{"v":0,"phone":"p-7f3a","ctr":1,"at":"2026-11-04T08:58:12+08:00"}`,
		"v as text":              `{"v":"1","phone":"p-7f3a","ctr":1,"at":"2026-11-04T08:58:12+08:00"}`,
		"v as float":             `{"v":1.0,"phone":"p-7f3a","ctr":1,"at":"2026-11-04T08:58:12+08:00"}`,
		"no phone":               `{"v":1,"ctr":1,"at":"2026-11-04T08:58:12+08:00"}`,
		"other phone":            `{"v":1,"phone":"p-7f3b","ctr":1,"at":"2026-11-04T08:58:12+08:00"}`,
		"no ctr":                 `{"v":1,"phone":"p-7f3a","at":"2026-11-04T08:58:12+08:00"}`,
		"null ctr":               ctr("null"),
		"ctr 0":                  ctr("0"),
		"ctr negative":           ctr("-1"),
		"ctr float":              ctr("1.5"),
		"ctr exponent":           ctr("1e3"),
		"ctr too large":          ctr("9223372036854775808"),
		"ctr as text":            ctr(`"1"`),
		"ctr twice":              minimal(`,"ctr":1`),
		"at twice":               minimal(`,"at":"2026-11-04T08:58:12+08:00"`),
		"escaped name twice":     minimal(`,"\u0070hone":"p-7f3a"`),
		"no at":                  `{"v":1,"phone":"p-7f3a","ctr":1}`,
		"at without offset":      at("2026-11-04T08:58:12"),
		"at with a space":        at("2026-11-04 08:58:12+08:00"),
		"at with a comma":        at("2026-11-04T08:58:12,250+08:00"),
		"at with one digit":      at("2026-11-04T8:58:12+08:00"),
		"24 o'clock":             at("2026-11-04T24:00:00+08:00"),
		"no such day":            at("2026-02-29T08:58:12+08:00"),
		"year 1970":              at("1970-01-01T00:00:00Z"),
		"year 9999":              at("9999-12-31T23:59:59Z"),
		"offset of a day":        at("2026-11-04T08:58:12+23:00"),
		"at as a number":         `{"v":1,"phone":"p-7f3a","ctr":1,"at":1762218000}`,
		"unknown kind":           minimal(`,"kind":"party"`),
		"empty kind":             minimal(`,"kind":""`),
		"unknown direction":      minimal(`,"direction":"up"`),
		"direction in capitals":  minimal(`,"direction":"IN"`),
		"fix is a text":          minimal(`,"fix":"24,118"`),
		"fix without lon":        minimal(`,"fix":{"lat":24.4}`),
		"lat as text":            minimal(`,"fix":{"lat":"24.4","lon":118}`),
		"lat over 90":            minimal(`,"fix":{"lat":90.0001,"lon":118}`),
		"lon under -180":         minimal(`,"fix":{"lat":24,"lon":-180.1}`),
		"lat infinite":           minimal(`,"fix":{"lat":1e999,"lon":118}`),
		"lat twice":              minimal(`,"fix":{"lat":24,"lat":25,"lon":118}`),
		"acc negative":           minimal(`,"fix":{"lat":24,"lon":118,"acc":-1}`),
		"acc infinite":           minimal(`,"fix":{"lat":24,"lon":118,"acc":1e400}`),
		"mock as text":           minimal(`,"fix":{"lat":24,"lon":118,"mock":"no"}`),
		"65 seen":                minimal(seen(MaxSeen + 1)),
		"seen is an object":      minimal(`,"wifi":{"seen":{}}`),
		"seen holds a text":      minimal(`,"wifi":{"seen":["a2:8b:7f:c0:27:4b"]}`),
		"rssi float":             minimal(`,"wifi":{"seen":[{"bssid":"a","rssi":-61.5}]}`),
		"rssi huge":              minimal(`,"wifi":{"seen":[{"bssid":"a","rssi":-100000}]}`),
		"bssid too long":         minimal(`,"wifi":{"bssid":"` + strings.Repeat("a", maxBSSID+1) + `"}`),
		"ssid with control":      minimal(`,"wifi":{"ssid":"a\u001bb"}`),
		"bssid twice":            minimal(`,"wifi":{"bssid":"a","bssid":"b"}`),
		"note too long":          minimal(`,"note":"` + strings.Repeat("x", MaxNote+1) + `"`),
		"note too long in UTF-8": minimal(`,"note":"` + strings.Repeat("打", MaxNote/3+1) + `"`),
		"note with NUL":          minimal(`,"note":"a\u0000b"`),
		"note is a list":         minimal(`,"note":["a"]`),
		"photo without digest":   minimal(`,"photo":{"size":1}`),
		"short digest":           minimal(`,"photo":{"sha256":"e3b0","size":1}`),
		"digest no hex":          minimal(`,"photo":{"sha256":"` + strings.Repeat("z", 64) + `","size":1}`),
		"size negative":          minimal(`,"photo":{"sha256":"` + sum + `","size":-1}`),
		"size infinite":          minimal(`,"photo":{"sha256":"` + sum + `","size":1e999}`),
		"place too long":         minimal(`,"place":"` + strings.Repeat("x", maxName+1) + `"`),
		"place with newline":     minimal(`,"place":"a\nb"`),
		"challenge too long":     minimal(`,"challenge":"` + strings.Repeat("x", maxChallenge+1) + `"`),
		"no UTF-8":               minimal(",\"note\":\"\xff\""),
		"deep":                   minimal(`,"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)),
	}
	for name, claims := range bad {
		t.Run(name, func(t *testing.T) { check(t, raw(p256Key, goodHeader, claims), key, protocol.ErrMalformed) })
	}
	t.Run("version 2", func(t *testing.T) {
		check(t, raw(p256Key, goodHeader, `{"v":2,"phone":"p-7f3a","when":7}`), key, protocol.ErrUnsupported)
	})
	for _, phone := range []string{"", "a/b", "+", "#", "p\n", strings.Repeat("x", maxName+1)} {
		q := string(must(json.Marshal(phone)))
		header := `{"alg":"ES256","typ":"punchd-checkin+jwt","kid":` + q + `}`
		check(t, raw(p256Key, header, strings.Replace(minimal(""), `"p-7f3a"`, q, 1)), key, protocol.ErrMalformed)
	}
}

// TestZoneOfThisMachine: the location of a time comes from the message alone.
func TestZoneOfThisMachine(t *testing.T) {
	old := time.Local
	defer func() { time.Local = old }()
	time.Local = time.FixedZone("Here", 8*60*60)
	c := check(t, raw(p256Key, goodHeader, minimal("")), publicKey(t, p256Key), nil)
	if zone, offset := c.At.Zone(); zone != "" || offset != 8*60*60 {
		t.Errorf("zone %q, offset %d", zone, offset)
	}
	if got := c.At.Format(time.RFC3339); got != "2026-11-04T08:58:12+08:00" {
		t.Error(got)
	}
}

// TestOneSpelling: no other bytes open as the same check-in, but for the second
// signature that ECDSA has by nature.
func TestOneSpelling(t *testing.T) {
	for _, name := range []string{"checkin-es256.jws", "checkin-eddsa.jws"} {
		payload := golden(t, name)
		key := publicKey(t, p256Key)
		if name == "checkin-eddsa.jws" {
			key = publicKey(t, ed25519Key)
		}
		for n := range payload {
			if _, err := OpenCheckIn(payload[:n], key); err == nil {
				t.Fatalf("%s: opens when cut at %d", name, n)
			}
		}
		for i := range payload {
			for _, c := range []byte("AQgwz19-_=.\n\r \x00") {
				if c == payload[i] {
					continue
				}
				changed := bytes.Clone(payload)
				changed[i] = c
				if _, err := OpenCheckIn(changed, key); err == nil {
					t.Fatalf("%s: opens with %q at %d", name, c, i)
				}
			}
			for _, c := range []byte("\n\r =.A") {
				grown := append(append(bytes.Clone(payload[:i]), c), payload[i:]...)
				if _, err := OpenCheckIn(grown, key); err == nil {
					t.Fatalf("%s: opens with %q put in at %d", name, c, i)
				}
			}
		}
		for _, tail := range []string{"=", "==", "\n", " ", ".", ".AAAA", "A"} {
			if _, err := OpenCheckIn(append(bytes.Clone(payload), tail...), key); err == nil {
				t.Errorf("%s: opens with %q behind it", name, tail)
			}
		}
	}
	if check(t, make([]byte, MaxPayload+1), publicKey(t, p256Key), protocol.ErrTooLarge) != nil {
		t.Error("an oversized payload opens")
	}
}

// TestSecondSignature: (r, n-s) is as valid as (r, s), and the two messages are
// the same check-in.
func TestSecondSignature(t *testing.T) {
	payload := golden(t, "checkin-es256.jws")
	input := SigningInput(payload)
	sig := must(decode64(payload[len(input)+1:]))
	s := new(big.Int).SetBytes(sig[coordinate:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(sig[coordinate:])
	other := append(append(bytes.Clone(input), '.'), encode64(sig)...)
	if bytes.Equal(other, payload) {
		t.Fatal("no second signature made")
	}
	check(t, other, publicKey(t, p256Key), nil)
	if !bytes.Equal(SigningInput(other), input) {
		t.Error("the two have different signing inputs")
	}
	for _, none := range []string{"", "a", "a.b", "a.b.c.d"} {
		if SigningInput([]byte(none)) != nil {
			t.Errorf("%q has a signing input", none)
		}
	}
}

func TestOtherKeys(t *testing.T) {
	es, ed := golden(t, "checkin-es256.jws"), golden(t, "checkin-eddsa.jws")
	for _, c := range []struct {
		payload []byte
		key     Key
	}{
		{es, publicKey(t, ed25519Key)}, {es, publicKey(t, gatewayKey)}, {es, Key{}},
		{ed, publicKey(t, p256Key)}, {ed, publicKey(t, gatewayKey)}, {ed, Key{}},
	} {
		check(t, c.payload, c.key, ErrSignature)
		got, err := ReadCheckIn(c.payload)
		if err != nil || got.Auth != attendance.AuthBadSignature || got.Phone != "p-7f3a" || got.Counter != 42 {
			t.Errorf("read without its key as %+v, %v", got, err)
		}
	}
	if _, err := OpenReceipt(golden(t, "receipt.jws"), publicKey(t, ed25519Key)); !errors.Is(err, ErrSignature) {
		t.Errorf("a receipt of another gateway: %v", err)
	}
	if _, err := OpenReceipt(ed, publicKey(t, ed25519Key)); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("a check-in as a receipt: %v", err)
	}
	check(t, golden(t, "receipt.jws"), publicKey(t, gatewayKey), protocol.ErrMalformed)
}

func TestReceiptClaims(t *testing.T) {
	const header = `{"alg":"EdDSA","typ":"punchd-receipt+jwt"}`
	key := publicKey(t, gatewayKey)
	good := `{"v":1,"phone":"p-7f3a","ctr":42,"key":"00112233445566778899aabbccddeeff","seq":18446744073709551615,"verdict":"accepted","reasons":["late"],"received_at":"2026-11-04T00:58:13Z","duplicate":true}`
	r, err := OpenReceipt(raw(gatewayKey, header, good), key)
	if err != nil || r.Seq != 1<<64-1 || !r.Duplicate || r.Verdict != attendance.Accepted || len(r.Reasons) != 1 {
		t.Errorf("opened as %+v, %v", r, err)
	}
	if err == nil && (r.Message != nil || r.Keep) { // receipts had no such claims at first
		t.Errorf("a receipt without msg and keep opened as %+v", r)
	}
	const msg = `"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"` // SHA-256 of nothing
	told := strings.TrimSuffix(good, "}") + `,"msg":` + msg + `,"keep":true}`
	nothing := sha256.Sum256(nil)
	if r, err := OpenReceipt(raw(gatewayKey, header, told), key); err != nil || !bytes.Equal(r.Message, nothing[:]) || !r.Keep {
		t.Errorf("opened as %+v, %v", r, err)
	}
	for _, bad := range []string{`""`, `"47DEQpj8"`, `"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU="`, `"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"`, `1`, `"` + strings.Repeat("A", 200) + `"`} {
		if _, err := OpenReceipt(raw(gatewayKey, header, strings.Replace(told, msg, bad, 1)), key); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("msg %s: %v", bad, err)
		}
	}
	if _, err := OpenReceipt(raw(gatewayKey, header, strings.Replace(told, `"keep":true`, `"keep":"true"`, 1)), key); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("keep as a text: %v", err)
	}
	// What a gateway without a battery begins with.
	for year, want := range map[string]error{"1970": nil, "2199": nil, "1969": protocol.ErrMalformed, "2200": protocol.ErrMalformed} {
		r, err := OpenReceipt(raw(gatewayKey, header, strings.Replace(good, "2026-11-04", year+"-11-04", 1)), key)
		if !errors.Is(err, want) || err == nil && r.ReceivedAt.Format("2006") != year {
			t.Errorf("received in %s: %v, %v", year, r, err)
		}
	}
	for name, c := range map[string]struct{ old, new string }{
		"no key":           {`"key":"00112233445566778899aabbccddeeff",`, ``},
		"short key":        {"00112233445566778899aabbccddeeff", "0011"},
		"no verdict":       {`"verdict":"accepted",`, ``},
		"unknown verdict":  {`accepted`, `perhaps`},
		"negative seq":     {`18446744073709551615`, `-1`},
		"ctr twice":        {`"ctr":42`, `"ctr":42,"ctr":43`},
		"reasons a text":   {`["late"]`, `"late"`},
		"too many reasons": {`["late"]`, `[` + strings.TrimSuffix(strings.Repeat(`"late",`, maxReasons+1), ",") + `]`},
		"no received_at":   {`"received_at":"2026-11-04T00:58:13Z",`, ``},
		"no v":             {`"v":1,`, ``},
		"no phone":         {`"phone":"p-7f3a",`, ``},
	} {
		bad := strings.Replace(good, c.old, c.new, 1)
		if bad == good {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := OpenReceipt(raw(gatewayKey, header, bad), key); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenReceipt(raw(gatewayKey, header, strings.Replace(good, `"v":1`, `"v":2`, 1)), key); !errors.Is(err, protocol.ErrUnsupported) {
		t.Errorf("version 2: %v", err)
	}
}

func TestSignRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*attendance.CheckIn){
		"no counter": func(c *attendance.CheckIn) { c.Counter = 0 },
		"counter":    func(c *attendance.CheckIn) { c.Counter = 1 << 63 },
		"no time":    func(c *attendance.CheckIn) { c.At = time.Time{} },
		"phone":      func(c *attendance.CheckIn) { c.Phone = "a/b" },
		"direction":  func(c *attendance.CheckIn) { c.Direction = 99 },
		"latitude":   func(c *attendance.CheckIn) { c.Evidence.Fix.Lat = 91 },
		"note":       func(c *attendance.CheckIn) { c.Evidence.Note = strings.Repeat("x", MaxNote+1) },
		"scan":       func(c *attendance.CheckIn) { c.Evidence.WiFi.Seen = make([]attendance.Heard, MaxSeen+1) },
	} {
		c := example()
		spoil(c)
		if payload, err := SignCheckIn(ed25519Key, c); err == nil {
			t.Errorf("%s: signed as %s", name, payload)
		}
	}
	r := exampleReceipt()
	r.Counter = 0
	if _, err := SignReceipt(gatewayKey, "", r); err == nil {
		t.Error("a receipt for no counter was signed")
	}
}

func TestTopics(t *testing.T) {
	if got := ReceiptTopic("xm-hq", "p-7f3a"); got != "punchd/xm-hq/receipt/p-7f3a" {
		t.Error(got)
	}
	for _, name := range []string{"p-7f3a", "张三", "a b", "$SYS"} {
		site, phone, ok := ParseCheckInTopic(CheckInTopic("xm-hq", name))
		if !ok || site != "xm-hq" || phone != name {
			t.Errorf("%s: %s %s %v", name, site, phone, ok)
		}
	}
	for _, topic := range []string{
		"", "punchd", "punchd/", "punchd/xm", "punchd/xm/checkin", "punchd/xm/checkin/", "punchd//checkin/p", "punchd/xm/checkin/p/q",
		"punchd/xm/receipt/p", "Punchd/xm/checkin/p", "punchd/xm/y/checkin/p", "punchd/xm/checkin/+", "punchd/#/checkin/p", "punchd/xm/checkin/a\x00",
		"/punchd/xm/checkin/p", "punchd/xm/checkin/\xff", "punchd/xm/checkin/" + strings.Repeat("x", maxName+1),
	} {
		if _, _, ok := ParseCheckInTopic(topic); ok {
			t.Errorf("%q is a check-in topic", topic)
		}
	}
}

// FuzzCheckIn: whatever reads as a check-in can be signed, and reads the same.
func FuzzCheckIn(f *testing.F) {
	f.Add(golden(f, "checkin-es256.jws"))
	f.Add(golden(f, "checkin-eddsa.jws"))
	f.Add(golden(f, "receipt.jws"))
	f.Add([]byte("a.b.c"))
	key := publicKey(f, ed25519Key)
	f.Fuzz(func(t *testing.T, payload []byte) {
		if _, err := OpenCheckIn(payload, key); err == nil {
			foreign, err := jose.ParseSignedCompact(string(payload), []jose.SignatureAlgorithm{jose.EdDSA})
			if err != nil {
				t.Fatalf("another implementation can't read it: %v", err)
			}
			if _, err := foreign.Verify(ed25519Key.Public()); err != nil {
				t.Fatalf("another implementation refuses it: %v", err)
			}
		}
		c, err := ReadCheckIn(payload)
		if err != nil {
			return
		}
		signed, err := SignCheckIn(ed25519Key, c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := OpenCheckIn(signed, key)
		if err != nil {
			t.Fatal(err)
		}
		again.Auth, again.Evidence.Raw = c.Auth, c.Evidence.Raw
		if !sameCheckIn(again, c) {
			t.Fatalf("written as\n%+v\nread from\n%+v", again, c)
		}
	})
}

// FuzzClaims is FuzzCheckIn behind the base64.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(minimal("")))
	f.Add([]byte(minimal(`,"fix":{"lat":1,"lon":2,"acc":3,"at":"2026-11-04T08:58:12Z","mock":true},"wifi":{"bssid":"a","ssid":"b","seen":[{"bssid":"c","rssi":-1}]}`)))
	f.Add([]byte(minimal(`,"note":"\ud83d\ude00","photo":{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1},"x":[{"y":"}"}]`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseClaims(text)
		if err != nil {
			return
		}
		again, err := parseClaims(must(json.Marshal(claimsOf(c))))
		if err != nil {
			t.Fatal(err)
		}
		if !sameCheckIn(again, c) {
			t.Fatalf("written as\n%+v\nread from\n%+v", again, c)
		}
	})
}

// sameCheckIn compares two check-ins by what they say, not by how their times
// are held in memory; a wifi object without members counts as one with none.
func sameCheckIn(a, b *attendance.CheckIn) bool {
	show := func(c *attendance.CheckIn) string { return string(must(json.Marshal(claimsOf(c)))) }
	return show(a) == show(b) && a.At.Equal(b.At)
}

func FuzzReceipt(f *testing.F) {
	f.Add(golden(f, "receipt.jws"))
	key := publicKey(f, gatewayKey)
	f.Fuzz(func(t *testing.T, payload []byte) {
		tok, err := parse(payload, typeReceipt)
		if err != nil {
			return
		}
		r, err := tok.receipt()
		if err != nil {
			return
		}
		signed, err := SignReceipt(gatewayKey, "", r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := OpenReceipt(signed, key)
		if err != nil || fmt.Sprint(again.ReceivedAt.UnixNano()) != fmt.Sprint(r.ReceivedAt.UnixNano()) {
			t.Fatalf("%+v, %v", again, err)
		}
		again.ReceivedAt = r.ReceivedAt
		if len(r.Reasons) == 0 {
			r.Reasons = nil
		}
		if !reflect.DeepEqual(again, r) {
			t.Fatalf("written as\n%+v\nread from\n%+v", again, r)
		}
	})
}

// BenchmarkOpenCheckIn is one verified and decoded check-in; Verify alone is
// the floor under it.
func BenchmarkOpenCheckIn(b *testing.B) {
	for name, priv := range map[string]crypto.Signer{"checkin-es256.jws": p256Key, "checkin-eddsa.jws": ed25519Key} {
		payload, key := golden(b, name), publicKey(b, priv)
		b.Run(key.Algorithm(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := OpenCheckIn(payload, key); err != nil {
					b.Fatal(err)
				}
			}
		})
		t, err := parse(payload, typeCheckIn)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(key.Algorithm()+"-verify-alone", func(b *testing.B) {
			for b.Loop() {
				if err := key.verify(t.header.Algorithm, t.input, t.sig); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
