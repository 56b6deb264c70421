package zk

import (
	"bytes"
	"context"
	"encoding/hex"
	"hash/maphash"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// script is a far end that knows bytes alone.
type script struct {
	t   *testing.T
	far link.Conn
	n   uint16 // requests so far
}

func (s *script) unhex(text string) []byte {
	s.t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// numbered is a recorded frame with another reply id, and the checksum of that.
func (s *script) numbered(text string, reply uint16) []byte {
	s.t.Helper()
	p, n, err := zk.ParseFrame(s.unhex(text))
	if err != nil || 2*n != len(text) {
		s.t.Fatalf("%s: %v", text, err)
	}
	p.Reply = reply
	return zk.AppendFrame(nil, p)
}

// wants reads a frame and holds that it is the recorded one.
func (s *script) wants(what string, frame []byte) {
	s.t.Helper()
	got := make([]byte, len(frame))
	if _, err := io.ReadFull(s.far, got); err != nil || !bytes.Equal(got, frame) {
		s.t.Fatalf("%s: %x, %v, want %x", what, got, err, frame)
	}
}

// exchange is a request and the answer to it, each under the next reply id.
func (s *script) exchange(what, request, answer string) {
	s.t.Helper()
	s.wants(what, s.numbered(request, s.n))
	s.tell(s.numbered(answer, s.n))
	s.n++
}

func (s *script) tell(b []byte) {
	s.t.Helper()
	if _, err := s.far.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

// The recorded frames of one session.
const (
	vecConnect  = "5050827d08000000e80317fc00000000"
	vecUnauth   = "5050827d08000000d5075bb2cf450000"
	vecAuth     = "5050827d0c0000004e04887acf450100267f32bc"
	vecOK       = "5050827d08000000d0075fb2cf450100"
	vecSDKBuild = "5050827d130000000c006434cf45030053444b4275696c643d3100"
	vecSerial   = "5050827d160000000b002071cf4502007e53657269616c4e756d62657200"
	vecIsSerial = "5050827d1e000000d0075982cf4502007e53657269616c4e756d6265723d53494d3030303100"
	vecUnknown  = "5050827d08000000d1075cb2cf450300"
	vecSizes    = "5050827d080000003200fab9cf450400"
	vecAreSizes = "5050827d58000000d0074c49582013000000000000000000000000000000000002000000000000000000000000000000000000000000000007000000000000000000000000000000f4010000f401000050c30000f4010000f201000050c30000"
	vecIsTime   = "5050827d0c000000d007bcd7cf45060017a78633"
	vecAttLog   = "5050827d13000000df0547a7cf450900010d000000000000000000"
	vecIsLog    = "5050827d34000000dd053510cf450900280000000d00393939313131333333000000000000000000000000000000016bb368230000000000ff000000"
	vecFree     = "5050827d08000000de0546b4cf450c00"
	vecRegister = "5050827d0c000000f4012eb8cf450d0001000000"
	vecEvent32  = "5050827d28000000f40157ab0100000031303100000000000000000000000000000000000000000001001a0b18081e0f"
	vecEvent12  = "5050827d14000000f40154db010000006500000001001a0b18081e0f"
	vecEvent10  = "5050827d12000000f401b8db01000000010001001a0b18081e0f"
	vecEventAck = "5050827d08000000d00760b2cf450000"
	vecExit     = "5050827d08000000e90345b6cf450200"
)

// TestRecordedSession plays the recorded frames of a session in the order in
// which the driver asks.
func TestRecordedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		time.Sleep(15 * time.Second)
		store := &store{keys: map[attendance.Key]bool{}}
		ends := make(chan link.Conn, 1)
		d, err := New(Config{
			ID: "lobby", CommKey: 123456, Live: true, Emit: store.emit,
			Link: link.PipeDialer("x", func(_ context.Context, far link.Conn) error { ends <- far; return nil }),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		s := &script{t: t, far: <-ends}
		defer s.far.Close()
		s.wants("connect", s.unhex(vecConnect))
		s.tell(s.unhex(vecUnauth))
		s.wants("auth", s.unhex(vecAuth))
		s.tell(s.unhex(vecOK))
		s.n = 2
		frame := func(command zk.Command, data string) string {
			return hex.EncodeToString(zk.AppendFrame(nil, zk.Packet{Command: command, Session: 0x45cf, Data: []byte(data)}))
		}
		s.exchange("SDKBuild", vecSDKBuild, vecOK)
		s.exchange("serial number", vecSerial, vecIsSerial)
		s.exchange("device name", frame(zk.CmdOptionsRead, "~DeviceName\x00"), vecUnknown)
		s.exchange("platform", frame(zk.CmdOptionsRead, "~Platform\x00"), "5050827d1d000000d007714cf38d0c007e506c6174666f726d3d5a454d3736305f54465400")
		s.exchange("version", frame(zk.CmdGetVersion, ""), vecUnknown)
		getTime := frame(zk.CmdGetTime, "")
		s.exchange("time", getTime, vecIsTime)
		read := func(log string) {
			t.Helper()
			s.exchange("sizes", vecSizes, vecAreSizes)
			s.exchange("free", vecFree, vecOK)
			s.exchange("log", vecAttLog, log)
			s.exchange("free", vecFree, vecOK)
			s.exchange("sizes", vecSizes, vecAreSizes)
		}
		read(vecIsLog)
		s.exchange("enable", frame(zk.CmdEnableDevice, ""), vecOK)
		s.exchange("register", vecRegister, vecOK)
		s.exchange("time", getTime, vecIsTime)
		s.exchange("sizes", vecSizes, vecAreSizes)
		// A first record of eight years ago may lack some of its date: it is looked
		// at twice.
		begin := time.Now()
		isTime := func() string { // 15 seconds past, and what went by since
			return frame(zk.AckOK, string([]byte{0x17 + byte(time.Since(begin)/time.Second), 0xa7, 0x86, 0x33}))
		}
		look := func(log string) {
			t.Helper()
			time.Sleep(settleWithin)
			s.exchange("time", getTime, isTime())
			read(log)
		}
		look(vecIsLog)
		first := zk.Record{UID: 13, PIN: "999111333", Verify: 1, At: attendance.LocalDate(2018, 6, 25, 17, 50, 35, 0)}
		told := zk.Record{UID: 1, PIN: "101", Verify: 1, At: attendance.LocalDate(2026, 11, 24, 8, 30, 15, 0)}
		log := frame(zk.CmdData, string(zk.AppendDataset(nil, appendRecords(t, nil, zk.Layout40, first, told))))
		time.Sleep(time.Second)
		for _, event := range []string{vecEvent32, vecEvent12, vecEvent10} {
			s.tell(s.unhex(event))
			look(log)
			s.wants("acknowledgement of the event", s.unhex(vecEventAck))
			time.Sleep(time.Second)
		}
		cancel()
		s.exchange("exit", vecExit, vecOK)
		if err := <-done; err != nil {
			t.Error(err)
		}
		r := &rig{t: t, store: store}
		r.wants(first, told)
		if st := d.State(); st.Serial != "SIM0001" || st.Model != "ZEM760_TFT" || *st.Skew != 0 || st.BadFrames != 0 {
			t.Errorf("state %+v", st)
		}
	})
}

// TestK20 plays the frames with which a K20 begins a big answer, as captured.
func TestK20(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := link.Pipe()
		defer near.Close()
		const id = 0x3c5c
		s := newSession(near, Timeouts{Answer: time.Second, Quiet: time.Second}, maphash.MakeSeed(), func(err error) { t.Error(err) })
		s.id, s.reply = id, 0x13
		want := bytes.Repeat([]byte("0123456789abcde"), 340)[:5044]
		terminal := &script{t: t, far: far, n: 0x14}
		done := make(chan []byte)
		go func() {
			data, err := s.fetch(t.Context(), userTable())
			if err != nil {
				t.Error(err)
			}
			done <- data
		}()
		ask := func(r zk.Request) {
			t.Helper()
			p, err := zk.RequestPacket(id, terminal.n, r)
			if err != nil {
				t.Fatal(err)
			}
			terminal.wants(p.Command.String(), zk.AppendFrame(nil, p))
			terminal.n++
		}
		tell := func(p zk.Packet) { terminal.tell(zk.AppendFrame(nil, p)) }
		ask(zk.Bare(zk.CmdFreeData))
		tell(zk.Packet{Command: zk.AckOK, Session: id, Reply: 0x14})
		ask(zk.BulkUsers())
		terminal.tell(terminal.unhex("5050827d15000000d007a7625c3c150000b4130000b4130000cdef2300"))
		ask(zk.Chunk{Size: 5044})
		terminal.tell(terminal.unhex("5050827d10000000dc050da65c3c1600b4130000f0030000"))
		n := uint16(0)
		for piece := range slices.Chunk(want, 1008) {
			tell(zk.Packet{Command: zk.CmdData, Session: n, Reply: 0x16, Data: piece})
			n++
		}
		// The last of them was enough; what ends them comes with the next answer.
		ask(zk.Bare(zk.CmdFreeData))
		tell(zk.Packet{Command: zk.AckOK, Session: id, Reply: 0x16})
		tell(zk.Packet{Command: zk.AckOK, Session: id, Reply: 0x17})
		if got := <-done; !bytes.Equal(got, want) {
			t.Errorf("%d bytes, want %d", len(got), len(want))
		}
	})
}
