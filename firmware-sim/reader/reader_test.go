package reader

import (
	"context"
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

	"github.com/punchd/punchd/protocol/cardline"
)

// tape is a writer that notes what was written when.
type tape struct {
	start  time.Time
	writes []written
}

type written struct {
	at    time.Duration
	bytes string
}

func newTape() *tape { return &tape{start: time.Now()} }

func (t *tape) Write(b []byte) (int, error) {
	t.writes = append(t.writes, written{time.Since(t.start), string(b)})
	return len(b), nil
}

func (t *tape) all() string {
	var b strings.Builder
	for _, w := range t.writes {
		b.WriteString(w.bytes)
	}
	return b.String()
}

// heard reads the tape as a driver would and gives the good frames by badge
// with their times, and how many were given up.
func (t *tape) heard(test *testing.T, cfg Config) (good map[string][]time.Duration, bad int) {
	test.Helper()
	split := cardline.NewFrames()
	gap := time.Hour
	parse := func(b []byte) (string, error) {
		card, err := cardline.ParseFrame(b)
		return card.Text(cfg.Form), err
	}
	if cfg.Format == FormatLine {
		lines, err := cfg.Line.Compile()
		if err != nil {
			test.Fatal(err)
		}
		split, parse, gap = lines.Splitter(), lines.Parse, time.Second
		if cfg.Line.Terminator == cardline.EndIdle {
			gap = 50 * time.Millisecond
		}
	}
	good = map[string][]time.Duration{}
	hear := func(at time.Duration, frame []byte, err error) {
		if err == nil {
			var badge string
			if badge, err = parse(frame); err == nil {
				good[badge] = append(good[badge], at)
			}
		}
		if err != nil {
			bad++
		}
	}
	last := time.Duration(0)
	flush := func(at time.Duration) {
		if frame, err := split.Flush(); frame != nil || err != nil {
			hear(at, frame, err)
		}
	}
	for _, w := range t.writes {
		if split.Pending() && w.at-last >= gap {
			flush(last + gap)
		}
		for frame, err := range split.Feed([]byte(w.bytes)) {
			hear(w.at, frame, err)
		}
		last = w.at
	}
	flush(last + gap)
	return good, bad
}

func newReader(t *testing.T, cfg Config, w io.Writer) *Reader {
	t.Helper()
	r, err := New(cfg, w)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const card = "000414CD7E"

func TestPresent(t *testing.T) {
	for _, c := range []struct {
		cfg   Config
		card  string
		want  []written
		badge string
		at    time.Duration
	}{
		{Config{Format: FormatRDM6300, Repeat: 3}, card,
			[]written{{0, "\x02000414CD7EA3\x03"}, {65 * time.Millisecond, "\x02000414CD7EA3\x03"}, {130 * time.Millisecond, "\x02000414CD7EA3\x03"}}, card, 65 * time.Millisecond},
		{Config{Format: FormatID12, Form: cardline.FormDec10}, card, []written{{0, "\x02000414CD7EA3\r\n\x03"}}, "0068472190", 0},
		{Config{Format: FormatLine}, "0009351929", []written{{0, "0009351929\r\n"}}, "0009351929", 0},
		{Config{Format: FormatLine, Line: cardline.Line{Prefix: "<", Suffix: ">", Terminator: cardline.EndTab, Base: "hex", Layout: cardline.H10301, Form: cardline.FormFCCN}}, "2D00A200",
			[]written{{0, "<2D00A200>\t"}}, "090,00324", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			c.cfg.Cards = []string{c.card}
			tape := newTape()
			r := newReader(t, c.cfg, tape)
			if err := r.Present(t.Context(), c.card); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(tape.writes, c.want) {
				t.Errorf("wrote %+v, want %+v", tape.writes, c.want)
			}
			want := []Made{{c.badge, tape.start.Add(c.at), true}}
			if got := r.Made(); !slices.Equal(got, want) {
				t.Errorf("made %+v, want %+v", got, want)
			}
		})
	}
}

// TestPromisesAreWhatADriverMustEmit runs every format with every fault always
// there, and judges each promise by the rules a driver has.
func TestPromisesAreWhatADriverMustEmit(t *testing.T) {
	all := Faults{BadChecksum: 1, Ghost: 1, Noise: 1, Cut: 1}
	lines := Faults{Noise: 1, Cut: 1}
	pattern := cardline.Line{Pattern: `^(?P<card>\d{10})$`}
	for name, cfg := range map[string]Config{
		"rdm6300":     {Format: FormatRDM6300, Faults: all},
		"rdm6300 few": {Format: FormatRDM6300, Repeat: 2, Interval: 300 * time.Millisecond, Faults: all},
		"id12":        {Format: FormatID12, Form: cardline.FormFCCN, Faults: all},
		"line":        {Format: FormatLine, Line: pattern, Faults: lines},
		"line twice":  {Format: FormatLine, Line: pattern, Repeat: 3, Confirm: 2, Faults: lines},
		"line 7 bits": {Format: FormatLine, Line: cardline.Line{SevenBit: true, Terminator: cardline.EndCR}, Faults: lines},
		"line tab":    {Format: FormatLine, Line: cardline.Line{Terminator: cardline.EndTab}, Cards: []string{"1", "2"}, Faults: lines},
		"line idle":   {Format: FormatLine, Line: cardline.Line{Terminator: cardline.EndIdle}, Faults: Faults{Noise: 1}},
	} {
		for _, bytewise := range []bool{false, true} {
			t.Run(fmt.Sprint(name, bytewise), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cfg := cfg
					cfg.Faults.Bytewise = bytewise
					tape := newTape()
					r := newReader(t, cfg, tape)
					if err := r.Run(t.Context(), Pace{Count: 40, Every: 100 * time.Millisecond}); err != nil {
						t.Fatal(err)
					}
					good, bad := tape.heard(t, cfg)
					if bad < 40 {
						t.Errorf("%d frames to be given up, want at least one in each presentation", bad)
					}
					made := r.Made()
					if len(made) != 40 {
						t.Fatalf("%d presentations", len(made))
					}
					judge(t, made, tape.start, good, max(r.cfg.Confirm, 1))
				})
			})
		}
	}
}

// judge makes facts of good frames as a driver does and compares them with what
// was promised.
func judge(t *testing.T, made []Made, start time.Time, good map[string][]time.Duration, confirm int) {
	t.Helper()
	facts := map[string][]time.Duration{}
	for badge, frames := range good {
		hits := 0
		for i, at := range frames {
			gap := time.Hour
			if i > 0 {
				gap = at - frames[i-1]
			}
			if gap >= 3500*time.Millisecond {
				hits = 0
			} else if hits < confirm && gap > 300*time.Millisecond {
				hits = 0
			}
			if hits++; hits == confirm {
				facts[badge] = append(facts[badge], at)
			}
		}
	}
	promised := map[string]int{}
	for _, m := range made {
		if !m.Promised {
			t.Errorf("%s at %v is no promise", m.Badge, m.At.Sub(start))
			continue
		}
		n := promised[m.Badge]
		promised[m.Badge]++
		if n >= len(facts[m.Badge]) {
			t.Errorf("%s was promised at %v and is no fact", m.Badge, m.At.Sub(start))
			continue
		}
		late := facts[m.Badge][n] - m.At.Sub(start)
		if late < 0 || late > time.Second { // of a line that silence ends
			t.Errorf("%s was made at %v and is a fact at %v", m.Badge, m.At.Sub(start), facts[m.Badge][n])
		}
	}
	for badge, at := range facts {
		if promised[badge] > 0 && len(at) != promised[badge] {
			t.Errorf("%s is a fact %d times and was promised %d times", badge, len(at), promised[badge])
		}
		if promised[badge] == 0 {
			t.Errorf("%s is a fact and was never shown", badge)
		}
	}
}

func TestGhostOfID12IsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tape := newTape()
		r := newReader(t, Config{Format: FormatID12, Faults: Faults{Ghost: 1}}, tape)
		if err := r.Present(t.Context(), card); err != nil {
			t.Fatal(err)
		}
		if want := "\x02000000000000\r\n\x03\x02000414CD7EA3\r\n\x03"; tape.all() != want {
			t.Errorf("wrote %q", tape.all())
		}
	})
}

func TestSeedDecidesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func(seed uint64, pauses bool) string {
			tape := newTape()
			r := newReader(t, Config{Format: FormatRDM6300, Seed: seed, Faults: Faults{BadChecksum: 0.5, Ghost: 0.5, Noise: 0.5, Cut: 0.5}}, tape)
			for range 3 {
				if pauses {
					<-time.After(time.Minute)
				}
				if err := r.Run(t.Context(), Pace{Count: 10}); err != nil {
					t.Fatal(err)
				}
			}
			return tape.all()
		}
		if run(7, false) != run(7, true) {
			t.Error("one seed gives two streams")
		}
		if run(7, false) == run(8, false) {
			t.Error("two seeds give one stream")
		}
	})
}

func TestRepetitionIsNoPromise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReader(t, Config{Format: FormatID12, Cards: []string{card, "61008EB2F9"}}, newTape())
		for _, c := range []struct {
			wait time.Duration
			card string
			want bool
		}{{0, card, true}, {time.Second, card, false}, {3999 * time.Millisecond, card, false}, {4 * time.Second, card, true}, {0, "61008EB2F9", true}} {
			<-time.After(c.wait)
			if err := r.Present(t.Context(), c.card); err != nil {
				t.Fatal(err)
			}
			made := r.Made()
			if got := made[len(made)-1].Promised; got != c.want {
				t.Errorf("%s after %v: promised %v, want %v", c.card, c.wait, got, c.want)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newReader(t, Config{Format: FormatRDM6300, Repeat: 1}, newTape())
		if err := r.Present(t.Context(), card); err != nil {
			t.Fatal(err)
		}
		if r.Made()[0].Promised {
			t.Error("one frame where two are asked for is promised")
		}
	})
}

func TestRunKeepsItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := newReader(t, Config{Format: FormatID12}, newTape())
		if err := r.Run(t.Context(), Pace{Count: 20, Every: 2 * time.Second}); err != nil {
			t.Fatal(err)
		}
		for i, m := range r.Made() {
			if want := time.Duration(i) * 2 * time.Second; m.At.Sub(start) != want {
				t.Errorf("presentation %d at %v, want %v", i, m.At.Sub(start), want)
			}
			if badge := r.Cards()[i%8]; m.Badge != badge || !m.Promised {
				t.Errorf("presentation %d is %+v, want %s", i, m, badge)
			}
		}
	})
	// One card at a pace it can't keep: it rests.
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := newReader(t, Config{Format: FormatID12, Cards: []string{card}}, newTape())
		if err := r.Run(t.Context(), Pace{For: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		made := r.Made()
		if len(made) != 3 || !made[2].Promised || made[2].At.Sub(start) != 8*time.Second || time.Since(start) != 10*time.Second {
			t.Errorf("%+v after %v", made, time.Since(start))
		}
	})
	r := newReader(t, Config{Format: FormatID12}, newTape())
	if err := r.Run(t.Context(), Pace{}); err == nil {
		t.Error("a pace without a bound is taken")
	}
}

func TestEndOfContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r := newReader(t, Config{Format: FormatRDM6300}, newTape())
		if err := r.Present(ctx, card); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("between two frames: %v", err)
		}
		if made := r.Made(); len(made) != 1 || made[0].Promised {
			t.Errorf("a presentation that broke off: %+v", made)
		}
		if err := r.Present(ctx, card); !errors.Is(err, context.DeadlineExceeded) || len(r.Made()) != 1 {
			t.Errorf("behind the end: %v, %+v", err, r.Made())
		}
	})
	// A port that nobody drains.
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		r := newReader(t, Config{Format: FormatID12}, near)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Present(ctx, card); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("within a write: %v", err)
		}
		if err := r.Run(ctx, Pace{Count: 1}); err != nil {
			t.Errorf("Run: %v", err)
		}
		// The next one can write again.
		go func() { _, _ = io.Copy(io.Discard, far) }()
		if err := r.Present(t.Context(), card); err != nil {
			t.Error(err)
		}
		near.Close()
		if err := r.Present(t.Context(), card); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("closed: %v", err)
		}
		if err := r.Run(t.Context(), Pace{Count: 1}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Run on a closed port: %v", err)
		}
	})
}

func TestPlainFile(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "frames")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := newReader(t, Config{Format: FormatID12}, f)
	if err := r.Present(t.Context(), card); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(f.Name()); err != nil || string(got) != "\x02000414CD7EA3\r\n\x03" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNewErrors(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, `reader: unknown format "" (known: rdm6300, id12, line)`},
		{Config{Format: FormatRDM6300, Cards: []string{"12"}}, `reader: card "12": 2 characters are not ten hex digits`},
		{Config{Format: FormatRDM6300, Cards: []string{"000414CD7X"}}, `reader: card "000414CD7X": encoding/hex: invalid byte: U+0058 'X'`},
		{Config{Format: FormatRDM6300, Cards: []string{"FFFFFFFFFF"}}, `reader: card "FFFFFFFFFF": cardline: ghost read, every byte is FF: unsupported`},
		{Config{Format: FormatRDM6300, Form: "dec"}, `reader: cardline: unknown form "dec" (known: hex, dec10, "fc,cn")`},
		{Config{Format: FormatLine, Line: cardline.Line{Pattern: "x"}}, `reader: cardline: pattern has the named groups [], it needs card, or fc and cn, or user`},
		{Config{Format: FormatLine, Line: cardline.Line{Pattern: `^(?P<card>\d{3})$`}, Cards: []string{"12"}}, `reader: card "12": cardline: line of 2 bytes does not match the pattern: malformed`},
		{Config{Format: FormatLine, Faults: Faults{Ghost: 1}}, `reader: a line has no checksum, so it can have no wrong one, and every line is a card`},
		{Config{Format: FormatLine, Line: cardline.Line{Terminator: cardline.EndIdle}, Faults: Faults{Cut: 1}}, `reader: half a line that silence ends is a line`},
		{Config{Format: FormatID12, Faults: Faults{Noise: 1.5}}, `reader: chance of noise, 1.5, is not between 0 and 1`},
		{Config{Format: FormatID12, Interval: 301 * time.Millisecond}, `reader: repeat, confirm, interval and rest must not be negative, and interval not over 300ms`},
		{Config{Format: FormatID12, Repeat: -1}, `reader: repeat, confirm, interval and rest must not be negative, and interval not over 300ms`},
	} {
		r, err := New(c.cfg, io.Discard)
		if err == nil || r != nil {
			t.Errorf("%+v is taken, want %s", c.cfg, c.want)
			continue
		}
		if err.Error() != c.want {
			t.Errorf("got  %s\nwant %s", err, c.want)
		}
	}
	r := newReader(t, Config{Format: FormatID12}, io.Discard)
	if err := r.Present(t.Context(), "x"); err == nil || len(r.Made()) != 0 {
		t.Errorf("a card that is none: %v, %+v", err, r.Made())
	}
}
