package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/lipgloss"

	"github.com/punchd/punchd/cmd/internal/gateway"
	"github.com/punchd/punchd/firmware-sim/rig"
	"github.com/punchd/punchd/protocol/attendance"
)

var china = time.FixedZone("CST", 8*60*60)

// demoPunches are one moment, told by devices whose clocks differ.
func demoPunches() []*attendance.Punch {
	at := time.Date(2026, 11, 25, 3, 5, 2, 561e6, time.UTC)
	punch := func(employee, device string, zone *time.Location, d attendance.Direction, v attendance.Verdict, reasons ...attendance.Reason) *attendance.Punch {
		p := &attendance.Punch{At: at, DeviceTime: attendance.LocalOf(at.In(zone)), Employee: employee, Direction: d, Verdict: v, Reasons: reasons}
		p.Device.ID = device
		return p
	}
	unknown := punch("", "gate", china, attendance.DirUnknown, attendance.Unverified, "unknown-badge")
	unknown.Badge = "0100030D40"
	return []*attendance.Punch{
		punch("sim-p-020", "p-020", china, attendance.DirOut, attendance.Flagged, "outside-fence", "wifi-unknown"),
		punch("sim-ot-004", "ot-004", time.UTC, attendance.DirUnknown, attendance.Accepted, "wifi-match"),
		punch("E17", "canteen", china, attendance.DirBreakOut, attendance.Accepted),
		unknown,
	}
}

func TestPunchLine(t *testing.T) {
	for width, want := range map[int]string{
		80: `
11:05:02  sim-p-020    p-020   out       flagged    outside-fence wifi-unknown
11:05:02  sim-ot-004   ot-004  unknown   accepted   wifi-match
11:05:02  E17          canteen break-out accepted
11:05:02  (0100030D40) gate    unknown   unverified unknown-badge
`,
		50: `
11:05:02  sim-p-020    p-020   flagged outside-fence wifi-unknown
11:05:02  sim-ot-004   ot-004  accepted wifi-match
11:05:02  E17          canteen accepted
11:05:02  (0100030D40) gate    unverified unknown-badge
`,
	} {
		got := "\n"
		for _, p := range demoPunches() {
			got += punchLine(p, china, width) + "\n"
		}
		if got != want {
			t.Errorf("%d columns:%s", width, got)
		}
	}
}

// At 80 columns nothing is cut off, and at 50 nothing but reasons.
func TestScreenFits(t *testing.T) {
	f := frame{
		elapsed: 59 * time.Second, length: time.Minute, down: true, made: map[string]int{"canteen": 99_999}, phones: 50, held: 99_999, requests: 999,
		newest: demoPunches(), zone: china,
		status: &gateway.Status{
			Devices: []gateway.DeviceStatus{{ID: "canteen", Driver: "cardline", Punches: 99_999}}, Phones: &gateway.PhoneStatus{},
			Ledger: gateway.LedgerStatus{Records: 999_999, Verdicts: map[string]uint64{"accepted": 99_999, "flagged": 99_999, "refused": 99_999, "unverified": 99_999}},
			Sinks:  []gateway.SinkStatus{{Pending: 999}},
		},
	}
	for _, width := range []int{80, 50} {
		punches, _, _ := strings.Cut(f.screen(width), "newest at central")
		if width == 80 {
			punches = f.screen(width)
		}
		for line := range strings.Lines(punches) {
			if n := lipgloss.Width(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("%d columns of %d: %s", n, width, line)
			}
		}
	}
}

func TestDemoReportFits(t *testing.T) {
	var out bytes.Buffer
	d := demo{out: &out}
	err := d.report(&rig.Summary{
		TerminalPunches: 99_999, ReaderPunches: 9_999, CheckIns: rig.CheckIns{Sent: 99_999, Accepted: 99_999, Flagged: 99_999, Refused: 99_999}, LedgerRecords: 99_999,
		Central: rig.CentralCount{Requests: 9_999, Received: 99_999, Distinct: 99_999}, OutageSeconds: 999.9, DrainSeconds: 99.9,
	})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := len(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}
