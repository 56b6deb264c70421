package zk

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

func TestPunch(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Kolkata") // half an hour off
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.zone, f.skew = zone, 95*time.Second
		f.add(zk.Record{UID: 13, PIN: "0012", Verify: 15, State: 255, At: attendance.LocalDate(2026, 11, 24, 13, 59, 58, 0)},
			zk.Record{UID: 14, PIN: "王小明"[:0] + "NB2401004", Verify: 1, State: 5, At: attendance.LocalDate(2026, 11, 24, 13, 59, 59, 0)})
		raw := f.log
		r := newRig(t, f, func(c *Config) { c.Zone = zone; c.Live = false })
		skew := 95 * time.Second
		want := []attendance.Punch{{
			Key:        attendance.TerminalKey("SIM0001", "0012", attendance.LocalDate(2026, 11, 24, 13, 59, 58, 0), 255, 15, ""),
			Kind:       attendance.KindPunch,
			Badge:      "0012",
			Method:     attendance.MethodFace,
			Device:     attendance.Device{ID: "lobby", Driver: "zk", Serial: "SIM0001"},
			DeviceTime: attendance.LocalDate(2026, 11, 24, 13, 59, 58, 0),
			Zone:       "Asia/Kolkata",
			At:         time.Date(2026, 11, 24, 8, 29, 58, 0, time.UTC),
			ReceivedAt: r.start.UTC().Round(0),
			Skew:       &skew,
			State:      255,
			Verify:     15,
			Evidence:   attendance.Evidence{Raw: raw[:40]},
		}, {
			Key:        attendance.TerminalKey("SIM0001", "NB2401004", attendance.LocalDate(2026, 11, 24, 13, 59, 59, 0), 5, 1, ""),
			Kind:       attendance.KindPunch,
			Badge:      "NB2401004",
			Direction:  attendance.DirOvertimeOut,
			Method:     attendance.MethodFingerprint,
			Device:     attendance.Device{ID: "lobby", Driver: "zk", Serial: "SIM0001"},
			DeviceTime: attendance.LocalDate(2026, 11, 24, 13, 59, 59, 0),
			Zone:       "Asia/Kolkata",
			At:         time.Date(2026, 11, 24, 8, 29, 59, 0, time.UTC),
			ReceivedAt: r.start.UTC().Round(0),
			Skew:       &skew,
			State:      5,
			Verify:     1,
			Evidence:   attendance.Evidence{Raw: raw[40:]},
		}}
		show := func(p attendance.Punch) string {
			skew := *p.Skew
			p.Skew = nil
			return fmt.Sprintf("%+v skew %v", p, skew)
		}
		if len(r.store.list()) != len(want) {
			t.Fatalf("%d punches, log:\n%s", len(r.store.list()), r.log.text())
		}
		for i, p := range r.store.list() {
			if show(p) != show(want[i]) {
				t.Errorf("punch %d\n%s, want\n%s", i, show(p), show(want[i]))
			}
		}
		s := r.driver.State()
		if s.ID != "lobby" || s.Driver != "zk" || s.Address != "pipe:fake" || s.Serial != "SIM0001" || s.Model != "K40/ID (ZMM220_TFT)" ||
			s.Firmware != "Ver 6.60 Apr 26 2016" || !s.Online || !s.Since.Equal(r.start) || s.LastError != "" || !s.LastRead.Equal(r.start) ||
			s.LogCount != 2 || s.Emitted != 2 || s.BadFrames != 0 || *s.Skew != skew {
			t.Errorf("state %+v", s)
		}
		r.wantNote("its clock is 1m35s ahead", true)
		r.wantNote("layout 40", true)
		r.end()
		if s := r.driver.State(); s.Online || s.LastError != "" {
			t.Errorf("state at the end %+v", s)
		}
		if f.asked(zk.CmdExit) != 1 || f.asked(zk.CmdDisableDevice)+f.asked(zk.CmdSetTime)+f.asked(zk.CmdRegEvent)+f.asked(zk.CmdEnableDevice) != 0 {
			t.Errorf("requests %v", f.requests)
		}
	})
}
