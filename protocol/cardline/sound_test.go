package cardline

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// trailers are what a reader may send for an end, by the terminator that is
// configured. A NUL at most, so that also cards without a pause between come.
var trailers = map[Terminator][]string{
	EndAny:  {"\r", "\n", "\r\n", "\n\r", "\r\x00", "\n\x00", "\r\n\x00", "\r\x00\n", "\r\r\n", "\r\n\r\n", "\r\n\x03", "\r\n\x03\x00"},
	EndCR:   {"\r", "\r\n", "\n\r", "\r\x00", "\r\n\x00", "\r\x00\n", "\r\r\n", "\r\n\r\n", "\r\x03"},
	EndLF:   {"\n", "\r\n", "\n\r", "\n\x00", "\r\n\x00", "\n\x00\r", "\r\r\n", "\r\n\r\n", "\n\x03"},
	EndCRLF: {"\r\n", "\r\n\x00", "\r\r\n", "\r\n\r", "\r\n\n", "\r\n\r\n", "\r\n\r\x00", "\r\n\x03"},
	EndTab:  {"\t", "\t\r", "\t\n", "\t\r\n", "\t\x00", "\t\r\x00", "\t\r\n\x00", "\t\x00\r", "\r\n\t"},
	EndETX:  {"\x03", "\x03\r", "\x03\n", "\x03\r\n", "\x03\x00", "\x03\r\n\x00", "\r\n\x03", "\r\n\x03\x00"},
	EndIdle: {"", "\x00", "\r", "\n", "\r\n", "\r\x00", "\r\n\x00"},
}

// ear takes badges out of a stream as the driver does.
type ear struct {
	lines *Lines
	split *Splitter
	got   []string
}

func newEar(t *testing.T, l Line) *ear {
	t.Helper()
	lines, err := l.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return &ear{lines: lines, split: lines.Splitter()}
}

func (e *ear) hear(line []byte, err error) {
	badge := ""
	if err == nil {
		badge, err = e.lines.Parse(line)
	}
	if err != nil {
		badge = kindOf(err)
	}
	e.got = append(e.got, badge)
}

func (e *ear) feed(b string) {
	for line, err := range e.split.Feed([]byte(b)) {
		e.hear(line, err)
	}
}

// pause is a second of silence.
func (e *ear) pause() {
	if e.split.Pending() && !e.split.Cut() {
		if line, err := e.split.Flush(); line != nil || err != nil {
			e.hear(line, err)
		}
	}
}

// burst reports whether cards with this end can come without a pause.
func burst(trailer string) bool { return strings.Trim(trailer, "\x00") != "" }

// TestSoundReaders holds that each card of a reader comes once and nothing else,
// whatever the reader sends for an end, with pauses and without.
func TestSoundReaders(t *testing.T) {
	for end, ways := range trailers {
		for _, trailer := range ways {
			for _, l := range []Line{{}, {Prefix: "\x02"}, {Prefix: "<", Suffix: ">"}} {
				for _, paused := range []func(int) bool{
					func(int) bool { return true },
					func(int) bool { return false },
					func(i int) bool { return i%2 == 1 },
					func(i int) bool { return i > 2 },
				} {
					l.Terminator = end
					e := newEar(t, l)
					var want []string
					for i := range 6 {
						badge := fmt.Sprintf("%010d", i)
						e.feed(l.Prefix + badge + l.Suffix + trailer)
						if paused(i) || !burst(trailer) {
							e.pause()
						}
						want = append(want, badge)
					}
					e.pause()
					if !slices.Equal(e.got, want) || e.split.Pending() {
						t.Errorf("%q ended by %q, %+v:\ngot  %q\nwant %q", end, trailer, l, e.got, want)
					}
				}
			}
		}
	}
}

// A damaged character comes as a NUL too. It must not pass for a part of the end
// where the reader sends none.
func TestNULBehindAnEnd(t *testing.T) {
	for _, c := range []struct {
		end    Terminator
		stream string // with | for a pause
		want   []string
	}{
		{EndAny, "111\r\n222\r\n\x0033\r\n444\r\n", []string{"111", "222", "!malformed", "444"}},
		{EndAny, "111\r\n|\x0022\r\n333\r\n", []string{"111", "!malformed", "333"}}, // long behind the end
		{EndAny, "111\r\x00|\x0022\r\x00", []string{"111", "!malformed"}},
		{EndAny, "111\r\x00\x0022\r\x00333\r\x00", []string{"111", "!malformed", "333"}},
		{EndAny, "111\r\x0022\x002\r\x00333\r\x00", []string{"111", "!malformed", "333"}},
		{EndAny, "111\r222\r\x00333\r\x00|444\r\x00555\r\x00", []string{"111", "222", "!malformed", "444", "555"}}, // seen to have one after all
		{EndCR, "111\r\n|222\r\n\x0033\r\n", []string{"111", "222", "!malformed"}},
		{EndIdle, "111|22\x00|333", []string{"111", "!malformed", "333"}},
		{EndIdle, "111\x00|22\x00\x00|3\x003\x00|444\x00", []string{"111", "!malformed", "!malformed", "444"}},
		{EndIdle, "111|\x00|222\x00", []string{"111", "222"}}, // the NUL was late
		{EndIdle, "\x00|\x02|\r\n|222", []string{"222"}},
		{EndCRLF, "111\r|\n222\r\n", []string{"!incomplete", "222"}}, // a pause in the middle of an end
	} {
		e := newEar(t, Line{Terminator: c.end})
		for part := range strings.SplitSeq(c.stream, "|") {
			e.feed(part)
			e.pause()
		}
		if !slices.Equal(e.got, c.want) {
			t.Errorf("%q: %q:\ngot  %q\nwant %q", c.end, c.stream, e.got, c.want)
		}
	}
}

// What holds nothing of a badge is no line that broke off.
func TestNothingIsNoCut(t *testing.T) {
	for end := range trailers {
		for _, nothing := range []string{"\r", "\n", "\r\n", "\x00", " ", "\x02", "\x02 ", "\ufeff", "\x00\x00\n", "\x03"} {
			s, err := NewLines(end, false)
			if err != nil {
				t.Fatal(err)
			}
			for line, err := range s.Feed([]byte(nothing)) {
				t.Errorf("%q of %q: %q, %v", end, nothing, line, err)
			}
			if line, err := s.Flush(); line != nil || err != nil || s.Cut() {
				t.Errorf("%q of %q: %q, %v, cut %v", end, nothing, line, err, s.Cut())
			}
			for range s.Feed([]byte(nothing)) {
			}
			if err := s.Break(); err != nil || s.Cut() {
				t.Errorf("%q of %q broken off: %v, cut %v", end, nothing, err, s.Cut())
			}
		}
	}
}

// TestBreak holds that neither half of a line is a badge if its connection ended
// between them.
func TestBreak(t *testing.T) {
	for end, ways := range trailers {
		mark := ways[0]
		for _, c := range []struct {
			stream string // with $ for the end and / for a new connection
			want   []string
		}{
			{"11$22/33$44$", []string{"11", "!incomplete", "!malformed", "44"}},
			{"11$22/$44$", []string{"11", "!incomplete", "44"}},
			{"22/3/3$44$", []string{"!incomplete", "!malformed", "!malformed", "44"}},
			{"22//33$44$", []string{"!incomplete", "!malformed", "44"}},
			{"11$/22$", []string{"11", "22"}},
			{"/22$", []string{"22"}},
		} {
			e := newEar(t, Line{Terminator: end})
			for i, part := range strings.Split(c.stream, "/") {
				if i > 0 {
					if err := e.split.Break(); err != nil {
						e.hear(nil, err)
					}
				}
				for line := range strings.SplitAfterSeq(part, "$") {
					text, ended := strings.CutSuffix(line, "$")
					e.feed(text)
					if ended {
						e.feed(mark)
						e.pause()
					}
				}
			}
			want := c.want
			if end == EndIdle && strings.Contains(c.stream, "/$") {
				want = []string{"11", "!incomplete", "!malformed"} // no silence ends nothing
			}
			if !slices.Equal(e.got, want) {
				t.Errorf("%q: %q:\ngot  %q\nwant %q", end, c.stream, e.got, want)
			}
		}
	}
	s := NewFrames()
	for range s.Feed([]byte("\x020004")) {
	}
	if err := s.Break(); kindOf(err) != "!incomplete" || s.Pending() {
		t.Errorf("a frame: %v, pending %v", err, s.Pending())
	}
}

// FuzzSoundReader holds that all cards of a sound reader come, in pieces of any
// size: with any CR, LF and NUL behind the end if a pause follows, and with an
// end that is always the same without a pause.
func FuzzSoundReader(f *testing.F) {
	for end := range trailers {
		f.Add(string(end), uint64(len(end)), true)
		f.Add(string(end), uint64(7*len(end)), false)
	}
	f.Fuzz(func(t *testing.T, name string, seed uint64, same bool) {
		end := Terminator(name)
		ways := trailers[end]
		if ways == nil {
			return
		}
		random := rand.New(rand.NewPCG(seed, 0))
		trailer := ways[random.IntN(len(ways))]
		e := newEar(t, Line{Terminator: end})
		var want, sent []string
		for range 1 + random.IntN(12) {
			badge := fmt.Sprintf("%0*d", 1+random.IntN(10), random.IntN(10))
			wire := badge + trailer
			if !same && end != EndIdle {
				wire = badge + ways[0]
				for range random.IntN(5) {
					wire += string("\r\n\x00"[random.IntN(3)])
				}
			}
			want, sent = append(want, badge), append(sent, wire)
			for wire != "" {
				n := 1 + random.IntN(len(wire))
				e.feed(wire[:n])
				wire = wire[n:]
			}
			if !same || !burst(trailer) || random.IntN(2) == 0 {
				e.pause()
			}
		}
		e.pause()
		if !slices.Equal(e.got, want) {
			t.Fatalf("%q: %q:\ngot  %q\nwant %q", end, sent, e.got, want)
		}
	})
}
