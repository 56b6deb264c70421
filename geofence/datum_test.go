package geofence

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/golang/geo/s2"

	"github.com/punchd/punchd/protocol/attendance"
)

// Points of the published formulas, to eight digits.
func TestDatumVectors(t *testing.T) {
	for _, c := range []struct {
		place            string
		wLat, wLon       float64
		gLat, gLon       float64
		bLat, bLon       float64
		gUnchanged, noBD bool
	}{
		{place: "Beijing", wLat: 39.908722, wLon: 116.397499, gLat: 39.91012550, gLon: 116.40374258, bLat: 39.91646475, bLon: 116.41011557},
		{place: "Shanghai", wLat: 31.230416, wLon: 121.473701, gLat: 31.22847374, gLon: 121.47822406, bLat: 31.23432658, bLon: 121.48478247},
		{place: "Xiamen", wLat: 24.479834, wLon: 118.089425, gLat: 24.47718724, gLon: 118.09440208, bLat: 24.48344488, bLon: 118.10084569},
		{place: "Yinchuan", wLat: 38.487193, wLon: 106.230909, gLat: 38.48765252, gLon: 106.23530791, bLat: 38.49355832, bLon: 106.24182092},
		{place: "Urumqi", wLat: 43.825592, wLon: 87.616848, gLat: 43.82679744, gLon: 87.61969800, bLat: 43.83294127, bLon: 87.62614810},
		{place: "Hong Kong", wLat: 22.302711, wLon: 114.177216, gLat: 22.29995086, gLon: 114.18216082, bLat: 22.30560718, bLon: 114.18871027},
		{place: "Tokyo", wLat: 35.681236, wLon: 139.767125, gUnchanged: true, bLat: 35.68717723, bLon: 139.77365717},
		{place: "London", wLat: 51.507351, wLon: -0.127758, gUnchanged: true, noBD: true},
	} {
		if c.gUnchanged {
			c.gLat, c.gLon = c.wLat, c.wLon
		}
		lat, lon := wgsToGCJ(c.wLat, c.wLon)
		near(t, c.place+": WGS-84 to GCJ-02", lat, lon, c.gLat, c.gLon, 6e-9)
		toWGS84 := conversion(t, "gcj02")
		lat, lon = toWGS84(c.gLat, c.gLon)
		near(t, c.place+": GCJ-02 to WGS-84", lat, lon, c.wLat, c.wLon, 1e-8)
		if c.noBD {
			continue
		}
		lat, lon = gcjToBD(wgsToGCJ(c.wLat, c.wLon))
		near(t, c.place+": WGS-84 to BD-09", lat, lon, c.bLat, c.bLon, 6e-9)
		toWGS84 = conversion(t, "bd09")
		lat, lon = toWGS84(c.bLat, c.bLon)
		near(t, c.place+": BD-09 to WGS-84", lat, lon, c.wLat, c.wLon, 2e-8)
	}
}

// What the coordtransform library of JavaScript computes, to all its digits.
func TestDatumAgainstCoordtransform(t *testing.T) {
	lat, lon := wgsToGCJ(39.915, 116.404)
	near(t, "wgs84togcj02", lat, lon, 39.91640428150164, 116.41024449916938, 1e-13)
	lat, lon = gcjToBD(39.915, 116.404)
	near(t, "gcj02tobd09", lat, lon, 39.92133699351022, 116.41036949371029, 1e-13)
	lat, lon = bdToGCJRough(39.915, 116.404)
	near(t, "bd09togcj02", lat, lon, 39.90865673957631, 116.39762729119315, 1e-13)
	// Its way back is one step, which is what the iteration begins with.
	fLat, fLon := gcjAnywhere(39.915, 116.404)
	near(t, "gcj02towgs84", 2*39.915-fLat, 2*116.404-fLon, 39.91359571849836, 116.39775550083061, 1e-13)
}

func conversion(t *testing.T, datum string) func(lat, lon float64) (float64, float64) {
	t.Helper()
	f, err := toWGS(datum)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func near(t *testing.T, what string, lat, lon, wantLat, wantLon, within float64) {
	t.Helper()
	if !(math.Abs(lat-wantLat) <= within && math.Abs(lon-wantLon) <= within) {
		t.Errorf("%s: %.14f, %.14f; want %.14f, %.14f", what, lat, lon, wantLat, wantLon)
	}
}

// There and back is the same place to a tenth of a millimetre, all over the
// box and round its edges.
func TestDatumRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	gcj, bd := conversion(t, "gcj02"), conversion(t, "bd09")
	longest := 0.0
	for range 20_000 {
		lat, lon := 3.86+rnd.Float64()*(53.55-3.86), 73.66+rnd.Float64()*(135.05-73.66)
		gLat, gLon := wgsToGCJ(lat, lon)
		backLat, backLon := gcj(gLat, gLon)
		near(t, "by GCJ-02", backLat, backLon, lat, lon, 1e-9)
		backLat, backLon = bd(gcjToBD(gLat, gLon))
		near(t, "by BD-09", backLat, backLon, lat, lon, 1e-9)
		if t.Failed() {
			return
		}
		longest = max(longest, metres(point(lat, lon), point(gLat, gLon)))
	}
	if longest < 690 || longest > 720 {
		t.Errorf("the longest shift is %.0f m, should be some 700", longest)
	}
	// Outside nothing moves, and the far side of the Earth gives numbers still.
	for _, p := range [][2]float64{{0, 0}, {90, 180}, {-90, -180}, {53.56, 100}, {30, 73.6}, {30, 135.1}, {3.8, 100}} {
		if lat, lon := wgsToGCJ(p[0], p[1]); lat != p[0] || lon != p[1] {
			t.Errorf("%v moved to %v, %v", p, lat, lon)
		}
		lat, lon := bd(p[0], p[1])
		if math.IsNaN(lat+lon) || math.Abs(lat-p[0]) > 0.05 || math.Abs(lon-p[1]) > 0.05 {
			t.Errorf("%v from BD-09 is %v, %v", p, lat, lon)
		}
	}
}

func TestUnknownDatum(t *testing.T) {
	for _, d := range []string{"WGS84", "gcj-02", "nad27"} {
		if _, err := toWGS(d); err == nil {
			t.Errorf("datum %q is taken", d)
		}
	}
}

func TestCheckPoint(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		lat, lon float64
		want     string
	}{
		{0, 0, ""}, {90, 180, ""}, {-90, -180, ""},
		{121.47, 31.23, "latitude 121.47 is out of range; lat and lon look swapped"},
		{91, 120, "latitude 91 is out of range (-90 to 90)"},
		{200, 10, "latitude 200 is out of range (-90 to 90)"},
		{10, 180.5, "longitude 180.5 is out of range (-180 to 180)"},
		{nan, 0, "NaN, 0 is no position"}, {0, nan, "0, NaN is no position"},
		{inf, 0, "+Inf, 0 is no position"}, {0, -inf, "0, -Inf is no position"},
	} {
		got := ""
		if err := checkPoint(attendance.Point{Lat: c.lat, Lon: c.lon}); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v, %v: %q, want %q", c.lat, c.lon, got, c.want)
		}
	}
}

func point(lat, lon float64) s2.Point { return s2.PointFromLatLng(s2.LatLngFromDegrees(lat, lon)) }
