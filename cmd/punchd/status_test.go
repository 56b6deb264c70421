package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/cmd/internal/gateway"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/journal"
)

var noon = time.Date(2026, 11, 4, 4, 0, 0, 0, time.UTC)

// troubled is a state with something wrong in every table.
func troubled() *gateway.Status {
	refused := "link: dial tcp 192.168.100.201:4370: connect: connection refused; is it the terminal's address and port, 4370 as a rule?"
	ago := func(d time.Duration) *time.Time { return new(noon.Add(-d)) }
	return &gateway.Status{
		Site: "xm-hq", Gateway: "gw-01", Version: "v1.0.0", At: noon, Started: noon.Add(-time.Hour),
		Problems: []string{"gate: " + refused, "sink backup: HTTP 404 Not Found"},
		Devices: []gateway.DeviceStatus{
			{ID: "lobby", Driver: "zk", Address: "tcp://192.168.100.200:4370", Online: true, LastHeard: ago(time.Second), LastRead: ago(time.Hour), Punches: 54321, New: 12345,
				Notes: []string{"attendance records of layout 40", "its log was cleared or changed 2 times"}},
			{ID: "gate", Driver: "zk", Address: "tcp://192.168.100.201:4370", Error: refused, LastHeard: ago(13 * time.Hour)},
			{ID: "dock", Driver: "cardline", Address: "serial:///dev/ttyUSB0", Online: true, Error: "the reader sends noise"},
		},
		Ledger: gateway.LedgerStatus{Records: 1, Punches: 1, CommitP99MS: 7.5},
		Roster: gateway.RosterStatus{Employees: 1, Places: 1},
		Sinks: []gateway.SinkStatus{
			{Name: "hq", Since: ago(3 * time.Hour), Error: "refused", NextTry: new(noon.Add(5 * time.Second)), Pending: 1000000, Cursor: 1234567},
			{Name: "backup", Since: ago(30 * time.Hour), Alarm: "HTTP 404 Not Found", Error: "HTTP 404 Not Found", NextTry: new(noon.Add(time.Minute)), Dead: 70, Parked: 3},
			{Name: "file", Online: true, Settled: 12345},
			{Name: "new"},
		},
	}
}

// The tables fit on a screen of 80 columns: no line of theirs wraps, and none
// ends in blanks, which would show as an empty line. Each error is told once.
func TestStatusPage(t *testing.T) {
	var out bytes.Buffer
	if err := printStatus(&out, troubled(), time.FixedZone("", 8*3600)); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasSuffix(line, " ") {
			t.Errorf("ends in blanks: %q", line)
		}
		prose := strings.HasPrefix(line, "!") || strings.HasPrefix(line, "ledger") || strings.HasPrefix(line, "   ")
		if !prose && len(line) > 80 {
			t.Errorf("%d columns: %q", len(line), line)
		}
	}
	for text, want := range map[string]int{
		"connection refused": 1, "404 Not Found": 1, // in the problems
		"\n   lobby: attendance records of layout 40\n": 1, "\n   lobby: its log was cleared or changed 2 times\n": 1,
		"\n   dock: the reader sends noise\n": 1,
		"12345":                               2, "54321": 0, // new punches, and settled ones
		"ledger  1 record, 1 punch (none yet);": 1, ", 99 of 100 within 7.5 ms\n": 1, ": 1 employee, 1 place\n": 1,
		"\n   hq: refused (next try in 5s)\n": 1, "\n   backup: next try in 1m0s\n": 1,
		"online   11:59:59": 1, "offline  3 Nov 23:00": 1, // last heard: today, and before
		" offline since 09:00:00 ": 1, " offline since 3 Nov 06:00 ": 1, " not tried yet ": 1,
	} {
		if got := strings.Count(page, text); got != want {
			t.Errorf("%q is there %d times, want %d, in\n%s", text, got, want, page)
		}
	}

	if got := short(noon.AddDate(-1, 0, 0), noon, time.UTC); got != "2025-11-04" {
		t.Errorf("a year ago is %s", got)
	}

	out.Reset()
	if err := printSinks(&out, troubled(), time.UTC); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"\n   backup: HTTP 404 Not Found (next try in 1m0s)\n", "\n   hq: refused (next try in 5s)\n", "1234567"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("no %q in\n%s", text, out.String())
		}
	}
}

func TestPrintRefused(t *testing.T) {
	cfg := &config.Config{}
	cfg.Site.Zone = time.UTC
	p := &attendance.Punch{Key: attendance.Key{0xab}, Employee: "E1", At: noon}
	items := []refusedPunch{
		{"hq", journal.Refusal{Seq: 5, Reason: "no such\x1b[2J field", Dead: true}, p},
		{"hq", journal.Refusal{Seq: 7, Reason: "closed", Dead: false}, nil},
	}
	for asJSON, want := range map[bool][]string{
		false: {" hq      5  ab000000000000000000000000000000  2026-11-04 04:00:00  E1        no such\ufffd[2J field\n", " hq      7  (can't be read)"},
		true:  {`{"sink":"hq","state":"dead","reason":"no such\u001b[2J field","seq":5,"key":"ab0000`, `{"sink":"hq","state":"parked","reason":"closed","seq":7,"key":""`},
	} {
		var out bytes.Buffer
		if err := printRefused(&out, cfg, items, asJSON); err != nil {
			t.Fatal(err)
		}
		for _, text := range want {
			if !strings.Contains(out.String(), text) {
				t.Errorf("no %q in\n%s", text, out.String())
			}
		}
	}
}
