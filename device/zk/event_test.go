package zk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// live is a terminal with some records, which tells events.
func live(t *testing.T, change func(*fake)) (*rig, []zk.Record) {
	t.Helper()
	f := newFake(t)
	if change != nil {
		change(f)
	}
	records := someRecords(f.layout, 50, yesterday, 9)
	f.add(records...)
	r := newRig(t, f, nil)
	r.pass(2 * time.Second)
	r.wants(records...)
	f.set(func() { f.requests = nil })
	return r, records
}

// TestEvents holds that an event has the log read as soon as its record must be
// settled, and that what is handed over comes from there.
func TestEvents(t *testing.T) {
	for name, c := range map[string]struct {
		layout zk.Layout
		form   int
	}{
		"32 bytes": {zk.Layout40, 32}, "36 bytes": {zk.Layout40, 36}, "37 bytes": {zk.Layout40, 37},
		"52 bytes": {zk.Layout49, 52}, "12 bytes": {zk.Layout16, 12},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				r, want := live(t, func(f *fake) { f.layout = c.layout })
				f := r.fake
				reads := f.reads()
				for i := range 10 {
					rec, _ := f.punch(fmt.Sprint(301 + i))
					want = append(want, rec)
					f.send(f.event(c.form, rec))
					r.pass(settleWithin)
					r.wants(want...)
					p := r.store.list()[len(r.store.list())-1]
					if string(p.Evidence.Raw) != string(f.log[len(f.log)-c.layout.Size():]) || !p.ReceivedAt.Equal(time.Now()) {
						t.Errorf("evidence %x received at %v", p.Evidence.Raw, p.ReceivedAt)
					}
					r.pass(2 * time.Second)
				}
				if f.reads() != reads+10 || f.acknowledged() != 10 {
					t.Errorf("%d reads for 10 events, %d acknowledged", f.reads()-reads, f.acknowledged())
				}
				r.wantNote("not in its log", false)
			})
		})
	}
}

// TestEventsThatDiffer holds that no punch is doubled, not even one, however
// long events agreed with the log before they tell another verify code, state or
// second than it.
func TestEventsThatDiffer(t *testing.T) {
	for name, odd := range map[string]func(*zk.Record){
		"verify": func(r *zk.Record) { r.Verify = 15 },
		"state":  func(r *zk.Record) { r.State = 255 },
		"second": func(r *zk.Record) { r.At += 1000 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				r, want := live(t, nil)
				f := r.fake
				for i := range 80 {
					rec, e := f.punch(fmt.Sprint(301 + i%7))
					want = append(want, rec)
					if i >= 20 && i%3 > 0 {
						odd(&rec)
						e = f.event(32, rec)
					}
					f.send(e)
					r.pass(time.Duration(1+i%9) * time.Second)
				}
				r.pass(time.Minute)
				r.wants(want...)
				if f.acknowledged() != 80 {
					t.Errorf("%d of 80 events acknowledged", f.acknowledged())
				}
				r.wantNote("not in its log", false)
			})
		})
	}
}

// TestHints holds that events which say something else than the log never get
// into it, and still make the driver look at once.
func TestHints(t *testing.T) {
	change := func(what func(*zk.Record)) func(f *fake, r zk.Record) zk.Packet {
		return func(f *fake, r zk.Record) zk.Packet {
			what(&r)
			return f.event(32, r)
		}
	}
	for name, c := range map[string]struct {
		layout zk.Layout
		tell   func(f *fake, r zk.Record) zk.Packet
		note   bool
	}{
		"another verify code": {zk.Layout40, change(func(r *zk.Record) { r.Verify = 2 }), false},
		"another state":       {zk.Layout40, change(func(r *zk.Record) { r.State = 255 }), false},
		"another PIN":         {zk.Layout40, change(func(r *zk.Record) { r.PIN = "99" }), true},
		"another second":      {zk.Layout40, change(func(r *zk.Record) { r.At += 1000 }), false},
		"a minute later":      {zk.Layout40, change(func(r *zk.Record) { r.At += 60000 }), true},
		"the slot":            {zk.Layout40, func(f *fake, r zk.Record) zk.Packet { return f.event(10, r) }, false},
		"a number for text":   {zk.Layout40, func(f *fake, r zk.Record) zk.Packet { return f.event(12, r) }, false},
		"slots in both":       {zk.Layout8, func(f *fake, r zk.Record) zk.Packet { return f.event(14, r) }, false},
		"text for a number":   {zk.Layout16, func(f *fake, r zk.Record) zk.Packet { return f.event(32, r) }, false},
		"nothing readable": {zk.Layout40, func(_ *fake, r zk.Record) zk.Packet {
			return zk.Packet{Command: zk.CmdRegEvent, Session: uint16(zk.EventAttLog), Data: fmt.Appendf(nil, "%d", r.At)}
		}, false},
		"two at once": {zk.Layout40, func(f *fake, r zk.Record) zk.Packet {
			e := f.event(52, r)
			e.Data = append(e.Data, f.event(52, r).Data...)
			return e
		}, false},
		"an empty event": {zk.Layout40, func(_ *fake, r zk.Record) zk.Packet {
			return zk.Packet{Command: zk.CmdRegEvent, Session: uint16(zk.EventAttLog), Data: make([]byte, r.At/1000%7)}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				f := newFake(t)
				f.layout, f.users = c.layout, someUsers(t, zk.User28)
				f.add(someRecords(c.layout, 50, yesterday, 9)...)
				r := newRig(t, f, nil)
				for i := range 20 {
					rec, _ := f.punch(fmt.Sprint(301 + i))
					f.send(c.tell(f, rec))
					r.pass(8 * time.Second)
					// Durable, acknowledged, and nothing beside it.
					if n := len(r.store.list()); n != 51+i {
						t.Fatalf("%d punches after %d events", n, i+1)
					}
					if f.acknowledged() != i+1 {
						t.Errorf("%d of %d events acknowledged", f.acknowledged(), i+1)
					}
				}
				if f.layout.HasPIN() {
					for i, p := range r.store.list()[50:] {
						if p.Badge != fmt.Sprint(301+i) || p.Verify != 1 || p.State != 0 {
							t.Errorf("punch %+v", p)
						}
					}
				}
				r.wantNote("not in its log", c.note)
			})
		})
	}
}

// TestOrder has a terminal that tells some of its punches, loses the events of
// others, doubles, delays, and tells some before they are in its log. Whatever
// it does, each punch comes once and in the log's order.
func TestOrder(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			today(t)
			random := rand.New(rand.NewPCG(seed, 1))
			r, want := live(t, func(f *fake) { f.shape = []shape{whole, chunks, counted}[seed%3] })
			f := r.fake
			looking := make(chan struct{})
			go func() { // somebody looks at the status page all the time
				defer close(looking)
				for range 400 {
					r.driver.State()
					time.Sleep(200 * time.Millisecond)
				}
			}()
			defer func() { <-looking }()
			var late []zk.Packet
			for i := range 40 {
				rec, e := f.punch(fmt.Sprint(301 + i))
				want = append(want, rec)
				switch random.IntN(8) {
				case 0, 1: // lost
				case 2:
					late = append(late, e)
				case 3:
					f.send(e, e)
				case 4:
					f.send(append(late, e)...)
					late = nil
				default:
					f.send(e)
				}
				if random.IntN(12) == 0 {
					f.hangUp()
				}
				r.pass(time.Duration(random.IntN(4000)+1000) * time.Millisecond)
			}
			r.pass(2 * time.Minute)
			r.wants(want...)
			r.wantNote("not in its log", false)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// TestOvertaking holds that an event does not overtake a punch whose event was
// lost.
func TestOvertaking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		r, want := live(t, nil)
		f := r.fake
		lost, _ := f.punch("301")
		r.pass(time.Second)
		told, e := f.punch("302")
		f.send(e)
		r.pass(settleWithin)
		r.wants(append(want, lost, told)...)
	})
}

// TestToldTooSoon has an event whose record is not in the log yet: neither is
// it handed over alone, nor does it make events distrusted.
func TestToldTooSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		r, want := live(t, nil)
		f := r.fake
		rec := zk.Record{UID: 7, PIN: "301", Verify: 1, At: f.clock()}
		f.send(f.event(32, rec))
		r.pass(settleWithin)
		r.wants(want...)
		if f.reads() != 1 || f.acknowledged() != 0 {
			t.Errorf("%d reads; acknowledged %d times, and not durable", f.reads(), f.acknowledged())
		}
		f.add(rec)
		r.pass(settleWithin)
		want = append(want, rec)
		r.wants(want...)
		if f.acknowledged() != 1 {
			t.Error("not acknowledged")
		}
		r.wantNote("not in its log", false)
	})
}

// TestNeverInTheLog has an event that no read finds: it makes no punch, and is
// told.
func TestNeverInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		r, want := live(t, nil)
		f := r.fake
		real, _ := f.punch("301")
		told := real
		told.PIN = "302"
		f.send(f.event(32, told))
		r.pass(time.Minute)
		r.wants(append(want, real)...)
		r.wantNote("it tells events that are not in its log", true)
		if f.acknowledged() != 1 || !strings.Contains(r.log.text(), "this event is not in the log") {
			t.Errorf("%d acknowledged, log\n%s", f.acknowledged(), r.log.text())
		}
	})
}

// TestStorm has events in every gap of a bulk answer, repeated and of all kinds.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.shape, f.piece = counted, 100
		want := someRecords(zk.Layout40, 100, yesterday, 1)
		f.add(want...)
		storm := true
		f.wire = func(b []byte) [][]byte {
			if !storm {
				return [][]byte{b}
			}
			out := [][]byte{}
			for _, e := range []zk.Packet{
				f.event(32, want[len(want)-1]),
				f.event(12, zk.Record{PIN: "5", At: f.clock()}),
				{Command: zk.CmdRegEvent, Session: uint16(zk.EventScore), Data: []byte{100}},
				{Command: zk.CmdRegEvent, Session: 0x4000, Data: []byte("?")},
			} {
				out = append(out, zk.AppendFrame(nil, e))
			}
			return append(out, b)
		}
		r := newRig(t, f, nil)
		r.pass(time.Second)
		r.wants(want...)
		f.set(func() { storm = false })
		rec, e := f.punch("301")
		f.send(e)
		r.pass(4 * time.Second)
		r.wants(append(want, rec)...)
	})
}

// TestOverflow has more events at once than can wait.
func TestOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		r, want := live(t, nil)
		f := r.fake
		reads, acks := f.reads(), f.acknowledged()
		var events []zk.Packet
		for i := range 3 * maxQueue {
			rec, e := f.punch(fmt.Sprint(1000 + i))
			want, events = append(want, rec), append(events, e)
		}
		f.send(events...)
		r.pass(10 * time.Second)
		r.wants(want...)
		if n := f.reads() - reads; n == 0 || n > 3 {
			t.Errorf("%d reads for a storm", n)
		}
		if n := f.acknowledged() - acks; n < maxQueue || n > 3*maxQueue {
			t.Errorf("%d events acknowledged", n)
		}
		r.wantNote("not in its log", false)
	})
}

// TestAcknowledge holds that an event is acknowledged when it is durable and
// not before, and that its repetitions change nothing.
func TestAcknowledge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		r, want := live(t, nil)
		f := r.fake
		r.store.set(func(s *store) { s.block = true })
		rec, e := f.punch("301")
		f.send(e)
		r.pass(5 * time.Second)
		f.send(e)
		r.pass(5 * time.Second)
		if f.acknowledged() != 0 {
			t.Error("acknowledged while Emit had not answered")
		}
		r.end()
		r.wants(want...)
		if f.acknowledged() != 0 {
			t.Error("acknowledged though Emit failed")
		}

		r = newRig(t, f, nil) // the gateway is started again
		want = append(want, rec)
		r.wants(want...)
		f.send(e)
		r.pass(settleWithin)
		f.send(e)
		r.pass(time.Second)
		r.wants(want...)
		if f.acknowledged() != 2 {
			t.Errorf("%d acknowledged", f.acknowledged())
		}
	})
}

// TestEmitFails has a journal that takes nothing for an hour.
func TestEmitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		r, want := live(t, nil)
		f := r.fake
		full := errors.New("no space left on device")
		r.store.set(func(s *store) { s.fail = full })
		for i := range 100 {
			rec, e := f.punch(fmt.Sprint(301 + i))
			f.send(e)
			want = append(want, rec)
			r.pass(36 * time.Second)
		}
		if f.acknowledged() != 0 || len(r.store.list()) != len(want)-100 {
			t.Errorf("%d acknowledged, %d punches", f.acknowledged(), len(r.store.list()))
		}
		if s := r.driver.State(); !strings.Contains(s.LastError, "could not be made durable: no space left on device") {
			t.Errorf("state %+v", s)
		}
		// The terminal has no part in it.
		if f.dialed() != 1 || f.reads() != 1 {
			t.Errorf("%d connections and %d reads in an hour", f.dialed(), f.reads())
		}
		r.store.set(func(s *store) { s.fail = nil })
		r.pass(8 * time.Second)
		r.wants(want...)
		if s := r.driver.State(); s.LastError != "" || !s.Online {
			t.Errorf("state %+v", s)
		}
		rec, e := f.punch("999")
		f.send(e)
		r.pass(settleWithin)
		r.wants(append(want, rec)...)
	})
}

// TestEmitFailsInTheMiddle holds that a read goes on where Emit refused.
func TestEmitFailsInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.shape = chunks
		want := someRecords(zk.Layout40, 5500, yesterday, 1)
		f.add(want...)
		r := newRig(t, f, func(c *Config) {
			inner := c.Emit
			calls := 0
			c.Emit = func(ctx context.Context, p []attendance.Punch) error {
				if calls++; calls == 3 {
					return errors.New("full")
				}
				return inner(ctx, p)
			}
		})
		if len(r.store.list()) != 2000 {
			t.Errorf("%d punches", len(r.store.list()))
		}
		r.pass(retryAfter)
		r.wants(want...)
		if r.store.handed() != 5500 || f.reads() != 2 {
			t.Errorf("%d punches handed over for 5,500", r.store.handed())
		}
	})
}

// TestSilentDrop has a terminal that stops telling events without a word.
func TestSilentDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		r, want := live(t, nil)
		f := r.fake
		registered := f.asked(zk.CmdRegEvent)
		rec, _ := f.punch("301")
		r.pass(31 * time.Second)
		r.wants(append(want, rec)...)
		if n := f.asked(zk.CmdRegEvent); n != registered+1 {
			t.Errorf("events were asked for %d times more", n-registered)
		}
	})
}

// TestOldEvents has a terminal that tells, when it is connected to, what nobody
// acknowledged in days. It stands in the log long ago.
func TestOldEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		want := someRecords(zk.Layout40, 2000, yesterday, 1)
		f.add(want...)
		old := slices.Clone(want[100:150])
		f.after = func(p zk.Packet) []zk.Packet {
			if p.Command != zk.CmdRegEvent {
				return nil
			}
			var events []zk.Packet
			for _, rec := range old {
				events = append(events, f.event(32, rec))
			}
			return events
		}
		r := newRig(t, f, nil)
		r.pass(5 * time.Second)
		r.wants(want...)
		if f.acknowledged() != len(old) {
			t.Errorf("%d of %d acknowledged", f.acknowledged(), len(old))
		}
		r.wantNote("not in its log", false)
	})
}
