package geofence

import (
	"fmt"
	"math"

	"github.com/golang/geo/r3"
	"github.com/golang/geo/s1"
	"github.com/golang/geo/s2"

	"github.com/punchd/punchd/protocol/attendance"
)

// earthRadius is the mean radius in metres (IUGG R1).
const earthRadius = 6371008.8

// Bounds of a fence.
const (
	maxRadius  = 100_000.0 // metres, of a circle or of what holds a polygon
	maxCorners = 10_000
	minArea    = 1.0 // square metres of a polygon
	// stretchLength is how many edges of a polygon are passed over at once if
	// all of them are far.
	stretchLength = 16
)

// fence is an area on the sphere, in WGS-84. It is safe for concurrent use.
type fence interface {
	// distance is how far p is from the edge, in metres; negative inside.
	distance(p s2.Point) float64
	// bound holds the area.
	bound() s2.Cap
}

// partError says which part of a place is wrong.
type partError struct {
	part string // as in polygon[3]
	err  error
}

func (e *partError) Error() string { return e.part + ": " + e.err.Error() }
func (e *partError) Unwrap() error { return e.err }

func wrong(part, format string, args ...any) error {
	return &partError{part, fmt.Errorf(format, args...)}
}

// newFence makes the fence of a place, nil if it has none. An error is a
// [partError].
func newFence(p *attendance.Place) (fence, error) {
	convert, err := toWGS(p.Datum)
	if err != nil {
		return nil, &partError{"datum", err}
	}
	switch {
	case p.Circle != nil && p.Polygon != nil:
		return nil, wrong("polygon", "stands beside a circle; give one of them, or make it two places")
	case p.Circle != nil:
		return newCircle(*p.Circle, convert)
	case p.Polygon != nil:
		return newPolygon(p.Polygon, convert)
	}
	return nil, nil
}

// circle is all within a radius of a point.
type circle struct {
	centre s2.Point
	radius float64 // metres
}

func newCircle(c attendance.Circle, convert func(lat, lon float64) (float64, float64)) (*circle, error) {
	if err := checkPoint(attendance.Point{Lat: c.Lat, Lon: c.Lon}); err != nil {
		return nil, &partError{"circle", err}
	}
	if !(c.Radius > 0 && c.Radius <= maxRadius) {
		return nil, wrong("circle.radius", "%v m is not between 0 and %v", c.Radius, maxRadius)
	}
	lat, lon := convert(c.Lat, c.Lon)
	return &circle{s2.PointFromLatLng(s2.LatLngFromDegrees(lat, lon)), c.Radius}, nil
}

func (c *circle) distance(p s2.Point) float64 { return metres(c.centre, p) - c.radius }

func (c *circle) bound() s2.Cap {
	return s2.CapFromCenterAngle(c.centre, angle(c.radius))
}

// metres is the distance along the ground. It takes the chord rather than the
// angle: exact for near points, and cheaper than a cross product's arctangent.
func metres(a, b s2.Point) float64 {
	return 2 * earthRadius * math.Asin(math.Min(1, a.Sub(b.Vector).Norm()/2))
}

func angle(metres float64) s1.Angle { return s1.Angle(metres / earthRadius) }

// polygon is the area on the left or right of a ring of corners, whichever is
// the smaller.
type polygon struct {
	corners   []s2.Point
	stretches []stretch
	loop      *s2.Loop
	cap       s2.Cap
}

// stretch is some edges in a row, and a cap around them.
type stretch struct {
	from, to int // corners; the last edge ends at to, counted round
	centre   s2.Point
	radius   float64 // length of the chord, on a sphere of radius 1
}

func newPolygon(points []attendance.Point, convert func(lat, lon float64) (float64, float64)) (*polygon, error) {
	corners, err := ring(points, convert)
	if err != nil {
		return nil, err
	}
	loop := s2.LoopFromPoints(corners)
	if err := loop.Validate(); err != nil {
		return nil, &partError{"polygon", err}
	}
	if err := crossing(corners, loop); err != nil {
		return nil, err
	}
	loop.Normalize() // either way round means the small area
	if area := loop.Area() * earthRadius * earthRadius; area < minArea {
		return nil, wrong("polygon", "has an area of %.2g m²: its corners stand on a line", area)
	}
	// The loop builds its index at the first question, which must not come from
	// several goroutines at once.
	loop.ContainsPoint(corners[0])
	return &polygon{corners: corners, stretches: stretches(corners), loop: loop, cap: loop.CapBound()}, nil
}

// ring takes the corners of a polygon to WGS-84 and looks at each of them.
func ring(points []attendance.Point, convert func(lat, lon float64) (float64, float64)) ([]s2.Point, error) {
	if n := len(points); n > 1 && points[0] == points[n-1] {
		points = points[:n-1] // closed by hand, as GeoJSON does
	}
	if n := len(points); n < 3 {
		return nil, wrong("polygon", "has %d corners, at least 3 are needed", n)
	} else if n > maxCorners {
		return nil, wrong("polygon", "%d corners are too many, the limit is %d", n, maxCorners)
	}
	corners := make([]s2.Point, len(points))
	seen := make(map[s2.Point]int, len(points))
	for i, p := range points {
		part := fmt.Sprintf("polygon[%d]", i)
		if err := checkPoint(p); err != nil {
			return nil, &partError{part, err}
		}
		corners[i] = s2.PointFromLatLng(s2.LatLngFromDegrees(convert(p.Lat, p.Lon)))
		if first, twice := seen[corners[i]]; twice {
			return nil, wrong(part, "is the same corner as polygon[%d]; a ring may not touch itself", first)
		}
		if metres(corners[0], corners[i]) > 2*maxRadius {
			return nil, wrong(part, "is more than %v km from the first corner", 2*maxRadius/1000)
		}
		seen[corners[i]] = i
	}
	return corners, nil
}

// stretches cuts a ring into runs of edges.
func stretches(corners []s2.Point) []stretch {
	var list []stretch
	for from := 0; from < len(corners); from += stretchLength {
		s := stretch{from: from, to: min(from+stretchLength, len(corners))}
		var sum r3.Vector
		for i := s.from; i <= s.to; i++ {
			sum = sum.Add(corners[i%len(corners)].Vector)
		}
		s.centre = s2.Point{Vector: sum.Normalize()}
		// A cap that holds the ends of an edge holds the edge.
		for i := s.from; i <= s.to; i++ {
			s.radius = max(s.radius, corners[i%len(corners)].Sub(s.centre.Vector).Norm())
		}
		list = append(list, s)
	}
	return list
}

// crossing looks for two edges that cross or lie on each other; the s2 package
// does not look for that when it validates a loop.
func crossing(corners []s2.Point, loop *s2.Loop) error {
	index := s2.NewShapeIndex()
	index.Add(loop)
	index.Build()
	query := s2.NewCrossingEdgeQuery(index)
	n := len(corners)
	for i := range n {
		a, b := corners[i], corners[(i+1)%n]
		for _, j := range query.Crossings(a, b, loop, s2.CrossingTypeInterior) {
			return wrong("polygon", "crosses itself: the edge from corner %d to %d meets the one from %d to %d (counted from 0)", i, (i+1)%n, j, (j+1)%n)
		}
	}
	return nil
}

func (p *polygon) bound() s2.Cap { return p.cap }

func (p *polygon) distance(at s2.Point) float64 {
	if p.loop.ContainsPoint(at) {
		return -p.edge(at)
	}
	return p.edge(at)
}

// edge is the distance to the nearest edge, in metres.
func (p *polygon) edge(at s2.Point) float64 {
	least := s1.InfChordAngle() // a chord angle is the square of the chord's length
	for _, s := range p.stretches {
		if nearest := at.Sub(s.centre.Vector).Norm() - s.radius; nearest > 0 && nearest*nearest > float64(least) {
			continue
		}
		for i := s.from; i < s.to; i++ {
			least, _ = s2.UpdateMinDistance(at, p.corners[i], p.corners[(i+1)%len(p.corners)], least)
		}
	}
	return least.Angle().Radians() * earthRadius
}
