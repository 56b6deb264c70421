package geofence

import (
	"slices"

	"github.com/golang/geo/s2"
)

// cells finds the areas near a point: each area is covered with a few cells of
// the sphere, and a look-up asks for the cells that a point lies in, one on
// each level in use.
type cells struct {
	areas  map[s2.CellID][]int32
	levels []int
}

// add covers an area. It counts for the points in it, and may for some beside.
func (x *cells) add(n int32, area s2.Cap) {
	if x.areas == nil {
		x.areas = map[s2.CellID][]int32{}
	}
	// Level 16 is some 150 m wide, as small as the circle of the poorest fix.
	coverer := s2.RegionCoverer{MaxLevel: 16, LevelMod: 2, MaxCells: 8}
	for _, id := range coverer.Covering(area) {
		x.areas[id] = append(x.areas[id], n)
		if !slices.Contains(x.levels, id.Level()) {
			x.levels = append(x.levels, id.Level())
		}
	}
}

// near appends the areas that hold a point, and some beside, to dst; none
// twice, since the cells that cover an area do not overlap.
func (x *cells) near(at s2.LatLng, dst []int32) []int32 {
	leaf := s2.CellIDFromLatLng(at)
	for _, level := range x.levels {
		dst = append(dst, x.areas[leaf.Parent(level)]...)
	}
	return dst
}
