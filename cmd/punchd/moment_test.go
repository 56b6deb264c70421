package main

import (
	"testing"
	"time"
)

// A day begins with its first instant, also where the clock skips midnight, or
// has it twice; and it ends where the next one begins.
func TestDays(t *testing.T) {
	for _, c := range []struct{ zone, day, from, to string }{
		{"Asia/Shanghai", "2026-11-04", "2026-11-03T16:00:00Z", "2026-11-04T16:00:00Z"},
		{"America/Santiago", "2026-09-05", "2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z"}, // the next begins at 01:00
		{"America/Santiago", "2026-09-06", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"},
		{"America/Santiago", "2026-04-04", "2026-04-04T03:00:00Z", "2026-04-05T04:00:00Z"}, // 24:00 is 23:00 again
		{"Africa/Cairo", "2026-04-23", "2026-04-22T22:00:00Z", "2026-04-23T22:00:00Z"},
		{"Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"}, // begins at 01:00
		{"Asia/Beirut", "2026-03-29", "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"},  // begins at 01:00
		{"Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"},
		{"America/Havana", "2026-03-08", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"}, // begins at 01:00
		{"America/Havana", "2026-11-01", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"}, // its first hour comes twice
		{"America/Asuncion", "2023-09-30", "2023-09-30T04:00:00Z", "2023-10-01T04:00:00Z"},
		{"America/Asuncion", "2023-10-01", "2023-10-01T04:00:00Z", "2023-10-02T03:00:00Z"}, // begins at 01:00
		{"Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},
		{"Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z"}, // there was none
		{"Pacific/Kiritimati", "2026-11-04", "2026-11-03T10:00:00Z", "2026-11-04T10:00:00Z"},
		{"Etc/GMT+12", "2026-11-04", "2026-11-04T12:00:00Z", "2026-11-05T12:00:00Z"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		for end, want := range map[bool]string{false: c.from, true: c.to} {
			got, err := moment("from", c.day, zone, end)
			if err != nil || got.UTC().Format(time.RFC3339) != want {
				t.Errorf("%s %s, end %v: %s (%v), want %s", c.zone, c.day, end, got.UTC().Format(time.RFC3339), err, want)
			}
		}
	}
}
