package zk

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

func TestLoginFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		quirk func(*fake)
		want  string
		slow  bool // tried again every five minutes only
	}{
		{"Q1: push-only firmware", func(f *fake) { f.answers[zk.CmdConnect] = zk.AckPushOnly },
			"zk: push-only firmware: zk: the terminal answers 6001: its firmware lets no host connect any more; set it to push its records instead", true},
		{"Q2: no key", func(f *fake) { f.key = 4711 }, "zk: the terminal has a comm key and none is configured", true},
		{"Q2: wrong key hangs up", func(f *fake) {
			f.key = 4711
			f.wire = func(b []byte) [][]byte {
				if f.requests[len(f.requests)-1].Command == zk.CmdAuth {
					return [][]byte{nil}
				}
				return [][]byte{b}
			}
		}, "zk: AUTH (1102): read: EOF: the terminal hung up on the comm key, as some do if it is wrong", true},
		{"Q11: starved", func(f *fake) { f.silent[zk.CmdConnect] = true },
			"zk: CONNECT (1000): no answer for 10s; it may serve another host, most serve one at a time", false},
		{"Q16: closed at once", func(f *fake) { f.wire = func([]byte) [][]byte { return [][]byte{nil} } },
			"zk: CONNECT (1000): read: EOF; it hung up: another program may be connected, most terminals serve one at a time, or this is no ZKTeco terminal", false},
		{"connect refused", func(f *fake) { f.answers[zk.CmdConnect] = zk.AckError },
			"zk: CONNECT (1000): unexpected answer ACK_ERROR (2001)", false},
		{"auth refused otherwise", func(f *fake) { f.key = 4711; f.answers[zk.CmdAuth] = zk.AckError },
			"zk: AUTH (1102): unexpected answer ACK_ERROR (2001)", false},
		{"auth unanswered", func(f *fake) { f.key = 4711; f.silent[zk.CmdAuth] = true }, "zk: AUTH (1102): no answer for 1m15s", false},
		{"an access panel", func(f *fake) {
			f.wire = func([]byte) [][]byte { return [][]byte{[]byte("\xaa\x01\x76\x00\x00\xe0\x26\x55")} }
		},
			"zk: CONNECT (1000): zk: the peer speaks as a C3 or inBio access panel (frames from AA 01), not as a terminal: unsupported", true},
		{"a web server", func(f *fake) {
			f.wire = func([]byte) [][]byte { return [][]byte{[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), nil} }
		}, "zk: CONNECT (1000): read: EOF; it hung up: another program may be connected, most terminals serve one at a time, or this is no ZKTeco terminal", false},
		{"noise", func(f *fake) { f.wire = func([]byte) [][]byte { return [][]byte{make([]byte, 1<<20)} } },
			"zk: CONNECT (1000): over 65536 bytes outside any frame, this may be no terminal: zk: 65536 bytes outside any frame, from 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00: malformed", false},
		{"serial unanswered", func(f *fake) { f.serial, f.unknown = "", 0 }, "zk: OPTIONS_RRQ (11): no answer for 10s", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				f := newFake(t)
				f.add(someRecords(zk.Layout40, 3, yesterday, 1)...)
				c.quirk(f)
				r := newRig(t, f, nil)
				r.pass(4 * time.Minute)
				if s := r.driver.State(); s.Online || r.lastError() != c.want {
					t.Errorf("state %+v, want %s", s, c.want)
				}
				if (f.dialed() <= 2) != c.slow {
					t.Errorf("dialed %d times in 4 minutes", f.dialed())
				}
				r.pass(time.Hour)
				if s := r.driver.State(); s.Online || r.lastError() != c.want {
					t.Errorf("an hour later: state %+v", s)
				}
				if n := f.dialed(); n < 12 || c.slow && n > 15 {
					t.Errorf("dialed %d times in an hour", n)
				}
				// A person changes something.
				f.set(func() {
					f.key, f.serial, f.wire = 0, "SIM0001", nil
					clear(f.answers)
					clear(f.silent)
				})
				r.pass(7 * time.Minute)
				if s := r.driver.State(); !s.Online || s.LastError != "" || s.Emitted != 3 {
					t.Errorf("after that: state %+v", s)
				}
			})
		})
	}
}

func TestWrongKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.key = 4711
		r := newRig(t, f, func(c *Config) { c.CommKey = 3141592653 })
		r.pass(24 * time.Hour)
		if s := r.driver.State(); s.LastError != "zk: the terminal refuses the comm key; compare it with the one on its menu" {
			t.Errorf("state %+v", s)
		}
		if n := f.asked(zk.CmdAuth); n < 280 || n > 289 {
			t.Errorf("the wrong key was given %d times in a day", n)
		}
		if n := f.asked(zk.CmdExit); n != f.asked(zk.CmdAuth) {
			t.Errorf("%d goodbyes for %d sessions", n, f.asked(zk.CmdAuth))
		}
		if strings.Contains(r.log.text(), "3141592653") {
			t.Error("the key stands in the log")
		}
	})
}

// TestSlowAuth holds that a terminal may take its time over the key.
func TestSlowAuth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.key = 123456
		f.pace = func([]byte) time.Duration {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.requests[len(f.requests)-1].Command == zk.CmdAuth {
				return 70 * time.Second
			}
			return 0
		}
		r := newRig(t, f, func(c *Config) { c.CommKey = 123456 })
		r.pass(71 * time.Second)
		if s := r.driver.State(); !s.Online || f.dialed() != 1 {
			t.Errorf("state %+v", s)
		}
	})
}

func TestIdentity(t *testing.T) {
	at := attendance.LocalDate(2026, 11, 23, 17, 0, 0, 0)
	record := zk.Record{UID: 1, PIN: "101", Verify: 1, At: at}
	key := func(identity string) attendance.Key { return attendance.TerminalKey(identity, "101", at, 0, 1, "") }
	for _, c := range []struct {
		name        string
		serial, mac string
		refusals    int // of an option, before it is told
		key         attendance.Key
		standsIn    string // in the punch, for a serial number
		told        string // as serial number
		note        string
	}{
		{"serial number", "SIM0001", "00:17:61:11:22:33", 0, key("SIM0001"), "SIM0001", "SIM0001", ""},
		{"serial number with spaces", " SIM0001 ", "", 0, key("SIM0001"), "SIM0001", "SIM0001", ""},
		{"busy when it is asked first", "SIM0001", "00:17:61:11:22:33", 1, key("SIM0001"), "SIM0001", "SIM0001", ""},
		{"none", "", "00:17:61:11:22:33", 0, key("mac 00:17:61:11:22:33"), "mac 00:17:61:11:22:33", "", "by its MAC"},
		{"zeros", "0000000000", "00:17:61:11:22:33", 0, key("mac 00:17:61:11:22:33"), "mac 00:17:61:11:22:33", "", "by its MAC"},
		{"nor a MAC", "", "", 0, key("id lobby"), "id lobby", "", "by the configured id"},
		{"MAC of zeros", "", "00:00:00:00:00:00", 0, key("id lobby"), "id lobby", "", "by the configured id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				f := newFake(t)
				f.add(record)
				f.serial, f.mac = c.serial, c.mac
				left := c.refusals
				f.instead = func(p zk.Packet) ([]zk.Packet, bool) {
					if p.Command == zk.CmdOptionsRead && left > 0 {
						left--
						return []zk.Packet{{Command: zk.AckError, Session: f.session, Reply: p.Reply}}, true
					}
					return nil, false
				}
				r := newRig(t, f, nil)
				if c.told == "" { // it may tell one later
					r.pass(90 * time.Second)
					r.wants()
					r.pass(5 * time.Minute)
				}
				if len(r.store.list()) != 1 {
					t.Fatalf("%d punches, state %+v", len(r.store.list()), r.driver.State())
				}
				if p := r.store.list()[0]; p.Key != c.key || p.Device.Serial != c.standsIn || r.driver.State().Serial != c.told {
					t.Errorf("punch %+v", p)
				}
				r.wantNote("told apart", c.note != "")
				r.wantNote(c.note, true)
			})
		})
	}
}

// TestAnotherTerminal holds that nothing that was learned of one terminal is
// believed of another at its address.
func TestAnotherTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		records := someRecords(zk.Layout40, 100, yesterday, 1)
		f.add(records...)
		f.count = func(n uint32) uint32 { return n + 5 }
		r := newRig(t, f, nil)
		r.wantNote("not believed", true)
		f.hangUp()
		f.set(func() { f.serial, f.count = "SIM0002", nil })
		r.pass(3 * time.Second)
		if r.store.handed() != 200 || len(r.store.list()) != 200 || r.store.list()[150].Device.Serial != "SIM0002" {
			t.Errorf("%d punches, %d of them distinct", r.store.handed(), len(r.store.list()))
		}
		r.wantNote("not believed", false)
		r.wantNote("it is another terminal than before, when SIM0001 was there", true)
		if !strings.Contains(r.log.text(), `msg="another terminal answers at this address: its log is read as a new one" terminal=lobby before=SIM0001 now=SIM0002`) {
			t.Errorf("log\n%s", r.log.text())
		}
		// A mood is no other terminal: its log would be doubled.
		f.hangUp()
		f.set(func() { f.serial = "" })
		r.pass(time.Minute)
		if s := r.driver.State(); r.store.handed() != 200 || s.LastError != "zk: the terminal was SIM0002 before and does not tell its serial number now; it is asked again, and not read before; if another terminal has taken its place, give it an id of its own in the configuration, and it is read as a new one" {
			t.Errorf("state %+v, %d punches", s, r.store.handed())
		}
	})
}

func TestNew(t *testing.T) {
	emit := func(context.Context, []attendance.Punch) error { return nil }
	dialer := link.PipeDialer("x", nil)
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "zk: terminal without an id"},
		{Config{ID: "lobby", Emit: emit}, "zk: terminal lobby has no link"},
		{Config{ID: "lobby", Link: dialer}, "zk: terminal lobby has nowhere to emit to"},
		{Config{ID: "lobby", Link: dialer, Emit: emit, Zone: time.Local}, "zk: terminal lobby: zone Local means another one on another machine; name it, as in Asia/Shanghai"},
		{Config{ID: "lobby", Link: dialer, Emit: emit, Layout: 17}, "zk: terminal lobby: there are no attendance records of the layout 17"},
		{Config{ID: "lobby", Link: dialer, Emit: emit, Poll: -1}, "zk: terminal lobby: poll -1ns is negative"},
		{Config{ID: "lobby", Link: dialer, Emit: emit, Timeouts: Timeouts{Quiet: -time.Second}}, "zk: terminal lobby: quiet timeout -1s is negative"},
	} {
		if _, err := New(c.cfg); err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	d, err := New(Config{ID: "lobby", Link: dialer, Emit: emit})
	if err != nil {
		t.Fatal(err)
	}
	if d.cfg.Poll != 30*time.Second || d.cfg.Timeouts != (Timeouts{10 * time.Second, 75 * time.Second, 30 * time.Second}) || d.cfg.Zone != time.UTC {
		t.Errorf("defaults %+v", d.cfg)
	}
}

// TestHopeless holds that a link that can't work ends Run.
func TestHopeless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("no such thing here")
		dialer := link.PipeDialer("x", func(context.Context, link.Conn) error { return link.Hopeless(cause) })
		d, err := New(Config{ID: "lobby", Link: dialer, Emit: func(context.Context, []attendance.Punch) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Run(t.Context()); !errors.Is(err, cause) || !strings.HasPrefix(err.Error(), "zk: terminal lobby: link: ") {
			t.Error(err)
		}
		if s := d.State(); s.Online || !strings.Contains(s.LastError, cause.Error()) {
			t.Errorf("state %+v", s)
		}
	})
}
