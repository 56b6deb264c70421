package gateway

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/firmware-sim/rig"
	"github.com/punchd/punchd/firmware-sim/terminal/zk"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/ledger"
)

// punchesOf makes n punches of a terminal. No two of all tests are one fact.
func punchesOf(device, serial string, first, n int) []attendance.Punch {
	list := make([]attendance.Punch, n)
	for i := range list {
		at := attendance.LocalDate(2026, 11, 1, 0, 0, first+i, 0)
		list[i] = attendance.Punch{
			Key: attendance.TerminalKey(serial, "1", at, 0, 1, ""), Kind: attendance.KindPunch, Badge: "1",
			Device:     attendance.Device{ID: device, Driver: config.DriverZK, Serial: serial},
			DeviceTime: at, At: at.In(time.UTC), ReceivedAt: at.In(time.UTC), Verify: 1,
		}
	}
	return list
}

// TestLastSerial holds that the serial number of a terminal's newest punch is
// found, however many of others came since, also after a restart.
func TestLastSerial(t *testing.T) {
	t.Parallel()
	s := newSite(t, rig.Scene{Seed: 21, Reader: true, ReaderPace: time.Hour})
	s.start()
	want := func(terminal, serial string) {
		t.Helper()
		if got, err := s.gateway.lastSerial(t.Context(), terminal); got != serial || err != nil {
			t.Errorf("%s: %q, %v; want %q", terminal, got, err, serial)
		}
	}
	put := func(list []attendance.Punch) {
		t.Helper()
		if err := s.gateway.accept(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	want("old", "")
	put(punchesOf("old", "A0", 0, 3))
	put(punchesOf("old", "mac 00:17:61:00:00:01", 10, 3))
	want("old", "mac 00:17:61:00:00:01")
	for i := range 10 {
		put(punchesOf("busy", fmt.Sprint("B", i), 1000*i, 1000))
	}
	// Punches of before this was kept, and of another driver, tell nothing.
	put(punchesOf("old", "", 50_000, 1))
	reader := punchesOf("old", "R", 60_000, 1)
	reader[0].Device.Driver = config.DriverCardline
	put(reader)
	for range 2 {
		want("old", "mac 00:17:61:00:00:01")
		want("busy", "B9")
		want("never", "")
		s.stop()
		s.start()
	}
}

// TestLastSerialUndecodable holds that a record that this program can't decode
// keeps no terminal from being read: the search goes on beside it.
func TestLastSerialUndecodable(t *testing.T) {
	t.Parallel()
	s := newSite(t, rig.Scene{Seed: 21, Reader: true, ReaderPace: time.Hour})
	s.start()
	put := func(list []attendance.Punch) {
		t.Helper()
		if err := s.gateway.accept(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	put(punchesOf("old", "A0", 0, 3))
	s.stop()
	l, err := ledger.Open(ledger.Config{Dir: filepath.Join(s.config().Gateway.DataDir, "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	odd := ledger.Entry{Kind: attendance.RecordPunch, Payload: []byte{0xff, 0xff, 0xff}}
	_, err = l.Append([]ledger.Entry{odd, odd})
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	s.start()
	put(punchesOf("new", "N0", 100, 3))
	for range 2 { // the second time they are far from the newest
		for id, serial := range map[string]string{"old": "A0", "new": "N0", "never": ""} {
			if got, err := s.gateway.lastSerial(t.Context(), id); got != serial || err != nil {
				t.Errorf("%s: %q, %v; want %q", id, got, err, serial)
			}
		}
		for i := range 5 {
			put(punchesOf("new", "N0", 1000+1000*i, 1000))
		}
	}
}

// TestMalformedPunch holds that a punch that its driver could not read is kept
// as it is: unverified, of nobody, even if its badge is somebody's.
func TestMalformedPunch(t *testing.T) {
	t.Parallel()
	s := newSite(t, rig.Scene{Seed: 22, Terminals: 1, Users: 30, TerminalPace: time.Hour, Quirks: []zk.Quirks{{Gap: zk.NoGap}}})
	s.start()
	p := punchesOf("terminal-x", "X1", 0, 1)
	p[0].Reasons = []attendance.Reason{attendance.ReasonMalformed}
	p[0].Evidence.Raw = []byte{1, 2, 3}
	for _, e := range s.gateway.judgement.Load().roster.Roster.Employees {
		if len(e.PINs) > 0 {
			p[0].Badge = e.PINs[0]
		}
	}
	for range 2 {
		if err := s.gateway.accept(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	stats, err := s.gateway.journal.Stats()
	if err != nil {
		t.Fatal(err)
	}
	items, _, err := s.gateway.journal.Pending(t.Context(), 0, int(stats.Next))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, it := range items {
		q := it.Punch
		if q.Key != p[0].Key {
			continue
		}
		found++
		if q.Verdict != attendance.Unverified || q.Employee != "" || q.Badge != p[0].Badge || q.Site == "" ||
			!slices.Equal(q.Reasons, p[0].Reasons) || string(q.Evidence.Raw) != "\x01\x02\x03" {
			t.Errorf("punch %+v", q)
		}
	}
	if found != 1 {
		t.Errorf("it is in the ledger %d times", found)
	}
	if len(p[0].Reasons) != 1 || p[0].Site != "" {
		t.Error("the driver's own punch was changed")
	}
}
