package zk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

const morning = "2026-11-24T08:30:15"

// in runs a test with a terminal that has some people and a log, unless setup
// says otherwise.
func in(t *testing.T, texts []string, setup func(*Config), test func(*testing.T, *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Users: 20, Logs: 300, Seed: 7, Clock: clock(morning), Quirks: quirks(t, texts...)}
		if setup != nil {
			setup(&cfg)
		}
		test(t, inMemory(t, cfg))
	})
}

// held is what a host must see of the log.
func (b *bench) held(uid, pin bool) (all []seen) {
	for _, e := range b.Log()[b.Counts().First:] {
		all = append(all, see(e, uid, pin))
	}
	return all
}

func same[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: number %d of %d is %+v, want %+v", what, i, len(got), got[i], want[i])
		}
	}
	t.Fatalf("%s: %d, want %d", what, len(got), len(want))
}

// count is the attendance count of GET_FREE_SIZES.
func (h *host) count() int { return int(le.Uint32(h.want(2000, 50).data[32:])) }

func TestLayouts(t *testing.T) {
	for _, c := range []struct {
		quirk      string
		size       int
		ma300      bool
		uid, pin   bool
		user, form int
	}{
		{"att_size=8", 8, false, true, false, 28, 10},
		{"att_size=ma300", 8, true, true, false, 28, 10},
		{"att_size=16", 16, false, false, true, 28, 12},
		{"att_size=40", 40, false, true, true, 72, 32},
		{"att_size=49", 49, false, true, true, 72, 32},
	} {
		in(t, []string{c.quirk}, nil, func(t *testing.T, b *bench) {
			h := b.host()
			same(t, c.quirk, h.log(c.size, c.ma300), b.held(c.uid, c.pin))
			var want []member
			for i, u := range b.Users() {
				want = append(want, member{int(u.UID), 0, u.PIN, u.Name, u.Card})
				if b.people.people[u.UID].Privilege != 0 {
					want[i].privilege = 14
				}
			}
			same(t, c.quirk+" users", h.users(c.user), want)
			h.want(2000, 500, words(1)...)
			e, err := b.Punch(b.Users()[3].PIN, 1, 2)
			if err != nil {
				t.Fatal(err)
			}
			got, err := parseEvent(h.must().data, c.form)
			if err != nil {
				t.Fatal(err)
			}
			same(t, c.quirk+" event", got, []seen{see(e, c.form == 10, c.form != 10)})
			if n := h.count(); n != 301 {
				t.Errorf("count %d", n)
			}
		})
	}
}

func TestEventForms(t *testing.T) {
	for _, form := range []int{10, 12, 14, 32, 36, 37, 52} {
		in(t, []string{fmt.Sprintf("rt_len=%d", form)}, nil, func(t *testing.T, b *bench) {
			h := b.host()
			h.want(2000, 500, words(0xffff)...)
			var want []seen
			for i, u := range b.Users()[:5] {
				e, err := b.Punch(u.PIN, uint8(i), 15)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, see(e, form == 10 || form == 14, form != 10 && form != 14))
			}
			var got []seen
			for len(got) < len(want) {
				p := h.must()
				if p.cmd != 500 || p.reply != 0 {
					t.Fatalf("event %x", p.raw)
				}
				if p.session == 0x80 { // somebody was recognised: slot, 1
					if want := append(words(uint32(b.Log()[300].UID)), 1); len(got) == 0 && !bytes.Equal(p.data, want) {
						t.Fatalf("EF_VERIFY % x, want % x", p.data, want)
					}
					continue
				}
				events, err := parseEvent(p.data, form)
				if err != nil {
					t.Fatal(err)
				}
				if form != 52 && len(events) != 1 {
					t.Fatalf("%d records in one event", len(events))
				}
				got = append(got, events...)
			}
			same(t, "events", got, want)
			h.want(2000, 500, words(0)...)
			if _, err := b.Punch(b.Users()[0].PIN, 0, 1); err != nil {
				t.Fatal(err)
			}
			if h.want(2000, 201); len(h.events) != 0 {
				t.Fatal("an event that nobody wants any more")
			}
		})
	}
}

// With 52 bytes a record, one event tells what has come together meanwhile.
func TestEventsTogether(t *testing.T) {
	in(t, []string{"rt_len=52"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		h.want(2000, 500, words(1)...)
		for _, u := range b.Users() {
			if _, err := b.Punch(u.PIN, 0, 1); err != nil {
				t.Fatal(err)
			}
		}
		var sizes []int
		for total := 0; total < 20; {
			p := h.must()
			sizes = append(sizes, len(p.data))
			total += len(p.data) / 52
		}
		if len(sizes) > 3 || !slices.ContainsFunc(sizes, func(n int) bool { return n > 52 }) {
			t.Errorf("events of %v bytes", sizes)
		}
	})
}

// segments notes what each Write of the terminal gave.
type segments struct {
	net.Conn
	sizes *[]int
}

func (s segments) Write(b []byte) (int, error) {
	*s.sizes = append(*s.sizes, len(b))
	return s.Conn.Write(b)
}

func TestLineQuirks(t *testing.T) {
	for _, c := range []struct {
		texts []string
		check func(sizes []int) bool
	}{
		{nil, func(s []int) bool { return slices.Contains(s, 24) && slices.Contains(s, 16+12004) }},
		{[]string{"split=1"}, func(s []int) bool { return slices.Max(s) == 1 }},
		{[]string{"split=7"}, func(s []int) bool { return slices.Max(s) == 7 }},
		{[]string{"coalesce"}, func(s []int) bool { return slices.Max(s) == 24+16+12004+16 }},
		{[]string{"coalesce", "split=1000", "piece=100"}, func(s []int) bool { return slices.Max(s) == 1000 && len(s) < 30 }},
		{[]string{"piece=1008"}, func(s []int) bool { return slices.Max(s) == 1024 }},
		{[]string{"piece=whole"}, func(s []int) bool { return slices.Max(s) == 16+12004 && !slices.Contains(s, 24) }},
		{[]string{"trailing=glued", "gap=0"}, func(s []int) bool { return slices.Contains(s, 16+16) }},
		{[]string{"slow=4000"}, func(s []int) bool { return slices.Max(s) == 200 }},
		{[]string{"trailing=missing"}, func(s []int) bool { return slices.Contains(s, 16+12004) }},
	} {
		t.Run(strings.Join(c.texts, " "), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sizes []int
				p := newPipes()
				cfg := Config{Users: 20, Logs: 300, Seed: 7, Clock: clock(morning), Quirks: quirks(t, c.texts...)}
				b := serve(t, cfg, p, func() net.Conn {
					a, b := net.Pipe()
					p.conns <- segments{a, &sizes}
					return b
				})
				h := b.host()
				h.patient = strings.HasPrefix(b.cfg.Quirks.Trailing, "m")
				start := time.Now()
				if b.cfg.Quirks.Trailing == "glued" {
					h.glued(b)
				} else {
					same(t, "log", h.log(40, false), b.held(true, true))
				}
				took := time.Since(start)
				h.c.Close()
				synctest.Wait()
				if !c.check(sizes) {
					t.Errorf("segments of %v", sizes)
				}
				if slow := b.cfg.Quirks.Slow == 4000; slow != (took > 3*time.Second) || took > 4*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// glued reads a log whose ACK_OK comes with the next frame.
func (h *host) glued(b *bench) {
	h.t.Helper()
	h.patient = true
	h.want(2000, 1503, unhex(h.t, "010d000000000000000000")...)
	data, err := h.collect(h.ask(1504, words(0, 65472)...))
	if err != nil {
		h.t.Fatal(err)
	}
	reply := h.reply - 1
	h.send(frame(1502, h.session, h.reply))
	if first, second := h.must(), h.must(); first.cmd != 2000 || first.reply != reply || second.cmd != 2000 || second.reply != reply+1 {
		h.t.Fatalf("%d (reply %d) and %d (reply %d)", first.cmd, first.reply, second.cmd, second.reply)
	}
	got, err := parseLog(data, 40, false)
	if err != nil {
		h.t.Fatal(err)
	}
	same(h.t, "log", got, b.held(true, true))
}

// A host that waits for the ACK_OK gets it after a while.
func TestGluedAlone(t *testing.T) {
	in(t, []string{"trailing=glued"}, nil, func(t *testing.T, b *bench) {
		start := time.Now()
		same(t, "log", b.host().log(40, false), b.held(true, true))
		if took := time.Since(start); took < 200*time.Millisecond || took > 300*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

func TestRefusals(t *testing.T) {
	bulk := unhex(t, "010d000000000000000000")
	for _, c := range []struct {
		quirk string
		cmd   uint16
		data  []byte
		want  uint16
	}{
		{"bulk=unsupported", 1503, bulk, 2001},
		{"bulk=unknown", 1503, bulk, 0xffff},
		{"bulk=4989", 1503, bulk, 4989},
		{"opt_unknown=error", 11, []byte("Nope"), 2001},
		{"opt_unknown=1387", 11, []byte("Nope"), 1387},
		{"cmd_unknown=error", 150, nil, 2001},
		{"cmd_unknown=unknown", 150, nil, 0xffff},
	} {
		in(t, []string{c.quirk}, nil, func(t *testing.T, b *bench) {
			h := b.host()
			h.want(c.want, c.cmd, c.data...)
			// The classic reads work.
			for _, read := range []struct {
				cmd  uint16
				data []byte
				size int
			}{{13, nil, 40}, {9, []byte{5}, 72}} {
				p := h.ask(read.cmd, read.data...)
				if part := le.Uint32(p.data[4:]); p.cmd != 1500 || part != 1024 {
					t.Fatalf("classic read: %d % x", p.cmd, p.data)
				}
				data, err := h.collect(p)
				if err != nil {
					t.Fatal(err)
				}
				if read.cmd == 13 {
					got, err := parseLog(data, 40, false)
					if err != nil {
						t.Fatal(err)
					}
					same(t, "log", got, b.held(true, true))
				} else if all, err := sections(data, 72); err != nil || len(all) != 20 {
					t.Fatalf("%d users, %v", len(all), err)
				}
			}
		})
	}
	in(t, []string{"opt_unknown=empty"}, nil, func(t *testing.T, b *bench) {
		if p := b.host().want(2000, 11, []byte("Nope")...); string(p.data) != "Nope=\x00" {
			t.Errorf("%q", p.data)
		}
	})
	in(t, []string{"opt_unknown=silent"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		h.send(frame(11, h.session, 77, []byte("Nope")...))
		h.want(2000, 201) // the next answer is to this
	})
	in(t, []string{"connect=6001"}, nil, func(t *testing.T, b *bench) {
		h := b.raw()
		h.want(6001, 1000)
		h.want(2005, 201)
	})
}

// A terminal that refuses its serial number at times tells it again.
func TestSerialRefused(t *testing.T) {
	in(t, []string{"sn_refused=2"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		for i := range 12 {
			want := uint16(2000)
			if i%6 >= 2 {
				want = 2001
			}
			h.want(want, 11, []byte("~SerialNumber\x00")...)
		}
		h.want(2000, 11, []byte("MAC\x00")...)
	})
}

func TestCommKey(t *testing.T) {
	// Keys and answers of the protocol's description, for sessions that do not
	// matter to the tick value.
	for _, c := range []struct {
		key     uint32
		session uint16
		answer  string
	}{
		{12, 0x45cf, "614d323c"}, {45, 0x45cf, "61c9323c"}, {123456, 0x45cf, "267f32bc"},
		{8697, 1000, "e5e2327a"}, {999999, 0xffff, "22813296"},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := inMemory(t, when(Config{CommKey: c.key}, c.session, morning)).raw()
			if h.session = h.want(2005, 1000).session; h.session != c.session {
				t.Fatalf("session %x", h.session)
			}
			h.want(2005, 1102, 0, 0, 50, 0)
			h.want(2005, 1102, 0, 0)
			h.want(2005, 13)
			h.want(2000, 1102, unhex(t, c.answer)...)
			h.want(2000, 201)
		})
	}
	in(t, []string{"comm_key=12,close"}, nil, func(t *testing.T, b *bench) {
		h := b.raw()
		h.session = h.want(2005, 1000).session
		if _, err := h.try(1102, 0, 0, 50, 0); !errors.Is(err, io.EOF) {
			t.Errorf("a wrong key: %v", err)
		}
		// Any tick value will do; this is 12 for the session with the tick 7.
		h = b.raw()
		h.session = h.want(2005, 1000).session
		h.want(2000, 1102, scramble(12, h.session, 7)...)
	})
}

// scramble is the comm key by the book.
func scramble(key uint32, session uint16, tick byte) []byte {
	var k uint32
	for i := range 32 {
		if key>>i&1 == 1 {
			k |= 1 << (31 - i)
		}
	}
	b := words(k + uint32(session))
	for i, c := range "ZKSO" {
		b[i] ^= byte(c)
	}
	return []byte{b[2] ^ tick, b[3] ^ tick, tick, b[1] ^ tick}
}

func TestCounts(t *testing.T) {
	for quirk, check := range map[string]func(n int) bool{
		"sizes=92":        func(n int) bool { return n == 300 },
		"count_lies=zero": func(n int) bool { return n == 0 },
		"count_lies=huge": func(n int) bool { return n > 1_000_000_000 },
		"count_lies=off":  func(n int) bool { return n != 300 && n > 290 && n < 310 },
		"log_full=50":     func(n int) bool { return n == 50 },
	} {
		in(t, []string{quirk}, nil, func(t *testing.T, b *bench) {
			h := b.host()
			if n := h.count(); !check(n) {
				t.Errorf("%s: count %d", quirk, n)
			}
			same(t, quirk, h.log(40, false), b.held(true, true))
		})
	}
	for quirk, want := range map[string]int{"sizes=80": 80, "sizes=92": 92, "sizes=112": 112} {
		in(t, []string{quirk}, nil, func(t *testing.T, b *bench) {
			p := b.host().want(2000, 50)
			if len(p.data) != want {
				t.Fatalf("%d bytes", len(p.data))
			}
			users, admins := le.Uint32(p.data[16:]), le.Uint32(p.data[48:])
			room, left := le.Uint32(p.data[64:]), le.Uint32(p.data[76:])
			if users != 20 || admins != 1 || room-left != 300 {
				t.Errorf("%d users, %d admins, room for %d, %d left", users, admins, room, left)
			}
		})
	}
	// Few entries: a count that is off is still another one.
	for seed := range uint64(40) {
		for logs := range 3 {
			in(t, []string{"count_lies=off"}, func(c *Config) { c.Seed, c.Logs = seed, logs }, func(t *testing.T, b *bench) {
				if n := b.host().count(); n == logs {
					t.Errorf("seed %d: count %d is right", seed, n)
				}
			})
		}
	}
}

// A full log keeps its count while the oldest entries vanish.
func TestLogFull(t *testing.T) {
	in(t, []string{"log_full=50"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		before := h.log(40, false)
		for _, u := range b.Users()[:3] {
			if _, err := b.Punch(u.PIN, 0, 1); err != nil {
				t.Fatal(err)
			}
		}
		after := h.log(40, false)
		same(t, "what is left", after[:47], before[3:])
		if n := h.count(); n != 50 || len(after) != 50 || len(b.Log()) != 303 || b.Counts().First != 253 {
			t.Errorf("count %d, %d entries, %d made, first %d", n, len(after), len(b.Log()), b.Counts().First)
		}
	})
}

func TestClear(t *testing.T) {
	in(t, nil, nil, func(t *testing.T, b *bench) {
		h := b.host()
		h.want(2001, 14, 9) // no such table
		h.want(2000, 14, 4) // it keeps no operations
		h.want(2000, 15)
		if n := h.count(); n != 0 || len(h.log(40, false)) != 0 || len(b.Log()) != 300 {
			t.Errorf("count %d, %d made", n, len(b.Log()))
		}
		e, err := b.Punch(b.Users()[0].PIN, 0, 1)
		if err != nil || e.Seq != 300 {
			t.Fatal(e, err)
		}
		same(t, "log", h.log(40, false), []seen{see(e, true, true)})
		h.want(2000, 20)
		for _, m := range h.users(72) {
			if m.privilege != 0 {
				t.Errorf("%+v has rights", m)
			}
		}
		h.want(2000, 14)
		if len(h.users(72)) != 0 || len(h.log(40, false)) != 0 {
			t.Error("CLEAR_DATA left something")
		}
		if _, err := b.Punch("1", 0, 1); err == nil {
			t.Error("nobody can punch")
		}
	})
}

func TestCutAndSilence(t *testing.T) {
	for _, c := range []struct {
		quirk string
		n     int
		err   error
		again error // of the second read, at a new connection
	}{
		{"cut=1", 1, io.EOF, nil},
		{"cut=5000", 5000, io.EOF, nil},
		{"cut=29", 29, io.EOF, nil}, // the whole announcement
		{"silence=5000", 5000, os.ErrDeadlineExceeded, nil},
		{"silence=5000,always", 5000, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded},
		{"silence=100000", 0, nil, nil}, // never comes so far
	} {
		in(t, []string{c.quirk, "piece=1008"}, nil, func(t *testing.T, b *bench) {
			is := func(err, want error) bool {
				if want == io.EOF {
					return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
				}
				return errors.Is(err, want)
			}
			h := b.host()
			start := b.Counts().Accepted
			if _, err := h.bulk(13, 0); !is(err, c.err) {
				t.Fatalf("first read: %v", err)
			}
			if c.err == os.ErrDeadlineExceeded {
				// It listens all the same, and says nothing at all.
				if _, err := h.try(201); !is(err, c.err) {
					t.Errorf("after the silence: %v", err)
				}
			}
			h = b.host()
			if _, err := h.bulk(13, 0); !is(err, c.again) {
				t.Errorf("second read: %v", err)
			}
			if b.Counts().Accepted != start+1 {
				t.Errorf("counts %+v", b.Counts())
			}
		})
	}
	// The number of bytes is exact, and those of other answers do not count.
	in(t, []string{"cut=5000", "coalesce"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		for range 100 {
			h.want(2000, 201)
		}
		h.send(frame(1503, h.session, 0, unhex(t, "010d000000000000000000")...))
		h.must()
		h.send(frame(1504, h.session, 1, words(0, 65472)...))
		rest, err := io.ReadAll(h.c)
		if err != nil || len(rest) != 5000-29 {
			t.Errorf("%d bytes, %v", len(rest), err)
		}
	})
}

func TestNamesAndPINs(t *testing.T) {
	in(t, []string{"name_charset=gbk"}, func(c *Config) { c.Users = 200 }, func(t *testing.T, b *bench) {
		chinese, raw := 0, b.host().users(72)
		for i, u := range b.Users() {
			// 王伟 is CD F5 CE B0 in GBK.
			if u.Name == "王伟" && raw[i].name != "\xcd\xf5\xce\xb0" {
				t.Errorf("王伟 is % x", raw[i].name)
			}
			if strings.ContainsAny(u.Name, "王李张刘") {
				chinese++
			}
			if strings.ContainsAny(u.Name, "?\uFFFD") {
				t.Errorf("name %q", u.Name)
			}
		}
		if chinese < 20 || !slices.ContainsFunc(b.Users(), func(u User) bool { return u.Name == "王伟" }) {
			t.Errorf("%d names of four families", chinese)
		}
	})
	for _, c := range []struct {
		texts []string
		has   []func(pin string) bool
		never func(pin string) bool
	}{
		{nil, []func(string) bool{
			func(p string) bool { return p[0] == '0' },
			func(p string) bool { return len(p) == 9 },
			func(p string) bool { return len(p) == 1 },
		}, func(p string) bool {
			return len(p) > 9 || strings.Trim(p, "0123456789") != "" || strings.Trim(p, "0") == ""
		}},
		{[]string{"pin_alnum"}, []func(string) bool{
			func(p string) bool { return strings.HasPrefix(p, "NB") },
			func(p string) bool { return len(p) == 14 },
		}, func(p string) bool { return len(p) > 14 }},
		{[]string{"att_size=16"}, nil, func(p string) bool { return p[0] == '0' || len(p) > 9 }},
		{[]string{"rt_len=12"}, nil, func(p string) bool { return p[0] == '0' }},
	} {
		in(t, c.texts, func(cfg *Config) { cfg.Users = 500 }, func(t *testing.T, b *bench) {
			distinct := map[string]bool{}
			for _, u := range b.Users() {
				distinct[u.PIN] = true
				if c.never(u.PIN) {
					t.Errorf("%v: PIN %q", c.texts, u.PIN)
				}
			}
			if len(distinct) != 500 {
				t.Errorf("%v: %d PINs", c.texts, len(distinct))
			}
			for i, has := range c.has {
				if !slices.ContainsFunc(b.Users(), func(u User) bool { return has(u.PIN) }) {
					t.Errorf("%v: no PIN of sort %d", c.texts, i)
				}
			}
		})
	}
}

// What stands behind a NUL in a user record is not always zeros.
func TestLitter(t *testing.T) {
	for _, size := range []string{"att_size=40", "att_size=16"} {
		in(t, []string{size}, func(c *Config) { c.Users = 60 }, func(t *testing.T, b *bench) {
			data, err := b.host().bulk(9, 5)
			if err != nil {
				t.Fatal(err)
			}
			n, from, to := 72, 11, 35
			if size == "att_size=16" {
				n, from, to = 28, 8, 16
			}
			dirty := 0
			for i := 4; i < len(data); i += n {
				name := data[i+from : i+to]
				if _, behind, _ := bytes.Cut(name, []byte{0}); len(bytes.Trim(behind, "\x00")) > 0 {
					dirty++
				}
			}
			if dirty == 0 || dirty == 60 {
				t.Errorf("%s: %d of 60 names have something behind the NUL", size, dirty)
			}
		})
	}
}

func TestUIDReuse(t *testing.T) {
	in(t, []string{"uid_reuse"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		now := map[int]string{}
		for _, m := range h.users(72) {
			now[m.uid] = m.pin
		}
		others, last := 0, 0
		log := h.log(40, false)
		for i, s := range log {
			if s.pin != now[s.uid] {
				others++
				last = i
			}
		}
		if others < 10 || last > len(log)*2/3 {
			t.Errorf("%d entries of former users, the last is number %d", others, last)
		}
		same(t, "log", log, b.held(true, true))
	})
}

func TestState(t *testing.T) {
	in(t, []string{"state=255"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		h.want(2000, 500, words(1)...)
		if _, err := b.Punch(b.Users()[0].PIN, 1, 1); err != nil {
			t.Fatal(err)
		}
		if e, err := parseEvent(h.must().data, 32); err != nil || e[0].state != 255 {
			t.Errorf("%+v, %v", e, err)
		}
		for _, s := range h.log(40, false) {
			if s.state != 255 {
				t.Fatalf("%+v", s)
			}
		}
	})
}

func TestBadChecksum(t *testing.T) {
	in(t, []string{"bad_checksum"}, nil, func(t *testing.T, b *bench) {
		h := b.raw()
		h.sums = true
		p := h.want(2000, 1000)
		if got, right := le.Uint16(p.raw[10:]), sum(p.raw[8:]); got != right+1 {
			t.Errorf("checksum %04x, the right one is %04x", got, right)
		}
	})
}

func TestClocks(t *testing.T) {
	in(t, []string{"clock_skew=-90s"}, nil, func(t *testing.T, b *bench) {
		h := b.host()
		if got := at(le.Uint32(h.want(2000, 201).data)); got != "2026-11-24T08:28:45" {
			t.Errorf("the clock shows %s", got)
		}
		h.want(2000, 202, unhex(t, "17a78633")...)
		time.Sleep(1500 * time.Millisecond)
		if got := at(le.Uint32(h.want(2000, 201).data)); got != "2026-11-24T08:30:16" {
			t.Errorf("the clock shows %s after it was set", got)
		}
		h.want(2001, 202, 0xff, 0xff, 0xff, 0xff)
		// Its last second, behind which it begins anew.
		h.want(2000, 202, unhex(t, "fff792bf")...)
		b.punch(0)
		time.Sleep(time.Second)
		if e := b.punch(0); e.At.String() != "2000-01-01T00:00:00" {
			t.Errorf("behind the last second comes %v", e.At)
		}
		same(t, "log", h.log(40, false), b.held(true, true))
	})
	in(t, nil, func(c *Config) { c.Zone = time.FixedZone("", 5*3600+1800) }, func(t *testing.T, b *bench) {
		if got := at(le.Uint32(b.host().want(2000, 201).data)); got != "2026-11-24T14:00:15" {
			t.Errorf("the clock shows %s", got)
		}
	})
	in(t, []string{"clock_jump=-1h"}, nil, func(t *testing.T, b *bench) {
		var times []attendance.LocalTime
		for range 17 {
			e, err := b.Punch(b.Users()[0].PIN, 0, 1)
			if err != nil {
				t.Fatal(err)
			}
			times = append(times, e.At)
			time.Sleep(time.Second)
		}
		jumps := 0
		for i := 1; i < len(times); i++ {
			switch times[i] - times[i-1] {
			case 1000:
			case 1000 - 3600*1000:
				jumps++
			default:
				t.Fatalf("from %v to %v", times[i-1], times[i])
			}
		}
		if jumps != 1 || !slices.ContainsFunc(b.Drawn(), func(s string) bool { return strings.HasPrefix(s, "clock_jump: after punch ") }) {
			t.Errorf("%d jumps, drawn %q", jumps, b.Drawn())
		}
	})
}
