package zk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// TestDamagedRecords holds that what can't be read is kept with its bytes, in the
// order of the log, once, and holds nothing up.
func TestDamagedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.shape = chunks
		records := someRecords(zk.Layout40, 2500, yesterday, 1)
		f.add(records...)
		bad := []int{0, 999, 1000, 2400}
		for _, i := range bad {
			copy(f.log[40*i+27:], "\xff\xff\xff\xff") // no date
		}
		const gbk = 1234
		copy(f.log[40*gbk+2:], "\xd5\xc5\xc8\xfd\x00")
		f.log = append(f.log, f.log[:17]...) // and one is cut off
		r := newRig(t, f, still)
		list := r.store.list()
		if len(list) != 2500 {
			t.Fatalf("%d punches of 2,500", len(list))
		}
		for i, p := range list {
			raw, rec := f.log[40*i:40*i+40], records[i]
			at, key, badge := rec.At, attendance.TerminalKey("SIM0001", rec.PIN, rec.At, int(rec.State), int(rec.Verify), ""), rec.PIN
			reasons := []attendance.Reason(nil)
			if slices.Contains(bad, i) || i == gbk {
				reasons, key = []attendance.Reason{attendance.ReasonMalformed}, attendance.DamagedKey("SIM0001", "40", raw)
			}
			switch {
			case i == gbk:
				badge = ""
			case reasons != nil:
				at = attendance.LocalOf(r.start.UTC())
			}
			if p.Key != key || p.Badge != badge || p.DeviceTime != at || !p.At.Equal(at.In(time.UTC)) || !slices.Equal(p.Reasons, reasons) ||
				string(p.Evidence.Raw) != string(raw) || (p.Evidence.Note != "") != (reasons != nil) || p.Verdict != attendance.Unverified {
				t.Errorf("record %d: %+v", i, p)
			}
		}
		r.pass(11 * time.Minute) // it is read again
		f.hangUp()
		r.pass(time.Minute)
		s := r.driver.State()
		if s.BadFrames != 6 || s.LastError != "" || s.LogCount != 2500 {
			t.Errorf("state %+v", s)
		}
		r.wantNote("6 records of the log can't be read and are kept as malformed", true)
		r.wantNote("the last record has 17 of 40 bytes", true)
		if n := strings.Count(r.log.text(), "a record of the terminal's log can't be read"); n != 6 {
			t.Errorf("told %d times", n)
		}
		// The rest of the last one arrives, and the gateway is started again: what
		// could not be read is the same fact.
		f.set(func() { f.log = append(f.log[:2500*40], f.log[40:80]...) })
		f.punch("301")
		store := r.store
		r = r.again(still)
		r.pass(11 * time.Minute)
		if s := r.driver.State(); s.LogCount != 2502 || s.BadFrames != 5 || len(store.list()) != 2501 {
			t.Errorf("state %+v, %d punches", s, len(store.list()))
		}
	})
}

// TestMalformedSlot holds that a damaged record with a slot names nobody.
func TestMalformedSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.layout, f.users = zk.Layout8, someUsers(t, zk.User28)
		f.add(someRecords(zk.Layout8, 30, yesterday, 1)...)
		copy(f.log[8*7+3:], "\xff\xff\xff\xff")
		r := newRig(t, f, nil)
		if p := r.store.list()[7]; len(r.store.list()) != 30 || p.Badge != "" || !slices.Contains(p.Reasons, attendance.ReasonMalformed) ||
			p.Key != attendance.DamagedKey("SIM0001", "8", f.log[56:64]) {
			t.Errorf("punch %+v", p)
		}
	})
}

// TestOddLog holds that a terminal that is known is read on when its records
// become odd: a function key with a code of its own, a clock far ahead, PINs with
// other characters.
func TestOddLog(t *testing.T) {
	for name, odd := range map[string]func(i int) zk.Record{
		"state":  func(i int) zk.Record { return zk.Record{State: 20, At: yesterday} },
		"clock":  func(i int) zk.Record { return zk.Record{At: attendance.LocalDate(2069, 11, 10, 9, i, 0, 0)} },
		"PIN":    func(i int) zk.Record { return zk.Record{PIN: fmt.Sprintf("HR/%d A", i), At: yesterday} },
		"verify": func(i int) zk.Record { return zk.Record{Verify: 77, At: yesterday} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				f := newFake(t)
				want := someRecords(zk.Layout40, 100, yesterday, 1)
				f.add(want...)
				r := newRig(t, f, nil)
				for i := range 60 {
					rec := odd(i)
					rec.UID = uint16(i + 1)
					if rec.PIN == "" {
						rec.PIN = fmt.Sprint(1000 + i)
					}
					want = append(want, rec)
					f.add(rec)
				}
				r.pass(time.Minute)
				r.wants(want...)
				r = r.again(nil) // and by one that does not know it from before
				r.pass(time.Minute)
				if s := r.driver.State(); s.LogCount != 160 || s.LastError != "" {
					t.Errorf("state %+v", s)
				}
			})
		})
	}
}

// TestTwoReadings holds that a log with two readings waits, with the key of the
// configuration that decides it, and is read as that says.
func TestTwoReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.layout, f.users = zk.LayoutMA300, someUsers(t, zk.User28)
		at := attendance.LocalDate(2000, 1, 1, 0, 0, 40, 0)
		for i := range 10 { // its clock began anew
			f.add(zk.Record{UID: uint16(i%3 + 1), At: at})
			at += attendance.LocalTime(4000+977*i) * 1000
		}
		r := newRig(t, f, nil)
		r.pass(time.Minute)
		r.wants()
		if s := r.driver.State(); !strings.Contains(s.LastError, "two readings") || !strings.Contains(s.LastError, "layout: 40 (8, 8-ma300, 16, 40, 49)") {
			t.Errorf("state %+v", s)
		}
		r = r.again(func(c *Config) { c.Layout = zk.Layout40 })
		if s := r.driver.State(); s.Emitted != 0 || !strings.Contains(s.LastError, "correct layout: in the configuration") {
			t.Errorf("state %+v", s)
		}
		r = r.again(func(c *Config) { c.Layout = zk.LayoutMA300 })
		r.pass(settleWithin) // they are older than the clock says
		if s := r.driver.State(); s.Emitted != 10 || s.LastError != "" {
			t.Errorf("state %+v", s)
		}
	})
}

var errDisk = errors.New("no space left on device")

// TestMalformedIsDurable holds that a record that can't be read is not passed
// over before it is durable.
func TestMalformedIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.add(someRecords(zk.Layout40, 20, yesterday, 1)...)
		r := newRig(t, f, nil)
		r.store.set(func(s *store) { s.fail = errDisk })
		f.punch("301")
		f.set(func() { copy(f.log[40*20+27:], "\xff\xff\xff\xff") })
		r.pass(5 * time.Minute)
		r.store.set(func(s *store) { s.fail = nil })
		r.pass(3 * time.Minute)
		if list := r.store.list(); len(list) != 21 || !slices.Contains(list[20].Reasons, attendance.ReasonMalformed) {
			t.Errorf("%d punches", len(list))
		}
	})
}
