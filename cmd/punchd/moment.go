package main

import (
	"fmt"
	"time"
)

// moment reads a day or a moment. The end of a day is the beginning of the
// next one, in the site's zone.
func moment(flag, text string, zone *time.Location, end bool) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		if end {
			day = day.AddDate(0, 0, 1)
		}
		return dayStart(day, zone), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, &exitError{exitUsage, fmt.Errorf("--%s %q is neither a day like 2026-11-04 nor a moment like 2026-11-04T08:00:00+08:00", flag, text)}
	}
	return at, nil
}

// dayStart is a day's first instant in a zone; midnight is a midnight in UTC,
// which stands for the day. Where the clock is put forward at midnight that is
// one o'clock, and [time.Date] would give an instant of the day before.
func dayStart(midnight time.Time, zone *time.Location) time.Time {
	t := midnight.Add(-26 * time.Hour).In(zone) // the day before, in every zone
	for {
		_, offset := t.Zone()
		_, until := t.ZoneBounds()
		first := midnight.Add(-time.Duration(offset) * time.Second)
		if first.Before(t) { // it would have been before the clock was put forward
			first = t
		}
		if until.IsZero() || first.Before(until) {
			return first.In(zone)
		}
		t = until
	}
}
