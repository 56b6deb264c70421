package zk

import (
	"bytes"
	"encoding/hex"
	"testing"
	"testing/synctest"
)

// exchange writes what a host sends and wants exactly what a terminal answered.
func (h *host) exchange(name, send, want string) {
	h.t.Helper()
	if send != "" {
		h.send(unhex(h.t, send))
	}
	if want == "" {
		return
	}
	if got := h.must(); !bytes.Equal(got.raw, unhex(h.t, want)) {
		h.t.Fatalf("%s:\n got %x\nwant %s", name, got.raw, want)
	}
}

// build is a frame as hex, for what the worked session leaves out.
func build(cmd, session, reply uint16, data ...byte) string {
	return hex.EncodeToString(frame(cmd, session, reply, data...))
}

// The worked session of the protocol's description, byte for byte. Its terminal
// has the session 0x45cf.
func TestWorkedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inMemory(t, when(Config{Serial: "SIM0001", CommKey: 123456}, 0x45cf, "2026-11-24T08:30:15"))
		h := b.raw()
		for _, step := range []struct{ name, send, want string }{
			{"not connected", build(201, 0, 9), build(2005, 0, 9)},
			{"connect", "5050827d08000000e80317fc00000000", "5050827d08000000d5075bb2cf450000"},
			{"before the key", build(201, 0x45cf, 1), build(2005, 0x45cf, 1)},
			{"wrong key", build(1102, 0x45cf, 1, 0x61, 0x4d, 0x32, 0x3c), build(2005, 0x45cf, 1)},
			{"auth 123456", "5050827d0c0000004e04887acf450100267f32bc", "5050827d08000000d0075fb2cf450100"},
			{"SN?", "5050827d160000000b002071cf4502007e53657269616c4e756d62657200", "5050827d1e000000d0075982cf4502007e53657269616c4e756d6265723d53494d3030303100"},
			{"SN? without NUL", build(11, 0x45cf, 2, []byte("~SerialNumber")...), "5050827d1e000000d0075982cf4502007e53657269616c4e756d6265723d53494d3030303100"},
			{"unknown option", build(11, 0x45cf, 3, []byte("NoSuch\x00")...), "5050827d08000000d1075cb2cf450300"},
			{"SDKBuild=1", "5050827d130000000c006434cf45030053444b4275696c643d3100", build(2000, 0x45cf, 3)},
			{"set time", "5050827d0c000000ca00c3decf45050017a78633", build(2000, 0x45cf, 5)},
			{"get time", build(201, 0x45cf, 6), "5050827d0c000000d007bcd7cf45060017a78633"},
			{"unlock 3 s", "5050827d0c0000001f00ecb9cf4507001e000000", build(2000, 0x45cf, 7)},
			{"write user", build(8, 0x45cf, 8, unhex(t, "0e0006313233343536007c4e7565766f000000000000000000000000000000000000008f190000010000000000000000313132323434383800000000000000000000000000000000")...), build(2000, 0x45cf, 8)},
			{"delete uid 14", "5050827d0a000000120002bacf450e000e00", build(2000, 0x45cf, 0xe)},
			{"refresh", "5050827d08000000f5032cb6cf450f00", build(2000, 0x45cf, 0xf)},
			{"another session", build(201, 0x45ce, 6), build(2005, 0x45cf, 6)},
			{"connect again", build(1000, 0, 0), "5050827d08000000d5075bb2cf450000"},
			{"auth again", "5050827d0c0000004e04887acf450100267f32bc", "5050827d08000000d0075fb2cf450100"},
			{"exit", "5050827d08000000e90345b6cf450200", build(2000, 0x45cf, 2)},
			{"after the exit", build(201, 0x45cf, 6), build(2005, 0, 6)},
		} {
			h.exchange(step.name, step.send, step.want)
		}
	})
}

func TestWorkedSessionRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inMemory(t, when(Config{}, 0x45cf, "2018-06-25T17:50:35"))
		h := b.raw()
		h.exchange("connect", "5050827d08000000e80317fc00000000", build(2000, 0x45cf, 0))
		h.exchange("no users", "5050827d13000000df0548a6cf4508000109000500000000000000", build(1501, 0x45cf, 8, 0, 0, 0, 0))
		h.exchange("no log", "5050827d13000000df0547a7cf450900010d000000000000000000", build(1501, 0x45cf, 9, 0, 0, 0, 0))
		user := make([]byte, 72)
		user[0] = 13
		copy(user[48:], "999111333")
		h.exchange("write user", build(8, 0x45cf, 3, user...), build(2000, 0x45cf, 3))
		if _, err := b.Punch("999111333", 0, 1); err != nil {
			t.Fatal(err)
		}
		h.exchange("1 record", "5050827d13000000df0547a7cf450900010d000000000000000000",
			"5050827d34000000dd053510cf450900280000000d00393939313131333333000000000000000000000000000000016bb368230000000000ff000000")
		// A chunk with nothing made ready, and one behind the end.
		h.exchange("no dataset", "5050827d10000000e00585b4cf450a0000000000c0ff0000", build(2001, 0x45cf, 0xa))
		h.exchange("free", "5050827d08000000de0546b4cf450c00", build(2000, 0x45cf, 0xc))
	})
}

// A K20 gives 70 users, 5044 bytes, in pieces of 1008.
func TestWorkedSessionBig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inMemory(t, when(Config{Users: 70, Quirks: quirks(t, "piece=1008")}, 0x45cf, "2026-11-24T08:30:15"))
		h := b.raw()
		h.exchange("connect", "5050827d08000000e80317fc00000000", build(2000, 0x45cf, 0))
		h.exchange("big: 5044 B", build(1503, 0x45cf, 9, unhex(t, "0109000500000000000000")...), "5050827d15000000d007304acf45090000b4130000b413000000000000")
		h.exchange("prepare 5044", "5050827d10000000e00585b4cf450a0000000000c0ff0000", "5050827d10000000dc05a69ccf450a00b4130000f0030000")
		var all []byte
		for part := range uint16(6) {
			p := h.must()
			if want := min(1008, 5044-len(all)); p.cmd != 1501 || p.session != part || p.reply != 0xa || len(p.data) != want {
				t.Fatalf("piece %d: command %d, session %d, reply %x, %d bytes", part, p.cmd, p.session, p.reply, len(p.data))
			}
			all = append(all, p.data...)
		}
		h.exchange("the end", "", build(2000, 0x45cf, 0xa))
		if records, err := sections(all, 72); err != nil || len(records) != 70 {
			t.Fatalf("%d users, %v", len(records), err)
		}
		h.exchange("behind the end", "5050827d10000000e005b2afcf450b00c0ff0000d2040000", build(2001, 0x45cf, 0xb))
		h.exchange("more than a chunk", build(1504, 0x45cf, 0xb, words(0, 65473)...), build(2001, 0x45cf, 0xb))
		h.exchange("a tail", build(1504, 0x45cf, 0xb, words(5040, 100)...), build(1500, 0x45cf, 0xb, words(4, 1008)...))
		h.exchange("its data", "", build(1501, 0, 0xb, all[5040:]...))
		h.exchange("its end", "", build(2000, 0x45cf, 0xb))
		h.exchange("free", "5050827d08000000de0546b4cf450c00", build(2000, 0x45cf, 0xc))
		h.exchange("gone", "5050827d10000000e00585b4cf450a0000000000c0ff0000", build(2001, 0x45cf, 0xa))
	})
}

func TestWorkedSessionEvents(t *testing.T) {
	for _, c := range []struct{ quirk, want string }{
		{"rt_len=32", "5050827d28000000f40157ab0100000031303100000000000000000000000000000000000000000001001a0b18081e0f"},
		{"rt_len=12", "5050827d14000000f40154db010000006500000001001a0b18081e0f"},
		{"rt_len=10", "5050827d12000000f401b8db01000000010001001a0b18081e0f"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := inMemory(t, when(Config{Quirks: quirks(t, c.quirk)}, 0x45cf, "2026-11-24T08:30:15"))
			h := b.raw()
			h.exchange("connect", "5050827d08000000e80317fc00000000", build(2000, 0x45cf, 0))
			user := make([]byte, 72)
			user[0] = 1
			copy(user[48:], "101")
			h.exchange("write user", build(8, 0x45cf, 3, user...), build(2000, 0x45cf, 3))
			if _, err := b.Punch("101", 0, 1); err != nil { // before anybody registered: told to nobody
				t.Fatal(err)
			}
			h.exchange("reg event 1", "5050827d0c000000f4012eb8cf450d0001000000", build(2000, 0x45cf, 0xd))
			if _, err := b.Punch("101", 0, 1); err != nil {
				t.Fatal(err)
			}
			h.exchange(c.quirk, "", c.want)
			h.exchange("event ack", "5050827d08000000d00760b2cf450000", "")
			h.exchange("the session goes on", build(1013, 0x45cf, 0xf), build(2000, 0x45cf, 0xf))
			if got := b.Counts(); got.EventsSent != 1 || got.EventsAcked != 1 || got.Made != 2 {
				t.Errorf("counts %+v", got)
			}
		})
	}
}

// Frames that were captured at real terminals.
func TestCaptured(t *testing.T) {
	in := func(cfg Config, session uint16, face string, steps ...[3]string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			h := inMemory(t, when(cfg, session, face)).host()
			for _, s := range steps {
				h.exchange(s[0], s[1], s[2])
			}
		})
	}
	const now = "2018-12-07T19:09:06"
	in(Config{Platform: "ZEM760_TFT"}, 0x8df3, now,
		[3]string{"~Platform", "5050827d120000000b00b9e6f38d0c007e506c6174666f726d00", "5050827d1d000000d007714cf38d0c007e506c6174666f726d3d5a454d3736305f54465400"},
		[3]string{"WorkCode", "5050827d110000000b0084c2f38d0b00576f726b436f646500", "5050827d13000000d007828af38d0b00576f726b436f64653d3000"},
		[3]string{"PIN width", build(69, 0x8df3, 10, ' ', 'P'), "5050827d09000000" + "d007296af38d0a0009"})
	in(Config{}, 0x3c5c, now, [3]string{"PIN width", build(69, 0x3c5c, 0x10, ' ', 'P'), "5050827d09000000d007babb5c3c100009"})
	in(Config{}, 0x3c5c, now, [3]string{"state", build(64, 0x3c5c, 0x37), "5050827d08000000d007f6f702003700"})
	in(Config{Quirks: quirks(t, "opt_unknown=unknown")}, 0x7d3d, now, [3]string{"unknown", build(11, 0x7d3d, 10, []byte("Nope\x00")...), "5050827d08000000ffffb8823d7d0a00"})
	in(Config{}, 0xc584, now, [3]string{"LockOn=5", "5050827d110000000c00ebbb84c547004c6f636b4f6e3d3500", build(2000, 0xc584, 0x47)},
		[3]string{"LockOn", build(11, 0xc584, 0x48, []byte("LockOn\x00")...), build(2000, 0xc584, 0x48, []byte("LockOn=5\x00")...)})
	in(Config{}, 0xc0c5, now, [3]string{"~OS", "5050827d0c0000000b0058efc5c005007e4f5300", build(2000, 0xc0c5, 5, []byte("~OS=1\x00")...)})
	in(Config{}, 0x8a9d, now, [3]string{"USER_WRQ", "5050827d500000000800fc579d8a5c000e0006313233343536007c4e7565766f000000000000000000000000000000000000008f190000010000000000000000313132323434383800000000000000000000000000000000", build(2000, 0x8a9d, 0x5c)},
		// A terminal gives the record back with what stood behind the NUL.
		[3]string{"users", build(1503, 0x8a9d, 0x5d, unhex(t, "0109000500000000000000")...), build(1501, 0x8a9d, 0x5d, append(words(72), unhex(t, "0e0006313233343536007c4e7565766f000000000000000000000000000000000000008f190000010000000000000000313132323434383800000000000000000000000000000000")...)...)})

	synctest.Test(t, func(t *testing.T) { // F19
		b := inMemory(t, when(Config{}, 0x45cf, "2018-06-25T17:41:05"))
		h := b.host()
		user := make([]byte, 72)
		user[0] = 13
		copy(user[48:], "999111333")
		h.want(2000, 8, user...)
		h.want(2000, 500, words(0x101)...)
		if _, err := b.Punch("999111333", 0, 1); err != nil {
			t.Fatal(err)
		}
		h.exchange("score", "", "5050827d09000000f401a7fc0001000064")
		h.exchange("event", "", "5050827d28000000f401ac12010000003939393131313333330000000000000000000000000000000100120619112905")
	})
}
