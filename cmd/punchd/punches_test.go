package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/protocol/attendance"
)

var zone8 = time.FixedZone("+08:00", 8*3600)

// phonePunch has all that a punch can have.
func phonePunch() *attendance.Punch {
	at := time.Date(2026, 11, 4, 0, 58, 12, 0, time.UTC)
	skew := -310 * time.Millisecond
	return &attendance.Punch{
		Key: attendance.PhoneKey("p-ada", 42), Kind: attendance.KindVisit, Employee: "E1001", Direction: attendance.DirArrive, Method: attendance.MethodPhone,
		Device: attendance.Device{ID: "p-ada", Driver: "phone"}, Site: "hq", Place: "customer-17", At: at, DeviceTime: attendance.LocalOf(at.In(zone8)), Zone: "+08:00",
		ReceivedAt: at.Add(time.Second), Skew: &skew, Verdict: attendance.Flagged, Reasons: []attendance.Reason{attendance.ReasonStaleFix}, State: -1, Verify: -1, Counter: 42, Gap: 1,
		Evidence: attendance.Evidence{
			Fix:  &attendance.Fix{Lat: 24.479834, Lon: 118.089425, Acc: 12, At: at, Mock: true},
			WiFi: &attendance.WiFi{BSSID: "a2:8b:7f:c0:27:4b", SSID: "Office", Seen: []attendance.Heard{{BSSID: "a2:8b:7f:c0:27:4c", RSSI: -61}}},
			Note: "at the\ndoor", Photo: &attendance.Photo{SHA256: "abcd", Size: 48211}, Challenge: "4711", Raw: []byte("eyJ.eyJ.c2ln"),
		},
	}
}

func cardPunch() *attendance.Punch {
	at := time.Date(2026, 11, 4, 0, 58, 12, 0, time.UTC)
	return &attendance.Punch{
		Key: attendance.ReaderKey("gate", "AA", at), Kind: attendance.KindPunch, Badge: "AA", Method: attendance.MethodCard, Device: attendance.Device{ID: "gate", Driver: "cardline"},
		Site: "hq", At: at, DeviceTime: attendance.LocalOf(at.In(zone8)), Zone: "+08:00", ReceivedAt: at, State: 0, Verify: 4, Evidence: attendance.Evidence{Raw: []byte{2, 'A', 3}},
	}
}

func TestShow(t *testing.T) {
	for _, c := range []struct {
		name string
		p    *attendance.Punch
		want string
	}{
		{"phone", phonePunch(), `id             KEY
sequence       7
time           2026-11-04T08:58:12+08:00
device time    2026-11-04T08:58:12 (+08:00)
received at    2026-11-04T00:58:13Z
device's skew  -310 ms
employee       E1001
kind           visit
direction      arrive
method         phone
device         p-ada
driver         phone
site           hq
place          customer-17
verdict        flagged
reasons        stale-fix
late           false
counter        42 (1 right below it had not arrived yet)
position       24.479834 118.089425, within 12 m, measured 2026-11-04T08:58:12+08:00, made by a test provider
access point   a2:8b:7f:c0:27:4b Office
heard          a2:8b:7f:c0:27:4c -61 dBm
photo          48211 bytes, SHA-256 abcd
note           at the�door
challenge      4711
as it came     eyJ.eyJ.c2ln
`},
		{"card", cardPunch(), `id                KEY
sequence          7
time              2026-11-04T08:58:12+08:00
device time       2026-11-04T08:58:12 (+08:00)
received at       2026-11-04T00:58:12Z
badge             AA
kind              punch
direction         unknown
method            card
device            gate
driver            cardline
site              hq
verdict           unverified
late              false
state code        0
verify code       4
as it came (hex)  024103
`},
	} {
		var out bytes.Buffer
		if err := show(&out, zone8, numbered{7, c.p}, false); err != nil {
			t.Fatal(err)
		}
		if want := strings.Replace(c.want, "KEY", c.p.Key.String(), 1); out.String() != want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, out.String(), want)
		}
	}
}

func TestShowJSON(t *testing.T) {
	var out bytes.Buffer
	if err := show(&out, zone8, numbered{7, phonePunch()}, true); err != nil {
		t.Fatal(err)
	}
	var got detailJSON
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	e := got.Evidence
	if got.Seq != 7 || got.Counter != 42 || e.Fix.Lat != 24.479834 || !e.Fix.Mock || e.WiFi.Seen[0].RSSI != -61 || e.Note != "at the\ndoor" || e.Photo.Size != 48211 || e.Raw != "eyJ.eyJ.c2ln" {
		t.Errorf("%s", out.String())
	}
}

// Words stand at the left of their columns, and only numbers at the right.
func TestTable(t *testing.T) {
	var out bytes.Buffer
	w := newColumns(&out, zone8)
	if err := errors.Join(w.punch(7, phonePunch()), w.punch(12, cardPunch()), w.end()); err != nil {
		t.Fatal(err)
	}
	want := ` SEQ  TIME                 EMPLOYEE  DIRECTION  METHOD  DEVICE  PLACE        VERDICT     REASONS
   7  2026-11-04 08:58:12  E1001     arrive     phone   p-ada   customer-17  flagged     stale-fix
  12  2026-11-04 08:58:12  (AA)      unknown    card    gate                 unverified
`
	if got := out.String(); got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}

// A counter stands only where there is one.
func TestCSV(t *testing.T) {
	var out bytes.Buffer
	w := exporters["csv"](&out, zone8)
	for i, p := range []*attendance.Punch{phonePunch(), cardPunch()} {
		if err := w.punch(uint64(i), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.HasSuffix(lines[0], ",false,42,1") || !strings.HasSuffix(lines[1], ",false,,") {
		t.Errorf("%s", out.String())
	}
}

func TestCell(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "E1": "E1", "a=1": "a=1", "张三": "张三", "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "\tx": "'\tx", "\rx": "'\rx", "\n=1": "'\n=1",
		"＝1": "'＝1", "＋1": "'＋1", "－1": "'－1", "＠x": "'＠x", "+08:00": "+08:00", "-05:30": "-05:30", "+08:00+1": "'+08:00+1", "+08:00\n": "'+08:00\n", "Asia/Shanghai": "Asia/Shanghai",
	} {
		if got := cell(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Every column that a device can write to is looked at.
func TestCSVFormulas(t *testing.T) {
	p := phonePunch()
	p.Zone, p.Employee, p.Badge, p.Site, p.Place, p.Reasons = "=z", "=e", "=b", "=s", "=p", []attendance.Reason{"=r"}
	p.Device = attendance.Device{ID: "=i", Driver: "=d", Serial: "=n"}
	var out bytes.Buffer
	w := exporters["csv"](&out, zone8)
	if err := errors.Join(w.punch(1, p), w.end()); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Contains(text, ",=") || strings.Count(text, ",'=") != 9 {
		t.Errorf("%s", text)
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"Ada 张三": "Ada 张三", "می\u200cخواهم": "می\u200cخواهم", "a\x1b[2Jb": "a\ufffd[2Jb", "a\u009bb": "a\ufffdb", "a\nb": "a\ufffdb",
		"a\u202eb": "a\ufffdb", "a\u2028b": "a\ufffdb", "a\u2029b": "a\ufffdb", "a\u2066b": "a\ufffdb", "a\u200fb": "a\ufffdb", "a\ufeffb": "a\ufffdb", "a\xffb": "a\ufffdb",
	} {
		if got := printable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// A device that is none gets a hint at what may be meant.
func TestNothing(t *testing.T) {
	cfg := &config.Config{Terminals: []config.Terminal{{ID: "lobby"}}, Phones: &config.Phones{}}
	for device, want := range map[string]string{
		"":       "no punch matches\n",
		"lobby":  "no punch matches\n",
		"loby":   "no punch matches (of the device \"loby\"; do you mean \"lobby\"?)\n",
		"phones": "no punch matches (each phone stands under its own id, none under \"phones\"; the ids: punchd punches list)\n",
	} {
		var out bytes.Buffer
		if err := (&punchesFlags{cfg: cfg, device: device}).nothing(&out); err != nil || out.String() != want {
			t.Errorf("%q: %q, %v, want %q", device, out.String(), err, want)
		}
	}
}
