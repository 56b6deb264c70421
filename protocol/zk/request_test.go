package zk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

func TestScramble(t *testing.T) {
	for _, c := range []struct {
		key     uint32
		session uint16
		want    string
	}{
		{12, 0x45cf, "614d323c"},
		{45, 0x45cf, "61c9323c"},
		{0, 0x45cf, "617d323c"},
		{123456, 0x45cf, "267f32bc"},
		{8697, 1000, "e5e2327a"},
		{999999, 0xffff, "22813296"},
	} {
		got := Scramble(c.key, c.session, Ticks)
		if fmt.Sprintf("%x", got) != c.want {
			t.Errorf("key %d, session %04x: %x, want %s", c.key, c.session, got, c.want)
		}
		for ticks := range 256 {
			if !CheckKey(c.key, c.session, Scramble(c.key, c.session, byte(ticks))) {
				t.Errorf("key %d with %d ticks is refused", c.key, ticks)
			}
		}
		if CheckKey(c.key+1, c.session, got) || CheckKey(c.key, c.session+256, got) {
			t.Errorf("key %d opens another key or session", c.key)
		}
	}
}

func TestNextReply(t *testing.T) {
	for id, want := range map[uint16]uint16{0: 1, 1: 2, 65533: 65534, 65534: 0, 65535: 0} {
		if got := NextReply(id); got != want {
			t.Errorf("after %d comes %d, want %d", id, got, want)
		}
	}
}

func TestTime(t *testing.T) {
	for _, c := range []struct {
		face  string
		value uint32
		bytes string
	}{
		{"2000-01-01T00:00:00", 0, "00000000"},
		{"2018-06-25T17:50:35", 0x2368b36b, "6bb36823"},
		{"2026-11-24T08:30:15", 0x3386a717, "17a78633"},
		{"2026-02-28T23:59:59", 0x321cf47f, "7ff41c32"},
		{"2026-03-01T00:00:00", 0x3220e900, "00e92032"},
		{"2099-12-31T23:59:59", 0xbf92f7ff, "fff792bf"},
		{"2018-06-25T16:09:38", 0x23689bc2, "c29b6823"},
	} {
		l, err := attendance.ParseLocal(c.face)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := EncodeTime(l + 999); v != c.value || err != nil { // cut to the second
			t.Errorf("%s is %08x, %v; want %08x", c.face, v, err, c.value)
		}
		if got, err := DecodeTime(c.value); got != l || err != nil {
			t.Errorf("%08x is %v, %v; want %s", c.value, got, err, c.face)
		}
		b, err := AppendTime(nil, l)
		if fmt.Sprintf("%x", b) != c.bytes || err != nil {
			t.Errorf("%s is %x, %v; want %s", c.face, b, err, c.bytes)
		}
	}
	if got, ok := parseTime6(unhex(t, "120619112905")); !ok || got.String() != "2018-06-25T17:41:05" {
		t.Error(got, ok)
	}
}

// TestTimeEveryDay holds both forms of time against the calendar: every date
// comes back, and what is no date is refused.
func TestTimeEveryDay(t *testing.T) {
	good := 0
	for slot := range uint32(101 * 12 * 31) {
		for _, second := range []uint32{0, 86399} {
			v := slot*86400 + second
			l, err := DecodeTime(v)
			if err != nil {
				if !errors.Is(err, protocol.ErrMalformed) {
					t.Fatal(err)
				}
				continue
			}
			good++
			if again, err := EncodeTime(l); again != v || err != nil {
				t.Fatalf("%08x is %v, which is %08x, %v", v, l, again, err)
			}
			six, err := appendTime6(nil, l)
			if err != nil {
				t.Fatal(err)
			}
			if again, ok := parseTime6(six); !ok || again != l {
				t.Fatalf("%v is % x, which is %v", l, six, again)
			}
		}
	}
	if want := 2 * (100*365 + 25); good != want {
		t.Errorf("%d half days from 2000 to 2099, want %d", good, want)
	}
	for _, v := range []uint32{0xbf92f800, 0xffffffff, (31 + 29) * 86400 /* 30 February 2000 */} {
		if l, err := DecodeTime(v); err == nil {
			t.Errorf("%08x is %v", v, l)
		}
	}
	for _, six := range []string{"640101000000", "000001000000", "000d01000000", "000100000000", "000120000000", "1a021d000000", "1a0101180000", "1a0101003c00", "1a010100003c"} {
		if l, ok := parseTime6(unhex(t, six)); ok {
			t.Errorf("%s is %v", six, l)
		}
	}
	for _, l := range []attendance.LocalTime{0, attendance.LocalDate(2100, 1, 1, 0, 0, 0, 0), attendance.LocalDate(1999, 12, 31, 23, 59, 59, 999)} {
		if _, err := EncodeTime(l); err == nil {
			t.Errorf("%v was packed", l)
		}
		if _, err := appendTime6(nil, l); err == nil {
			t.Errorf("%v was written as six bytes", l)
		}
	}
}

func TestOption(t *testing.T) {
	for _, c := range []struct{ in, name, value string }{
		{"~SerialNumber=SIM0001\x00", "~SerialNumber", "SIM0001"},
		{"~SerialNumber=SIM0001", "~SerialNumber", "SIM0001"},
		{"~SerialNumber==SIM0001\x00", "~SerialNumber", "SIM0001"},
		{"WorkCode=\x00", "WorkCode", ""},
		{"WorkCode=", "WorkCode", ""},
		{"MAC=00:17:61:AA:BB:CC\x00\x00\x7f garbage=1", "MAC", "00:17:61:AA:BB:CC"},
		{"AS1=a=b\x00", "AS1", "a=b"},
		{"~DeviceName=\xbf\xbc\xc7\xda\x00", "~DeviceName", "\xbf\xbc\xc7\xda"},
	} {
		name, value, err := ParseOption([]byte(c.in))
		if name != c.name || value != c.value || err != nil {
			t.Errorf("%q: %q, %q, %v", c.in, name, value, err)
		}
	}
	for in, kind := range map[string]error{
		"": protocol.ErrMalformed, "\x00": protocol.ErrMalformed, "~OS\x00": protocol.ErrMalformed, "=1\x00": protocol.ErrMalformed,
		strings.Repeat("a", MaxOption+1): protocol.ErrTooLarge,
	} {
		if name, value, err := ParseOption([]byte(in)); !errors.Is(err, kind) || name+value != "" {
			t.Errorf("%.20q: %q, %q, %v", in, name, value, err)
		}
	}
	for _, c := range [][2]string{{"", "1"}, {"a=b", "1"}, {"a\x00", "1"}, {"a", "\x00"}, {"a", "=1"}, {"a", strings.Repeat("1", MaxOption)}} {
		if b, err := AppendOption(nil, c[0], c[1]); err == nil {
			t.Errorf("option %.20q = %.20q is % x", c[0], c[1], b[:min(len(b), 20)])
		}
	}
}

// requests holds one of every form.
var requests = []Request{
	Auth{[4]byte{1, 2, 3, 4}}, OptionRead{"~OS"}, OptionWrite{"LockOn", "5"}, OptionWrite{"IPAddress", ""},
	SetTime{attendance.LocalDate(2026, 11, 24, 8, 30, 15, 0)}, DisableDevice{}, DisableDevice{60},
	BulkUsers(), BulkAttendance(), BulkOperations(), BulkRead{CmdDBRead, 2, 0}, UsersRead{}, Chunk{4, MaxChunk},
	UserWrite{User28, User{UID: 1, PIN: "101", Name: "Ada", Password: "1234", Card: 222, Privilege: PrivilegeSuper, Group: 1}},
	UserWrite{User72, User{UID: 1, PIN: "0012", Name: "Ada", Disabled: true, Zones: [4]uint16{1, 2, 3, 4}}},
	UserDelete{14}, RegisterEvents{uint32(EventAll)}, RegisterEvents{}, PINWidth{}, Clear{TableAttendance}, Clear{TableEverything},
	Unlock{30}, Other{CmdTestVoice, []byte{1, 0, 0, 0}}, Other{CmdConnect, []byte{1}}, Other{65000, nil},
}

func TestRequests(t *testing.T) {
	all := slices.Clone(requests)
	for _, c := range bare {
		all = append(all, Bare(c))
	}
	for _, r := range all {
		p, err := RequestPacket(7, 8, r)
		if err != nil || p.Command != r.Command() || p.Session != 7 || p.Reply != 8 {
			t.Errorf("%T %+v: %+v, %v", r, r, p, err)
			continue
		}
		if got, err := ParseRequest(p); !reflect.DeepEqual(got, r) || err != nil {
			t.Errorf("%T %+v came back as %T %+v, %v", r, r, got, got, err)
		}
	}
	// An old host leaves the NUL out.
	if got, err := ParseRequest(Packet{Command: CmdOptionsRead, Data: []byte("~OS")}); got != (OptionRead{"~OS"}) || err != nil {
		t.Error(got, err)
	}
	// The three tables as hosts in use ask for them.
	for want, r := range map[string]Request{
		"0109000500000000000000": BulkUsers(), "010d000000000000000000": BulkAttendance(), "0122000000000000000000": BulkOperations(),
		"0107000200000000000000": BulkRead{CmdDBRead, 2, 0}, "05": UsersRead{}, "2050": PINWidth{},
	} {
		if p, err := RequestPacket(0, 0, r); fmt.Sprintf("%x", p.Data) != want || err != nil {
			t.Errorf("%+v is %x, %v; want %s", r, p.Data, err, want)
		}
	}
}

func TestRequestsRefused(t *testing.T) {
	for _, p := range []Packet{
		{Command: CmdAuth, Data: []byte{1, 2, 3}}, {Command: CmdAuth, Data: make([]byte, 5)}, {Command: CmdOptionsRead}, {Command: CmdOptionsRead, Data: []byte("a=1\x00")},
		{Command: CmdOptionsWrite, Data: []byte("LockOn\x00")}, {Command: CmdSetTime, Data: []byte{1}}, {Command: CmdSetTime, Data: []byte{255, 255, 255, 255}},
		{Command: CmdUserWrite, Data: make([]byte, 29)}, {Command: CmdUserWrite}, {Command: CmdDataRequest, Data: make([]byte, 11)}, {Command: CmdDataRequest, Data: make([]byte, 10)},
		{Command: CmdDataReady, Data: make([]byte, 7)}, {Command: CmdDeleteUser}, {Command: CmdDeleteUser, Data: make([]byte, 24)}, {Command: CmdRegEvent},
		{Command: CmdUnlock, Data: make([]byte, 1)}, {Command: CmdDisableDevice, Data: make([]byte, 2)},
		{Command: CmdClearData, Data: []byte{0}}, {Command: CmdClearData, Data: []byte{255}}, {Command: CmdClearData, Data: []byte{1, 0}},
	} {
		if r, err := ParseRequest(p); !errors.Is(err, protocol.ErrMalformed) || r != nil {
			t.Errorf("%v with % x: %+v, %v", p.Command, p.Data, r, err)
		}
	}
	for _, r := range []Request{
		Bare(CmdClearData), Bare(CmdAuth), Bare(0), Clear{}, SetTime{}, OptionRead{}, OptionWrite{"a=", "1"},
		UserWrite{User28, User{PIN: "0012"}}, UserWrite{29, User{PIN: "1"}},
	} {
		if p, err := RequestPacket(0, 0, r); err == nil {
			t.Errorf("%T %+v is % x", r, r, p.Data)
		}
	}
}

func TestParseBulk(t *testing.T) {
	word := binary.LittleEndian.AppendUint32
	ready := AppendReady(nil, 5044, 0x0023efcd)
	for _, c := range []struct {
		name string
		p    Packet
		want Bulk
		err  error
	}{
		{"whole", Packet{Command: CmdData, Data: []byte{1, 2}}, Bulk{BulkWhole, []byte{1, 2}, 2, 0}, nil},
		{"whole and empty", Packet{Command: CmdData}, Bulk{Kind: BulkWhole}, nil},
		{"ready", Packet{Command: AckOK, Data: ready}, Bulk{Kind: BulkReady, Size: 5044}, nil},
		{"ready, cut", Packet{Command: AckOK, Data: ready[:12]}, Bulk{}, protocol.ErrMalformed},
		{"nothing", Packet{Command: AckOK}, Bulk{}, protocol.ErrMalformed},
		{"stream", Packet{Command: CmdPrepareData, Data: AppendPrepare(nil, 5044, 0x3f0)}, Bulk{Kind: BulkStream, Size: 5044, Part: 1008}, nil},
		{"stream in one piece", Packet{Command: CmdPrepareData, Data: AppendPrepare(nil, 5044, 0x10000)}, Bulk{Kind: BulkStream, Size: 5044, Part: 65536}, nil},
		{"stream, size alone", Packet{Command: CmdPrepareData, Data: word(nil, 5044)}, Bulk{Kind: BulkStream, Size: 5044}, nil},
		{"stream, cut", Packet{Command: CmdPrepareData, Data: make([]byte, 7)}, Bulk{}, protocol.ErrMalformed},
		{"stream, lying", Packet{Command: CmdPrepareData, Data: word(nil, 0xffffffff)}, Bulk{}, protocol.ErrTooLarge},
		{"ready, lying", Packet{Command: AckOK, Data: AppendReady(nil, MaxDataset+1, 0)}, Bulk{}, protocol.ErrTooLarge},
		{"ready, at the bound", Packet{Command: AckOK, Data: AppendReady(nil, MaxDataset, 0)}, Bulk{Kind: BulkReady, Size: MaxDataset}, nil},
		{"refused", Packet{Command: AckNoBulk}, Bulk{}, protocol.ErrUnsupported},
	} {
		got, err := ParseBulk(c.p)
		if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.want) && !(len(c.want.Data) == 0 && got.Size == 0) {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.name, got, err, c.want, c.err)
		}
	}
}

func TestChunks(t *testing.T) {
	for _, c := range []struct {
		size, part int
		want       []Chunk
	}{
		{0, MaxChunk, nil},
		{1, MaxChunk, []Chunk{{0, 1}}},
		{MaxChunk, MaxChunk, []Chunk{{0, MaxChunk}}},
		{MaxChunk + 1234, MaxChunk, []Chunk{{0, MaxChunk}, {MaxChunk, 1234}}},
		{5, 2, []Chunk{{0, 2}, {2, 2}, {4, 1}}},
	} {
		if got := slices.Collect(Chunks(c.size, c.part)); !slices.Equal(got, c.want) {
			t.Errorf("%d in parts of %d: %v", c.size, c.part, got)
		}
	}
	for range Chunks(10, 1) {
		break // must not run on
	}
}

func TestStream(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 504)
	start := func() *Stream { return NewStream(Bulk{Kind: BulkStream, Size: len(data)}) }
	s := start()
	i := 0
	for piece := range slices.Chunk(data, 1008) {
		if s.Whole() {
			t.Error("whole too early")
		}
		// As a K20 sends them: the session is a part counter.
		if done, err := s.Add(Packet{CmdData, uint16(i), 22, piece}); done || err != nil {
			t.Fatal(done, err)
		}
		i++
	}
	if !s.Whole() {
		t.Error("not whole")
	}
	if done, err := s.Add(Packet{Command: AckOK}); !done || err != nil || !bytes.Equal(s.Data(), data) {
		t.Error(done, err)
	}
	for _, c := range []struct {
		name string
		p    Packet
		err  error
	}{
		{"the end too early", Packet{Command: AckOK}, protocol.ErrIncomplete},
		{"too much", Packet{Command: CmdData, Data: make([]byte, len(data)+1)}, protocol.ErrMalformed},
		{"again from the start", Packet{Command: CmdPrepareData, Data: make([]byte, 8)}, protocol.ErrMalformed},
		{"refused midway", Packet{Command: AckError}, protocol.ErrUnsupported},
	} {
		s := start()
		if done, err := s.Add(c.p); done || !errors.Is(err, c.err) || len(s.Data()) != 0 {
			t.Errorf("%s: %v, %v, %d bytes", c.name, done, err, len(s.Data()))
		}
	}
}

func TestSplitDataset(t *testing.T) {
	for _, c := range []struct {
		in, records, extra string
		err                error
	}{
		{"", "", "", protocol.ErrIncomplete},
		{"010000", "", "", protocol.ErrIncomplete},
		{"00000000", "", "", nil},
		{"02000000aabb", "aabb", "", nil},
		{"02000000aabbcc", "aabb", "cc", nil},
		{"03000000aabb", "aabb", "", protocol.ErrIncomplete},
		{"ffffffffaabb", "aabb", "", protocol.ErrIncomplete},
	} {
		records, extra, err := SplitDataset(unhex(t, c.in))
		if fmt.Sprintf("%x|%x", records, extra) != c.records+"|"+c.extra || !errors.Is(err, c.err) {
			t.Errorf("%s: %x, %x, %v", c.in, records, extra, err)
		}
		if err == nil && c.extra == "" {
			if again := AppendDataset(nil, records); fmt.Sprintf("%x", again) != c.in {
				t.Errorf("%s comes back as %x", c.in, again)
			}
		}
	}
}

func TestSizes(t *testing.T) {
	block := unhex(t, "00000000000000000000000000000000030000000000000003000000000000003a000000000000005a000000000000000200000002000000b80b000088130000a0860100b50b00008513000066860100000000000000000000000000")
	want := Sizes{
		Users: 3, Fingers: 3, Records: 58, Operations: 90, Admins: 2, Passwords: 2,
		FingerRoom: 3000, UserRoom: 5000, RecordRoom: 100000, FingersLeft: 2997, UsersLeft: 4997, RecordsLeft: 99942, HasFaces: true,
	}
	s, err := ParseSizes(block)
	if s != want || err != nil {
		t.Errorf("%+v, %v", s, err)
	}
	if again := AppendSizes(nil, s, SizesFacesLen); !bytes.Equal(again, block) {
		t.Errorf("%x", again)
	}
	for n := range 200 {
		b := make([]byte, n)
		copy(b, block)
		s, err := ParseSizes(b)
		switch {
		case n < SizesLen:
			if !errors.Is(err, protocol.ErrIncomplete) || s != (Sizes{}) {
				t.Errorf("%d bytes: %+v, %v", n, s, err)
			}
		case err != nil || s.Records != 58 || s.HasFaces != (n >= SizesFacesLen):
			t.Errorf("%d bytes: %+v, %v", n, s, err)
		}
	}
	want.Faces, want.FaceRoom = 7, 800
	if got, err := ParseSizes(AppendSizes(nil, want, SizesLongLen)); got != want || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestState(t *testing.T) {
	if StateIdentify.String() != "identifying" || State(99).String() != "state 99" {
		t.Error(StateIdentify, State(99))
	}
	if v, err := ParseVersion(AppendVersion(nil, "Ver 6.60 Apr 26 2016")); v != "Ver 6.60 Apr 26 2016" || err != nil {
		t.Error(v, err)
	}
	if _, err := ParsePINWidth([]byte{9, 0}); !errors.Is(err, protocol.ErrMalformed) {
		t.Error(err)
	}
}

func FuzzRequest(f *testing.F) {
	for _, v := range vectors(f) {
		if v.host {
			f.Add(uint16(v.packet.Command), v.packet.Data)
		}
	}
	for _, r := range requests {
		p, err := RequestPacket(0, 0, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint16(p.Command), p.Data)
	}
	f.Fuzz(func(t *testing.T, command uint16, data []byte) {
		r, err := ParseRequest(Packet{Command: Command(command), Data: data})
		if err != nil {
			if r != nil || !isKind(err) {
				t.Errorf("%+v, %v", r, err)
			}
			return
		}
		p, err := RequestPacket(0, 0, r)
		if err != nil || p.Command != Command(command) {
			t.Fatalf("%T %+v: %+v, %v", r, r, p, err)
		}
		again, err := ParseRequest(p)
		if o, ok := r.(Other); ok && len(o.Data) == 0 {
			r = Other{o.Asked, p.Data} // empty is empty
		}
		if !reflect.DeepEqual(again, r) || err != nil {
			t.Errorf("%#v comes back as %#v, %v", r, again, err)
		}
	})
}

func FuzzOption(f *testing.F) {
	for _, s := range []string{"~OS=1\x00", "a==\x00", "a=b=c", "=", "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		name, value, err := ParseOption(data)
		if err != nil {
			if name+value != "" || !isKind(err) {
				t.Errorf("%q, %q, %v", name, value, err)
			}
			return
		}
		b, err := AppendOption(nil, name, value)
		if err != nil {
			t.Fatalf("%q = %q: %v", name, value, err)
		}
		if n, v, err := ParseOption(b); n != name || v != value || err != nil {
			t.Errorf("%q = %q comes back as %q = %q, %v", name, value, n, v, err)
		}
	})
}

// FuzzAnswer holds the small answers together: what reads is written again and
// reads the same.
func FuzzAnswer(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(uint16(v.packet.Command), v.packet.Data)
	}
	f.Add(uint16(CmdData), unhex(f, "0000062ac29b682303000000070002050000062ac29b68230300000007000205"))
	f.Fuzz(func(t *testing.T, command uint16, data []byte) {
		if s, err := ParseSizes(data); err == nil {
			if again, err := ParseSizes(AppendSizes(nil, s, len(data))); again != s || err != nil {
				t.Errorf("%+v comes back as %+v, %v", s, again, err)
			}
		}
		if l, err := ParseTime(data); err == nil {
			if again, err := AppendTime(nil, l); !bytes.Equal(again, data) || err != nil {
				t.Errorf("%x is %v, which is %x, %v", data, l, again, err)
			}
		}
		if v, err := ParseVersion(data); err == nil {
			if again, err := ParseVersion(AppendVersion(nil, v)); again != v || err != nil {
				t.Errorf("%q comes back as %q, %v", v, again, err)
			}
		}
		ops, bad, err := ParseOperations(data)
		if err != nil || len(ops)+len(bad) != (len(data)+operationSize-1)/operationSize {
			t.Errorf("%d bytes are %d operations, %d bad, %v", len(data), len(ops), len(bad), err)
		}
		for _, op := range ops {
			b, err := AppendOperation(nil, op)
			if err != nil {
				t.Fatal(err)
			}
			if again, _, err := ParseOperations(b); len(again) != 1 || again[0] != op || err != nil {
				t.Errorf("%+v comes back as %+v, %v", op, again, err)
			}
		}
		b, err := ParseBulk(Packet{Command: Command(command), Data: data})
		switch {
		case err != nil && !isKind(err):
			t.Errorf("an error of no kind: %v", err)
		case err == nil && (b.Size < 0 || b.Size > MaxDataset || b.Part < 0 || b.Kind == 0):
			t.Errorf("%+v", b)
		}
	})
}
