package cardline

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol"
)

// kinds are the kinds of error, by the word for them in the tables below.
var kinds = map[string]error{"incomplete": protocol.ErrIncomplete, "malformed": protocol.ErrMalformed, "toolarge": protocol.ErrTooLarge}

func kindOf(err error) string {
	for name, kind := range kinds {
		if errors.Is(err, kind) {
			return "!" + name
		}
	}
	return "!" + err.Error()
}

// split feeds a stream in pieces of size bytes and gives what came out, errors
// by kind, and last what was left at the end.
func split(s *Splitter, stream string, size int) []string {
	out := []string{}
	for piece := range slices.Chunk([]byte(stream), size) {
		for whole, err := range s.Feed(piece) {
			if err != nil {
				out = append(out, kindOf(err))
			} else {
				out = append(out, string(whole))
			}
		}
	}
	return flush(s, out)
}

func flush(s *Splitter, out []string) []string {
	if pending, err := s.Flush(); err != nil {
		return append(out, kindOf(err))
	} else if len(pending) > 0 {
		return append(out, string(pending))
	}
	return out
}

func checkSplit(t *testing.T, fresh func() *Splitter, stream string, want ...string) {
	t.Helper()
	for _, size := range []int{1, 2, 3, 7, len(stream) + 1} {
		s := fresh()
		if got := split(s, stream, size); !slices.Equal(got, want) {
			t.Errorf("%q in pieces of %d:\ngot  %q\nwant %q", stream, size, got, want)
		}
		if line, err := s.Flush(); line != nil || err != nil || s.Pending() {
			t.Errorf("%q: something is left behind two Flush: %q, %v", stream, line, err)
		}
	}
}

func TestSplitFrames(t *testing.T) {
	const rdm, id12 = "\x02000414CD7EA3\x03", "\x02000414CD7EA3\r\n\x03"
	check := func(stream string, want ...string) {
		t.Helper()
		checkSplit(t, NewFrames, stream, want...)
	}
	check("")
	check(rdm, rdm)
	check(rdm+id12+rdm, rdm, id12, rdm)
	check(rdm+"\r\n"+rdm, rdm, rdm)                      // a module that ends frames so
	check("\x00"+rdm[:5]+"\x00\x00"+rdm[5:]+"\x00", rdm) // NUL where parity was wrong
	check("noise"+rdm, "!malformed", rdm)                // garbage in front
	check(rdm+"noise", rdm, "!malformed")                // and behind
	check("000414CD7EA3\x03"+rdm, "!malformed", rdm)     // its STX was lost
	check(rdm[:8]+rdm, "!incomplete", rdm)               // cut in the middle
	check(rdm[:13]+rdm, "!incomplete", rdm)              // its ETX was lost
	check("\x02\x02\x02"+rdm, "!incomplete", "!incomplete", "!incomplete", rdm)
	check(rdm[:4], "!incomplete")
	check(rdm+rdm[:4]+"\x03"+rdm, rdm, rdm[:4]+"\x03", rdm) // for ParseFrame to refuse
	check("\x02"+strings.Repeat("0", 15)+"0000\x03"+rdm, "!toolarge", rdm)
	check("\x02"+strings.Repeat("0", 15)+"0000"+rdm, "!toolarge", rdm)
	check("\x02"+strings.Repeat("0", 15)+"0000", "!toolarge")
	check(strings.Repeat("x", MaxLine)+rdm, "!malformed", rdm)
	check(strings.Repeat("x", 3*MaxLine)+rdm, "!malformed", "!malformed", "!malformed", rdm) // told again, not only at the end
}

func TestSplitLines(t *testing.T) {
	check := func(end Terminator, stream string, want ...string) {
		t.Helper()
		checkSplit(t, func() *Splitter {
			s, err := NewLines(end, false)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}, stream, want...)
	}
	check(EndAny, "")
	check(EndAny, "\r\n\n\r\r\n")
	check(EndAny, "0009351929\r\n0009466639\r\n", "0009351929", "0009466639")
	check(EndAny, "a\nb\rc\r\nd\n\re", "a", "b", "c", "d", "!incomplete")
	check(EndAny, "a\tb\x03\r", "a\tb\x03")
	check(EndAny, "12\x0045\r\n12345\r\n", "!malformed", "12345") // not 1245
	check(EndAny, "\x00245\r124\x00\r7\r", "!malformed", "!malformed", "7")
	check(EndAny, "\x00a\x00b\x00\r", "!malformed") // told once
	check(EndAny, "a\r\x00\nb\r\n", "a", "b")       // padding between lines
	check(EndAny, "\x00\x00\r\n\x00")
	check(EndCRLF, "a\r\x00\nb\r\n", "!malformed", "b")
	check(EndIdle, "12\x0045", "!malformed")
	check(EndIdle, "\x00")
	check(EndCR, "a\rb\n\r", "a", "b\n")
	check(EndLF, "a\nb\r\n", "a", "b\r")
	check(EndCRLF, "a\r\nb\rc\nd\r\r\n", "a", "b\rc\nd\r")
	check(EndCRLF, "\r\n\r\n")
	check(EndCRLF, "a\r", "!incomplete")
	check(EndTab, "a\tb\r\n\t", "a", "b\r\n")
	check(EndETX, "\x02a\x03\x02b\x03", "\x02a", "\x02b")
	check(EndIdle, "a", "a")
	check(EndIdle, "a\r\nb", "a", "b")
	check(EndAny, "门禁卡片 42\r\n", "门禁卡片 42")

	most := strings.Repeat("x", MaxLine)
	for end, mark := range map[Terminator]string{EndAny: "\n", EndCR: "\r", EndLF: "\n", EndCRLF: "\r\n", EndTab: "\t", EndETX: "\x03"} {
		check(end, most+mark+"a"+mark, most, "a")
		check(end, most+"x"+mark+"a"+mark, "!toolarge", "a")
		check(end, most+most+most+mark+"a"+mark, "!toolarge", "a") // told once
		check(end, most+most, "!toolarge")                         // and silence ends it
	}
	check(EndIdle, most, most)
	check(EndIdle, most+"x", "!toolarge")

	if _, err := NewLines("nl", false); err == nil || !strings.Contains(err.Error(), "known: cr, lf, crlf, tab, etx, idle") {
		t.Error(err)
	}
}

// A pause may stand in the middle of a line. What comes behind it is no line of
// its own, until a terminator or a much longer pause.
func TestSplitBehindAPause(t *testing.T) {
	const pause = "|"
	for end, mark := range map[Terminator]string{EndAny: "\r\n", EndCR: "\r", EndLF: "\n", EndCRLF: "\r\n", EndTab: "\t", EndETX: "\x03"} {
		for text, want := range map[string][]string{
			"half|way$12$":    {"!incomplete", "!malformed", "12"},
			"half|w|12$":      {"!incomplete", "!malformed", "12"}, // the second pause ends it
			"half|$12$":       {"!incomplete", "12"},
			"half||12$":       {"!incomplete", "12"},
			"half|way$ha|$1$": {"!incomplete", "!malformed", "!incomplete", "1"},
			"\x00|12$":        {"12"}, // NUL ended the line before
			"1\x00|2$3$":      {"!incomplete", "!malformed", "3"},
			strings.Repeat("x", MaxLine+9) + "|9$12$": {"!toolarge", "!malformed", "12"},
			"12$|34$": {"12", "34"},
		} {
			s, err := NewLines(end, false)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for part := range strings.SplitAfterSeq(strings.ReplaceAll(text, "$", mark), pause) {
				stream, paused := strings.CutSuffix(part, pause)
				for whole, err := range s.Feed([]byte(stream)) {
					if err != nil {
						got = append(got, kindOf(err))
					} else {
						got = append(got, string(whole))
					}
				}
				if paused {
					got = flush(s, got)
				}
			}
			got = flush(s, got)
			if !slices.Equal(got, want) || s.Pending() {
				t.Errorf("%q with %q:\ngot  %q\nwant %q", text, end, got, want)
			}
		}
	}
	s, err := NewLines(EndIdle, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := split(s, "12", 1); !slices.Equal(got, []string{"12"}) || s.Cut() {
		t.Errorf("a pause that ends a line cuts none: %q", got)
	}
}

// TestSplitSevenBits reads 7E1 on a line of eight bits: the highest bit is the
// parity of the others.
func TestSplitSevenBits(t *testing.T) {
	const want = "0009351929"
	stream := []byte(want + "\r\n")
	for i, c := range stream {
		ones := 0
		for bit := range 7 {
			ones += int(c >> bit & 1)
		}
		stream[i] = c | byte(ones&1)<<7
	}
	s, err := NewLines(EndCRLF, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := split(s, string(stream), 1); !slices.Equal(got, []string{want}) {
		t.Errorf("got %q", got)
	}
}

func TestSplitPending(t *testing.T) {
	s := NewFrames()
	for _, c := range []struct {
		bytes   string
		pending bool
	}{{"\r\n", false}, {"\x02", true}, {"000414CD7EA3\x03", false}, {"x", true}, {"\x03", false}} {
		for range s.Feed([]byte(c.bytes)) {
		}
		if s.Pending() != c.pending {
			t.Errorf("pending behind %q: %v", c.bytes, s.Pending())
		}
	}
}

// TestSplitAnew holds that leaving the loop leaves the splitter usable.
func TestSplitAnew(t *testing.T) {
	s, err := NewLines(EndAny, false)
	if err != nil {
		t.Fatal(err)
	}
	for line := range s.Feed([]byte("a\nb\nc")) {
		if string(line) != "a" {
			t.Fatalf("%q", line)
		}
		break
	}
	if got := split(s, "d\n", 1); !slices.Equal(got, []string{"d"}) {
		t.Errorf("%q", got)
	}
}

// FuzzSplit holds that the size of the pieces does not count, that nothing is
// longer than it may be, and that a good frame or line behind a mark always
// comes through, whatever stood before.
func FuzzSplit(f *testing.F) {
	f.Add("\x02000414CD7EA3\x03\x02000414CD7EA3\r\n\x03noise", "", 3)
	f.Add("\x020004\x0214CD7EA3\x03", "", 1)
	f.Add("0009351929\r\n142,45817\r\n", "crlf", 2)
	f.Add(";1234567890=99120000?\r\n", "", 5)
	f.Add(strings.Repeat("x", 600)+"\ra", "crlf", 7)
	f.Add("\x02a\x03\x00\xff", "etx", 1)
	f.Add("a\tb", "tab", 1)
	f.Add("2D00A200\r", "idle", 4)
	f.Fuzz(func(t *testing.T, stream, end string, size int) {
		if size < 1 || len(stream) > 1<<16 {
			return
		}
		for _, framed := range []bool{true, false} {
			fresh := func() *Splitter { return NewFrames() }
			mark, good, limit := "\x03", "\x02000414CD7EA3\x03", MaxFrame
			want := good
			if !framed {
				s, err := NewLines(Terminator(end), false)
				if err != nil {
					return
				}
				fresh = func() *Splitter { c := *s; return &c }
				mark, limit = s.endBytes(), MaxLine
				want = "0009351929"
				good = want + mark
			}
			whole := split(fresh(), stream+mark+good, len(stream)+len(mark)+len(good))
			pieces := split(fresh(), stream+mark+good, size)
			if !slices.Equal(whole, pieces) {
				t.Fatalf("pieces of %d give\n%q, not\n%q", size, pieces, whole)
			}
			if last := whole[len(whole)-1]; last != want {
				t.Fatalf("the good one behind %q comes as %q", stream, last)
			}
			for _, w := range whole {
				if len(w) > limit && w[0] != '!' {
					t.Fatalf("%d bytes came through", len(w))
				}
			}
		}
	})
}

// endBytes is a terminator as bytes, also where silence is one.
func (s *Splitter) endBytes() string {
	if b, err := s.end.bytes(); err == nil && b != "" {
		return b
	}
	return "\r"
}

func BenchmarkSplit(b *testing.B) {
	lines, err := NewLines(EndAny, false)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name, stream string
		s            *Splitter
	}{
		{"frames", strings.Repeat("\x02000414CD7EA3\x03", 32), NewFrames()},
		{"lines", strings.Repeat("0009351929\r\n", 32), lines},
		{"noise", strings.Repeat("\xfe\x7fz", 160), NewFrames()},
	} {
		b.Run(c.name, func(b *testing.B) {
			stream := []byte(c.stream)
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				for range c.s.Feed(stream) {
				}
			}
		})
	}
}
