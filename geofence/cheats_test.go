package geofence

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/golang/geo/s2"

	"github.com/punchd/punchd/protocol/attendance"
)

// A labelled set of made-up working days. It is synthetic and its model is
// this file: an office of 300 m with its own access points, honest phones that
// err as their accuracy says (68 % within it), people who travel at up to
// 80 km/h to customers with fences of 300 m, and the cheats of cheat.
//
// What no check of position and access point can see is not in the set:
// coordinates that are made up well, with noise, on a phone that hides it.
const days = 2_000

type crook struct {
	rnd    *rand.Rand
	past   Past
	now    time.Time
	roster *attendance.Roster
}

var workplace = attendance.Circle{Lat: 31.2304, Lon: 121.4737, Radius: 300}

func labelledRoster() *attendance.Roster {
	r := &attendance.Roster{Places: []attendance.Place{{ID: "hq", Circle: &workplace}}}
	for i := range 16 {
		r.Places[0].WiFi = append(r.Places[0].WiFi, attendance.AccessPoint{BSSID: fmt.Sprintf("a2:8b:7f:c0:27:%02x", i)})
	}
	for i := range 40 {
		lat, lon := north(workplace, 5000+1000*float64(i))
		r.Places = append(r.Places, attendance.Place{ID: fmt.Sprintf("c%d", i), Kind: "customer", Circle: &attendance.Circle{Lat: lat, Lon: lon, Radius: 300}})
	}
	return r
}

// measure is what an honest phone tells at a point: off by a Rayleigh-spread
// distance whose 68 % is the accuracy it tells.
func (w *crook) measure(lat, lon float64) *attendance.Fix {
	acc := []float64{4, 8, 12, 20, 35, 65}[w.rnd.IntN(6)]
	off := acc / 1.5096 * math.Sqrt(-2*math.Log(1-w.rnd.Float64()))
	turn := 2 * math.Pi * w.rnd.Float64()
	p := s2.InterpolateAtDistance(angle(off), point(lat, lon), point(lat+90*math.Cos(turn)/100, lon+90*math.Sin(turn)/100))
	ll := s2.LatLngFromPoint(p)
	return &attendance.Fix{Lat: ll.Lat.Degrees(), Lon: ll.Lng.Degrees(), Acc: acc, At: w.now.Add(-time.Duration(w.rnd.IntN(60)) * time.Second)}
}

// at is an honest check-in within a desk's reach of a centre.
func (w *crook) at(c attendance.Circle, kind attendance.Kind) *attendance.CheckIn {
	spot := s2.LatLngFromPoint(s2.InterpolateAtDistance(angle(60*w.rnd.Float64()), point(c.Lat, c.Lon), point(c.Lat+w.rnd.Float64()-0.5, c.Lon+w.rnd.Float64()-0.5)))
	in := &attendance.CheckIn{Native: true, Auth: attendance.AuthSigned, Kind: kind, At: w.now}
	in.ReceivedAt = w.now.Add(time.Duration(w.rnd.IntN(120)) * time.Second)
	in.Evidence.Fix = w.measure(spot.Lat.Degrees(), spot.Lng.Degrees())
	in.Evidence.WiFi = &attendance.WiFi{BSSID: "02:00:00:00:00:00"}
	if kind == attendance.KindPunch && w.rnd.IntN(100) < 85 {
		in.Evidence.WiFi.BSSID = fmt.Sprintf("a2:8b:7f:c0:27:%02x", w.rnd.IntN(16))
	}
	return in
}

// day is one honest day: in, some visits, out.
func (w *crook) day() []*attendance.CheckIn {
	w.now = w.now.Truncate(24 * time.Hour).Add(24*time.Hour + time.Duration(w.rnd.IntN(3600))*time.Second)
	list := []*attendance.CheckIn{w.at(workplace, attendance.KindPunch)}
	here := workplace
	for range w.rnd.IntN(7) {
		c := w.roster.Places[1+w.rnd.IntN(40)]
		way := metres(point(here.Lat, here.Lon), point(c.Circle.Lat, c.Circle.Lon))
		w.now = w.now.Add(time.Duration(way/(80/3.6)*float64(time.Second)) + time.Duration(10+w.rnd.IntN(60))*time.Minute)
		here = *c.Circle
		visit := w.at(here, attendance.KindVisit)
		visit.Place = c.ID
		list = append(list, visit)
	}
	way := metres(point(here.Lat, here.Lon), point(workplace.Lat, workplace.Lon))
	w.now = w.now.Add(time.Duration(way/(80/3.6)*float64(time.Second)) + time.Hour)
	return append(list, w.at(workplace, attendance.KindPunch))
}

// cheat turns an honest check-in into one of a kind of cheating.
func (w *crook) cheat(kind string, in *attendance.CheckIn) {
	f := in.Evidence.Fix
	lat, lon := north(workplace, -9000)
	switch kind {
	case "from home":
		in.Evidence.Fix = w.measure(lat, lon)
		in.Evidence.WiFi.BSSID = "a4:8b:7f:c0:27:01"
	case "position switched off":
		in.Evidence.Fix, in.Evidence.WiFi = nil, nil
	case "mock provider":
		f.Lat, f.Lon, f.Mock = workplace.Lat, workplace.Lon, true
	case "still coordinates":
		f.Lat, f.Lon, f.Acc = workplace.Lat, workplace.Lon, 5
	case "office's BSSID copied at home":
		in.Evidence.Fix = w.measure(lat, lon)
		in.Evidence.WiFi.BSSID = "a2:8b:7f:c0:27:01"
	case "yesterday's fix":
		f.At = f.At.Add(-24 * time.Hour)
		in.Evidence.WiFi = nil
	case "two places at once":
		w.past = w.past.After(&attendance.CheckIn{At: in.At.Add(-time.Minute), Evidence: attendance.Evidence{
			Fix: &attendance.Fix{Lat: lat, Lon: lon, Acc: 10, At: in.At.Add(-time.Minute)}}})
	case "emulator":
		in.Evidence.WiFi = &attendance.WiFi{BSSID: "00:13:10:85:fe:01", SSID: "AndroidWifi"}
	}
}

func TestLabelledDays(t *testing.T) {
	r := labelledRoster()
	j := newJudge(t, r)
	e := &attendance.Employee{ID: "1"}
	run := func(kind string) (caught, of int) {
		w := &crook{rnd: rand.New(rand.NewPCG(7, 8)), roster: r, now: pressed.UTC()}
		for range days {
			list := w.day()
			night := w.now
			for _, in := range list {
				w.now = in.At
				if in.Kind == attendance.KindPunch || kind == "" {
					w.cheat(kind, in)
					of++
					f := j.Judge(in, e, w.past)
					if f.Verdict != attendance.Accepted {
						caught++
					}
				}
				w.past = w.past.After(in)
			}
			w.now = night
			if kind == "still coordinates" && w.rnd.IntN(200) == 0 {
				w.past = Past{} // another crook
			}
		}
		return caught, of
	}
	flagged, honest := run("")
	t.Logf("honest: %d of %d not accepted (%.3f %%)", flagged, honest, 100*float64(flagged)/float64(honest))
	if flagged*1000 > honest {
		t.Errorf("%d of %d honest check-ins are not accepted, more than 0.1 %%", flagged, honest)
	}
	for _, kind := range []string{"from home", "position switched off", "mock provider", "still coordinates", "office's BSSID copied at home", "yesterday's fix", "two places at once", "emulator"} {
		caught, of := run(kind)
		t.Logf("%s: %d of %d caught (%.2f %%)", kind, caught, of, 100*float64(caught)/float64(of))
		if caught*100 < of*99 {
			t.Errorf("%s: only %d of %d are caught", kind, caught, of)
		}
	}
}
