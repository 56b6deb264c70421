package geofence

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/golang/geo/s1"
	"github.com/golang/geo/s2"

	"github.com/punchd/punchd/protocol/attendance"
)

func TestMetres(t *testing.T) {
	for _, c := range []struct {
		aLat, aLon, bLat, bLon, want, within float64
	}{
		{31.230416, 121.473701, 31.231316, 121.473701, 100.0756, 5e-5},
		{31.230416, 121.473701, 31.239703, 121.499718, 2680.5217, 5e-5},
		{0, 179.9995, 0, -179.9995, 111.195, 5e-4},
		{0, 0, 0, 0, 0, 0},
		{90, 0, 90, 135, 0, 1e-6},
		{0, 0, 0, 180, math.Pi * earthRadius, 1},
	} {
		if d := metres(point(c.aLat, c.aLon), point(c.bLat, c.bLon)); math.Abs(d-c.want) > c.within {
			t.Errorf("%v,%v to %v,%v: %.4f m, want %.4f", c.aLat, c.aLon, c.bLat, c.bLon, d, c.want)
		}
	}
}

func corners(list ...float64) []attendance.Point {
	var out []attendance.Point
	for i := 0; i < len(list); i += 2 {
		out = append(out, attendance.Point{Lat: list[i], Lon: list[i+1]})
	}
	return out
}

func reversed(in []attendance.Point) []attendance.Point {
	out := make([]attendance.Point, len(in))
	for i, p := range in {
		out[len(in)-1-i] = p
	}
	return out
}

// star is a ring of n corners, every other one half as far from the centre.
func star(n int, lat, lon, degrees float64) []attendance.Point {
	out := make([]attendance.Point, n)
	for i := range out {
		r, a := degrees, 2*math.Pi*float64(i)/float64(n)
		if i%2 == 1 {
			r /= 2
		}
		out[i] = attendance.Point{Lat: lat + r*math.Sin(a), Lon: lon + r*math.Cos(a)}
	}
	return out
}

// Each shape is asked about points on either side of its edge, at the distance
// that plain trigonometry gives; a tenth of a degree is 11119.5 m.
func TestFences(t *testing.T) {
	const tenth = earthRadius * math.Pi / 1800
	square := corners(0, 0, 0, 0.1, 0.1, 0.1, 0.1, 0)
	for _, c := range []struct {
		name  string
		place attendance.Place
		want  map[[2]float64]float64 // distance by point
	}{
		{"circle", attendance.Place{Circle: &attendance.Circle{Lat: 31, Lon: 121, Radius: 100}},
			map[[2]float64]float64{{31, 121}: -100, {31.1, 121}: tenth - 100}},
		{"circle on the antimeridian", attendance.Place{Circle: &attendance.Circle{Lat: 0, Lon: 180, Radius: 100}},
			map[[2]float64]float64{{0, -180}: -100, {0, -179.9995}: tenth/200 - 100, {0, 179.9}: tenth - 100}},
		{"circle on a pole", attendance.Place{Circle: &attendance.Circle{Lat: 90, Lon: 17, Radius: 100}},
			map[[2]float64]float64{{90, -50}: -100, {89.9, 100}: tenth - 100}},
		{"square", attendance.Place{Polygon: square},
			map[[2]float64]float64{{0.01, 0.05}: -tenth / 10, {-0.1, 0.05}: tenth, {0.05, 0.2}: tenth, {0.05, 0.05}: -tenth / 2}},
		{"clockwise", attendance.Place{Polygon: reversed(square)},
			map[[2]float64]float64{{0.01, 0.05}: -tenth / 10, {-0.1, 0.05}: tenth}},
		{"closed by hand", attendance.Place{Polygon: append(corners(0, 0, 0, 0.1, 0.1, 0.1, 0.1, 0), square[0])},
			map[[2]float64]float64{{0.01, 0.05}: -tenth / 10}},
		{"concave", attendance.Place{Polygon: corners(0, 0, 0, 0.3, 0.3, 0.3, 0.3, 0.2, 0.1, 0.2, 0.1, 0.1, 0.3, 0.1, 0.3, 0)},
			map[[2]float64]float64{{0.05, 0.15}: -tenth / 2, {0.25, 0.15}: tenth / 2, {0.25, 0.05}: -tenth / 2}},
		{"over the antimeridian", attendance.Place{Polygon: corners(-0.1, 179.9, -0.1, -179.9, 0.1, -179.9, 0.1, 179.9)},
			map[[2]float64]float64{{0, 180}: -tenth, {0, -180}: -tenth, {0, 179.95}: -tenth / 2, {0, -179.8}: tenth, {0, 0}: 19_999_389}},
		{"round the pole", attendance.Place{Polygon: corners(89.9, 0, 89.9, 90, 89.9, 180, 89.9, -90)},
			map[[2]float64]float64{{90, 0}: -tenth / math.Sqrt2, {89.8, 0}: tenth}},
		{"of many corners", attendance.Place{Polygon: star(64, 10, 20, 0.1)},
			map[[2]float64]float64{{10, 20.2}: tenth * math.Cos(10*math.Pi/180)}},
	} {
		for _, datum := range []string{"", "wgs84"} {
			c.place.Datum = datum
			f, err := newFence(&c.place)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			for p, want := range c.want {
				at := point(p[0], p[1])
				if d := f.distance(at); math.Abs(d-want) > 0.001+math.Abs(want)*1e-4 {
					t.Errorf("%s: %v is at %.3f m, want %.3f", c.name, p, d, want)
				} else if d <= 0 && !f.bound().ContainsPoint(at) {
					t.Errorf("%s: %v is inside, and not in the bound", c.name, p)
				}
			}
			if r := f.bound().Radius().Radians() * earthRadius; r > 60_000 {
				t.Errorf("%s: a bound of %.0f m", c.name, r)
			}
		}
	}
}

// A fence on a Chinese map is where that map shows it.
func TestFenceDatum(t *testing.T) {
	for datum, c := range map[string]attendance.Circle{
		"wgs84": {Lat: 31.230416, Lon: 121.473701, Radius: 50},
		"gcj02": {Lat: 31.22847374, Lon: 121.47822406, Radius: 50},
		"bd09":  {Lat: 31.23432658, Lon: 121.48478247, Radius: 50},
	} {
		f, err := newFence(&attendance.Place{Datum: datum, Circle: &c})
		if err != nil {
			t.Fatal(err)
		}
		if d := f.distance(point(31.230416, 121.473701)); math.Abs(d+50) > 0.01 {
			t.Errorf("%s: the centre is at %.3f m", datum, d)
		}
		square := corners(c.Lat-0.001, c.Lon-0.001, c.Lat-0.001, c.Lon+0.001, c.Lat+0.001, c.Lon+0.001, c.Lat+0.001, c.Lon-0.001)
		f, err = newFence(&attendance.Place{Datum: datum, Polygon: square})
		if err != nil {
			t.Fatal(err)
		}
		if d := f.distance(point(31.230416, 121.473701)); math.Abs(d+95.2) > 0.5 {
			t.Errorf("%s: the middle of the square is at %.3f m", datum, d)
		}
	}
	if f, err := newFence(&attendance.Place{}); f != nil || err != nil {
		t.Errorf("no fence: %v, %v", f, err)
	}
}

func TestFenceErrors(t *testing.T) {
	nan := math.NaN()
	many := star(maxCorners+1, 10, 20, 0.1)
	for _, c := range []struct {
		name  string
		place attendance.Place
		want  string
	}{
		{"datum", attendance.Place{Datum: "mars", Circle: &attendance.Circle{Radius: 1}}, `datum: unknown datum "mars" (known: wgs84, gcj02, bd09)`},
		{"both", attendance.Place{Circle: &attendance.Circle{Radius: 1}, Polygon: corners(0, 0)}, "polygon: stands beside a circle; give one of them, or make it two places"},
		{"radius 0", attendance.Place{Circle: &attendance.Circle{Lat: 1, Lon: 1}}, "circle.radius: 0 m is not between 0 and 100000"},
		{"radius below 0", attendance.Place{Circle: &attendance.Circle{Radius: -1}}, "circle.radius: -1 m is not between 0 and 100000"},
		{"radius nan", attendance.Place{Circle: &attendance.Circle{Radius: nan}}, "circle.radius: NaN m is not between 0 and 100000"},
		{"radius", attendance.Place{Circle: &attendance.Circle{Radius: 100_001}}, "circle.radius: 100001 m is not between 0 and 100000"},
		{"swapped", attendance.Place{Circle: &attendance.Circle{Lat: 121.47, Lon: 31.23, Radius: 100}}, "circle: latitude 121.47 is out of range; lat and lon look swapped"},
		{"no corner", attendance.Place{Polygon: []attendance.Point{}}, "polygon: has 0 corners, at least 3 are needed"},
		{"two corners", attendance.Place{Polygon: corners(0, 0, 1, 1, 0, 0)}, "polygon: has 2 corners, at least 3 are needed"},
		{"many corners", attendance.Place{Polygon: many}, "polygon: 10001 corners are too many, the limit is 10000"},
		{"corner", attendance.Place{Polygon: corners(0, 0, 0, 0.1, 0.1, 200)}, "polygon[2]: longitude 200 is out of range (-180 to 180)"},
		{"corner twice", attendance.Place{Polygon: corners(0, 0, 0, 0.1, 0.1, 0.1, 0, 0.1)}, "polygon[3]: is the same corner as polygon[1]; a ring may not touch itself"},
		{"line", attendance.Place{Polygon: corners(0, 0, 0, 0.1, 0, 0.2)}, "polygon: has an area of 0 m²: its corners stand on a line"},
		{"bow tie", attendance.Place{Polygon: corners(0, 0, 0.1, 0.1, 0, 0.1, 0.1, 0)}, "polygon: crosses itself: the edge from corner 0 to 1 meets the one from 2 to 3 (counted from 0)"},
		{"large", attendance.Place{Polygon: corners(0, 0, 0, 1, 2, 2)}, "polygon[2]: is more than 200 km from the first corner"},
	} {
		_, err := newFence(&c.place)
		if err == nil {
			t.Errorf("%s: no error", c.name)
		} else if strings.Replace(err.Error(), "-0 m²", "0 m²", 1) != c.want {
			t.Errorf("%s: %s\nwant %s", c.name, err, c.want)
		}
	}
}

// Fences are asked from many goroutines at once; the race detector watches.
func TestFenceIsSafeForConcurrentUse(t *testing.T) {
	for _, n := range []int{8, 100, 1000} {
		f, err := newFence(&attendance.Place{Polygon: star(n, 10, 20, 0.1)})
		if err != nil {
			t.Fatal(err)
		}
		want := f.distance(point(10.001, 20.002))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 200 {
					if d := f.distance(point(10.001, 20.002)); d != want {
						t.Errorf("%d corners: %v, before it was %v", n, d, want)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

// To pass over the far edges leaves the distance as it is.
func TestNearestEdge(t *testing.T) {
	for _, n := range []int{3, stretchLength - 2, stretchLength, stretchLength + 2, 998} {
		f, err := newPolygon(star(n, 10, 20, 0.1), conversion(t, ""))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			at := point(10+0.2*math.Sin(float64(i)), 20+0.2*math.Cos(1.7*float64(i)))
			least := s1.InfChordAngle()
			for k, a := range f.corners {
				least, _ = s2.UpdateMinDistance(at, a, f.corners[(k+1)%len(f.corners)], least)
			}
			if want := least.Angle().Radians() * earthRadius; f.edge(at) != want {
				t.Fatalf("%d corners, %v: %v m, want %v", n, s2.LatLngFromPoint(at), f.edge(at), want)
			}
		}
	}
}

// No list of corners may panic, and what is taken as a polygon behaves as one:
// its bound holds it, both ways round mean the same area, and distances agree
// with being inside.
func FuzzPolygon(f *testing.F) {
	encode := func(points []attendance.Point) []byte {
		var b []byte
		for _, p := range points {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(p.Lat)))
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(p.Lon)))
		}
		return b
	}
	f.Add(encode(corners(0, 0, 0, 0.1, 0.1, 0.1, 0.1, 0)))
	f.Add(encode(corners(-0.1, 179.9, -0.1, -179.9, 0.1, -179.9, 0.1, 179.9)))
	f.Add(encode(corners(89.9, 0, 89.9, 90, 89.9, 180, 89.9, -90)))
	f.Add(encode(star(40, 30, 120, 0.1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var points []attendance.Point
		for ; len(b) >= 8 && len(points) < 200; b = b[8:] {
			points = append(points, attendance.Point{
				Lat: float64(math.Float32frombits(binary.LittleEndian.Uint32(b))),
				Lon: float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4:]))),
			})
		}
		same := func(lat, lon float64) (float64, float64) { return lat, lon }
		p, err := newPolygon(points, same)
		if err != nil {
			return
		}
		if points[0] == points[len(points)-1] {
			points = points[1:]
		}
		q, err := newPolygon(append(points[:1:1], reversed(points[1:])...), same)
		if err != nil {
			t.Fatalf("the other way round: %v", err)
		}
		for _, at := range append(points, attendance.Point{Lat: 1, Lon: 2}) {
			for _, shift := range []float64{0, 0.0003, -0.0003} {
				x := point(math.Max(-90, math.Min(90, at.Lat+shift)), at.Lon)
				d, e := p.distance(x), q.distance(x)
				if math.IsNaN(d) || math.Abs(d-e) > 1e-3 {
					t.Errorf("%v: %v one way round, %v the other", at, d, e)
				}
				if d < -1 && !p.cap.ContainsPoint(x) {
					t.Errorf("%v is %v m inside and not in the bound", at, d)
				}
			}
		}
	})
}

func BenchmarkDistance(b *testing.B) {
	at := point(10.001, 20.002)
	for _, n := range []int{8, 32, 1000, maxCorners} {
		f, err := newFence(&attendance.Place{Polygon: star(n, 10, 20, 0.1)})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d corners", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.distance(at)
			}
		})
	}
}
