package zk

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// TestHalfWritten has the log read while a record is written to it, for longer
// than that should take too. What is durable is the whole record, once, and its
// event is acknowledged then.
func TestHalfWritten(t *testing.T) {
	for name, half := range map[string]func(rec []byte){
		"nothing but the slot": func(rec []byte) { clear(rec[2:]) },
		"zeros":                func(rec []byte) { clear(rec) },
		"no date":              func(rec []byte) { clear(rec[27:31]) },
		"half of the date":     func(rec []byte) { clear(rec[29:31]) },
		"no state":             func(rec []byte) { rec[31] = 0 },
		"half of the PIN":      func(rec []byte) { rec[3] = 0 },
	} {
		for _, when := range []time.Duration{time.Second, 29500 * time.Millisecond} { // at an event, before a poll
			t.Run(fmt.Sprint(name, " ", when), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					today(t)
					r, want := live(t, nil)
					f := r.fake
					r.pass(when - 2*time.Second)
					rec, e := f.punch("301")
					rec.State = 1
					want = append(want, rec)
					f.set(func() { f.log[len(f.log)-40+31] = 1 })
					full := bytes.Clone(f.log)
					f.set(func() { half(f.log[len(f.log)-40:]) })
					if when == time.Second {
						f.send(e)
					}
					r.pass(2 * time.Second)
					r.wants(want[:50]...)
					f.set(func() { f.log = full })
					r.pass(10 * time.Second)
					r.wants(want...)
					if n := f.acknowledged(); n != 1 && when == time.Second {
						t.Errorf("%d acknowledged", n)
					}
					if s := r.driver.State(); s.BadFrames != 0 {
						t.Errorf("state %+v", s)
					}
				})
			})
		}
	}
}

// TestOddIsSettledLater holds that what no clock settles comes with the second
// read that finds it: without a clock, with a record of tomorrow, one of long
// ago, and one that can't be read.
func TestOddIsSettledLater(t *testing.T) {
	for name, change := range map[string]func(f *fake){
		"no clock":   func(f *fake) { f.answers[zk.CmdGetTime] = zk.AckError },
		"tomorrow":   func(f *fake) { f.skew = -24 * time.Hour },
		"unreadable": func(f *fake) { f.set(func() { copy(f.log[len(f.log)-13:], "\xff\xff\xff\xff") }) },
		"long ago":   func(f *fake) { f.set(func() { copy(f.log[len(f.log)-13:], "\x00\x00\x00\x01") }) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				r, want := live(t, nil)
				f := r.fake
				_, e := f.punch("301")
				f.punch("302") // waits for the one in front of it
				change(f)
				if name == "unreadable" || name == "long ago" {
					f.set(func() {
						f.log = append(f.log[:len(f.log)-80], append(f.log[len(f.log)-40:], f.log[len(f.log)-80:len(f.log)-40]...)...)
					})
				}
				f.send(e)
				r.pass(settleWithin)
				if n := len(r.store.list()); f.reads() != 1 || n != len(want) {
					t.Errorf("%d punches after %d reads", n, f.reads())
				}
				r.pass(settleWithin)
				if n := len(r.store.list()); f.reads() != 2 || n != len(want)+2 {
					t.Errorf("%d punches after %d reads", n, f.reads())
				}
				r.pass(time.Minute)
				if f.reads() > 3 || f.acknowledged() != 1 {
					t.Errorf("%d reads, %d acknowledged", f.reads(), f.acknowledged())
				}
			})
		})
	}
}

// TestCrowd has somebody punch each second, as at the gate in the morning: no
// punch waits for the next, and the terminal is not read for each.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		r, want := live(t, nil)
		f := r.fake
		for i := range 60 {
			rec, e := f.punch(fmt.Sprint(301 + i))
			want = append(want, rec)
			f.send(e)
			r.pass(time.Second)
			if n := len(r.store.list()); n < len(want)-6 {
				t.Errorf("%d of %d punches are durable", n, len(want))
			}
		}
		r.pass(2 * settleWithin)
		r.wants(want...)
		if f.reads() > 61 || f.acknowledged() != 60 {
			t.Errorf("%d reads, %d acknowledged", f.reads(), f.acknowledged())
		}
		r.wantNote("not in its log", false)
	})
}

// TestFullDiskSlowTerminal holds that a terminal that is read for long is not
// read again and again while nothing can be made durable, also over another
// connection, and what came meanwhile comes soon after.
func TestFullDiskSlowTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		want := someRecords(zk.Layout40, 2000, yesterday, 1)
		f.add(want...)
		f.pace = func(b []byte) time.Duration { return time.Duration(len(b)) * time.Second / 4000 } // 20 s
		r := newRig(t, f, nil)
		r.store.set(func(s *store) { s.fail = errDisk })
		r.pass(30 * time.Minute)
		rec, _ := f.punch("301")
		f.hangUp()
		r.pass(30 * time.Minute)
		if f.reads() != 1 || len(r.store.list()) != 0 || f.dialed() != 2 {
			t.Errorf("%d reads over %d connections, %d punches", f.reads(), f.dialed(), len(r.store.list()))
		}
		r.store.set(func(s *store) { s.fail = nil })
		r.pass(retryAfter)
		if len(r.store.list()) != 1000 {
			t.Errorf("%d punches after the disk has room", len(r.store.list()))
		}
		r.pass(25 * time.Second)
		r.wants(append(want, rec)...)
		if r.store.handed() != 2001 || !slices.Equal(r.store.facts()[:1], []string{fmt.Sprintf("%s %v %d %d", want[0].PIN, want[0].At, want[0].Verify, want[0].State)}) {
			t.Errorf("%d punches handed over", r.store.handed())
		}
	})
}

// TestUnsettledLayouts holds that records of each layout are looked at alike.
func TestUnsettledLayouts(t *testing.T) {
	for _, l := range []zk.Layout{zk.Layout8, zk.LayoutMA300, zk.Layout16, zk.Layout40, zk.Layout49} {
		records := []zk.Record{{UID: 1, PIN: "1", At: 1_000_000_000_000}, {UID: 1, PIN: "1", At: 1_000_000_001_000}}
		if !l.HasPIN() {
			records[0].PIN, records[1].PIN = "", ""
		} else if l == zk.Layout16 {
			records[0].UID, records[1].UID = 0, 0
		}
		log := snapshot{layout: l, records: appendRecords(t, nil, l, records...)}
		none := func(zk.Record) bool { return false }
		for face, old := range map[attendance.LocalTime]bool{0: false, 1_000_000_003_000: false, 1_000_000_004_000: true, 1_000_086_401_000: false} {
			if log.old(1, face, none) != old {
				t.Errorf("%v, clock at %v: %v", l, face, !old)
			}
		}
	}
}
