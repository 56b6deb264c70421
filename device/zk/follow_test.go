package zk

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// still is a terminal that is polled, not listened to.
func still(c *Config) { c.Live = false }

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		want := someRecords(zk.Layout40, 50, yesterday, 1)
		f.add(want...)
		r := newRig(t, f, still)
		f.set(func() { f.requests = nil })
		r.pass(9*time.Minute + 29*time.Second)
		if f.reads() != 0 || f.asked(zk.CmdGetFreeSizes) != 18 || f.asked(zk.CmdGetTime) != 18 {
			t.Errorf("in 18 polls %d reads, %d counts, %d times", f.reads(), f.asked(zk.CmdGetFreeSizes), f.asked(zk.CmdGetTime))
		}
		rec, _ := f.punch("301") // the next poll is a second away
		r.pass(time.Second)
		r.wants(want...)
		r.pass(29 * time.Second)
		r.wants(append(want, rec)...)
		if f.reads() != 2 || r.store.handed() != 51 {
			t.Errorf("%d reads, %d punches handed over", f.reads(), r.store.handed())
		}
		// Now and then the log is read though its count has not moved.
		r.pass(9*time.Minute + 30*time.Second)
		if f.reads() != 2 {
			t.Errorf("%d reads", f.reads()-2)
		}
		r.pass(time.Second)
		if f.reads() != 3 || r.store.handed() != 51 || f.dialed() != 1 {
			t.Errorf("%d reads, %d punches handed over", f.reads()-2, r.store.handed())
		}
	})
}

// TestLyingCount has a count that never moves.
func TestLyingCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.count = func(uint32) uint32 { return 3 }
		want := someRecords(zk.Layout40, 50, yesterday, 1)
		f.add(want...)
		r := newRig(t, f, nil)
		r.wantNote("its count is not believed: it says that its log has 3 records, which had 50", true)
		for i := range 10 {
			rec, _ := f.punch(fmt.Sprint(301 + i))
			want = append(want, rec)
			r.pass(30 * time.Second)
			r.wants(want...)
		}
		// Its events are found in the log, and never believed without it.
		reads := f.reads()
		for i := range 10 {
			rec, e := f.punch(fmt.Sprint(401 + i))
			want = append(want, rec)
			f.send(e)
			r.pass(settleWithin)
			r.wants(want...)
		}
		if n := f.reads() - reads; n < 10 {
			t.Errorf("%d reads for 10 events", n)
		}
	})
}

// TestSlowTerminalRests holds that a terminal that needs minutes for its log is
// not read all the time: for events and a count that lies it has rest, and for
// a count that has grown the time between two polls.
func TestSlowTerminalRests(t *testing.T) {
	for name, c := range map[string]struct {
		count func(n uint32) uint32
		most  int
	}{
		"lying count": {func(uint32) uint32 { return 3 }, 20},
		"events":      {nil, 30},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				f := newFake(t)
				f.shape = streamed
				f.pace = func(b []byte) time.Duration {
					if len(b) > 1000 {
						return 25 * time.Second
					}
					return 0
				}
				f.count = c.count
				want := someRecords(zk.Layout40, 103, yesterday, 1) // 100 s
				f.add(want...)
				r := newRig(t, f, nil)
				r.pass(2 * time.Minute)
				for i := range 60 {
					rec, _ := f.punch(fmt.Sprint(301 + i))
					want = append(want, rec)
					if name == "events" {
						f.send(f.event(10, rec)) // hints
					}
					r.pass(time.Minute)
				}
				if n := f.reads(); n < 14 || n > c.most {
					t.Errorf("%d reads of 100 s and more in an hour", n)
				}
				r.pass(15 * time.Minute)
				r.wants(want...)
			})
		})
	}
}

// TestPunchesDuringARead holds that a count is no lie because people punch
// while the log is read.
func TestPunchesDuringARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.shape = chunks
		want := someRecords(zk.Layout40, 50, yesterday, 1)
		f.add(want...)
		n := 0
		f.after = func(p zk.Packet) []zk.Packet {
			if c := p.Command; (c == zk.CmdFreeData || c == zk.CmdDataReady || c == zk.CmdDataRequest) && n < 6 {
				n++
				rec := zk.Record{UID: 3, PIN: fmt.Sprint(300 + n), Verify: 1, At: f.clock()}
				want = append(want, rec)
				f.log = appendRecords(t, f.log, f.layout, rec)
			}
			return nil
		}
		r := newRig(t, f, still)
		r.pass(time.Minute)
		r.wants(want...)
		r.wantNote("not believed", false)
		if n != 6 {
			t.Errorf("%d punches during reads", n)
		}
	})
}

// TestFullLog has a log that drops its oldest record for each new one.
func TestFullLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.shape, f.room = chunks, 3000
		want := someRecords(zk.Layout40, 2990, yesterday, 1)
		f.add(want...)
		r := newRig(t, f, nil)
		r.wantNote("full", false)
		for i := range 40 {
			rec, e := f.punch(fmt.Sprint(301 + i))
			f.set(func() { f.log = f.log[max(0, len(f.log)-3000*40):] })
			want = append(want, rec)
			if i%2 == 0 {
				f.send(e)
			}
			r.pass(settleWithin + time.Duration(i%2*30)*time.Second)
			r.wants(want...)
		}
		if r.store.handed() > len(want)+5 { // some events were believed
			t.Errorf("%d punches handed over, there were %d", r.store.handed(), len(want))
		}
		r.wantNote("full (3000 records)", true)
		r.wantNote("not believed", false)
		r.wantNote("cleared", false)
	})
}

// TestClearedLog has a log that somebody clears, and fills again.
func TestClearedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		r, want := live(t, nil)
		f := r.fake
		rec, e := f.punch("301")
		f.send(e)
		r.pass(settleWithin)
		want = append(want, rec)
		f.set(func() { f.log = nil })
		r.pass(time.Minute)
		r.wants(want...)
		r.wantNote("cleared or changed 1 times", true)
		for i := range 60 {
			rec, e := f.punch(fmt.Sprint(401 + i))
			want = append(want, rec)
			f.send(e)
			r.pass(3 * time.Second)
			r.wants(want...)
		}
		r.wantNote("not in its log", false)
		r.wantNote("cleared or changed 1 times", true)
		// A record in the middle changes: everything is handed over again, and
		// the journal drops what it has.
		f.set(func() { f.log[8*40+31] = 1 })
		r.pass(11 * time.Minute)
		if n := len(r.store.list()); n != len(want)+1 {
			t.Errorf("%d punches, want %d", n, len(want)+1)
		}
	})
}

// TestProbe holds that a terminal that is switched off is missed within a
// minute or so, however seldom it is polled.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		r := newRig(t, f, func(c *Config) { c.Poll = time.Hour })
		counts := f.asked(zk.CmdGetFreeSizes)
		r.pass(59 * time.Minute)
		if f.asked(zk.CmdGetFreeSizes) != counts || f.asked(zk.CmdGetTime) != 61 {
			t.Errorf("%d counts, %d times", f.asked(zk.CmdGetFreeSizes)-counts, f.asked(zk.CmdGetTime))
		}
		r.pass(2 * time.Minute)
		if f.asked(zk.CmdGetFreeSizes) != counts+1 {
			t.Errorf("%d counts", f.asked(zk.CmdGetFreeSizes)-counts)
		}
		f.set(func() { f.instead = func(zk.Packet) ([]zk.Packet, bool) { return nil, true } })
		r.pass(72 * time.Second)
		if s := r.driver.State(); s.LastError != "zk: GET_TIME (201): no answer for 10s" {
			t.Errorf("state %+v", s)
		}
	})
}

// TestClockFaces measures clocks in the hours that a zone has twice or not.
func TestClockFaces(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   time.Time
		off  time.Duration
		want time.Duration
	}{
		{time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC), 0, 0}, // 02:30 for the first time
		{time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC), 0, 0}, // and again
		{time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC), -time.Minute, -time.Minute},
		{time.Date(2027, 3, 28, 1, 0, 1, 0, time.UTC), 0, 0}, // 03:00:01
		{time.Date(2026, 12, 31, 22, 59, 59, 0, time.UTC), 2 * time.Second, 2 * time.Second},
		{time.Date(2026, 12, 31, 12, 0, 0, 700e6, time.UTC), 0, -700 * time.Millisecond}, // it tells whole seconds
	} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(c.at))
			f := newFake(t)
			f.zone, f.skew = berlin, c.off
			r := newRig(t, f, func(cfg *Config) { cfg.Zone = berlin })
			if s := r.driver.State(); s.Skew == nil || *s.Skew != c.want {
				t.Errorf("at %v, %v off: %v, want %v", c.at, c.off, s.Skew, c.want)
			}
		})
	}
}

// TestRoundTripHalved holds that the way there is no part of the skew.
func TestRoundTripHalved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.pace = func([]byte) time.Duration { return 4 * time.Second }
		r := newRig(t, f, still)
		r.pass(2 * time.Minute)
		if s := r.driver.State(); s.Skew == nil || *s.Skew != -2*time.Second {
			t.Errorf("skew %v", s.Skew)
		}
	})
}

// TestNotUnderstood has a log that nothing makes sense of, and later one that
// does. Nothing is guessed meanwhile, and the connection is kept.
func TestNotUnderstood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.log = []byte(strings.Repeat("no attendance record ", 40))
		r := newRig(t, f, nil)
		_, e := f.punch("301")
		f.send(e)
		r.pass(10 * time.Minute)
		s := r.driver.State()
		if !s.Online || s.Emitted != 0 || !strings.Contains(s.LastError, "no known layout makes sense of an attendance log of 880 bytes") {
			t.Errorf("state %+v", s)
		}
		if n := f.reads(); n < 20 || n > 23 || f.dialed() != 1 {
			t.Errorf("%d reads, %d connections", n, f.dialed())
		}
		if n := strings.Count(r.log.text(), "the log can't be read"); n != 2 { // for two lengths
			t.Errorf("told %d times in the log", n)
		}
		want := someRecords(zk.Layout40, 30, yesterday, 1)
		f.set(func() { f.log = nil })
		f.add(want...)
		r.pass(30 * time.Second)
		r.wants(want...)
		if s := r.driver.State(); s.LastError != "" {
			t.Errorf("state %+v", s)
		}
	})
}

// TestRefusesItsLog has a terminal that counts nothing and gives nothing, and
// so may have a full log: that must not pass for an empty one.
func TestRefusesItsLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.count = func(uint32) uint32 { return 0 }
		f.answers[zk.CmdDataRequest], f.answers[zk.CmdAttLogRead] = zk.AckNoBulk, zk.AckNoBulk
		want := someRecords(zk.Layout49, 30, yesterday, 1)
		f.layout = zk.Layout49
		f.add(want...)
		r := newRig(t, f, nil)
		r.pass(10 * time.Minute)
		s := r.driver.State()
		if !s.Online || s.LastError != "zk: read the attendance log: zk: the terminal answers 4989" || !s.LastRead.IsZero() {
			t.Errorf("state %+v", s)
		}
		if f.dialed() != 1 {
			t.Errorf("%d connections", f.dialed())
		}
		f.set(func() { clear(f.answers) })
		r.pass(30 * time.Second)
		r.wants(want...)
	})
}

// TestSlots reads logs that have slots in place of PINs.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.layout = zk.Layout8
		f.users = someUsers(t, zk.User28)
		records := someRecords(zk.Layout8, 30, yesterday, 1)
		gone := zk.Record{UID: 77, Verify: 1, State: 1, At: yesterday}
		f.add(append(slices.Clone(records), gone)...)
		named := func(records ...zk.Record) []zk.Record {
			out := slices.Clone(records)
			for i := range out {
				if out[i].UID <= 40 {
					out[i].PIN = fmt.Sprint(100 + out[i].UID)
				}
			}
			return out
		}
		want := append(named(records...), gone)
		r := newRig(t, f, nil)
		r.wants(want...)
		p := r.store.list()[30]
		if p.Badge != "" || p.Evidence.Note != "slot 77 of the terminal, which nobody holds" || string(p.Evidence.Raw) != string(f.log[30*8:]) ||
			p.Key != attendance.TerminalKey("SIM0001", "", yesterday, 1, 1, "slot 77") {
			t.Errorf("punch of nobody %+v", p)
		}
		r.wantNote("1 punches of slots that nobody holds", true)

		// Slot 7 goes to somebody else: Q18. His punches are his, and those of
		// the one before keep what they were, also after a start of the gateway.
		u := zk.User{UID: 7, PIN: "999", Name: "Eve"}
		b, err := zk.AppendUser(nil, zk.User28, u)
		if err != nil {
			t.Fatal(err)
		}
		f.set(func() { copy(f.users[6*28:], b) })
		rec, e := f.punch("")
		f.send(e)
		r.pass(settleWithin)
		rec.PIN = "999"
		want = append(want, rec)
		r.wants(want...)
		before := r.store
		r.end()
		r = newRig(t, f, nil)
		for _, p := range r.store.list() {
			if !before.keys[p.Key] {
				t.Errorf("read again a punch has another key: %+v", p)
			}
		}
		if len(r.store.list()) != len(want) {
			t.Errorf("%d punches", len(r.store.list()))
		}
	})
}

// TestNoUsers holds back a log of slots while there is no telling whose they
// are.
func TestNoUsers(t *testing.T) {
	for name, c := range map[string]struct {
		quirk func(*fake)
		want  string
	}{
		"refused": {func(f *fake) {
			f.instead = func(p zk.Packet) ([]zk.Packet, bool) {
				if p.Command == zk.CmdUserTempRead || p.Command == zk.CmdDataRequest && p.Data[1] == byte(zk.CmdUserTempRead) {
					return []zk.Packet{{Command: zk.AckError, Session: f.session, Reply: p.Reply}}, true
				}
				return nil, false
			}
		}, "zk: read the user table: zk: the terminal answers ACK_ERROR (2001); without it the log, which has slots in place of PINs, does not tell who punched"},
		"empty": {func(f *fake) {
			f.users = nil
			f.instead = func(p zk.Packet) ([]zk.Packet, bool) {
				if p.Command != zk.CmdGetFreeSizes {
					return nil, false
				}
				data := zk.AppendSizes(nil, zk.Sizes{Users: 40, Records: 30, RecordRoom: 1000}, 80)
				return []zk.Packet{{Command: zk.AckOK, Session: f.session, Reply: p.Reply, Data: data}}, true
			}
		}, "zk: the user table is empty, and the terminal says that it has 40 users"},
		"senseless": {func(f *fake) { f.users = []byte(strings.Repeat("users? ", 28)) },
			"zk: 196 bytes are no users with records of 28 or 72 bytes: unsupported"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				f := newFake(t)
				f.layout = zk.LayoutMA300
				f.users = someUsers(t, zk.User72)
				f.add(someRecords(zk.LayoutMA300, 30, yesterday, 1)...)
				c.quirk(f)
				r := newRig(t, f, nil)
				r.pass(5 * time.Minute)
				s := r.driver.State()
				if !s.Online || s.LastError != c.want || f.dialed() != 1 {
					t.Errorf("state %+v", s)
				}
				r.wants()
				f.set(func() { f.users, f.instead = someUsers(t, zk.User72), nil })
				r.pass(30 * time.Second)
				if s := r.driver.State(); s.LastError != "" || s.Emitted != 30 || r.store.list()[0].Badge == "" {
					t.Errorf("state %+v", s)
				}
			})
		})
	}
}

// TestTwoInOneSlot holds that a slot that two people hold is nobody's.
func TestTwoInOneSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.layout = zk.Layout8
		b, err := zk.AppendUser(someUsers(t, zk.User72), zk.User72, zk.User{UID: 7, PIN: "999"})
		if err != nil {
			t.Fatal(err)
		}
		f.users = b
		f.add(someRecords(zk.Layout8, 30, yesterday, 1)...)
		f.add(zk.Record{UID: 7, Verify: 1, At: yesterday})
		r := newRig(t, f, nil)
		if p := r.store.list()[30]; p.Badge != "" {
			t.Errorf("punch %+v", p)
		}
	})
}

// TestTwins: two equal entries are one fact.
func TestTwins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		r, want := live(t, nil)
		f := r.fake
		rec, e := f.punch("301")
		f.send(e)
		r.pass(100 * time.Millisecond)
		f.add(rec)
		f.send(e)
		r.pass(time.Minute)
		next, e := f.punch("302")
		f.send(e)
		r.pass(time.Minute)
		r.wants(append(want, rec, next)...)
		r.wantNote("not in its log", false)
		r.wantNote("not believed", false)
	})
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		before, now string
		want        int
	}{
		{"", "", 0}, {"", "abc", 0}, {"abc", "", 0}, {"abc", "abc", 3}, {"abc", "abcde", 3}, {"abc", "bcd", 2}, {"abc", "cde", 1},
		{"abc", "def", 0}, {"abc", "ab", 0}, {"abc", "axcd", 0}, {"aaab", "aab", 3}, {"aab", "aac", 0}, {"abab", "ababab", 4},
		{"abab", "abac", 2}, {"aaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaac", 23},
		{"aaaaaaaaaaaaaaaa", "ab", 1}, {"aaaaaaaaaaaaaaaaa", "ab", 0}, // not searched to the end
	} {
		hashes := func(s string) (h []uint64) {
			for _, c := range s {
				h = append(h, uint64(c))
			}
			return h
		}
		if got := overlap(hashes(c.before), hashes(c.now)); got != c.want {
			t.Errorf("%q, %q: %d, want %d", c.before, c.now, got, c.want)
		}
	}
}
