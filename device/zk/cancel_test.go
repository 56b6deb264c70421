package zk

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// TestCancel ends the context in each place where the driver waits. Run returns
// at once, or within the time of a goodbye where the terminal has a session;
// the bubble holds that no goroutine stays.
func TestCancel(t *testing.T) {
	silent := func(c zk.Command) func(*fake, *rig) {
		return func(f *fake, _ *rig) {
			f.set(func() { f.instead = func(p zk.Packet) ([]zk.Packet, bool) { return nil, p.Command == c } })
			f.hangUp()
		}
	}
	for _, c := range []struct {
		name    string
		into    func(f *fake, r *rig)
		wait    time.Duration // until it is there
		goodbye bool
		within  time.Duration
	}{
		{"idle", func(*fake, *rig) {}, 0, true, 0},
		{"connect", silent(zk.CmdConnect), 3 * time.Second, false, 0},
		{"auth", func(f *fake, _ *rig) {
			f.set(func() {
				f.key = 1
				f.instead = func(p zk.Packet) ([]zk.Packet, bool) { return nil, p.Command == zk.CmdAuth }
			})
			f.hangUp()
		}, 3 * time.Second, true, 0},
		{"options", silent(zk.CmdOptionsRead), 3 * time.Second, true, 0},
		{"clock", silent(zk.CmdGetTime), 3 * time.Second, true, 0},
		{"counts", silent(zk.CmdGetFreeSizes), 3 * time.Second, true, 0},
		{"bulk read", silent(zk.CmdDataRequest), 3 * time.Second, true, 0},
		{"chunk", silent(zk.CmdDataReady), 3 * time.Second, true, 0},
		{"free", silent(zk.CmdFreeData), 3 * time.Second, true, 0},
		{"register", silent(zk.CmdRegEvent), 2500 * time.Millisecond, true, 0},
		{"half a chunk", func(f *fake, _ *rig) {
			f.set(func() {
				f.wire = func(b []byte) [][]byte {
					if f.requests[len(f.requests)-1].Command == zk.CmdDataReady {
						b = b[:len(b)/2]
					}
					return [][]byte{b}
				}
			})
			f.hangUp()
		}, 3 * time.Second, true, time.Second}, // the goodbye's answer is lost in it
		{"emit of a read", func(f *fake, r *rig) {
			r.store.set(func(s *store) { s.block = true })
			f.punch("301")
			f.hangUp()
		}, 3 * time.Second, true, 0},
		{"emit of an event", func(f *fake, r *rig) {
			r.store.set(func(s *store) { s.block = true })
			_, e := f.punch("301")
			f.send(e)
		}, time.Second, true, 0},
		{"rest between reads", func(f *fake, r *rig) {
			for i := range 3 {
				_, e := f.punch(fmt.Sprint(301 + i))
				f.send(f.event(10, zk.Record{UID: 7, At: f.clock()}), e)
				r.pass(100 * time.Millisecond)
			}
		}, 100 * time.Millisecond, true, 0},
		{"back-off", func(f *fake, _ *rig) { f.hangUp() }, 500 * time.Millisecond, false, 0},
		{"pause for a person", func(f *fake, _ *rig) {
			f.set(func() { f.answers[zk.CmdConnect] = zk.AckPushOnly })
			f.hangUp()
		}, time.Minute, false, 0},
		{"a peer that reads nothing", func(f *fake, r *rig) {
			_, e := f.punch("301")
			f.send(e)
		}, 0, true, 0},
		{"no answer to the goodbye", func(f *fake, _ *rig) {
			f.set(func() { f.silent[zk.CmdExit] = true })
		}, time.Second, true, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				r, _ := live(t, func(f *fake) { f.shape = chunks })
				f := r.fake
				c.into(f, r)
				r.pass(c.wait)
				exits := f.asked(zk.CmdExit)
				start := time.Now()
				r.end()
				if took := time.Since(start); took > c.within {
					t.Errorf("ended after %v", took)
				}
				if goodbye := f.asked(zk.CmdExit) > exits; goodbye != c.goodbye {
					t.Errorf("goodbye: %v", goodbye)
				}
				if s := r.driver.State(); s.Online {
					t.Errorf("state %+v", s)
				}
			})
		})
	}
}

// TestCancelDialing ends the context while the terminal is being dialed, and
// while it does not take what is sent.
func TestCancelDialing(t *testing.T) {
	for name, accept := range map[string]func(context.Context, link.Conn) error{
		"dialing": func(ctx context.Context, _ link.Conn) error { <-ctx.Done(); return ctx.Err() },
		"sending": func(ctx context.Context, far link.Conn) error {
			context.AfterFunc(ctx, func() { far.Close() })
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				d, err := New(Config{ID: "lobby", Link: link.PipeDialer("x", accept), Emit: func(context.Context, []attendance.Punch) error { return nil }})
				if err != nil {
					t.Fatal(err)
				}
				done := make(chan error)
				go func() { done <- d.Run(ctx) }()
				synctest.Wait()
				start := time.Now()
				cancel()
				if err := <-done; err != nil || time.Since(start) != 0 {
					t.Errorf("ended after %v: %v", time.Since(start), err)
				}
			})
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	d, err := New(Config{ID: "lobby", Link: link.PipeDialer("x", nil), Emit: func(context.Context, []attendance.Punch) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(ended); err != nil {
		t.Error(err)
	}
}

// TestRunAgain holds that Run can be called again after it ended, and goes on
// where it was.
func TestRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		r, want := live(t, nil)
		all := r.store.handed()
		r.end()
		rec, _ := r.fake.punch("301")
		ctx, cancel := context.WithCancel(context.Background())
		r.stop = cancel
		go func() { r.done <- r.driver.Run(ctx) }()
		r.pass(2 * settleWithin)
		r.wants(append(want, rec)...)
		if r.store.handed() != all+1 {
			t.Errorf("%d punches handed over again", r.store.handed()-all)
		}
		r.end()
	})
}
