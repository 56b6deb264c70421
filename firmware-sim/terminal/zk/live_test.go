package zk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// punch lets the i-th user punch.
func (b *bench) punch(i int) Entry {
	b.t.Helper()
	e, err := b.Punch(b.Users()[i].PIN, 0, 1)
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

// quiet wants nothing to come for a time.
func (h *host) quiet(d time.Duration) {
	h.t.Helper()
	if err := h.c.SetReadDeadline(time.Now().Add(d)); err != nil {
		h.t.Fatal(err)
	}
	var b [1]byte
	if n, err := h.c.Read(b[:]); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		h.t.Fatalf("%d bytes, %v", n, err)
	}
}

func (h *host) ackEvent() { h.send(frame(2000, h.session, 0)) }

// event wants the next packet to tell an entry.
func (h *host) event(e Entry) {
	h.t.Helper()
	p := h.must()
	got, err := parseEvent(p.data, 32)
	if err != nil || p.cmd != 500 || p.session != 1 || p.reply != 0 {
		h.t.Fatalf("%x: %v", p.raw, err)
	}
	same(h.t, "event", got, []seen{see(e, false, true)})
}

func TestPunchRefuses(t *testing.T) {
	in(t, []string{"rt_len=10"}, nil, func(t *testing.T, b *bench) {
		for pin, state := range map[string]uint8{"": 0, "no such": 0, b.Users()[0].PIN: 16} {
			if _, err := b.Punch(pin, state, 1); err == nil {
				t.Errorf("PIN %q, state %d", pin, state)
			}
		}
		h := b.host()
		h.want(2000, 500, words(1)...)
		for _, state := range []uint8{15, 255} {
			if _, err := b.Punch(b.Users()[0].PIN, state, 1); err != nil {
				t.Error(err)
			}
			h.must()
		}
	})
}

// An event is told once, to every host that registered, and by default not
// again, acknowledged or not.
func TestEventsAreToldOnce(t *testing.T) {
	in(t, nil, nil, func(t *testing.T, b *bench) {
		one, two, deaf := b.host(), b.host(), b.host()
		one.want(2000, 500, words(1)...)
		two.want(2000, 500, words(0xffff&^0x180)...)
		e := b.punch(0)
		one.event(e)
		two.event(e)
		one.quiet(time.Minute)
		deaf.want(2000, 201)
		if len(deaf.events) != 0 {
			t.Error("told to a host that did not ask")
		}
		if one.session == two.session || two.session == deaf.session {
			t.Errorf("sessions %d %d %d", one.session, two.session, deaf.session)
		}
		// A host that leaves politely, or connects again, gets no more.
		one.want(2000, 1001)
		two.connect()
		b.punch(0)
		one.quiet(time.Minute)
		two.quiet(time.Minute)
		if c := b.Counts(); c.EventsSent != 2 || c.EventsDropped != 0 {
			t.Errorf("%+v", c)
		}
	})
}

func TestEventsAreSentAgain(t *testing.T) {
	in(t, []string{"rt_no_ack_resend"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		h.want(2000, 500, words(1)...)
		first, second := b.punch(0), b.punch(1)
		start := time.Now()
		for range 4 {
			h.event(first)
		}
		if took := time.Since(start); took != 6*time.Second {
			t.Errorf("four times in %v", took)
		}
		h.send(frame(2000, h.session+1, 0)) // of another session
		h.event(first)
		h.ackEvent()
		h.event(second)
		h.ackEvent()
		h.quiet(time.Minute)
		if c := b.Counts(); c.EventsSent != 6 || c.EventsAcked != 2 {
			t.Errorf("%+v", c)
		}
	})
	in(t, []string{"dup"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		h.want(2000, 500, words(1)...)
		e := b.punch(0)
		h.event(e)
		h.event(e)
		h.event(e) // 2 s later
		h.ackEvent()
		h.quiet(time.Minute)
	})
}

// A log that is read with dup has some entries twice, the same in every read.
func TestDupInLog(t *testing.T) {
	in(t, []string{"dup"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		log := h.log(40, false)
		if n := len(log) - 300; n < 5 || n > 60 {
			t.Errorf("%d of 300 entries come twice", n)
		}
		same(t, "log without repetitions", slices.Compact(slices.Clone(log)), b.held(true, true))
		same(t, "second read", h.log(40, false), log)
		if h.count() != 300 {
			t.Errorf("count %d", h.count())
		}
	})
}

func TestSilentDrop(t *testing.T) {
	in(t, []string{"rt_silent_drop=3"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		h.want(2000, 500, words(1)...)
		for i := range 5 {
			if e := b.punch(i); i < 3 {
				h.event(e)
			}
		}
		h.quiet(time.Minute)
		h.want(2000, 500, words(1)...)
		b.punch(5)
		h.quiet(time.Minute)
		same(t, "log", h.log(40, false), b.held(true, true))
		h = b.host()
		h.want(2000, 500, words(1)...)
		h.event(b.punch(6))
		synctest.Wait() // for the first host's connection
		if c := b.Counts(); c.EventsSent != 4 || c.EventsDropped != 4 {
			t.Errorf("%+v", c)
		}
	})
}

// A host that takes nothing loses events, and nothing else.
func TestEventsAreBounded(t *testing.T) {
	in(t, []string{"rt_no_ack_resend"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		h.want(2000, 500, words(1)...)
		for range 1000 {
			b.punch(0)
		}
		if c := b.Counts(); c.EventsDropped < 1000-maxQueue-1 || c.Made != 1300 {
			t.Errorf("%+v", c)
		}
	})
}

// Events come in the middle of a bulk answer, and break nothing.
func TestEventsWithinBulk(t *testing.T) {
	in(t, []string{"piece=1008"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		h.want(2000, 500, words(1)...)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx, 3*time.Millisecond, 0) }()
		var log []seen
		for range 5 {
			log = h.log(40, false)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(h.events) < 10 {
			t.Errorf("%d events", len(h.events))
		}
		for len(h.events) < b.Counts().Made-300 {
			h.events = append(h.events, h.must())
		}
		var want, got []seen
		for _, e := range b.Log()[300:] {
			want = append(want, see(e, false, true))
		}
		for _, p := range h.events {
			s, err := parseEvent(p.data, 32)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, s...)
		}
		same(t, "events", got, want)
		same(t, "log", log, b.held(true, true)[:len(log)])
	})
}

func TestDisabled(t *testing.T) {
	punch := func(b *bench) error {
		_, err := b.Punch(b.Users()[0].PIN, 0, 1)
		return err
	}
	state := func(h *host) uint16 { return h.want(2000, 64).session }
	in(t, nil, nil, func(t *testing.T, b *bench) {
		h, other := b.host(), b.host()
		other.want(2000, 500, words(1)...)
		for _, data := range [][]byte{nil, {0, 0}, {0, 0, 0, 0}} { // as hosts in use send it
			h.want(2000, 1003, data...)
			if err := punch(b); !errors.Is(err, ErrDisabled) || state(h) != 4 {
				t.Fatalf("disabled: %v, state %d", err, state(h))
			}
			h.want(2000, 1002)
			if err := punch(b); err != nil || state(h) != 2 {
				t.Fatalf("enabled: %v, state %d", err, state(h))
			}
			other.must()
		}
		h.want(2000, 1003, words(30)...)
		time.Sleep(29 * time.Second)
		if err := punch(b); !errors.Is(err, ErrDisabled) {
			t.Errorf("before the time is up: %v", err)
		}
		time.Sleep(time.Second)
		if err := punch(b); err != nil {
			t.Errorf("when the time is up: %v", err)
		}
		other.must()
		h.want(2000, 1003)
		h.c.Close()
		synctest.Wait()
		if err := punch(b); err != nil {
			t.Errorf("when the host is gone: %v", err)
		}
		// People wait while it is disabled.
		h = b.host()
		h.want(2000, 1003, words(60)...)
		start := time.Now()
		other.want(2000, 500, words(0)...)
		if err := b.Run(t.Context(), time.Second, 1); err != nil || time.Since(start) < time.Minute {
			t.Errorf("Run: %v after %v", err, time.Since(start))
		}
	})
	in(t, []string{"stuck_disabled"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		h.want(2000, 1003)
		h.c.Close()
		synctest.Wait()
		if err := punch(b); !errors.Is(err, ErrDisabled) {
			t.Errorf("stuck: %v", err)
		}
		b.host().want(2000, 1002)
		if err := punch(b); err != nil {
			t.Errorf("enabled by another host: %v", err)
		}
	})
	in(t, []string{"disable_ignored"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		h.want(2000, 500, words(1)...)
		h.want(2000, 1003)
		if err := punch(b); err != nil {
			t.Errorf("ignored: %v", err)
		}
		h.quiet(time.Minute) // a disabled terminal tells nothing
		same(t, "log", h.log(40, false), b.held(true, true))
	})
}

func TestRestart(t *testing.T) {
	for _, quirk := range []string{"restart_no_reply", "coalesce"} {
		in(t, []string{quirk}, nil, func(t *testing.T, b *bench) {
			h, other := b.host(), b.host()
			other.want(2000, 1003)
			p, err := h.try(1004)
			if quirk == "restart_no_reply" != errors.Is(err, io.EOF) || err == nil && p.cmd != 2000 {
				t.Errorf("%s: %d, %v", quirk, p.cmd, err)
			}
			for _, h := range []*host{h, other} {
				if _, err := h.next(); !errors.Is(err, io.EOF) {
					t.Errorf("%s: a connection stays: %v", quirk, err)
				}
			}
			same(t, "log", b.host().log(40, false), b.held(true, true))
			b.punch(0)
		})
	}
}

func TestSingleClient(t *testing.T) {
	in(t, []string{"single_client=refuse"}, nil, func(t *testing.T, b *bench) {
		probe := b.raw() // that only looks whether somebody listens
		h := b.host()
		second := b.raw()
		if _, err := second.try(1000); !errors.Is(err, io.EOF) {
			t.Errorf("second host: %v", err)
		}
		h.want(2000, 201)
		h.connect()
		h.c.Close()
		synctest.Wait()
		probe.connect()
	})
	in(t, []string{"single_client=starve"}, nil, func(t *testing.T, b *bench) {
		h, second, third := b.host(), b.raw(), b.raw()
		for _, s := range []*host{second, third} {
			s.send(frame(1000, 0, 0))
			s.quiet(time.Minute)
		}
		h.want(2000, 201)
		h.connect()
		third.c.Close()
		synctest.Wait()
		if n := b.Counts().Connections; n != 2 {
			t.Errorf("%d connections", n)
		}
		h.want(2000, 1001) // politely
		if p := second.must(); p.cmd != 2000 {
			t.Errorf("second host: %d", p.cmd)
		}
	})
}

func TestUsersAreWritten(t *testing.T) {
	record := func(uid byte, pin, name string) []byte {
		b := make([]byte, 72)
		b[0] = uid
		copy(b[11:], name)
		copy(b[48:], pin)
		return b
	}
	in(t, nil, func(c *Config) { c.Users, c.Logs = 0, 0 }, func(t *testing.T, b *bench) {
		h := b.host()
		h.want(2000, 8, record(2, "0012", "王伟")...)
		h.want(2000, 8, record(1, "12", "Ada")...)
		h.want(2001, 8, record(3, "12", "somebody has this PIN")...)
		h.want(2001, 8, record(0, "7", "no slot")...)
		h.want(2001, 8, record(3, "1234567890", "too long")...)
		h.want(2001, 8, record(3, "A7", "no letters here")...)
		h.want(2001, 8, record(3, "", "nobody")...)
		h.want(2001, 8, make([]byte, 28)...)
		same(t, "users", h.users(72), []member{{1, 0, "12", "Ada", 0}, {2, 0, "0012", "王伟", 0}})
		// Writing a slot replaces who has it.
		h.want(2000, 8, record(2, "55", "Zoë")...)
		h.want(2000, 8, record(2, "55", "Zoe")...)
		h.want(2000, 8, record(3, "0012", "moved")...)
		same(t, "users", h.users(72), []member{{1, 0, "12", "Ada", 0}, {2, 0, "55", "Zoe", 0}, {3, 0, "0012", "moved", 0}})
		if e, err := b.Punch("0012", 0, 1); err != nil || e.UID != 3 {
			t.Errorf("%+v, %v", e, err)
		}
		h.want(2000, 18, 3, 0)
		h.want(2001, 18, 3, 0)
		h.want(2001, 18, 3)
		if _, err := b.Punch("0012", 0, 1); err == nil {
			t.Error("a deleted user can punch")
		}
		same(t, "the log keeps his entry", h.log(40, false), b.held(true, true))
		if n := le.Uint32(h.want(2000, 50).data[16:]); n != 2 {
			t.Errorf("%d users", n)
		}
	})
	in(t, []string{"rt_len=12"}, nil, func(t *testing.T, b *bench) {
		b.host().want(2001, 8, record(99, "0012", "no number")...)
	})
	in(t, []string{"pin_alnum"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		h.want(2000, 8, record(99, "NB2401004", "Neo")...)
		if got := h.want(2000, 69, ' ', 'P').data; string(got) != "\x0e" {
			t.Errorf("width % x", got)
		}
	})
}

func TestOptionsAreWritten(t *testing.T) {
	in(t, nil, nil, func(t *testing.T, b *bench) {
		h := b.host()
		for i := range 1000 {
			p := h.ask(12, fmt.Appendf(nil, "Mine%d=%s\x00", i, strings.Repeat("x", 100))...)
			if p.cmd == 2001 && i > 100 {
				break
			}
			if i == 999 {
				t.Error("a host can fill the memory with options")
			}
		}
		h.want(2001, 12, append([]byte("Long="), make([]byte, 0)...)[:4]...)
		h.want(2001, 12, []byte("DeviceID="+strings.Repeat("1", 300))...)
		h.want(2001, 12, []byte("~SerialNumber=ME")...)
		if got := h.want(2000, 11, []byte("Mine7\x00")...).data; string(got) != "Mine7="+strings.Repeat("x", 100)+"\x00" {
			t.Errorf("%q", got)
		}
	})
}

// Commands without an effect here are answered as terminals do, whatever data
// hosts send along.
func TestOtherCommands(t *testing.T) {
	in(t, nil, nil, func(t *testing.T, b *bench) {
		h := b.host()
		for _, cmd := range []uint16{31, 32, 33, 57, 60, 62, 66, 67, 1002, 1005 + 1, 1007, 1013, 1014, 1017, 1502} {
			h.want(2000, cmd)
			h.want(2000, cmd, 0, 0)
		}
		for _, cmd := range []uint16{0, 7, 61, 88, 1500, 1501, 9999} {
			h.want(2001, cmd)
		}
		if got := h.want(2000, 1100).data; string(got) != "Ver 6.60 Apr 26 2016\x00" {
			t.Errorf("version %q", got)
		}
		if got := h.want(2000, 75).data; len(got) != 1 {
			t.Errorf("door % x", got)
		}
		for _, table := range []byte{34, 7} { // no operations, no templates
			if p := h.want(1501, 1503, append([]byte{1, table, 0}, words(2, 0)...)...); len(p.data) != 4 {
				t.Errorf("table %d: % x", table, p.data)
			}
		}
		h.want(2001, 1503, append([]byte{1, 9, 0}, words(2, 0)...)...) // one template
		h.want(2001, 1503, append([]byte{1, 99, 0}, words(0, 0)...)...)
		h.want(2001, 1503, 1)
	})
}
