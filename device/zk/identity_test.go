package zk

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/zk"
)

// again starts a driver as after a restart of the gateway, with the punches that
// are durable.
func (r *rig) again(change func(*Config)) *rig {
	r.t.Helper()
	r.end()
	before := r.store
	return newRig(r.t, r.fake, func(c *Config) {
		c.Known = func(context.Context) (string, error) {
			if list := before.list(); len(list) > 0 {
				return list[len(list)-1].Device.Serial, nil
			}
			return "", nil
		}
		c.Emit = before.emit
		if change != nil {
			change(c)
		}
	})
}

// TestIdentityIsKept holds that a terminal keeps its identity over restarts and
// connections, whatever it tells of itself then, or is not read.
func TestIdentityIsKept(t *testing.T) {
	const serial, mac, other = "SIM0001", "00:17:61:11:22:33", "00:17:61:99:99:99"
	type name struct{ serial, mac string }
	for _, c := range []struct {
		what      string
		was, is   name
		punches   int    // of 50 records, after 10 minutes
		problem   string // meanwhile
		recovered bool   // once it is again what it was, it is read
	}{
		{"no serial number now", name{serial, mac}, name{"", mac}, 50, "does not tell its serial number now", true},
		{"nothing at all now", name{serial, mac}, name{"", ""}, 50, "does not tell its serial number now", true},
		{"a serial number at last", name{"", mac}, name{serial, mac}, 50, "", true},
		{"a serial number at last, no MAC", name{"", mac}, name{serial, ""}, 50, "does not tell one now", true},
		{"its MAC in capitals", name{"", "ab:cd:ef:00:00:01"}, name{"", "AB:CD:EF:00:00:01"}, 50, "", true},
		{"no MAC now", name{"", mac}, name{"", ""}, 50, "does not tell one now", true},
		{"neither before, both now", name{"", ""}, name{serial, mac}, 50, "", true},
		{"another serial number", name{serial, mac}, name{"SIM0002", other}, 100, "", false},
		{"another serial number and MAC", name{"", mac}, name{"SIM0002", other}, 100, "", false},
		{"another MAC", name{"", mac}, name{"", other}, 100, "", false},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(c.what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					today(t)
					f := newFake(t)
					f.serial, f.mac = c.was.serial, c.was.mac
					f.add(someRecords(zk.Layout40, 50, yesterday, 1)...)
					r := newRig(t, f, nil)
					r.pass(6 * time.Minute)
					store := r.store
					if len(store.list()) != 50 {
						t.Fatalf("%d punches, state %+v", len(store.list()), r.driver.State())
					}
					be := func(n name) { f.set(func() { f.serial, f.mac = n.serial, n.mac }) }
					if be(c.is); restart {
						r = r.again(nil)
					} else {
						f.hangUp()
					}
					r.pass(10 * time.Minute)
					if n := len(store.list()); n != c.punches {
						t.Errorf("%d punches of 50 records", n)
					}
					if s := r.driver.State(); !strings.Contains(s.LastError, c.problem) || (c.problem == "") != (s.LastError == "") {
						t.Errorf("state %+v", s)
					}
					r.wantNote("it is another terminal than before", c.punches == 100)
					if !c.recovered {
						return
					}
					be(c.was)
					f.hangUp()
					r.pass(2 * time.Minute)
					f.punch("301")
					r.pass(time.Minute)
					if s := r.driver.State(); len(store.list()) != 51 || s.LastError != "" {
						t.Errorf("%d punches, state %+v", len(store.list()), s)
					}
				})
			})
		}
	}
}

// TestNamelessAtFirst has a terminal that tells its serial number only after
// some connections: nothing else stands in for it meanwhile.
func TestNamelessAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.serial = ""
		want := someRecords(zk.Layout40, 50, yesterday, 1)
		f.add(want...)
		r := newRig(t, f, nil)
		r.pass(90 * time.Second)
		r.wants()
		f.set(func() { f.serial = "SIM0001" })
		r.pass(2 * time.Minute)
		r.wants(want...)
		if p := r.store.list()[0]; p.Device.Serial != "SIM0001" {
			t.Errorf("punch %+v", p)
		}
	})
}

// TestKnownFails holds that nothing is handed over while it can't be found out
// under which identity.
func TestKnownFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		want := someRecords(zk.Layout40, 50, yesterday, 1)
		f.add(want...)
		cause := errors.New("no ledger today")
		asked := 0
		r := newRig(t, f, func(c *Config) {
			c.Known = func(context.Context) (string, error) {
				f.mu.Lock()
				defer f.mu.Unlock()
				asked++
				return "", cause
			}
		})
		r.pass(time.Minute)
		r.wants()
		if s := r.driver.State(); !strings.Contains(s.LastError, "told apart: no ledger today") {
			t.Errorf("state %+v", s)
		}
		f.set(func() { cause = nil })
		r.pass(3 * time.Minute)
		r.wants(want...)
		var before, after int
		f.set(func() { before = asked })
		f.hangUp()
		r.pass(time.Minute)
		if f.set(func() { after = asked }); after != before {
			t.Error("asked again though it is known")
		}
	})
}
