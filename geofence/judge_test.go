package geofence

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/geo/s1"
	"github.com/golang/geo/s2"

	"github.com/punchd/punchd/protocol/attendance"
)

func newJudge(t testing.TB, r *attendance.Roster) *Judge {
	t.Helper()
	j, err := New(r, Options{Site: "own", Zone: shanghai})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// checkIn is signed, fresh and so many metres north of a circle's centre.
func checkIn(c attendance.Circle, metres float64) *attendance.CheckIn {
	f := &attendance.Fix{Acc: 10, At: pressed}
	f.Lat, f.Lon = north(c, metres)
	return &attendance.CheckIn{Native: true, Auth: attendance.AuthSigned, Kind: attendance.KindPunch, At: pressed, ReceivedAt: pressed,
		Evidence: attendance.Evidence{Fix: f}}
}

func ap(bssid string) []attendance.AccessPoint { return []attendance.AccessPoint{{BSSID: bssid}} }

const (
	bssid1 = "a2:8b:7f:c0:27:01"
	bssid2 = "a2:8b:7f:c0:27:02"
)

// Every mistake of a roster is told at once, each at its entry.
func TestNewErrors(t *testing.T) {
	square := corners(0, 0, 0, 0.01, 0.01, 0.01)
	_, err := New(&attendance.Roster{
		Places: []attendance.Place{
			{ID: "a", Circle: &attendance.Circle{Lat: 121, Lon: 31, Radius: 1}},
			{ID: "b", Polygon: corners(0, 0, 0, 0.01, 95, 200)},
			{ID: "c", Kind: "shop", Datum: "gcj-02", Circle: &hq},
			{ID: "d", WiFi: []attendance.AccessPoint{{BSSID: bssid1}, {BSSID: "00:00:00:00:00:00"}, {BSSID: bssid1}}},
			{ID: "e"},
			{ID: "f", Kind: "no-go"},
			{ID: "home", Kind: "no-go", Polygon: square},
			{ID: "fenced", Polygon: square},
			{ID: "wired", WiFi: ap(bssid2)},
		},
		Policies: []attendance.Policy{
			{Presence: "both", Outside: "deny", Photo: "yes"},
			{},
			{Place: "nowhere"},
			{Place: "home"},
			{Place: "fenced", Presence: "wifi-first"},
			{Place: "wired", Presence: "all"},
			{Place: "a", Presence: "all"},
			{Group: "sales", Place: "wired"},
			{Group: "sales", Place: "wired", Photo: "required"},
		},
	}, Options{})
	want := []string{
		"places[0].circle (a): latitude 121 is out of range; lat and lon look swapped",
		"places[1].polygon[2] (b): latitude 95 is out of range (-90 to 90)",
		`places[2].kind (c): "shop" is unknown (known: office, customer, no-go)`,
		`places[2].datum (c): unknown datum "gcj-02" (known: wgs84, gcj02, bd09)`,
		`places[3].wifi[1] (d): bssid "00:00:00:00:00:00" is what a phone writes when it may not tell; it would match every such phone`,
		"places[3].wifi[2] (d): bssid a2:8b:7f:c0:27:01 stands here twice",
		"places[4] (e): can't be recognised: give it a circle, a polygon or wifi",
		"places[5] (f): can't be recognised: give it a circle, a polygon or wifi",
		`policies[0].presence: "both" is unknown (known: any, all, wifi-first)`,
		`policies[0].outside: "deny" is unknown (known: flag, allow, refuse)`,
		`policies[0].photo: "yes" is unknown (known: none, required)`,
		"policies[1]: never counts: policies[0] is for the same group and place",
		`policies[2].place: there is no place "nowhere"`,
		`policies[3].place: "home" is a no-go place, which asks for nothing`,
		`policies[4].presence: "wifi-first" can't be shown at "fenced", which has no wifi`,
		`policies[5].presence: "all" can't be shown at "wired", which has no circle or polygon`,
		"policies[8]: never counts: policies[7] is for the same group and place",
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("got:\n%v\nwant:\n%s", err, strings.Join(want, "\n"))
	}
	if entry, ok := errors.AsType[*attendance.EntryError](err); !ok || entry.Path != "places[0].circle" {
		t.Errorf("%T holds no EntryError", err)
	}

	many := &attendance.Roster{Places: make([]attendance.Place, 1000)}
	if _, err := New(many, Options{}); err == nil || !strings.HasSuffix(err.Error(), "and 900 more") || strings.Count(err.Error(), "\n") != maxProblems {
		t.Errorf("a thousand mistakes are told as %.200v", err)
	}
}

func TestWarnings(t *testing.T) {
	j := newJudge(t, &attendance.Roster{
		Employees: []attendance.Employee{{ID: "1", Groups: []string{"Sales", "drivers"}}},
		Policies:  []attendance.Policy{{Group: "sales"}, {Group: "drivers"}, {Group: "cooks"}},
	})
	got := []string{}
	for _, w := range j.Warnings() {
		got = append(got, w.Error())
	}
	want := []string{`policies[0].group: nobody is in the group "sales", but somebody in "Sales"`, `policies[2].group: nobody is in the group "cooks"`}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The place and site of a finding, and which of several places it is.
func TestPlaces(t *testing.T) {
	around := func(c attendance.Circle, radius float64) *attendance.Circle { c.Radius = radius; return &c }
	j := newJudge(t, &attendance.Roster{
		Places: []attendance.Place{
			{ID: "grounds", Site: "sh", Circle: around(hq, 2000)},
			{ID: "building", Site: "sh", Circle: around(hq, 200)},
			{ID: "twin", Site: "sh", Circle: around(hq, 200)},
			{ID: "branch", Circle: &campus, WiFi: ap(bssid1)},
			{ID: "strict", Circle: &shopAt, WiFi: ap(bssid2)},
			{ID: "pale", Circle: around(shopAt, 500)},
			{ID: "client", Kind: "customer", Circle: &client},
			{ID: "home", Kind: "no-go", Circle: &home},
		},
		Policies: []attendance.Policy{{Place: "strict", Presence: "all"}},
	})
	for _, c := range []struct {
		name   string
		edit   func(c *attendance.CheckIn)
		at     attendance.Circle
		metres float64
		place  string
		site   string
	}{
		{"the smaller of two, and the first of twins", nil, hq, 0, "building", "sh"},
		{"only the larger", nil, hq, 500, "grounds", "sh"},
		{"the one that is surely right before the smaller", nil, hq, 195, "grounds", "sh"},
		{"a site of its own", nil, campus, 0, "branch", "own"},
		{"by access point alone", func(c *attendance.CheckIn) { c.Evidence.Fix, c.Evidence.WiFi = nil, &attendance.WiFi{BSSID: bssid1} }, hq, 0, "branch", "own"},
		{"fence before a contradicted access point", func(c *attendance.CheckIn) { c.Evidence.WiFi = &attendance.WiFi{BSSID: bssid1} }, hq, 0, "building", "sh"},
		{"the one whose policy is content", nil, shopAt, 0, "pale", "own"},
		{"the stricter one once it is content", func(c *attendance.CheckIn) {
			c.Evidence.WiFi = &attendance.WiFi{BSSID: bssid2}
			c.Evidence.Fix.Acc = 0.5
		}, shopAt, 0, "strict", "own"},
		{"nowhere", nil, hq, 3000, "", "own"},
		{"no office at a customer's", nil, client, 0, "", "own"},
		{"a visit", func(c *attendance.CheckIn) { c.Kind = attendance.KindVisit }, client, 0, "client", "own"},
		{"a visit is not at the office", func(c *attendance.CheckIn) { c.Kind = attendance.KindVisit }, hq, 0, "", "own"},
		{"named, and not there", func(c *attendance.CheckIn) { c.Place = "client" }, hq, 0, "client", "own"},
		{"named, the larger", func(c *attendance.CheckIn) { c.Place = "grounds" }, hq, 0, "grounds", "sh"},
		{"named, not in the roster", func(c *attendance.CheckIn) { c.Place = "elsewhere" }, hq, 0, "", "own"},
		{"named, no place to be", func(c *attendance.CheckIn) { c.Place = "home" }, home, 0, "", "own"},
		{"not proven who", func(c *attendance.CheckIn) { c.Auth = attendance.AuthBadSignature }, hq, 0, "", "own"},
	} {
		in := checkIn(c.at, c.metres)
		if c.edit != nil {
			c.edit(in)
		}
		if f := j.Judge(in, &attendance.Employee{ID: "1"}, Past{}); f.Place != c.place || f.Site != c.site {
			t.Errorf("%s: place %q site %q, want %q %q (%s %v)", c.name, f.Place, f.Site, c.place, c.site, f.Verdict, f.Reasons)
		}
	}
}

// Which policy counts, shown by what it makes of a check-in without a photo
// (at a place) and of one far outside.
func TestPolicies(t *testing.T) {
	refuse, flag, allow := attendance.Refused, attendance.Flagged, attendance.Accepted
	r := &attendance.Roster{
		Places: []attendance.Place{{ID: "hq", Circle: &hq}, {ID: "campus", Circle: &campus}, {ID: "client", Kind: "customer", Circle: &client}},
		Policies: []attendance.Policy{
			{Outside: "allow"},
			{Place: "campus", Outside: "refuse", Photo: "required"},
			{Group: "sales", Outside: "flag"},
			{Group: "boss", Outside: "allow"},
			{Group: "boss", Place: "hq", Photo: "required", Outside: "allow"},
			{Group: "guards", Place: "campus", Outside: "allow"},
			{Group: "night", Place: "campus", Outside: "refuse"},
			{Group: "temps", Outside: "refuse"},
			{Group: "temps", Place: "hq", Outside: "allow"},
			{Group: "temps", Place: "campus", Outside: "allow"},
		},
	}
	j := newJudge(t, r)
	groups := func(g ...string) []string { return g }
	for _, c := range []struct {
		name          string
		groups        []string
		kind          attendance.Kind
		photo         bool
		hq, campus, o attendance.Verdict // at hq, at the campus, outside of all
	}{
		{"no group: place before neither, strictest outside", nil, attendance.KindPunch, false, allow, flag, refuse},
		{"no group, with photo", nil, attendance.KindPunch, true, allow, allow, refuse},
		{"group of no policy", groups("cooks"), attendance.KindPunch, true, allow, allow, refuse},
		{"group before place", groups("sales"), attendance.KindPunch, false, allow, allow, flag},
		{"group and place before group", groups("boss"), attendance.KindPunch, false, flag, allow, flag},
		{"the same with photo", groups("boss"), attendance.KindPunch, true, allow, allow, allow},
		{"group and place before place", groups("guards"), attendance.KindPunch, false, allow, allow, allow},
		{"two groups: the first in the file", groups("boss", "sales"), attendance.KindPunch, true, allow, allow, flag},
		{"two groups at one place: the first in the file", groups("night", "guards"), attendance.KindPunch, false, allow, allow, allow},
		{"the later of two alone", groups("night"), attendance.KindPunch, false, allow, allow, refuse},
		{"a policy for each place leaves nothing to the group's", groups("temps"), attendance.KindPunch, false, allow, allow, allow},
		{"and says nothing of customers", groups("temps"), attendance.KindVisit, false, refuse, refuse, refuse},
		{"an office's photo is not asked of a visit", groups("boss"), attendance.KindVisit, false, allow, allow, allow},
		{"a visit looks at customers only", nil, attendance.KindVisit, false, allow, allow, allow},
	} {
		e := &attendance.Employee{ID: "1", Groups: c.groups}
		for where, want := range map[attendance.Circle]attendance.Verdict{hq: c.hq, campus: c.campus, home: c.o} {
			in := checkIn(where, 0)
			if in.Kind = c.kind; c.photo {
				in.Evidence.Photo = &attendance.Photo{}
			}
			if f := j.Judge(in, e, Past{}); f.Verdict != want {
				t.Errorf("%s: at %v %s %v, want %s", c.name, where, f.Verdict, f.Reasons, want)
			}
		}
	}
}

// Where the roster has nothing to judge by, a check-in is unverified, and what
// is wrong with it by itself is still told.
func TestNothingToJudgeBy(t *testing.T) {
	e := &attendance.Employee{ID: "1"}
	empty := newJudge(t, &attendance.Roster{})
	if f := empty.Judge(checkIn(hq, 0), e, Past{}); f.Verdict != attendance.Unverified || f.Reasons != nil || f.Place != "" || f.Site != "own" {
		t.Errorf("an empty roster: %+v", f)
	}
	in := checkIn(hq, 0)
	in.Evidence.Fix.Mock = true
	if f := empty.Judge(in, e, Past{}); f.Verdict != attendance.Flagged {
		t.Errorf("made up: %+v", f)
	}
	offices := newJudge(t, &attendance.Roster{Places: []attendance.Place{{ID: "hq", Circle: &hq}}})
	in = checkIn(client, 0)
	in.Kind = attendance.KindVisit
	if f := offices.Judge(in, e, Past{}); f.Verdict != attendance.Unverified {
		t.Errorf("a visit where there are no customers: %+v", f)
	}
	said := newJudge(t, &attendance.Roster{Policies: []attendance.Policy{{Outside: "refuse"}}})
	if f := said.Judge(checkIn(hq, 0), e, Past{}); f.Verdict != attendance.Refused || !slices.Equal(f.Reasons, []attendance.Reason{attendance.ReasonOutsideFence}) {
		t.Errorf("a policy and no place: %+v", f)
	}
}

func TestExcuses(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 11, 4, hour, 0, 0, 0, time.UTC) }
	x := newExcuses([]attendance.Excuse{
		{Employee: "1", From: at(14), Until: at(15)},
		{Employee: "1", From: at(8), Until: at(10)},
		{Employee: "1", From: at(9), Until: at(9).Add(time.Minute)},
		{Employee: "1", From: at(10), Until: at(12)},
		{Employee: "2", From: at(20), Until: at(21)},
	})
	if len(x["1"]) != 2 {
		t.Errorf("not merged: %v", x["1"])
	}
	var covered []int
	for h := range 24 {
		if x.cover("1", at(h)) {
			covered = append(covered, h)
		}
	}
	if !slices.Equal(covered, []int{8, 9, 10, 11, 14}) {
		t.Errorf("covered at %v", covered)
	}
	if x.cover("3", at(8)) || x.cover("2", at(8)) || !x.cover("2", at(20)) {
		t.Error("the excuse of another")
	}
}

// A day of employment is one in the site's zone.
func TestEmploymentIsInTheZone(t *testing.T) {
	j := newJudge(t, &attendance.Roster{})
	e := &attendance.Employee{ID: "1", From: "2026-11-04", Until: "2026-11-04"}
	for text, want := range map[string]bool{
		"2026-11-03T15:59:59Z": false, "2026-11-03T16:00:00Z": true, "2026-11-04T15:59:59Z": true, "2026-11-04T16:00:00Z": false,
	} {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		if got := j.employed(e, at); got != want {
			t.Errorf("%s: employed %v", text, got)
		}
	}
	// The last punch of the last day, half a minute before midnight, is on its
	// way over midnight.
	in := checkIn(hq, 0)
	in.At = time.Date(2026, 11, 4, 23, 59, 30, 0, shanghai)
	in.ReceivedAt = in.At.Add(time.Minute)
	if f := j.Judge(in, e, Past{}); slices.Contains(f.Reasons, attendance.ReasonNotEmployed) {
		t.Errorf("over midnight: %v", f.Reasons)
	}
}

func TestPast(t *testing.T) {
	c := checkIn(hq, 0)
	step := func(p Past, after time.Duration, metres float64) Past {
		next := checkIn(hq, metres)
		next.Evidence.Fix.At = pressed.Add(after)
		return p.After(next)
	}
	p := step(Past{}, 0, 0)
	if p.spots[0].sittings != 1 || !p.at.Equal(pressed) || p.lat != c.Evidence.Fix.Lat {
		t.Errorf("the first: %+v", p)
	}
	// Pressing every four minutes is one sitting after another, not one for ever.
	for i := range 6 {
		p = step(p, time.Duration(4*i)*time.Minute, 0)
	}
	if p.spots[0].sittings != 2 || !p.at.Equal(pressed.Add(20*time.Minute)) {
		t.Errorf("twenty minutes: %+v", p)
	}
	if q := step(p, time.Hour, 0.01); q.spots[0].sittings != 1 || q.spots[1] != p.spots[0] {
		t.Errorf("a centimetre away: %+v", q)
	}
	// Seven other places do not hide a repetition, eight do; a late one that is
	// older by an hour is a sitting too.
	for others, want := range map[int]int64{0: 3, 1: 3, 7: 3, 8: 1} {
		q := p
		for i := range others {
			q = step(q, time.Hour, float64(100+i))
		}
		if q = step(q, -time.Hour, 0); q.spots[0].sittings != want {
			t.Errorf("after %d other places: sitting %d, want %d", others, q.spots[0].sittings, want)
		}
	}
	// What tells nothing changes nothing.
	mock := checkIn(hq, 0)
	mock.Evidence.Fix.Mock = true
	bad := checkIn(hq, 0)
	bad.Evidence.Fix.Lat = math.NaN()
	absent := checkIn(hq, 0)
	absent.Evidence.Fix = nil
	for _, c := range []*attendance.CheckIn{mock, bad, absent} {
		if q := p.After(c); q != p {
			t.Errorf("%+v became %+v", p, q)
		}
	}
	untimed := checkIn(hq, 5)
	untimed.Evidence.Fix.At = time.Time{}
	if q := p.After(untimed); !q.at.Equal(untimed.At) {
		t.Errorf("a fix without its time counts from %v", q.at)
	}
}

func TestQuickestGrows(t *testing.T) {
	last := time.Duration(0)
	for way := 0.0; way < 2e7; way += 1000 {
		d := quickest(way)
		if d < last {
			t.Fatalf("%v m take %v, less takes %v", way, d, last)
		}
		last = d
	}
	for way, want := range map[float64]time.Duration{50_000: 20 * time.Minute, 400_000: 80 * time.Minute} {
		if d := quickest(way); (d - want).Abs() > time.Second {
			t.Errorf("%v m take %v, want %v", way, d, want)
		}
	}
}

// The index leaves out no fence that a point is in or near.
func TestCellsFindAll(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var x cells
	var areas []s2.Cap
	for i := range 500 {
		radius := math.Pow(10, 1+4*rnd.Float64()) // 10 m to 100 km
		at := s2.LatLngFromDegrees(-90+180*rnd.Float64(), -180+360*rnd.Float64())
		if i < 20 {
			at = s2.LatLngFromDegrees([]float64{90, -90, 0, 0.0001}[i%4], []float64{180, -180, 179.9999}[i%3])
		}
		area := s2.CapFromCenterAngle(s2.PointFromLatLng(at), angle(radius))
		areas = append(areas, area)
		x.add(int32(i), area)
	}
	hits := 0
	for i := range 20_000 {
		// Near the edge of an area, to either side.
		area := areas[i%len(areas)]
		at := s2.LatLngFromPoint(s2.InterpolateAtDistance(area.Radius()*1.01, area.Center(), point(-90+180*rnd.Float64(), 360*rnd.Float64())))
		if i%2 == 0 {
			at = s2.LatLngFromPoint(s2.InterpolateAtDistance(area.Radius()*0.99, area.Center(), point(-90+180*rnd.Float64(), 360*rnd.Float64())))
		}
		found := x.near(at, nil)
		slices.Sort(found)
		if len(slices.Compact(slices.Clone(found))) != len(found) {
			t.Fatalf("%v twice at %v", found, at)
		}
		for n, area := range areas {
			if area.ContainsPoint(s2.PointFromLatLng(at)) {
				hits++
				if !slices.Contains(found, int32(n)) {
					t.Fatalf("%v is in area %d (%v), which was not found", at, n, area)
				}
			}
		}
	}
	if hits < 5000 {
		t.Errorf("only %d points lay in an area", hits)
	}
}

// A fence is found from as far away as the poorest accuracy reaches, on every
// side.
func TestNearbyOnEverySide(t *testing.T) {
	for _, at := range []attendance.Circle{{Lat: 31.2304, Lon: 121.4737, Radius: 10}, {Lat: 0, Lon: 180, Radius: 10}, {Lat: 89.9999, Lon: 0, Radius: 10}} {
		j := newJudge(t, &attendance.Roster{Places: []attendance.Place{{ID: "hq", Circle: &at}}})
		for i := range 360 {
			toward := point(at.Lat-1, at.Lon)
			p := s2.LatLngFromPoint(s2.Rotate(s2.InterpolateAtDistance(angle(10+149), point(at.Lat, at.Lon), toward), point(at.Lat, at.Lon), s1.Angle(i)*s1.Degree))
			in := checkIn(at, 0)
			*in.Evidence.Fix = attendance.Fix{Lat: p.Lat.Degrees(), Lon: p.Lng.Degrees(), Acc: 149.5, At: pressed}
			if f := j.Judge(in, &attendance.Employee{ID: "1"}, Past{}); !slices.Equal(f.Reasons, []attendance.Reason{attendance.ReasonUncertainFence}) {
				t.Fatalf("%v at %d°: %v", at, i, f.Reasons)
			}
		}
	}
}

// One judge serves every phone at once; the race detector watches.
func TestJudgeIsSafeForConcurrentUse(t *testing.T) {
	r := large()
	j := newJudge(t, r)
	e := &r.Employees[0]
	in := checkIn(*r.Places[500].Circle, 1)
	in.Evidence.WiFi = &attendance.WiFi{BSSID: r.Places[500].WiFi[0].BSSID}
	want := fmt.Sprint(j.Judge(in, e, Past{}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if got := fmt.Sprint(j.Judge(in, e, Past{})); got != want {
					t.Errorf("%s, before it was %s", got, want)
					return
				}
			}
		})
	}
	wg.Wait()
	if !strings.Contains(want, "P500") {
		t.Errorf("judged %s", want)
	}
}

// large is a roster of a thousand places with two access points each.
func large() *attendance.Roster {
	rnd := rand.New(rand.NewPCG(5, 6))
	r := &attendance.Roster{Employees: []attendance.Employee{{ID: "1", Groups: []string{"staff", "sales"}}}}
	for i := range 1000 {
		c := &attendance.Circle{Lat: 31 + rnd.Float64(), Lon: 121 + rnd.Float64(), Radius: 100 + 200*rnd.Float64()}
		p := attendance.Place{ID: fmt.Sprintf("P%d", i), Circle: c}
		for k := range 2 {
			p.WiFi = append(p.WiFi, attendance.AccessPoint{BSSID: fmt.Sprintf("a2:8b:7f:%02x:%02x:%02x", i>>8, i&0xff, k)})
		}
		r.Places = append(r.Places, p)
	}
	r.Policies = []attendance.Policy{{Outside: "flag"}, {Group: "sales", Outside: "allow"}, {Place: "P7", Presence: "all"}}
	return r
}

func BenchmarkJudge(b *testing.B) {
	r := large()
	j := newJudge(b, r)
	e := &r.Employees[0]
	past := Past{}.After(checkIn(hq, 0))
	here := *r.Places[500].Circle
	for name, in := range map[string]*attendance.CheckIn{"inside": checkIn(here, 1), "outside": checkIn(hq, 300_000)} {
		in.Evidence.WiFi = &attendance.WiFi{BSSID: r.Places[500].WiFi[0].BSSID, SSID: "Office"}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				j.Judge(in, e, past)
			}
		})
	}
}

func BenchmarkLookUp(b *testing.B) {
	r := large()
	j := newJudge(b, r)
	at := s2.LatLngFromDegrees(r.Places[500].Circle.Lat, r.Places[500].Circle.Lon)
	var buf [32]int32
	b.ReportAllocs()
	for b.Loop() {
		j.cells.near(at, buf[:0])
	}
}

func BenchmarkNew(b *testing.B) {
	r := large()
	b.ReportAllocs()
	for b.Loop() {
		newJudge(b, r)
	}
}
