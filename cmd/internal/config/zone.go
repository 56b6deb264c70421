package config

import (
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/punchd/punchd/sync/roster/strict"
)

// zoneNames are the names of the time zone database, for the hint at one that
// is misspelt. What is a zone is decided by package time alone.
//
//go:embed zones.txt
var zoneNames string

// zone reads a time zone: a name of the database, or an offset like +08:00.
func (c *checker) zone(path, name string) *time.Location {
	if name == "" {
		c.fail(path, "is missing; a zone is a name like Asia/Shanghai or an offset like +08:00")
		return nil
	}
	if name[0] == '+' || name[0] == '-' {
		if loc, err := offset(name); err == nil {
			return loc
		}
		c.fail(path, "%.40q is no offset like +08:00 or -03:30", name)
		return nil
	}
	// Local would be another zone on another machine.
	if loc, err := time.LoadLocation(name); err == nil && name != "Local" {
		return loc
	}
	hint := "names are like Asia/Shanghai, offsets like +08:00"
	if near := nearestZone(name); near != "" {
		hint = fmt.Sprintf("do you mean %q?", near)
	}
	c.hint(path, hint, "unknown time zone %.40q", name)
	return nil
}

func nearestZone(name string) string {
	known := strings.Fields(zoneNames)
	for _, k := range known { // the city alone
		if _, city, _ := strings.Cut(k, "/"); city != "" && strings.EqualFold(city, strings.ReplaceAll(name, " ", "_")) {
			return k
		}
	}
	return strict.Nearest(name, known)
}

// offset reads +08:00. No place is farther than 14 hours from UTC.
func offset(s string) (*time.Location, error) {
	t, err := time.Parse("-07:00", s)
	if err != nil {
		return nil, err
	}
	_, seconds := t.Zone()
	if t.Format("-07:00") != s || seconds < -14*3600 || seconds > 14*3600 { // Parse takes +08:60 and +24:00
		return nil, fmt.Errorf("%s is no offset of a place", s)
	}
	return time.FixedZone(s, seconds), nil
}
