package gateway

import (
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/punchd/punchd/firmware-sim/rig"
	"github.com/punchd/punchd/firmware-sim/terminal/zk"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/journal"
	"github.com/punchd/punchd/sync/ledger/disk/disktest"
)

// onDisk puts a gateway's journal, which is new, on a disk of the test.
func onDisk(t *testing.T, d *disktest.Disk) func(*Gateway) {
	return func(g *Gateway) {
		t.Helper()
		if err := g.close(); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(g.cfg.Gateway.DataDir, "full")
		j, err := journal.Open(t.Context(), journal.Config{Dir: dir, FS: d, Log: g.log})
		if err != nil {
			t.Fatal(err)
		}
		g.journal, g.forwarders, g.closers = j, nil, nil
		if err := g.buildSinks(); err != nil {
			t.Fatal(err)
		}
	}
}

// A terminal and a reader are told nothing that the ledger does not have: while
// it can't be written nothing is acknowledged, and when it can be again all of
// it comes again by itself, in order. (A kill can't show this: see package rig.)
func TestDiskFull(t *testing.T) {
	for name, scene := range map[string]rig.Scene{
		"terminal": {Seed: 21, Terminals: 1, Users: 30, Logs: 100, TerminalPace: 20 * time.Millisecond, Quirks: []zk.Quirks{{Gap: zk.NoGap}}},
		"live":     {Seed: 22, Terminals: 1, Users: 30, TerminalPace: 20 * time.Millisecond, Quirks: []zk.Quirks{{Gap: zk.NoGap}}},
		"reader":   {Seed: 23, Reader: true, ReaderPace: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, d := newSite(t, scene), disktest.New(1)
			var refused atomic.Int64
			full := func(op disktest.Op) error {
				if op.Kind != disktest.Write {
					return nil
				}
				refused.Add(1)
				return syscall.ENOSPC
			}
			if name == "live" { // it has read the empty log, and follows the events
				s.start(onDisk(t, d))
				s.until(10*time.Second, func() bool { return s.gateway.Status().Devices[0].LastRead != nil })
				d.Fail(full)
			} else {
				s.start(onDisk(t, d), func(*Gateway) { d.Fail(full) })
			}
			s.punch(700 * time.Millisecond)
			s.until(20*time.Second, func() bool { return refused.Load() > 1 }) // it asks again
			if dev := s.gateway.Status().Devices[0]; dev.Punches > 0 {
				t.Errorf("state: %+v", dev)
			}
			if scene.Terminals > 0 {
				if c := s.world.TerminalCounts(0); c.EventsAcked > 0 {
					t.Errorf("%d of %d events were acknowledged", c.EventsAcked, c.EventsSent)
				}
			}
			if st, err := s.gateway.journal.Stats(); err != nil || st.Next > 0 {
				t.Fatalf("%d records on a disk that takes none, %v", st.Next, err)
			}
			d.Fail(nil)
			if tally := s.clean(60 * time.Second); tally.Made == 0 {
				t.Error("nothing was made")
			}
		})
	}
}

// until waits for something of the gateway's.
func (s *site) until(limit time.Duration, is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(limit); !is(); {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %v: %+v", limit, s.gateway.Status())
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-s.t.Context().Done():
			s.t.Fatal("interrupted")
		}
	}
}

// Who has left is still known, and his punches are refused with the reason, at
// a terminal and at a reader. Whom the roster does not know is unverified.
func TestLeavers(t *testing.T) {
	t.Parallel()
	s := newSite(t, rig.Scene{Seed: 31, Terminals: 1, Users: 30, Logs: 200, TerminalPace: 30 * time.Millisecond, Quirks: []zk.Quirks{{Gap: zk.NoGap}},
		Reader: true, ReaderPace: 50 * time.Millisecond})
	s.start()
	s.punch(2500 * time.Millisecond)
	s.clean(60 * time.Second)
	_, punches, err := s.world.Held()
	if err != nil {
		t.Fatal(err)
	}
	type outcome struct {
		driver  string
		verdict attendance.Verdict
	}
	n := map[outcome]int{}
	for _, p := range punches {
		n[outcome{p.Device.Driver, p.Verdict}]++
		if want := []attendance.Reason{attendance.ReasonNotEmployed}; p.Verdict == attendance.Refused && (!slices.Equal(p.Reasons, want) || p.Employee == "") {
			t.Errorf("%q is refused for %v", p.Employee, p.Reasons)
		}
	}
	for _, driver := range []string{"zk", "cardline"} {
		for _, v := range []attendance.Verdict{attendance.Accepted, attendance.Refused} {
			if n[outcome{driver, v}] == 0 {
				t.Errorf("%s: nothing is %v: %v", driver, v, n)
			}
		}
	}
	if n[outcome{"cardline", attendance.Unverified}] == 0 {
		t.Errorf("no card is nobody's: %v", n)
	}
}
