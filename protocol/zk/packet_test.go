package zk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol"
)

// plainChecksum is the definition, word by word.
func plainChecksum(packet []byte) uint16 {
	var sum uint32
	for i := 0; i < len(packet); i += 2 {
		word := uint32(packet[i])
		if i+1 < len(packet) {
			word |= uint32(packet[i+1]) << 8
		}
		if i != 2 {
			sum += word
		}
		for sum > 0xffff {
			sum = sum&0xffff + sum>>16
		}
	}
	return ^uint16(sum)
}

func TestChecksum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := headerSize; n < 300; n++ {
		for _, fill := range []func() byte{func() byte { return 0 }, func() byte { return 0xff }, func() byte { return byte(r.Uint32()) }} {
			b := make([]byte, n)
			for i := range b {
				b[i] = fill()
			}
			if got, want := checksum(b), plainChecksum(b); got != want {
				t.Fatalf("%x: %04x, want %04x", b, got, want)
			}
		}
	}
}

func TestParsePacketErrors(t *testing.T) {
	good := AppendPacket(nil, Packet{AckOK, 7, 9, []byte("~OS=1\x00")})
	bad := bytes.Clone(good)
	bad[2]++ // as terminals do that copied the checksum without its other half
	p, err := ParsePacket(bad)
	if !errors.Is(err, protocol.ErrChecksum) || !samePacket(p, Packet{AckOK, 7, 9, []byte("~OS=1\x00")}) {
		t.Errorf("a wrong checksum: %+v, %v", p, err)
	}
	for i := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			if _, err := ParsePacket(b); !errors.Is(err, protocol.ErrChecksum) {
				t.Errorf("byte %d, bit %d flipped: %v", i, bit, err)
			}
		}
	}
	if _, err := ParsePacket(make([]byte, MaxPacket+1)); !errors.Is(err, protocol.ErrTooLarge) {
		t.Error(err)
	}
	if _, err := ParsePacket(nil); !errors.Is(err, protocol.ErrIncomplete) {
		t.Error(err)
	}
}

func frameWith(length uint32, rest string) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte(magic), length), rest...)
}

func TestParseFrameErrors(t *testing.T) {
	connect := string(AppendFrame(nil, Packet{Command: CmdConnect}))
	for _, c := range []struct {
		name string
		in   string
		n    int
		err  error
		word string
	}{
		{"nothing", "", 8, protocol.ErrIncomplete, ""},
		{"half a magic", magic[:2], 8, protocol.ErrIncomplete, ""},
		{"a magic", magic, 8, protocol.ErrIncomplete, ""},
		{"a header", string(frameWith(8, "")), 16, protocol.ErrIncomplete, ""},
		{"no room for a header", string(frameWith(7, "1234567")), 15, protocol.ErrMalformed, "7 bytes"},
		{"length 0, then a frame", string(frameWith(0, "")) + connect, 8, protocol.ErrMalformed, "0 bytes"},
		{"over the bound", string(frameWith(MaxPacket+1, "")), 8, protocol.ErrTooLarge, "16777217"},
		{"far over the bound", string(frameWith(0xffffffff, connect)), 8, protocol.ErrTooLarge, "4294967295"},
		{"at the bound", string(frameWith(MaxPacket, "")), 8 + MaxPacket, protocol.ErrIncomplete, ""},
		{"garbage", "GET / HTTP/1.1", 14, protocol.ErrMalformed, "outside any frame"},
		{"garbage, then a frame", "xx" + connect, 2, protocol.ErrMalformed, "78 78"},
		{"garbage, then half a magic", "xx\x50\x50\x82", 2, protocol.ErrMalformed, ""},
		{"the magic's first bytes twice", "\x50" + connect, 1, protocol.ErrMalformed, ""},
		{"an access panel", "\xaa\x01\x76\x00\x00\xe0\x26\x55", 0, protocol.ErrUnsupported, "access panel"},
		{"the first byte of one", "\xaa", 0, protocol.ErrUnsupported, "access panel"},
		{"not quite one", "\xaa\x02\x76", 3, protocol.ErrMalformed, ""},
	} {
		p, n, err := ParseFrame([]byte(c.in))
		if n != c.n || !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.word) || !samePacket(p, Packet{}) {
			t.Errorf("%s: %+v, %d, %v; want %d, %v", c.name, p, n, err, c.n, c.err)
		}
	}
}

// drain takes out all that a splitter has, as text: packets by their reply id,
// errors by their kind.
func drain(t *testing.T, s *Splitter) []string {
	t.Helper()
	var out []string
	for range 1000 {
		p, err := s.Next()
		switch {
		case err == nil:
			out = append(out, p.Command.String()+" "+string(p.Data))
		case errors.Is(err, protocol.ErrIncomplete):
			return out
		case errors.Is(err, protocol.ErrChecksum):
			out = append(out, "checksum "+string(p.Data))
		case errors.Is(err, protocol.ErrUnsupported):
			return append(out, "panel")
		default:
			out = append(out, "skip")
		}
	}
	t.Fatal("the splitter does not come to an end")
	return nil
}

func TestSplitter(t *testing.T) {
	a := AppendFrame(nil, Packet{AckOK, 1, 1, []byte("a")})
	b := AppendFrame(nil, Packet{CmdData, 1, 1, []byte("bb")})
	wrong := AppendFrame(nil, Packet{AckOK, 1, 2, []byte("w")})
	wrong[10]++
	for _, c := range []struct {
		name    string
		in      []byte
		want    string
		skipped uint64
	}{
		{"one", a, "ACK_OK (2000) a", 0},
		{"three at once", slicesOf(a, b, a), "ACK_OK (2000) a|DATA (1501) bb|ACK_OK (2000) a", 0},
		{"a wrong checksum between", slicesOf(a, wrong, b), "ACK_OK (2000) a|checksum w|DATA (1501) bb", 0},
		{"garbage between", slicesOf(a, []byte("\xaa\x01Px"), b), "ACK_OK (2000) a|skip|DATA (1501) bb", 4},
		{"a header too long between", slicesOf(a, frameWith(MaxPacket+1, "zz"), b), "ACK_OK (2000) a|skip|DATA (1501) bb", 10},
		{"an unfinished frame", slicesOf(a, b[:len(b)-1]), "ACK_OK (2000) a", 0},
		{"an access panel", []byte("\xaa\x01\x76\x00\x00\xe0\x26\x55"), "panel", 0},
		{"a stray byte like its first", slicesOf([]byte("\xaa"), a), "skip|ACK_OK (2000) a", 1},
	} {
		var whole Splitter
		if err := whole.Feed(c.in); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(drain(t, &whole), "|"); got != c.want || whole.Skipped() != c.skipped {
			t.Errorf("%s: %s, %d skipped; want %s, %d", c.name, got, whole.Skipped(), c.want, c.skipped)
		}
		// However the stream is cut, the same packets come out.
		for step := 1; step < len(c.in); step++ {
			var s Splitter
			var got []string
			for rest := c.in; len(rest) > 0; {
				n := min(step, len(rest))
				if err := s.Feed(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
				for _, line := range drain(t, &s) {
					// Garbage that comes in parts is told in parts, and a panel
					// at each look.
					if (line == "skip" || line == "panel") && len(got) > 0 && got[len(got)-1] == line {
						continue
					}
					got = append(got, line)
				}
			}
			if got := strings.Join(got, "|"); got != c.want || s.Skipped() != c.skipped {
				t.Errorf("%s, in parts of %d: %s, %d skipped; want %s, %d", c.name, step, got, s.Skipped(), c.want, c.skipped)
			}
		}
	}
}

func slicesOf(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestSplitterGivesAway holds that data handed out is not written again.
func TestSplitterGivesAway(t *testing.T) {
	var s Splitter
	var got []Packet
	var want [][]byte
	for i := range 300 {
		data := bytes.Repeat([]byte{byte(i)}, i)
		want = append(want, data)
		if err := s.Feed(AppendFrame(nil, Packet{Command: CmdData, Data: data})); err != nil {
			t.Fatal(err)
		}
		p, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p)
		_ = append(p.Data, "scribbled by the owner"...)
	}
	for i := range got {
		if !bytes.Equal(got[i].Data, want[i]) {
			t.Errorf("packet %d was overwritten", i)
		}
	}
	if s.Waiting() != 0 {
		t.Errorf("%d bytes are left", s.Waiting())
	}
}

// TestSplitterBound holds that a peer can make it keep no more than one frame
// and what came with its end, and a caller no more either.
func TestSplitterBound(t *testing.T) {
	var s Splitter
	if err := s.Feed(frameWith(MaxPacket, "")); err != nil {
		t.Fatal(err)
	}
	if n := cap(s.unread); n > 1024 {
		t.Errorf("a header alone took %d bytes", n)
	}
	part := make([]byte, 1<<20)
	var err error
	for range 20 {
		if err = s.Feed(part); err != nil {
			break
		}
	}
	if !errors.Is(err, protocol.ErrTooLarge) || s.Waiting() > headerSize+MaxPacket+len(part) {
		t.Errorf("%d bytes are waiting, %v", s.Waiting(), err)
	}
	if _, err := s.Next(); !errors.Is(err, protocol.ErrChecksum) {
		t.Error(err)
	}
	if err := s.Feed(part); err != nil {
		t.Error(err)
	}
}

func TestCommandString(t *testing.T) {
	for c, want := range map[Command]string{
		AckUnauth: "ACK_UNAUTH (2005)", CmdConnect: "CONNECT (1000)", AckNoBulk: "4989", 12345: "12345", AckUnknown: "ACK_UNKNOWN (65535)",
	} {
		if got := c.String(); got != want {
			t.Errorf("%d is %s, want %s", uint16(c), got, want)
		}
	}
	seen := map[string]Command{}
	for c, name := range commandNames {
		if other, ok := seen[name]; ok {
			t.Errorf("%d and %d are both %s", c, other, name)
		}
		seen[name] = c
	}
	if err := (Packet{Command: AckPushOnly}).Err(); !strings.Contains(err.Error(), "push") {
		t.Error(err)
	}
}

func FuzzFrame(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.wire)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, n, err := ParseFrame(b)
		switch {
		case err == nil:
			if again := AppendFrame(nil, p); !bytes.Equal(again, b[:n]) {
				t.Errorf("%x is %+v, which is %x", b[:n], p, again)
			}
		case !isKind(err):
			t.Errorf("an error of no kind: %v", err)
		case errors.Is(err, protocol.ErrIncomplete):
			if n <= len(b) {
				t.Errorf("%d bytes are incomplete and %d are enough", len(b), n)
			}
		case errors.Is(err, protocol.ErrUnsupported):
		case n < 1 || n > len(b):
			t.Errorf("of %d bytes %d are to be dropped", len(b), n)
		}
		p, err = ParsePacket(b)
		if err == nil && !bytes.Equal(AppendPacket(nil, p), b) {
			t.Errorf("%x does not come back", b)
		}
	})
}

// FuzzSplitter holds that how a stream is cut makes no difference.
func FuzzSplitter(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.wire, v.wire, 5)
	}
	f.Fuzz(func(t *testing.T, a, b []byte, at int) {
		stream := append(append([]byte("x"), a...), b...) // no panel: it would end the stream
		run := func(cut int) (packets []Packet, skipped uint64, left int) {
			var s Splitter
			for _, part := range [][]byte{stream[:cut], stream[cut:]} {
				if err := s.Feed(part); err != nil {
					t.Fatal(err)
				}
				for {
					p, err := s.Next()
					if errors.Is(err, protocol.ErrIncomplete) {
						break
					}
					if err == nil || errors.Is(err, protocol.ErrChecksum) {
						packets = append(packets, p)
					}
				}
			}
			return packets, s.Skipped(), s.Waiting()
		}
		want, skipped, left := run(0)
		got, skipped2, left2 := run(int(uint(at) % uint(len(stream))))
		if len(got) != len(want) || skipped != skipped2 || left != left2 {
			t.Fatalf("%d packets, %d skipped, %d left; cut at %d: %d, %d, %d", len(want), skipped, left, at, len(got), skipped2, left2)
		}
		for i := range got {
			if !samePacket(got[i], want[i]) {
				t.Errorf("packet %d: %+v, uncut %+v", i, got[i], want[i])
			}
		}
	})
}

func BenchmarkChecksum(b *testing.B) {
	packet := AppendPacket(nil, Packet{CmdData, 1, 2, make([]byte, MaxChunk)})
	b.SetBytes(int64(len(packet)))
	for b.Loop() {
		checksum(packet)
	}
}

// TestSplitterBegins holds that a frame is known by its header before it is
// whole.
func TestSplitterBegins(t *testing.T) {
	frame := AppendFrame(nil, Packet{Command: CmdData, Session: 7, Reply: 9, Data: make([]byte, 100)})
	for n := range len(frame) {
		var s Splitter
		if err := s.Feed(frame[:n]); err != nil {
			t.Fatal(err)
		}
		p, ok := s.Begins()
		if ok != (n >= 16) || ok && (p.Command != CmdData || p.Session != 7 || p.Reply != 9) {
			t.Errorf("%d bytes: %+v, %v", n, p, ok)
		}
	}
	s := Splitter{unread: []byte(strings.Repeat("noise", 10))}
	if p, ok := s.Begins(); ok {
		t.Errorf("%+v", p)
	}
}
