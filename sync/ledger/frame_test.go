package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math/bits"
	"reflect"
	"testing"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

var testIdentity = Identity{
	ID:   [16]byte{0: 0xa0, 15: 0xaf},
	Salt: [8]byte{1, 2, 3, 4, 5, 6, 7, 8},
}

// slowSum is the check sum bit by bit, as FORMAT.md describes it.
func slowSum(parts ...[]byte) uint32 {
	c := ^uint32(0)
	for _, p := range parts {
		for _, b := range p {
			c ^= uint32(b)
			for range 8 {
				if c&1 != 0 {
					c = c>>1 ^ bits.Reverse32(0x1EDC6F41)
				} else {
					c >>= 1
				}
			}
		}
	}
	return ^c
}

func putSum(h []byte) { binary.LittleEndian.PutUint32(h[64:], crc32.Checksum(h[:64], castagnoli)) }

func frameVectors() map[string]struct {
	frame Frame
	hex   string
} {
	return map[string]struct {
		frame Frame
		hex   string
	}{
		"three bytes": {
			Frame{Seq: 42, Entry: Entry{Kind: attendance.RecordPunch, Payload: []byte("abc")}, Index: 1, Count: 3},
			"1b000000" + "????????" + "2a00000000000000" + "01" + "00" + "0000" + "0100" + "0300" + "616263" + "0000000000",
		},
		"sealed": {
			Frame{Seq: 0x0102030405060708, Entry: Entry{Kind: 7, Flags: FlagSealed, KeyID: 0x1122, Payload: []byte("12345678")}, Index: 0, Count: 1},
			"20000000" + "????????" + "0807060504030201" + "07" + "01" + "2211" + "0000" + "0100" + "3132333435363738",
		},
		"empty": {
			Frame{Seq: 0, Entry: Entry{Kind: 2, Payload: []byte{}}, Index: 0, Count: 1},
			"18000000" + "????????" + "0000000000000000" + "02" + "00" + "0000" + "0000" + "0100",
		},
	}
}

// vectorBytes fills in the check sum by the slow way.
func vectorBytes(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s[:8] + "00000000" + s[16:])
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(b[4:], slowSum(testIdentity.Salt[:], b[:4], b[8:]))
	return b
}

func TestFrameVectors(t *testing.T) {
	for name, v := range frameVectors() {
		want := vectorBytes(t, v.hex)
		if got := testIdentity.AppendFrame([]byte{9}, v.frame); !bytes.Equal(got[1:], want) {
			t.Errorf("%s: encoded\n%x, want\n%x", name, got[1:], want)
		}
		f, n, err := testIdentity.ParseFrame(append(want[:len(want):len(want)], 7, 7))
		if err != nil || n != len(want) {
			t.Fatalf("%s: decoded %d of %d bytes: %v", name, n, len(want), err)
		}
		if f.Seq != v.frame.Seq || f.Kind != v.frame.Kind || f.Flags != v.frame.Flags || f.KeyID != v.frame.KeyID ||
			f.Index != v.frame.Index || f.Count != v.frame.Count || !bytes.Equal(f.Payload, v.frame.Payload) {
			t.Errorf("%s: decoded %+v, want %+v", name, f, v.frame)
		}
		for i := range want {
			if _, _, err := testIdentity.ParseFrame(want[:i]); !errors.Is(err, protocol.ErrIncomplete) {
				t.Errorf("%s cut to %d bytes: %v, want %v", name, i, err, protocol.ErrIncomplete)
			}
		}
		for bit := range 8 * len(want) {
			b := bytes.Clone(want)
			b[bit/8] ^= 1 << (bit % 8)
			if f, _, err := testIdentity.ParseFrame(b); err == nil {
				t.Errorf("%s with bit %d flipped: decoded as %+v", name, bit, f)
			}
		}
		other := testIdentity
		other.Salt[0]++
		if _, _, err := other.ParseFrame(want); !errors.Is(err, protocol.ErrChecksum) {
			t.Errorf("%s in another ledger: %v, want %v", name, err, protocol.ErrChecksum)
		}
	}
}

func TestFrameRefused(t *testing.T) {
	valid := testIdentity.AppendFrame(nil, Frame{Seq: 5, Entry: Entry{Kind: 1, Payload: []byte("abc")}, Index: 0, Count: 1})
	for name, c := range map[string]struct {
		change func(b []byte)
		want   error
	}{
		"zeros":            {func(b []byte) { clear(b) }, protocol.ErrMalformed},
		"short length":     {func(b []byte) { b[0] = frameHeader - 1 }, protocol.ErrMalformed},
		"huge length":      {func(b []byte) { b[3] = 0x7f }, protocol.ErrTooLarge},
		"no kind":          {func(b []byte) { b[16] = 0 }, protocol.ErrMalformed},
		"index of count":   {func(b []byte) { b[20] = 1 }, protocol.ErrMalformed},
		"before the start": {func(b []byte) { b[8], b[20], b[22] = 1, 2, 9 }, protocol.ErrMalformed},
		"padding": {func(b []byte) {
			b[len(b)-1] = 1
			binary.LittleEndian.PutUint32(b[4:], testIdentity.sum(b))
		}, protocol.ErrMalformed},
	} {
		b := bytes.Clone(valid)
		c.change(b)
		if _, _, err := testIdentity.ParseFrame(b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, v := range frameVectors() {
		f.Add(vectorBytes(f, v.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// Give the fuzzer a way past the check sum.
		if len(b) >= frameHeader {
			if n := binary.LittleEndian.Uint32(b); n >= frameHeader && int(n) <= len(b) && frameSize(int(n)-frameHeader) <= len(b) {
				binary.LittleEndian.PutUint32(b[4:], testIdentity.sum(b[:frameSize(int(n)-frameHeader)]))
			}
		}
		frame, n, err := testIdentity.ParseFrame(b)
		if err != nil {
			if frame.Payload != nil || n != 0 {
				t.Fatalf("error %v with a result", err)
			}
			return
		}
		if again := testIdentity.AppendFrame(nil, frame); !bytes.Equal(again, b[:n]) {
			t.Fatalf("%x parses and is written as %x", b[:n], again)
		}
	})
}

// TestLeaf: a leaf is the frame without its check sum and what fills it up, and
// no shorter or longer one is read.
func TestLeaf(t *testing.T) {
	id := Identity{Salt: [8]byte{1}}
	for n := range 20 {
		f := Frame{Seq: 7, Entry: Entry{Kind: 1, Flags: FlagSealed, KeyID: 3, Payload: bytes.Repeat([]byte{9}, n)}, Index: 2, Count: 5}
		frame := id.AppendFrame(nil, f)
		want := append(bytes.Clone(frame[:4]), frame[8:24+n]...)
		leaf := f.AppendLeaf(nil)
		if !bytes.Equal(leaf, want) {
			t.Fatalf("leaf %x of frame %x", leaf, frame)
		}
		got, err := ParseLeaf(leaf)
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%+v, %v", got, err)
		}
		for _, bad := range [][]byte{leaf[:len(leaf)-1], append(bytes.Clone(leaf), 0), frame} {
			if _, err := ParseLeaf(bad); !errors.Is(err, protocol.ErrMalformed) {
				t.Errorf("%x: %v", bad, err)
			}
		}
	}
	if _, err := ParseLeaf((&Frame{Seq: 1}).AppendLeaf(nil)); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("of no kind: %v", err)
	}
}

func TestHeader(t *testing.T) {
	h := header{testIdentity, 0x1234, 0x1230, 1 << 20}
	want, err := hex.DecodeString("50554e43484c4447" + "01000000" + "00100000" +
		"a00000000000000000000000000000af" + "0102030405060708" +
		"3412000000000000" + "3012000000000000" + "0000100000000000")
	if err != nil {
		t.Fatal(err)
	}
	want = binary.LittleEndian.AppendUint32(want, slowSum(want))
	block := h.block()
	if len(block) != headerBlock || !bytes.Equal(block[:headerSize], want) || !bytes.Equal(block[headerSecond:headerSecond+headerSize], want) {
		t.Errorf("header\n%x, want\n%x", block[:headerSize], want)
	}
	if got, err := parseHeader(want); err != nil || got != h {
		t.Errorf("decoded %+v, %v; want %+v", got, err, h)
	}
	for i := range want {
		if _, err := parseHeader(want[:i]); !errors.Is(err, protocol.ErrIncomplete) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	for bit := range 8 * len(want) {
		b := bytes.Clone(want)
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := parseHeader(b); err == nil {
			t.Errorf("bit %d flipped: accepted", bit)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(header{testIdentity, 0, 0, DefaultSegmentSize}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= headerSize {
			putSum(b)
		}
		h, err := parseHeader(b)
		if err == nil && !bytes.Equal(h.append(nil), b[:headerSize]) {
			t.Fatalf("%x parses as %+v and is written otherwise", b, h)
		}
	})
}
