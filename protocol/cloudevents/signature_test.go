package cloudevents

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

type vector struct {
	name, key, id string
	at            int64
	body, want    string
	verify        string // the key to verify with, if another
}

// The vectors of the Standard Webhooks library (A), one more of the same
// secret (B), and a batch of events (C), all made by other implementations.
var (
	vectorA = vector{
		name: "A", key: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", id: "msg_p5jXN8AQM9LWM0D4loKWxJek", at: 1614265330,
		body: `{"test": 2432232314}`, want: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	}
	vectorB = vector{
		name: "B", key: vectorA.key, id: "msg_1", at: 1762218000, body: `{}`,
		want: "v1,HRdL0cNTb0uKUivUHsmg9jaHQWdEC1s2/VSvvFw/l/A=",
	}
	vectorC = vector{
		name: "C", key: "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", id: "gw-xm01-batch-000000000007", at: 1762218000,
		body: `[{"specversion":"1.0","id":"gw-xm01-000000000042","source":"/sites/xm01/gateways/gw-01","type":"attendance.punch.v1",` +
			`"subject":"E1001","time":"2026-11-04T00:58:12Z","recordedtime":"2026-11-04T00:58:13Z","sequence":"000000000042",` +
			`"partitionkey":"E1001","datacontenttype":"application/json","data":{"employee":"E1001","direction":"in","device":"zk-01"}}]`,
		want: "v1,rJGmR5QnUaByNNvIluW8+cJj4X+b9YoSHJ3WFQYIwV0=",
	}
	vectorD = vector{
		name: "C by ed25519", key: "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", id: vectorC.id, at: vectorC.at, body: vectorC.body,
		want:   "v1a,gdkZDn45PM7x7koSwTn6EyWyOVJkuXXDTMhWJKu8OyyLJ5CAUASewiu3FuL5nAnBjDmtcmjCgnYNalYJuIuIAg==",
		verify: "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
	}
	vectors = []vector{vectorA, vectorB, vectorC, vectorD}
)

func key(t *testing.T, text string) Key {
	t.Helper()
	k, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSignatureVectors(t *testing.T) {
	if sum := sha256.Sum256([]byte(vectorC.body)); hex.EncodeToString(sum[:]) != "6bae027c36c47ff63c97c49813624eacf183801ea65c8f0f3e344020961348f7" {
		t.Fatal("vector C is not as published")
	}
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			k := key(t, v.key)
			h, err := k.Sign(v.id, time.Unix(v.at, 0), []byte(v.body))
			if err != nil || h.Signature != v.want || h.ID != v.id || h.Timestamp != fmt.Sprint(v.at) {
				t.Errorf("%+v, %v", h, err)
			}
			if v.verify != "" {
				k = key(t, v.verify)
			}
			h = Headers{v.id, fmt.Sprint(v.at), v.want}
			for _, late := range []time.Duration{0, Tolerance, -Tolerance} {
				if err := Verify(h, []byte(v.body), time.Unix(v.at, 0).Add(late), k); err != nil {
					t.Errorf("%v late: %v", late, err)
				}
			}
			for _, late := range []time.Duration{Tolerance + time.Second, -Tolerance - time.Second} {
				if err := Verify(h, []byte(v.body), time.Unix(v.at, 0).Add(late), k); !errors.Is(err, ErrTimestamp) {
					t.Errorf("%v late: %v", late, err)
				}
			}
			tampered := []Headers{
				{v.id + "x", h.Timestamp, h.Signature}, {v.id, fmt.Sprint(v.at + 1), h.Signature},
				{v.id, h.Timestamp, "v2" + h.Signature[strings.Index(h.Signature, ","):]},
				{v.id, h.Timestamp, h.Signature[:len(h.Signature)-4]}, {v.id, h.Timestamp, "v1,"}, {v.id, h.Timestamp, "v1a,AAAA"}, {v.id, h.Timestamp, "v1,%"},
			}
			for _, bad := range tampered {
				if err := Verify(bad, []byte(v.body), time.Unix(v.at, 0), k); !errors.Is(err, ErrSignature) {
					t.Errorf("%+v: %v", bad, err)
				}
			}
			if err := Verify(h, []byte(v.body+" "), time.Unix(v.at, 0), k); !errors.Is(err, ErrSignature) {
				t.Errorf("another body: %v", err)
			}
			if err := Verify(h, []byte(v.body), time.Unix(v.at, 0)); !errors.Is(err, ErrSignature) {
				t.Errorf("no key: %v", err)
			}
			if err := Verify(h, []byte(v.body), time.Unix(v.at, 0), Key{}); !errors.Is(err, ErrSignature) {
				t.Errorf("the zero key: %v", err)
			}
		})
	}
}

// What FORMAT.md shows is what is really sent.
func TestFormatExamples(t *testing.T) {
	text, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	format := strings.Join(strings.Fields(string(text)), " ")
	h, err := key(t, vectorC.key).Sign("punchd-7-10-4aa3be9ee5c0f3b5", time.Unix(1794013093, 0), golden(t, "batch.json", nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{HeaderID: h.ID, HeaderTimestamp: h.Timestamp, HeaderSignature: h.Signature, "Content-Type": ContentType} {
		if !strings.Contains(format, name+": "+value+" ") {
			t.Errorf("FORMAT.md does not show %s: %s", name, value)
		}
	}
	event := string(golden(t, "punch-terminal.json", nil))
	if !strings.Contains(strings.ReplaceAll(format, " ", ""), event) {
		t.Errorf("FORMAT.md does not show %s", event)
	}
}

// While a key is changed, either side may know two.
func TestSeveralSignaturesAndKeys(t *testing.T) {
	now := time.Unix(vectorC.at, 0)
	h := Headers{vectorC.id, fmt.Sprint(vectorC.at), "v1,AAAA " + vectorD.want + " v9,xx " + vectorC.want}
	if err := Verify(h, []byte(vectorC.body), now, key(t, vectorA.key), key(t, vectorC.key)); err != nil {
		t.Error(err)
	}
	if err := Verify(h, []byte(vectorC.body), now, key(t, vectorA.key)); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
	// The list is bounded: what stands behind the bound is not looked at.
	h.Signature = strings.Repeat("v1,AAAA ", maxSignatures) + vectorC.want
	if err := Verify(h, []byte(vectorC.body), now, key(t, vectorC.key)); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
}

func TestVerifyHeadersMissing(t *testing.T) {
	for _, h := range []Headers{{}, {"", "1", "v1,x"}, {"a", "", "v1,x"}, {"a", "1", ""}, {"a", "soon", "v1,x"}, {"a", "99999999999999999999", "v1,x"}} {
		err := Verify(h, nil, time.Unix(1, 0))
		if err == nil || errors.Is(err, ErrSignature) || errors.Is(err, ErrTimestamp) {
			t.Errorf("%+v: %v", h, err)
		}
	}
	for _, at := range []string{"9223372036854775807", "-9223372036854775808"} {
		if err := Verify(Headers{"a", at, "v1,x"}, nil, time.Unix(1, 0)); !errors.Is(err, ErrTimestamp) {
			t.Errorf("at %s: %v", at, err)
		}
	}
}

func TestParseKey(t *testing.T) {
	secret := func(kind string, n int) string {
		return kind + "_" + base64.StdEncoding.EncodeToString(make([]byte, n))
	}
	for _, bad := range []string{
		"", "whsec_", "whsec", vectorA.key[6:], "whsec_!!", secret("whsec", 23), secret("whsec", 65), secret("whsk", 31), secret("whpk", 33),
		secret("whsk", 64), secret("other", 32), " " + vectorA.key, vectorA.key + "\n\n ",
	} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("%q is a key", bad)
		} else if len(bad) > 12 && strings.Contains(err.Error(), bad[8:]) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
	whole := "whsk_" + base64.StdEncoding.EncodeToString(key(t, vectorD.key).private)
	h, err := key(t, whole).Sign(vectorD.id, time.Unix(vectorD.at, 0), []byte(vectorD.body))
	if err != nil || h.Signature != vectorD.want {
		t.Errorf("by the whole private key: %+v, %v", h, err)
	}
}

func TestSignRefuses(t *testing.T) {
	k := key(t, vectorA.key)
	for _, id := range []string{"", "a.b", "a b"} {
		if _, err := k.Sign(id, time.Unix(1, 0), nil); err == nil {
			t.Errorf("id %q", id)
		}
	}
	for _, k := range []Key{{}, key(t, vectorD.verify)} {
		if _, err := k.Sign("a", time.Unix(1, 0), nil); err == nil {
			t.Errorf("%v signs", k)
		}
	}
}

func TestKeysHideThemselves(t *testing.T) {
	for _, text := range []string{vectorA.key, vectorD.key, vectorD.verify} {
		k := key(t, text)
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(format, k); got != text[:strings.Index(text, "_")]+"_(hidden)" {
				t.Errorf("%s prints %s", format, got)
			}
		}
	}
	if got := fmt.Sprint(Key{}); got != "no key" {
		t.Error(got)
	}
}
