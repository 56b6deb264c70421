package geofence

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// The world of the tables in DESIGN.md. Distances there are metres to the
// north of the edge of the place that is named, hq if none is.
var (
	shanghai = time.FixedZone("+08:00", 8*3600)
	pressed  = time.Date(2026, 11, 4, 8, 58, 12, 0, shanghai)

	hq     = attendance.Circle{Lat: 31.230416, Lon: 121.473701, Radius: 100}
	campus = attendance.Circle{Lat: 31.330416, Lon: 121.473701, Radius: 1000}
	client = attendance.Circle{Lat: 31.130416, Lon: 121.473701, Radius: 100}
	shopAt = attendance.Circle{Lat: 31.230416, Lon: 121.573701, Radius: 1}
	home   = attendance.Circle{Lat: 31.230416, Lon: 121.373701, Radius: 50}
)

func tableRoster(policy attendance.Policy) *attendance.Roster {
	ap := func(b string) []attendance.AccessPoint { return []attendance.AccessPoint{{BSSID: b}} }
	return &attendance.Roster{
		Places: []attendance.Place{
			{ID: "hq", Site: "sh", Circle: &hq, WiFi: ap("a2:8b:7f:c0:27:4b")},
			{ID: "campus", Site: "sh", Circle: &campus},
			{ID: "customer", Circle: &client, Kind: "customer"},
			{ID: "shop", WiFi: ap("a2:8b:7f:c0:27:5b"), Kind: "customer"},
			{ID: "home", Circle: &home, WiFi: ap("a2:8b:7f:c0:27:6b"), Kind: "no-go"},
		},
		Policies: []attendance.Policy{policy},
	}
}

// north is the point that many metres north of the centre of a circle.
func north(c attendance.Circle, metres float64) (lat, lon float64) {
	return c.Lat + metres/earthRadius*180/math.Pi, c.Lon
}

// scene is a row of the tables as it is played.
type scene struct {
	t      *testing.T
	roster *attendance.Roster
	c      attendance.CheckIn
	e      *attendance.Employee
	past   Past
	base   attendance.Circle
}

func newScene(t *testing.T, row map[string]string) *scene {
	fix := &attendance.Fix{Acc: 20, At: pressed}
	s := &scene{t: t, base: hq, e: &attendance.Employee{ID: "E1", Groups: []string{"staff"}}}
	s.c = attendance.CheckIn{Phone: "p-1", Native: true, Auth: attendance.AuthSigned, At: pressed, ReceivedAt: pressed, Kind: attendance.KindPunch}
	s.c.Evidence.Fix = fix
	var policy attendance.Policy
	for _, w := range list(row["policy"]) {
		switch {
		case slices.Contains(presenceWords, w):
			policy.Presence = w
		case slices.Contains(outsideWords, w):
			policy.Outside = w
		case w == "photo":
			policy.Photo = "required"
		default:
			t.Fatalf("policy %q", w)
		}
	}
	s.roster = tableRoster(policy)
	if strings.Contains(row["also"], "names campus") {
		s.base = campus
	}
	s.sender(row["sender"])
	s.position(row["position"])
	s.network(row["access point"])
	for _, w := range list(row["also"]) {
		s.also(w)
	}
	return s
}

func list(cell string) []string {
	if cell == "" {
		return nil
	}
	return strings.Split(cell, ", ")
}

func (s *scene) sender(w string) {
	w, absent := strings.CutSuffix(w, ", not in the roster")
	auth, ok := map[string]attendance.Auth{"": attendance.AuthSigned, "signed": attendance.AuthSigned, "owntracks": attendance.AuthUser,
		"malformed": attendance.AuthMalformed, "unknown phone": attendance.AuthUnknownPhone, "bad signature": attendance.AuthBadSignature}[w]
	if !ok {
		s.t.Fatalf("sender %q", w)
	}
	if s.c.Auth = auth; absent {
		s.e = nil
	}
	s.c.Native = auth != attendance.AuthUser
}

// place puts the fix so many metres outside the edge of the base.
func (s *scene) place(outside float64) {
	s.c.Evidence.Fix.Lat, s.c.Evidence.Fix.Lon = north(s.base, s.base.Radius+outside)
}

func (s *scene) position(w string) {
	f := s.c.Evidence.Fix
	s.place(-s.base.Radius) // the centre
	switch w {
	case "", "inside":
	case "deep inside, accuracy not told", "accuracy not told":
		f.Acc = 0
	case "probably inside":
		s.place(-10)
	case "near":
		s.place(10)
	case "25 m outside":
		s.place(25)
	case "outside":
		s.place(300)
	case "600 m outside":
		s.place(600)
	case "within 151 m":
		f.Acc = 151
	case "none":
		s.c.Evidence.Fix = nil
	case "6m old":
		f.At = pressed.Add(-6 * time.Minute)
	case "6m later":
		f.At = pressed.Add(6 * time.Minute)
	case "untimed":
		f.At = time.Time{}
	case "at the customer":
		f.Lat, f.Lon = client.Lat, client.Lon
	case "at home":
		f.Lat, f.Lon = home.Lat, home.Lon
	default:
		s.t.Fatalf("position %q", w)
	}
}

func (s *scene) network(w string) {
	bssid, ok := map[string]string{"": "", "not told": "02:00:00:00:00:00", "ours": "a2:8b:7f:c0:27:4b", "foreign": "a2:8b:7f:c0:27:40",
		"emulator": "00:13:10:85:fe:01", "the shop's": "a2:8b:7f:c0:27:5b", "home's": "a2:8b:7f:c0:27:6b"}[w]
	if !ok {
		s.t.Fatalf("access point %q", w)
	}
	s.c.Evidence.WiFi = &attendance.WiFi{BSSID: bssid}
}

var (
	delayed   = regexp.MustCompile(`^(\d+[hm]) (late|early)$`)
	travelled = regexp.MustCompile(`^([\d.]+) km away (?:(\d+m) ago|in (\d+m)|at the same time)$`)
	repeated  = regexp.MustCompile(`^same digits (once|twice)(?: in (\d+m))?$`)
)

func (s *scene) also(w string) {
	c, f := &s.c, s.c.Evidence.Fix
	switch {
	case w == "mock":
		f.Mock = true
	case w == "photo":
		c.Evidence.Photo = &attendance.Photo{SHA256: strings.Repeat("ab", 32), Size: 1}
	case w == "visit":
		c.Kind = attendance.KindVisit
	case w == "excused":
		s.roster.Excuses = []attendance.Excuse{{Employee: "E1", From: pressed.Add(-time.Hour), Until: pressed.Add(time.Hour)}}
	case w == "not yet employed":
		s.e.From = "2026-11-05"
	case w == "left":
		s.e.Until = "2026-11-03"
	case w == "last day":
		s.e.Until = "2026-11-04"
	case strings.HasPrefix(w, "names "):
		c.Place = strings.TrimPrefix(w, "names ")
	case delayed.MatchString(w):
		m := delayed.FindStringSubmatch(w)
		d := s.duration(m[1])
		if m[2] == "early" {
			d = -d
		}
		c.ReceivedAt = c.At.Add(d)
	case travelled.MatchString(w):
		m := travelled.FindStringSubmatch(w)
		km, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			s.t.Fatal(err)
		}
		before := *c
		before.Evidence.Fix = &attendance.Fix{Acc: 20, At: c.At.Add(-s.duration(m[2])).Add(s.duration(m[3]))}
		before.Evidence.Fix.Lat, before.Evidence.Fix.Lon = north(attendance.Circle{Lat: f.Lat, Lon: f.Lon}, -1000*km)
		s.past = s.past.After(&before)
	case repeated.MatchString(w):
		m := repeated.FindStringSubmatch(w)
		apart := time.Hour
		if m[2] != "" {
			apart = s.duration(m[2])
		}
		times := map[string]int{"once": 1, "twice": 2}[m[1]]
		for i := times; i > 0; i-- {
			before := *c
			fix := *f
			fix.At = f.At.Add(-time.Duration(i) * apart)
			before.Evidence.Fix = &fix
			s.past = s.past.After(&before)
		}
	default:
		s.t.Fatalf("also %q", w)
	}
}

func (s *scene) duration(w string) time.Duration {
	if w == "" {
		return 0
	}
	d, err := time.ParseDuration(w)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// tables gives each row of the tables in DESIGN.md that have a verdict, by the
// names of its columns.
func tables(t *testing.T) []map[string]string {
	text, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	var head []string
	for number, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "|") {
			head = nil
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case head == nil:
			head = cells
		case strings.HasPrefix(cells[0], "---") || !slices.Contains(head, "verdict"):
		case len(cells) != len(head):
			t.Fatalf("DESIGN.md:%d: %d cells under %d heads", number+1, len(cells), len(head))
		default:
			row := map[string]string{"line": strconv.Itoa(number + 1)}
			for i, cell := range cells {
				row[head[i]] = cell
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// The tables of DESIGN.md are true.
func TestTables(t *testing.T) {
	rows := tables(t)
	if len(rows) < 90 {
		t.Errorf("only %d rows were found", len(rows))
	}
	seen := map[attendance.Reason]bool{}
	for _, row := range rows {
		t.Run("line "+row["line"], func(t *testing.T) {
			s := newScene(t, row)
			j, err := New(s.roster, Options{Site: "xm-hq", Zone: shanghai})
			if err != nil {
				t.Fatal(err)
			}
			f := j.Judge(&s.c, s.e, s.past)
			reasons := strings.Trim(fmt.Sprint(f.Reasons), "[]")
			if f.Verdict.String() != row["verdict"] || reasons != row["reasons"] {
				t.Errorf("DESIGN.md:%s %v: %s, %s", row["line"], row, f.Verdict, reasons)
			}
			for _, r := range f.Reasons {
				seen[r] = true
			}
		})
	}
	for _, r := range told {
		if !seen[r] {
			t.Errorf("no row of DESIGN.md has the reason %s", r)
		}
	}
}
