package attendance

import (
	"testing"
	"time"
	_ "time/tzdata"
)

// The keys below were computed once, and independently with sha256sum over the
// bytes FORMAT.md gives; a change of any would double every punch in the field.
func TestKeysAreFixed(t *testing.T) {
	at := LocalDate(2026, 11, 4, 8, 58, 12, 0)
	for _, c := range []struct {
		name string
		got  Key
		want string
	}{
		{"terminal", TerminalKey("SIM0001", "0012", at, 0, 1, ""), "e348de85c8dda374411667d08be04c63"},
		{"terminal with index", TerminalKey("SIM0001", "0012", at, 0, 1, "7"), "27f812603e081a2f083337ecc7d7c7fd"},
		{"damaged", DamagedKey("SIM0001", "40", []byte{1, 2, 3}), "c4460a2dbee50dd1e08df1443ac5a8c5"},
		{"reader", ReaderKey("gate", "0009351929", time.Unix(1793753893, 5)), "bd9437eddba2cb97cc3e579f4d934a6e"},
		{"phone", PhoneKey("p-7f3a", 42), "12622ed3cb63589dd410e6581766a108"},
		{"owntracks android", OwnTracksKey("owntracks/ada/x", MessageID{ID: "0d871a61", T: "u", Fix: 1754215100, CreatedAt: 1754215100}, nil), "663cf2350937cbe58e0c7e7ed973da90"},
		{"owntracks ios", OwnTracksKey("owntracks/ada/x", MessageID{T: "u", Fix: 1754215100}, []byte("{}")), "8f42754128d1ad1d2554b7e56c5db8d2"},
		{"refused", RefusedKey("ada", "punchd/x/checkin/ada", []byte("{}")), "045808de4a6c411408604e134a056dc5"},
	} {
		if c.got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
		if back, err := ParseKey(c.got.String()); err != nil || back != c.got {
			t.Errorf("%s does not parse back: %v %v", c.got, back, err)
		}
	}
	for _, bad := range []string{"", "00", "zz81ccee5cd21b4bb2c7ab3ea3a5e2a7", "00112233445566778899aabbccddeeff00"} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("ParseKey(%q) gave no error", bad)
		}
	}
}

// Fields that run into each other must not make one key of two facts.
func TestKeysDoNotCollide(t *testing.T) {
	at := LocalDate(2026, 11, 4, 8, 58, 12, 0)
	keys := map[Key]string{}
	for name, k := range map[string]Key{
		"a|bc":            TerminalKey("a", "bc", at, 0, 1, ""),
		"ab|c":            TerminalKey("ab", "c", at, 0, 1, ""),
		"other state":     TerminalKey("a", "bc", at, 1, 1, ""),
		"other verify":    TerminalKey("a", "bc", at, 0, 0, ""),
		"second later":    TerminalKey("a", "bc", at+1000, 0, 1, ""),
		"pin 12":          TerminalKey("a", "12", at, 0, 1, ""),
		"pin 0012":        TerminalKey("a", "0012", at, 0, 1, ""),
		"phone":           PhoneKey("a", 1),
		"damaged":         DamagedKey("a", "40", []byte("bc")),
		"other layout":    DamagedKey("a", "49", []byte("bc")),
		"other terminal":  DamagedKey("a40", "", []byte("bc")),
		"refused":         RefusedKey("a", "", nil),
		"ios payload 1":   OwnTracksKey("t", MessageID{Fix: 1}, []byte("1")),
		"ios payload 2":   OwnTracksKey("t", MessageID{Fix: 1}, []byte("2")),
		"android same id": OwnTracksKey("t", MessageID{ID: "1", Fix: 2}, nil),
		"android later":   OwnTracksKey("t", MessageID{ID: "1", Fix: 3}, nil),
	} {
		if other, ok := keys[k]; ok {
			t.Errorf("%s and %s share the key %s", name, other, k)
		}
		keys[k] = name
	}
}

func TestLocalTimeIn(t *testing.T) {
	for _, c := range []struct{ face, zone, want string }{
		{"2026-11-04T08:58:12", "Asia/Shanghai", "2026-11-04T00:58:12Z"},
		{"2026-11-04T08:58:12", "Asia/Kolkata", "2026-11-04T03:28:12Z"},
		{"2026-11-04T00:00:00", "Asia/Kathmandu", "2026-11-03T18:15:00Z"},
		{"2026-03-29T01:59:59", "Europe/Berlin", "2026-03-29T00:59:59Z"},
		{"2026-03-29T02:30:00", "Europe/Berlin", "2026-03-29T01:30:00Z"}, // never shown by a right clock: as if not put forward
		{"2026-03-29T03:00:00", "Europe/Berlin", "2026-03-29T01:00:00Z"},
		{"2026-10-25T02:30:00", "Europe/Berlin", "2026-10-25T00:30:00Z"}, // twice: the first
		{"2026-10-25T03:00:00", "Europe/Berlin", "2026-10-25T02:00:00Z"},
		{"2026-04-05T01:45:00", "Australia/Lord_Howe", "2026-04-04T14:45:00Z"}, // half-hour DST, twice
		{"2026-10-04T02:15:00", "Australia/Lord_Howe", "2026-10-03T15:45:00Z"}, // half-hour gap
		{"2026-11-01T01:30:00", "America/New_York", "2026-11-01T05:30:00Z"},
		{"2000-01-01T00:00:00", "UTC", "2000-01-01T00:00:00Z"},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		l, err := ParseLocal(c.face)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.In(loc).Format(time.RFC3339Nano); got != c.want {
			t.Errorf("%s in %s: %s, want %s", c.face, c.zone, got, c.want)
		}
		if l.String() != c.face {
			t.Errorf("%s printed as %s", c.face, l)
		}
	}
}

// Every quarter of an hour of two years in zones with odd changes: a face that
// a clock really shows is read as an instant at which it shows that face, and
// as the first such instant.
func TestLocalTimeInIsInverse(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kolkata", "America/Santiago"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		first := map[LocalTime]time.Time{}
		for at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2027; at = at.Add(15 * time.Minute) {
			face := LocalOf(at.In(loc))
			if _, ok := first[face]; !ok {
				first[face] = at
			}
			if got := face.In(loc); !got.Equal(first[face]) {
				t.Fatalf("%s %s: read as %s, first shown at %s", zone, face, got, first[face])
			}
		}
	}
}

func TestWords(t *testing.T) {
	for d := DirUnknown; d <= DirLeave; d++ {
		if got, err := ParseDirection(d.String()); err != nil || got != d {
			t.Errorf("direction %d: %v %v", d, got, err)
		}
	}
	for m := MethodUnknown; m <= MethodQR; m++ {
		if got, err := ParseMethod(m.String()); err != nil || got != m {
			t.Errorf("method %d: %v %v", m, got, err)
		}
	}
	for v := Unverified; v <= Refused; v++ {
		if got, err := ParseVerdict(v.String()); err != nil || got != v {
			t.Errorf("verdict %d: %v %v", v, got, err)
		}
	}
	for k := KindPunch; k <= KindVisit; k++ {
		if got, err := ParseKind(k.String()); err != nil || got != k {
			t.Errorf("kind %d: %v %v", k, got, err)
		}
	}
	if _, err := ParseKind(""); err == nil {
		t.Error("the empty word is no kind")
	}
	if _, err := ParseDirection("sideways"); err == nil || err.Error() == "" {
		t.Error("an unknown word must be an error")
	}
	if got := Direction(99).String(); got != "unknown-99" {
		t.Errorf("direction 99 prints as %s", got)
	}
}
