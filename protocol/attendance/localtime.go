package attendance

import (
	"fmt"
	"strconv"
	"time"
)

// LocalTime is a clock face without a zone: milliseconds since
// 1970-01-01T00:00:00.000 as if that face were UTC. Devices tell time so, and
// a face that never existed (the hour a DST change skips) or existed twice must
// be kept as it was shown.
type LocalTime int64

// LocalDate makes a LocalTime from its parts, which are not checked for range;
// see [time.Date] for what happens outside it.
func LocalDate(year, month, day, hour, minute, sec, milli int) LocalTime {
	t := time.Date(year, time.Month(month), day, hour, minute, sec, milli*int(time.Millisecond), time.UTC)
	return LocalTime(t.UnixMilli())
}

// LocalOf is what a clock in t's own location shows at t.
func LocalOf(t time.Time) LocalTime {
	_, offset := t.Zone()
	return LocalTime(t.UnixMilli() + int64(offset)*1000)
}

// In reads the face in a zone. A face that existed twice means the first of
// the two; one that a DST change skipped means the instant it would have been
// had the clock not been put forward. The result is in UTC.
func (l LocalTime) In(loc *time.Location) time.Time {
	face := time.UnixMilli(int64(l)).UTC()
	// The offsets in force a day before and a day after bracket any single
	// change; the earlier one is the right reading of both odd cases.
	_, before := face.Add(-24 * time.Hour).In(loc).Zone()
	_, after := face.Add(24 * time.Hour).In(loc).Zone()
	t := face.Add(-time.Duration(before) * time.Second)
	if LocalOf(t.In(loc)) == l {
		return t
	}
	if u := face.Add(-time.Duration(after) * time.Second); LocalOf(u.In(loc)) == l {
		return u
	}
	return t
}

// String is the face as ISO 8601 without a zone, with milliseconds only where
// there are any: 2026-11-04T08:58:12.
func (l LocalTime) String() string {
	return string(l.append(nil))
}

func (l LocalTime) append(b []byte) []byte {
	layout := "2006-01-02T15:04:05"
	if l%1000 != 0 {
		layout = "2006-01-02T15:04:05.000"
	}
	return time.UnixMilli(int64(l)).UTC().AppendFormat(b, layout)
}

// ParseLocal reads what [LocalTime.String] writes.
func ParseLocal(s string) (LocalTime, error) {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil { // accepts a fraction
			return LocalTime(t.UnixMilli()), nil
		}
	}
	return 0, fmt.Errorf("attendance: %s is no local time like 2026-11-04T08:58:12", strconv.Quote(s))
}
