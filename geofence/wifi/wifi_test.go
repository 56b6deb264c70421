package wifi

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text, want string
		err        error
	}{
		{"A2-8B-7F-C0-27-4B", "a2:8b:7f:c0:27:4b", nil}, // the local bit is set: normal
		{"a28b.7fc0.274b", "a2:8b:7f:c0:27:4b", nil},
		{"a28b7fc0274b", "a2:8b:7f:c0:27:4b", nil},
		{" a2:8b:7f:c0:27:4b ", "a2:8b:7f:c0:27:4b", nil},
		{"0:13:10:85:fe:1", "00:13:10:85:fe:01", nil},
		{"4:aa:dd:ee:34:40", "04:aa:dd:ee:34:40", nil},
		{"12:34:56:78", "", ErrInvalid}, // an OwnTracks test fixture
		{"02:00:00:00:00:00", "", ErrAbsent},
		{"2:0:0:0:0:0", "", ErrAbsent},
		{"00:00:00:00:00:00", "", ErrAbsent},
		{"ff:ff:ff:ff:ff:ff", "", ErrAbsent},
		{"", "", ErrAbsent},
		{"  \t", "", ErrAbsent},
		{"01:00:5e:00:00:01", "", ErrInvalid}, // group bit
		{"a2:8b:7f:c0:27", "", ErrInvalid},
		{"a2:8b:7f:c0:27:4b:00", "", ErrInvalid},
		{"a2:8b:7f:c0:27:", "", ErrInvalid},
		{":8b:7f:c0:27:4b", "", ErrInvalid},
		{"a2:8b:7f:c0:27:04b", "", ErrInvalid},
		{"a2:8b-7f:c0-27:4b", "", ErrInvalid},
		{"a28b.7fc0.274", "", ErrInvalid},
		{"a28b.7fc0", "", ErrInvalid},
		{"a28b7fc0274", "", ErrInvalid},
		{"a28b7fc0274bb", "", ErrInvalid},
		{"g2:8b:7f:c0:27:4b", "", ErrInvalid},
		{strings.Repeat("a", 1<<20), "", ErrInvalid},
	} {
		b, err := Parse(c.text)
		if !errors.Is(err, c.err) || err == nil && b.String() != c.want {
			t.Errorf("Parse(%.40q) = %v, %v; want %s, %v", c.text, b, err, c.want, c.err)
		}
		if err != nil && len(err.Error()) > 100 {
			t.Errorf("Parse(%.40q): an error of %d bytes", c.text, len(err.Error()))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"A2-8B-7F-C0-27-4B", "a28b.7fc0.274b", "a28b7fc0274b", "0:13:10:85:fe:1", "12:34:56:78", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := Parse(s)
		if err != nil {
			if !errors.Is(err, ErrAbsent) && !errors.Is(err, ErrInvalid) {
				t.Errorf("%q: an error of no kind: %v", s, err)
			}
			return
		}
		if again, err := Parse(b.String()); err != nil || again != b {
			t.Errorf("%q is %s, which reads as %v, %v", s, b, again, err)
		}
	})
}

func TestLook(t *testing.T) {
	var l List
	for owner, ap := range []attendance.AccessPoint{
		{BSSID: "A2-8B-7F-C0-27-4B"},
		{BSSID: "a2:8b:7f:c0:27:4b", SSID: "Office"},
		{BSSID: "00:0b:86:e0:da:30", Mask: "ff:ff:ff:ff:ff:f0"},
		{BSSID: "00:18:0a:31:0a:5e", Mask: "00:ff:0f:ff:ff:ff"}, // octets 0 and 2 change with the band
		{BSSID: "44:aa:dd:ee:34:40", SSID: "Café"},
	} {
		if err := l.Add(owner, ap); err != nil {
			t.Fatalf("entry %d: %v", owner, err)
		}
	}
	for _, c := range []struct {
		name string
		w    *attendance.WiFi
		want Verdict
		own  []int
	}{
		{"nothing told", nil, Absent, nil},
		{"no permission on Android", &attendance.WiFi{BSSID: "02:00:00:00:00:00", SSID: "<unknown ssid>"}, Absent, nil},
		{"no permission on iOS", &attendance.WiFi{BSSID: "00:00:00:00:00:00", SSID: "Wi-Fi"}, Absent, nil},
		{"empty", &attendance.WiFi{SSID: "Office"}, Absent, nil},
		{"exact, other form", &attendance.WiFi{BSSID: "a28b.7fc0.274b", SSID: "Guest"}, Match, []int{0}},
		{"exact with SSID", &attendance.WiFi{BSSID: "a2:8b:7f:c0:27:4b", SSID: "Office"}, Match, []int{0, 1}},
		{"Android's quotes", &attendance.WiFi{BSSID: "a2:8b:7f:c0:27:4b", SSID: `"Office"`}, Match, []int{0, 1}},
		{"SSID must be the one", &attendance.WiFi{BSSID: "44:aa:dd:ee:34:40", SSID: "café"}, Unknown, nil},
		{"SSID not told", &attendance.WiFi{BSSID: "44:aa:dd:ee:34:40", SSID: "<unknown ssid>"}, Unknown, nil},
		{"first of a /44", &attendance.WiFi{BSSID: "00:0b:86:e0:da:30"}, Match, []int{2}},
		{"last of a /44", &attendance.WiFi{BSSID: "0:b:86:e0:da:3f"}, Match, []int{2}},
		{"behind a /44", &attendance.WiFi{BSSID: "00:0b:86:e0:da:40"}, Unknown, nil},
		{"before a /44", &attendance.WiFi{BSSID: "00:0b:86:e0:da:2f"}, Unknown, nil},
		{"odd mask, 2.4 GHz", &attendance.WiFi{BSSID: "02:18:1a:31:0a:5e"}, Match, []int{3}},
		{"odd mask, 5 GHz", &attendance.WiFi{BSSID: "0a:18:5a:31:0a:5e"}, Match, []int{3}},
		{"odd mask, another device", &attendance.WiFi{BSSID: "0a:18:5a:31:0a:5f"}, Unknown, nil},
		{"the neighbour's", &attendance.WiFi{BSSID: "a2:8b:7f:c0:27:4c"}, Unknown, nil},
		{"four octets", &attendance.WiFi{BSSID: "12:34:56:78"}, Unknown, nil},
		{"the emulator's", &attendance.WiFi{BSSID: "00:13:10:85:fe:01", SSID: "AndroidWifi"}, Emulated, nil},
		{"heard only", &attendance.WiFi{Seen: []attendance.Heard{{BSSID: "a2:8b:7f:c0:27:4b", RSSI: -40}}}, Absent, nil},
	} {
		v, own := l.Look(c.w, nil)
		slices.Sort(own)
		if v != c.want || !slices.Equal(own, c.own) {
			t.Errorf("%s: %v %v, want %v %v", c.name, v, own, c.want, c.own)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	for _, c := range []struct {
		ap   attendance.AccessPoint
		word string
	}{
		{attendance.AccessPoint{BSSID: "12:34:56:78"}, "six octets"},
		{attendance.AccessPoint{BSSID: ""}, "may not tell"},
		{attendance.AccessPoint{BSSID: "02:00:00:00:00:00"}, "may not tell"},
		{attendance.AccessPoint{BSSID: "01:00:5e:00:00:01"}, "group address"},
		{attendance.AccessPoint{BSSID: "00:13:10:85:fe:01"}, "emulator"},
		{attendance.AccessPoint{BSSID: "00:13:10:85:fe:0f", Mask: "ff:ff:ff:ff:ff:f0"}, "emulator"},
		{attendance.AccessPoint{BSSID: "02:00:00:00:00:01", Mask: "ff:ff:ff:ff:ff:f0"}, "placeholder"},
		{attendance.AccessPoint{BSSID: "a2:8b:7f:c0:27:4b", Mask: "ff:ff:ff:00:00:00"}, "24 bits"},
		{attendance.AccessPoint{BSSID: "a2:8b:7f:c0:27:4b", Mask: "/40"}, "six octets"},
	} {
		var l List
		if err := l.Add(0, c.ap); err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%+v: %v, want a word of %q", c.ap, err, c.word)
		}
	}
	var l List
	ap := attendance.AccessPoint{BSSID: "a2:8b:7f:c0:27:4b"}
	if err := l.Add(0, ap); err != nil {
		t.Fatal(err)
	}
	if err := l.Add(1, ap); err != nil { // two places may share one
		t.Error(err)
	}
	if err := l.Add(0, ap); err == nil {
		t.Error("one place lists an address twice without a word")
	}
}

func BenchmarkLook(b *testing.B) {
	var l List
	for i := range 2000 {
		if err := l.Add(i, attendance.AccessPoint{BSSID: (BSSID(0xa28b00000000) + BSSID(i)<<8).String()}); err != nil {
			b.Fatal(err)
		}
	}
	for _, m := range []string{"ff:ff:ff:ff:ff:f0", "00:ff:0f:ff:ff:ff"} {
		if err := l.Add(1, attendance.AccessPoint{BSSID: "00:18:0a:31:0a:50", Mask: m}); err != nil {
			b.Fatal(err)
		}
	}
	w := &attendance.WiFi{BSSID: "a2:8b:00:01:00:00", SSID: "Office"}
	var owners [8]int
	b.ReportAllocs()
	for b.Loop() {
		l.Look(w, owners[:0])
	}
}
