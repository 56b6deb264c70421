package geofence

import (
	"fmt"
	"math"

	"github.com/punchd/punchd/protocol/attendance"
)

// Maps of China are drawn in coordinates that are shifted by up to 700 m, in
// one of two ways. A fence is converted to WGS-84 once, when the roster is
// read; a phone's fix is WGS-84 already.

// The ellipsoid of Krasovsky, on which the shift is defined.
const (
	krasovskyA  = 6378245.0              // semi-major axis, metres
	krasovskyEE = 0.00669342162296594323 // eccentricity squared
)

// shifted reports whether GCJ-02 differs from WGS-84 at a point. The rectangle
// is the one that every map service uses; it covers Seoul and Hanoi too.
func shifted(lat, lon float64) bool {
	return lon > 73.66 && lon < 135.05 && lat > 3.86 && lat < 53.55
}

// wgsToGCJ shifts a point; degrees in and out.
func wgsToGCJ(lat, lon float64) (float64, float64) {
	if !shifted(lat, lon) {
		return lat, lon
	}
	return gcjAnywhere(lat, lon)
}

func gcjAnywhere(lat, lon float64) (float64, float64) {
	x, y := lon-105, lat-35
	wave := func(v, amplitude, period float64) float64 { return 2.0 / 3 * amplitude * math.Sin(v*math.Pi/period) }
	common := wave(x, 20, 1.0/6) + wave(x, 20, 1.0/2)
	dLat := -100 + 2*x + 3*y + 0.2*y*y + 0.1*x*y + 0.2*math.Sqrt(math.Abs(x)) + common +
		wave(y, 20, 1) + wave(y, 40, 3) + wave(y, 160, 12) + wave(y, 320, 30)
	dLon := 300 + x + 2*y + 0.1*x*x + 0.1*x*y + 0.1*math.Sqrt(math.Abs(x)) + common +
		wave(x, 20, 1) + wave(x, 40, 3) + wave(x, 150, 12) + wave(x, 300, 30)
	phi := lat * math.Pi / 180
	m := 1 - krasovskyEE*math.Sin(phi)*math.Sin(phi)
	dLat = dLat * 180 / (math.Pi * krasovskyA * (1 - krasovskyEE) / (m * math.Sqrt(m)))
	dLon = dLon * 180 / (math.Pi * krasovskyA / math.Sqrt(m) * math.Cos(phi))
	return lat + dLat, lon + dLon
}

// gcjToWGS undoes [wgsToGCJ] by iteration; one step alone would be wrong by up
// to 4.7 m.
func gcjToWGS(lat, lon float64) (float64, float64) {
	if wLat, wLon := invert(gcjAnywhere, lat, lon, lat, lon); shifted(wLat, wLon) {
		return wLat, wLon
	}
	return lat, lon
}

const bdTurn = 3000 * math.Pi / 180

// gcjToBD adds Baidu's own shift.
func gcjToBD(lat, lon float64) (float64, float64) {
	z := math.Hypot(lon, lat) + 2e-5*math.Sin(lat*bdTurn)
	theta := math.Atan2(lat, lon) + 3e-6*math.Cos(lon*bdTurn)
	return z*math.Sin(theta) + 0.006, z*math.Cos(theta) + 0.0065
}

// bdToGCJRough is the mirrored formula that map services publish; it is wrong
// by up to 0.12 m.
func bdToGCJRough(lat, lon float64) (float64, float64) {
	x, y := lon-0.0065, lat-0.006
	z := math.Hypot(x, y) - 2e-5*math.Sin(y*bdTurn)
	theta := math.Atan2(y, x) - 3e-6*math.Cos(x*bdTurn)
	return z * math.Sin(theta), z * math.Cos(theta)
}

// bdToGCJ undoes [gcjToBD], beginning at the published approximation.
func bdToGCJ(lat, lon float64) (float64, float64) {
	gLat, gLon := bdToGCJRough(lat, lon)
	return invert(gcjToBD, lat, lon, gLat, gLon)
}

// invert finds the point that forward takes to (lat, lon). The shifts change
// by less than a hundredth from point to point, so each round gains two digits
// and ten are far more than enough.
func invert(forward func(lat, lon float64) (float64, float64), lat, lon, wLat, wLon float64) (float64, float64) {
	for range 10 {
		fLat, fLon := forward(wLat, wLon)
		dLat, dLon := fLat-lat, fLon-lon
		wLat, wLon = wLat-dLat, wLon-dLon
		if math.Abs(dLat) < 1e-11 && math.Abs(dLon) < 1e-11 {
			break
		}
	}
	return wLat, wLon
}

// toWGS gives the conversion for the datum of a place.
func toWGS(datum string) (func(lat, lon float64) (float64, float64), error) {
	switch datum {
	case "", "wgs84":
		return func(lat, lon float64) (float64, float64) { return lat, lon }, nil
	case "gcj02":
		return gcjToWGS, nil
	case "bd09":
		return func(lat, lon float64) (float64, float64) { return gcjToWGS(bdToGCJ(lat, lon)) }, nil
	}
	return nil, fmt.Errorf("unknown datum %q (known: wgs84, gcj02, bd09)", datum)
}

// checkPoint refuses what is no position on Earth.
func checkPoint(p attendance.Point) error {
	lat, lon := p.Lat, p.Lon
	switch {
	case math.IsNaN(lat) || math.IsNaN(lon) || math.IsInf(lat, 0) || math.IsInf(lon, 0):
		return fmt.Errorf("%v, %v is no position", lat, lon)
	case math.Abs(lat) > 90 && math.Abs(lon) <= 90 && math.Abs(lat) <= 180:
		return fmt.Errorf("latitude %v is out of range; lat and lon look swapped", lat)
	case math.Abs(lat) > 90:
		return fmt.Errorf("latitude %v is out of range (-90 to 90)", lat)
	case math.Abs(lon) > 180:
		return fmt.Errorf("longitude %v is out of range (-180 to 180)", lon)
	}
	return nil
}
