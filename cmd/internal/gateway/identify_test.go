package gateway

import (
	"slices"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/roster"
)

// The table in DESIGN.md, with its edges.
func TestIdentify(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	index, err := attendance.NewIndex(&attendance.Roster{Employees: []attendance.Employee{
		{ID: "stays", PINs: []string{"1"}, Badges: []string{"AA"}},
		{ID: "left", PINs: []string{"2"}, Badges: []string{"BB"}, Until: "2026-11-03"},
		{ID: "comes", PINs: []string{"3"}, From: "2026-11-01"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	j := &judgement{roster: &roster.Snapshot{Index: index}, site: "hq", zone: zone}
	now := time.Date(2026, 11, 4, 1, 0, 0, 0, time.UTC) // 09:00 in the zone
	is := func(d time.Duration) *time.Duration { return &d }
	const (
		skew   = attendance.ReasonClockSkew
		gone   = attendance.ReasonNotEmployed
		nobody = attendance.ReasonUnknownBadge
	)
	for name, c := range map[string]struct {
		badge   string
		reader  bool
		at      time.Time
		skew    *time.Duration
		verdict attendance.Verdict
		reasons []attendance.Reason
	}{
		"never measured":            {"1", false, now, nil, attendance.Accepted, nil},
		"a good clock":              {"1", false, now, is(-5 * time.Minute), attendance.Accepted, nil},
		"two hours behind":          {"1", false, now.Add(-2 * time.Hour), is(-2 * time.Hour), attendance.Flagged, []attendance.Reason{skew}},
		"ahead":                     {"1", false, now, is(5*time.Minute + 1), attendance.Flagged, []attendance.Reason{skew}},
		"left":                      {"2", false, now, nil, attendance.Refused, []attendance.Reason{gone}},
		"left, last hour":           {"2", false, time.Date(2026, 11, 3, 15, 59, 59, 0, time.UTC), is(0), attendance.Accepted, nil},
		"left, first hour after":    {"2", false, time.Date(2026, 11, 3, 16, 0, 0, 0, time.UTC), is(0), attendance.Refused, []attendance.Reason{gone}},
		"left, wrong clock":         {"2", false, now, is(time.Hour), attendance.Flagged, []attendance.Reason{gone, skew}},
		"left, clock set back":      {"2", false, now.Add(-48 * time.Hour), is(-48 * time.Hour), attendance.Flagged, []attendance.Reason{skew}},
		"empty battery":             {"3", false, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), nil, attendance.Flagged, []attendance.Reason{skew}},
		"empty battery, no From":    {"1", false, time.Date(2009, 12, 31, 23, 59, 59, 0, time.UTC), nil, attendance.Flagged, []attendance.Reason{skew}},
		"an old log":                {"1", false, time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC), nil, attendance.Accepted, nil},
		"an old log, not yet there": {"3", false, time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC), nil, attendance.Refused, []attendance.Reason{gone}},
		"a day ahead":               {"1", false, now.Add(24 * time.Hour), nil, attendance.Accepted, nil},
		"more than a day ahead":     {"1", false, now.Add(24*time.Hour + 1), nil, attendance.Flagged, []attendance.Reason{skew}},
		"nobody":                    {"01", false, now, nil, attendance.Unverified, []attendance.Reason{nobody}},
		"nobody, wrong clock":       {"AA", false, now, is(time.Hour), attendance.Unverified, []attendance.Reason{nobody, skew}},
		"card":                      {"aa", true, now, nil, attendance.Accepted, nil},
		"card of one who left":      {"BB", true, now, nil, attendance.Refused, []attendance.Reason{gone}},
		"card that is a PIN":        {"1", true, now, nil, attendance.Unverified, []attendance.Reason{nobody}},
	} {
		p := &attendance.Punch{Badge: c.badge, At: c.at, ReceivedAt: now, Skew: c.skew, Device: attendance.Device{Driver: "zk"}}
		if c.reader {
			p.Device.Driver = "cardline"
		}
		j.identify(p)
		if p.Verdict != c.verdict || !slices.Equal(p.Reasons, c.reasons) || p.Site != "hq" || (p.Employee == "") != (c.verdict == attendance.Unverified) {
			t.Errorf("%s: %q %v %v", name, p.Employee, p.Verdict, p.Reasons)
		}
	}
}
