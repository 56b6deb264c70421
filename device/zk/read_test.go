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

// yesterday is when the logs of tests end, unless they end now.
var yesterday = attendance.LocalDate(2026, 11, 23, 18, 0, 0, 0)

var shapes = map[string]shape{
	"in one packet": whole, "in chunks": chunks, "in pieces": streamed, "in pieces with a part counter": counted,
	"in pieces without their end": noAck, "in one piece": oneData,
}

func TestShapes(t *testing.T) {
	for name, s := range shapes {
		for _, n := range []int{0, 1, 2, 24, 25, 1637, 4000} { // a chunk holds 1636.8 records
			t.Run(fmt.Sprintf("%s, %d records", name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					today(t)
					f := newFake(t)
					f.shape = s
					records := someRecords(zk.Layout40, n, yesterday, 1)
					f.add(records...)
					r := newRig(t, f, nil)
					r.wants(records...)
					if r.store.largest > 1000 || r.store.handed() != n {
						t.Errorf("%d punches in %d calls, of %d at most", r.store.handed(), r.store.calls, r.store.largest)
					}
					if s := r.driver.State(); s.LastError != "" || s.LogCount != n || s.BadFrames != 0 {
						t.Errorf("state %+v", s)
					}
					_, e := f.punch("101")
					f.send(e)
					r.pass(settleWithin)
					if len(r.store.list()) != n+1 || f.acknowledged() != 1 {
						t.Errorf("after an event: %d punches, %d acknowledged", len(r.store.list()), f.acknowledged())
					}
				})
			})
		}
	}
}

// TestQuirks holds that what real terminals do differently changes nothing in
// what is handed over.
func TestQuirks(t *testing.T) {
	refuse := func(code zk.Command, commands ...zk.Command) func(*fake) {
		return func(f *fake) {
			for _, c := range commands {
				f.answers[c] = code
			}
		}
	}
	layout := func(l zk.Layout) func(*fake) { return func(f *fake) { f.layout = l } }
	frames := func(wire func([]byte) [][]byte) func(*fake) { return func(f *fake) { f.wire = wire } }
	counts := func(count func(uint32) uint32) func(*fake) { return func(f *fake) { f.count = count } }
	var glue []byte // of what is not sent yet
	for _, c := range []struct {
		name  string
		quirk func(*fake)
		note  string // that is expected
	}{
		{"none", func(*fake) {}, ""},
		{"Q2: a comm key", func(f *fake) { f.key = 123456 }, ""},
		{"Q3: records of 8 bytes", layout(zk.Layout8), "layout 8"},
		{"Q3: records of 16 bytes", layout(zk.Layout16), "layout 16"},
		{"Q3: records of 49 bytes", layout(zk.Layout49), "layout 49"},
		{"Q3: count 0", counts(func(uint32) uint32 { return 0 }), "not believed"},
		{"Q3: one too many", counts(func(n uint32) uint32 { return n + 1 }), "not believed"},
		{"Q3: count that makes 8 of 40", counts(func(n uint32) uint32 { return 5 * n }), "not believed"},
		{"Q3: huge count", counts(func(uint32) uint32 { return 1<<32 - 1 }), "not believed"},
		{"Q3: 49 bytes, count 0", func(f *fake) { f.layout = zk.Layout49; f.count = func(uint32) uint32 { return 0 } }, "layout 49"},
		{"Q4: byte by byte", frames(func(b []byte) (out [][]byte) { return slices.Collect(slices.Chunk(b, 1)) }), ""},
		{"Q4: split within the header", frames(func(b []byte) [][]byte { return [][]byte{b[:5], b[5:]} }), ""},
		{"Q5: pieces of 1008 with a part counter", func(f *fake) { f.shape = counted }, ""},
		{"Q6: the end of a chunk is glued to the next frame", func(f *fake) {
			f.shape = streamed
			f.wire = func(b []byte) [][]byte {
				if n := len(b); n == 16 && bytes.HasPrefix(b[8:], []byte{0xd0, 0x07}) && f.held != nil && len(f.requests) > 0 && f.requests[len(f.requests)-1].Command == zk.CmdDataReady {
					glue = b
					return nil
				}
				b, glue = append(glue, b...), nil
				return [][]byte{b}
			}
		}, ""},
		{"Q6: the end of a chunk is missing", func(f *fake) { f.shape = noAck }, ""},
		{"Q8: bulk reads refused", refuse(zk.AckError, zk.CmdDataRequest), "classic"},
		{"Q8: bulk reads unknown", refuse(zk.AckUnknown, zk.CmdDataRequest), "classic"},
		{"Q8: bulk reads 4989", refuse(zk.AckNoBulk, zk.CmdDataRequest), "classic"},
		{"Q8: chunks refused", func(f *fake) { f.shape = chunks; f.answers[zk.CmdDataReady] = zk.AckError }, "classic"},
		{"Q8: classic, slots", func(f *fake) { f.layout = zk.Layout8; f.answers[zk.CmdDataRequest] = zk.AckError }, "classic"},
		{"Q9: sizes of 92 bytes", func(f *fake) { f.sizes = 92 }, ""},
		{"Q9: sizes of 112 bytes", func(f *fake) { f.sizes = 112 }, ""},
		{"sizes too short", func(f *fake) { f.sizes = 40 }, "does not count"},
		{"sizes refused", refuse(zk.AckError, zk.CmdGetFreeSizes), "does not count"},
		{"Q13: MA300", layout(zk.LayoutMA300), "8-ma300"},
		{"Q15: clock a year behind", func(f *fake) { f.skew = -366 * 24 * time.Hour }, "behind"},
		{"clock refused", refuse(zk.AckError, zk.CmdGetTime), "clock can't be read"},
		{"Q16: slow", func(f *fake) {
			f.pace = func(b []byte) time.Duration { return time.Duration(len(b)) * time.Millisecond }
		}, ""},
		{"Q18: users of 72 bytes", func(f *fake) { f.layout = zk.Layout8; f.users = someUsers(f.t, zk.User72) }, ""},
		{"Q20: checksums off by one", frames(func(b []byte) [][]byte { b[10]++; return [][]byte{b} }), "wrong checksum"},
		{"Q21: unknown options: 1387", func(f *fake) { f.options, f.unknown = nil, zk.AckNoOption }, ""},
		{"Q21: unknown options: unknown", func(f *fake) { f.options, f.unknown = nil, zk.AckUnknown }, ""},
		{"Q21: unknown options: silence", func(f *fake) { f.options, f.unknown = nil, 0 }, ""},
		{"Q21: SDKBuild unanswered", func(f *fake) { f.silent[zk.CmdOptionsWrite] = true }, ""},
		{"FREE_DATA refused", refuse(zk.AckError, zk.CmdFreeData), ""},
		{"no version", refuse(zk.AckError, zk.CmdGetVersion), ""},
		{"no events", refuse(zk.AckError, zk.CmdRegEvent, zk.CmdEnableDevice), "tells no events"},
		{"REG_EVENT unanswered", func(f *fake) { f.silent[zk.CmdRegEvent] = true }, "tells no events"},
		{"garbage between the frames", frames(func(b []byte) [][]byte { return [][]byte{[]byte("zkt\x50"), b} }), "outside any frame"},
		{"late answers to nothing", func(f *fake) {
			f.after = func(p zk.Packet) []zk.Packet {
				return []zk.Packet{{Command: zk.AckOK, Session: f.session, Reply: p.Reply - 1}}
			}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				f := newFake(t)
				f.shape = chunks
				f.users = someUsers(t, zk.User28)
				c.quirk(f)
				want := someRecords(f.layout, 200, yesterday, 3)
				f.add(want...)
				r := newRig(t, f, func(c *Config) { c.CommKey = 123456 })
				r.pass(10 * time.Minute) // slow ones need it
				if !f.layout.HasPIN() {
					for i := range want {
						want[i].PIN = fmt.Sprint(100 + want[i].UID)
					}
				}
				r.wants(want...)
				// A new one is found by the poll.
				late, _ := f.punch("101")
				if !f.layout.HasPIN() {
					late.PIN = "107"
				}
				r.pass(2 * time.Minute)
				want = append(want, late)
				r.wants(want...)
				s := r.driver.State()
				if s.LastError != "" || !s.Online || f.dialed() != 1 {
					t.Errorf("state %+v, %d connections", s, f.dialed())
				}
				if s.Serial != "SIM0001" {
					t.Errorf("serial %q", s.Serial)
				}
				if c.note == "" && len(s.Notes) > 1 {
					t.Errorf("notes %q", s.Notes)
				}
				r.wantNote(c.note, true)
			})
		})
	}
}

// TestCut cuts the answer to a bulk read at every byte. The next connection
// reads it whole.
func TestCut(t *testing.T) {
	for name, s := range map[string]shape{"in one packet": whole, "in pieces": streamed} {
		t.Run(name, func(t *testing.T) {
			want := someRecords(zk.Layout40, 12, yesterday, 4)
			for n := 0; ; n++ {
				past := false
				synctest.Test(t, func(t *testing.T) {
					today(t)
					f := newFake(t)
					f.shape, f.piece = s, 200
					f.add(want...)
					sent, cut := 0, false
					f.wire = func(b []byte) [][]byte {
						last := f.requests[len(f.requests)-1].Command
						if cut || last != zk.CmdDataRequest && last != zk.CmdDataReady {
							return [][]byte{b}
						}
						if sent += len(b); sent <= n {
							return [][]byte{b}
						}
						cut = true
						return [][]byte{b[:n-sent+len(b)], nil}
					}
					r := newRig(t, f, nil)
					r.pass(3 * time.Second)
					past = !cut
					r.wants(want...)
					if r.store.handed() != len(want) {
						t.Errorf("cut at %d: %d punches handed over", n, r.store.handed())
					}
					if cut && f.dialed() != 2 {
						t.Errorf("cut at %d: %d connections", n, f.dialed())
					}
					if s := r.driver.State(); s.LastError != "" {
						t.Errorf("cut at %d: %s", n, s.LastError)
					}
				})
				if past {
					if n < 480 {
						t.Errorf("only %d bytes were cut", n)
					}
					break
				}
				if t.Failed() {
					break
				}
			}
		})
	}
}

// TestStopsWithin holds that a terminal that falls silent within a bulk answer
// is given up after half a minute.
func TestStopsWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		want := someRecords(zk.Layout40, 30, yesterday, 4)
		f.add(want...)
		f.wire = func(b []byte) [][]byte {
			if f.requests[len(f.requests)-1].Command == zk.CmdDataRequest && len(f.dials) == 1 {
				b = b[:100]
			}
			return [][]byte{b}
		}
		r := newRig(t, f, nil)
		r.pass(29 * time.Second)
		if s := r.driver.State(); !s.Online || s.LastError != "" {
			t.Errorf("state %+v", s)
		}
		r.pass(2*time.Second + 1) // with the goodbye
		if s := r.driver.State(); s.Online || s.LastError != "zk: read the attendance log: DATA_WRRQ (1503): no answer for 30s" {
			t.Errorf("state %+v", s)
		}
		if f.asked(zk.CmdExit) != 1 {
			t.Error("no goodbye")
		}
		r.pass(10 * time.Second)
		r.wants(want...)
	})
}

// TestMinutes holds that a read may take as long as bytes come.
func TestMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.shape = streamed
		want := someRecords(zk.Layout40, 500, yesterday, 4)
		f.add(want...)
		f.pace = func(b []byte) time.Duration {
			if len(b) > 500 {
				return 29 * time.Second
			}
			return 0
		}
		r := newRig(t, f, nil)
		r.pass(15 * time.Minute)
		r.wants(want...)
		if s := r.driver.State(); s.LastError != "" || f.dialed() != 1 {
			t.Errorf("state %+v", s)
		}
	})
}

// TestWrongAnswers holds what is said of terminals that answer nonsense.
func TestWrongAnswers(t *testing.T) {
	reply := func(f *fake, p zk.Packet, c zk.Command, data []byte) zk.Packet {
		return zk.Packet{Command: c, Session: f.session, Reply: p.Reply, Data: data}
	}
	for _, c := range []struct {
		name string
		ask  zk.Command
		is   func(f *fake, p zk.Packet) []zk.Packet
		want string
	}{
		{"dataset shorter than it says", zk.CmdDataRequest, func(f *fake, p zk.Packet) []zk.Packet {
			return []zk.Packet{reply(f, p, zk.CmdData, zk.AppendDataset(nil, f.log)[:100])}
		}, "zk: dataset says 1200 bytes and has 96: incomplete"},
		{"chunk shorter than asked", zk.CmdDataReady, func(f *fake, p zk.Packet) []zk.Packet {
			return []zk.Packet{reply(f, p, zk.CmdData, f.held[:100])}
		}, "zk: read the attendance log: 0 of 1204 bytes: chunk of 1204 bytes came with 100: incomplete"},
		{"chunk longer than asked", zk.CmdDataReady, func(f *fake, p zk.Packet) []zk.Packet {
			return []zk.Packet{reply(f, p, zk.CmdData, make([]byte, 2000))}
		}, "zk: read the attendance log: 0 of 1204 bytes: chunk of 1204 bytes came with 2000: incomplete"},
		{"huge announcement", zk.CmdDataRequest, func(f *fake, p zk.Packet) []zk.Packet {
			return []zk.Packet{reply(f, p, zk.AckOK, zk.AppendReady(nil, 1<<31, 0))}
		}, "zk: read the attendance log: zk: dataset of 2147483648 bytes, at most 67108864: too large"},
		{"endless announcements", zk.CmdDataReady, func(f *fake, p zk.Packet) []zk.Packet {
			return []zk.Packet{reply(f, p, zk.AckOK, zk.AppendReady(nil, 1000, 0))}
		}, "zk: read the attendance log: 0 of 1204 bytes: chunk announced anew: malformed"},
		{"announcement of odd length", zk.CmdDataRequest, func(f *fake, p zk.Packet) []zk.Packet {
			return []zk.Packet{reply(f, p, zk.AckOK, []byte{1, 2, 3})}
		}, "zk: read the attendance log: zk: announcement of a dataset of 3 bytes, it has 13: malformed"},
		{"pieces end early", zk.CmdDataReady, func(f *fake, p zk.Packet) []zk.Packet {
			return []zk.Packet{reply(f, p, zk.CmdPrepareData, zk.AppendPrepare(nil, 1204, 1008)), reply(f, p, zk.CmdData, f.held[:1008]), reply(f, p, zk.AckOK, nil)}
		}, "zk: read the attendance log: 0 of 1204 bytes: zk: the dataset ends after 1008 of 1204 bytes: incomplete"},
		{"empty pieces for ever", zk.CmdDataReady, func(f *fake, p zk.Packet) []zk.Packet {
			return append([]zk.Packet{reply(f, p, zk.CmdPrepareData, zk.AppendPrepare(nil, 1204, 1008))},
				slices.Repeat([]zk.Packet{reply(f, p, zk.CmdData, nil)}, 2000)...)
		}, "zk: read the attendance log: 0 of 1204 bytes: 1000 pieces without data: malformed"},
		{"answers to other requests for ever", zk.CmdGetTime, func(f *fake, p zk.Packet) []zk.Packet {
			p.Reply += 7
			return slices.Repeat([]zk.Packet{reply(f, p, zk.AckOK, nil)}, 2000)
		}, "zk: GET_TIME (201): 1000 packets in a row that answer nothing that was asked: malformed"},
		{"an answer to another request", zk.CmdGetTime, func(f *fake, p zk.Packet) []zk.Packet {
			p.Reply += 7
			return []zk.Packet{reply(f, p, zk.AckOK, nil)}
		}, "zk: GET_TIME (201): no answer for 10s, but 1 packets with another reply id"},
		{"half an answer", zk.CmdGetFreeSizes, func(f *fake, p zk.Packet) []zk.Packet {
			f.wire = func(b []byte) [][]byte { return [][]byte{b[:len(b)-1]} }
			return []zk.Packet{reply(f, p, zk.AckOK, make([]byte, 80))}
		}, "zk: GET_FREE_SIZES (50): no answer for 10s"},
		{"a forgotten session", zk.CmdGetTime, func(f *fake, p zk.Packet) []zk.Packet {
			return []zk.Packet{reply(f, p, zk.AckUnauth, nil)}
		}, "zk: GET_TIME (201): the terminal has forgotten the session"},
		{"another option", zk.CmdOptionsRead, func(f *fake, p zk.Packet) []zk.Packet {
			return []zk.Packet{reply(f, p, zk.AckOK, []byte("~Platform=ZEM500\x00"))}
		}, `zk: asked for ~SerialNumber the terminal tells "~Platform": malformed`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				f := newFake(t)
				f.shape = chunks
				want := someRecords(zk.Layout40, 30, yesterday, 5)
				f.add(want...)
				f.instead = func(p zk.Packet) ([]zk.Packet, bool) {
					if p.Command != c.ask {
						return nil, false
					}
					return c.is(f, p), true
				}
				r := newRig(t, f, nil)
				r.pass(11*time.Second + 1) // with the goodbye
				if s := r.driver.State(); s.LastError != c.want {
					t.Errorf("state %+v, want %s", s, c.want)
				}
				r.wants()
				// It comes to its senses.
				f.set(func() { f.instead, f.wire = nil, nil })
				r.pass(2 * time.Minute)
				r.wants(want...)
				if s := r.driver.State(); s.LastError != "" || r.store.handed() != len(want) {
					t.Errorf("state %+v, %d punches", s, r.store.handed())
				}
			})
		})
	}
}
