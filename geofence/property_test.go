package geofence

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/punchd/punchd/protocol/attendance"
)

// world is a random case: one office with a fence and an access point, another
// with a fence alone, and a check-in of somebody.
type world struct {
	roster *attendance.Roster
	in     *attendance.CheckIn
	e      *attendance.Employee
	past   Past
	away   float64 // metres from the centre of hq
}

func draw(t *rapid.T) *world {
	w := &world{e: &attendance.Employee{ID: "E1", Groups: []string{"staff"}}}
	policy := func(group, place string) attendance.Policy {
		p := attendance.Policy{Group: group, Place: place}
		p.Outside = rapid.SampledFrom(outsideWords).Draw(t, "outside")
		p.Photo = rapid.SampledFrom(photoWords).Draw(t, "photo policy")
		if place != "annex" {
			p.Presence = rapid.SampledFrom(presenceWords).Draw(t, "presence")
		}
		return p
	}
	w.roster = &attendance.Roster{Places: []attendance.Place{
		{ID: "hq", Circle: &hq, WiFi: ap(bssid1)},
		{ID: "annex", Circle: &campus},
	}}
	for _, at := range [][2]string{{"", ""}, {"", "hq"}, {"", "annex"}, {"staff", ""}, {"staff", "hq"}} {
		if rapid.Bool().Draw(t, fmt.Sprint("policy for ", at)) {
			w.roster.Policies = append(w.roster.Policies, policy(at[0], at[1]))
		}
	}
	w.away = rapid.Float64Range(0, 3000).Draw(t, "away")
	w.in = checkIn(hq, w.away)
	w.in.Evidence.Fix.Acc = rapid.Float64Range(0, 200).Draw(t, "acc")
	age := rapid.SampledFrom([]time.Duration{0, 0, 0, -time.Minute, -6 * time.Minute, 7 * time.Minute}).Draw(t, "age")
	w.in.Evidence.Fix.At = pressed.Add(age)
	w.in.ReceivedAt = pressed.Add(rapid.SampledFrom([]time.Duration{0, 0, 11 * time.Minute, 80 * time.Hour, -time.Hour}).Draw(t, "delay"))
	w.in.Evidence.WiFi = &attendance.WiFi{BSSID: rapid.SampledFrom([]string{"", bssid1, bssid2}).Draw(t, "bssid")}
	w.in.Place = rapid.SampledFrom([]string{"", "", "hq", "annex", "nowhere"}).Draw(t, "place")
	w.in.Kind = rapid.SampledFrom([]attendance.Kind{attendance.KindPunch, attendance.KindPunch, attendance.KindVisit}).Draw(t, "kind")
	if rapid.Bool().Draw(t, "photo") {
		w.in.Evidence.Photo = &attendance.Photo{}
	}
	if rapid.IntRange(0, 4).Draw(t, "leaver") == 0 {
		w.e.Until = "2026-11-04"
	}
	return w
}

func (w *world) judge(t *rapid.T) Finding {
	j, err := New(w.roster, Options{Zone: shanghai})
	if err != nil {
		t.Fatal(err)
	}
	return j.Judge(w.in, w.e, w.past)
}

func (w *world) match() bool { return w.in.Evidence.WiFi.BSSID == bssid1 }

// fix gives the check-in a fix of its own to change.
func (w *world) fix() *attendance.Fix {
	f := *w.in.Evidence.Fix
	w.in.Evidence.Fix = &f
	return &f
}

// never holds that a change makes no verdict better, or with worse that it
// makes none worse.
func never(t *testing.T, better bool, change func(t *rapid.T, w *world) (applies bool)) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t)
		before := w.judge(t)
		if !change(t, w) {
			return
		}
		after := w.judge(t)
		if better && after.Verdict < before.Verdict || !better && after.Verdict > before.Verdict {
			t.Fatalf("%s %v became %s %v", before.Verdict, before.Reasons, after.Verdict, after.Reasons)
		}
	})
}

func TestFartherIsNeverBetter(t *testing.T) {
	never(t, true, func(t *rapid.T, w *world) bool {
		f := w.fix()
		f.Lat, f.Lon = north(hq, w.away+rapid.Float64Range(0, 1000).Draw(t, "farther"))
		return true // the annex is ten kilometres off
	})
}

func TestPoorerAccuracyIsNeverBetter(t *testing.T) {
	never(t, true, func(t *rapid.T, w *world) bool {
		f := w.fix()
		told := f.Acc
		f.Acc += rapid.Float64Range(0, 5000).Draw(t, "poorer")
		// An access point of the place that contradicts a good fix does not
		// contradict one that says nothing (DESIGN.md).
		return told > 0 && (!w.match() || f.Acc <= 150)
	})
}

func TestSilenceIsNeverBetter(t *testing.T) {
	for name, silence := range map[string]func(w *world) bool{
		"no accuracy":     func(w *world) bool { f := w.fix(); ok := f.Acc <= 150; f.Acc = 0; return ok },
		"no time":         func(w *world) bool { w.fix().At = time.Time{}; return !w.match() },
		"no fix":          func(w *world) bool { w.in.Evidence.Fix = nil; return !w.match() },
		"no access point": func(w *world) bool { w.in.Evidence.WiFi = nil; return true },
		"no photo":        func(w *world) bool { w.in.Evidence.Photo = nil; return true },
	} {
		t.Run(name, func(t *testing.T) {
			never(t, true, func(_ *rapid.T, w *world) bool { return silence(w) })
		})
	}
}

func TestGoodEvidenceIsNeverWorse(t *testing.T) {
	for name, add := range map[string]func(w *world){
		"an access point": func(w *world) { w.in.Evidence.WiFi = &attendance.WiFi{BSSID: bssid1} },
		"a photo":         func(w *world) { w.in.Evidence.Photo = &attendance.Photo{} },
		"an excuse": func(w *world) {
			w.roster.Excuses = []attendance.Excuse{{Employee: "E1", From: pressed, Until: pressed.Add(time.Hour)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			never(t, false, func(_ *rapid.T, w *world) bool { add(w); return true })
		})
	}
}

func TestSignsOfCheatingAreNeverBetter(t *testing.T) {
	for name, add := range map[string]func(w *world){
		"made up":    func(w *world) { w.fix().Mock = true },
		"emulator":   func(w *world) { w.in.Evidence.WiFi = &attendance.WiFi{BSSID: "00:13:10:85:fe:01"} },
		"elsewhere":  func(w *world) { w.past = Past{}.After(checkIn(attendance.Circle{Lat: -30, Lon: -60}, 0)) },
		"dismissed":  func(w *world) { w.e.Until = "2026-11-01" },
		"clock":      func(w *world) { w.in.ReceivedAt = w.in.ReceivedAt.Add(-time.Hour) },
		"no-go zone": func(w *world) { w.roster.Places = append(w.roster.Places, noGoAt(w.in.Evidence.Fix)) },
	} {
		t.Run(name, func(t *testing.T) {
			never(t, true, func(_ *rapid.T, w *world) bool {
				late := w.in.ReceivedAt.Sub(w.in.At) > 72*time.Hour || w.e.Until != "" && w.in.ReceivedAt.After(pressed)
				add(w)
				return name != "clock" || !late // to arrive earlier can mend what lateness spoils
			})
		})
	}
}

func noGoAt(f *attendance.Fix) attendance.Place {
	return attendance.Place{ID: "home", Kind: "no-go", Circle: &attendance.Circle{Lat: f.Lat, Lon: f.Lon, Radius: 50}}
}

func TestANoGoZoneIsNeverAccepted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t)
		f := w.in.Evidence.Fix
		w.roster.Places = append(w.roster.Places, noGoAt(f))
		got := w.judge(t)
		usable := f.Acc <= 150 && apart(f.At, pressed) <= 5*time.Minute
		if usable && (got.Verdict < attendance.Flagged || !slices.Contains(got.Reasons, attendance.ReasonNoGoZone)) {
			t.Fatalf("%s %v", got.Verdict, got.Reasons)
		}
	})
}

func TestStricterPoliciesAreNeverBetter(t *testing.T) {
	for key, words := range map[string][]string{
		"presence": {"any", "wifi-first", "all"}, "outside": {"allow", "flag", "refuse"}, "photo": photoWords,
	} {
		t.Run(key, func(t *testing.T) {
			never(t, true, func(t *rapid.T, w *world) bool {
				if len(w.roster.Policies) == 0 {
					return false
				}
				w.roster.Policies = slices.Clone(w.roster.Policies)
				p := &w.roster.Policies[rapid.IntRange(0, len(w.roster.Policies)-1).Draw(t, "policy")]
				value := map[string]*string{"presence": &p.Presence, "outside": &p.Outside, "photo": &p.Photo}[key]
				i := slices.Index(words, *value)
				if i < 0 || i == len(words)-1 {
					return false
				}
				*value = words[rapid.IntRange(i+1, len(words)-1).Draw(t, "stricter")]
				return p.Place != "annex" || key != "presence"
			})
		})
	}
}

// Every finding is whole: what is not simply accepted says why, no reason
// stands twice, and the order of the file's places does not matter.
func TestFindingsAreWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t)
		f := w.judge(t)
		if f.Verdict > attendance.Accepted && len(f.Reasons) == 0 {
			t.Fatalf("%s for no reason", f.Verdict)
		}
		last := -1
		for _, r := range f.Reasons {
			i := slices.Index(told[:], r)
			if i <= last {
				t.Fatalf("%v are not in order", f.Reasons)
			}
			last = i
		}
		if f.Late != slices.Contains(f.Reasons, attendance.ReasonLate) {
			t.Fatalf("late %v, %v", f.Late, f.Reasons)
		}
		w.roster.Places = slices.Clone(w.roster.Places)
		slices.Reverse(w.roster.Places)
		if g := w.judge(t); fmt.Sprint(f) != fmt.Sprint(g) {
			t.Fatalf("%+v, and with the places the other way round %+v", f, g)
		}
	})
}
