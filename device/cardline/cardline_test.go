package cardline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cardline"
)

// rig is a driver on a pipe inside a bubble, with the reader's end of it.
type rig struct {
	t      *testing.T
	driver *Driver
	ends   chan link.Conn
	far    link.Conn
	start  time.Time
	stop   context.CancelFunc
	done   chan error

	mu      sync.Mutex
	refuse  error // what Emit answers
	emitted []attendance.Punch
	calls   int
}

// newRig starts a driver; cfg needs no ID, Link or Emit.
func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, ends: make(chan link.Conn, 1), done: make(chan error, 1), start: time.Now()}
	cfg.ID = "gate"
	cfg.Link = link.PipeDialer("gate", func(_ context.Context, far link.Conn) error { r.ends <- far; return nil })
	if cfg.Emit == nil {
		cfg.Emit = r.emit
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.driver = d
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.done <- d.Run(ctx) }()
	r.far = <-r.ends
	t.Cleanup(r.end)
	return r
}

func (r *rig) emit(_ context.Context, punches []attendance.Punch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.refuse != nil {
		return r.refuse
	}
	r.emitted = append(r.emitted, punches...) // Emit keeps nothing of the slice
	return nil
}

func (r *rig) answer(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = err
}

// end stops the driver and waits for it.
func (r *rig) end() {
	if r.stop == nil {
		return
	}
	r.stop()
	r.stop = nil
	if err := <-r.done; err != nil {
		r.t.Errorf("Run: %v", err)
	}
	r.far.Close()
}

// at waits until d after the start and sends.
func (r *rig) at(d time.Duration, text string) {
	r.t.Helper()
	<-time.After(time.Until(r.start.Add(d)))
	r.send(text)
}

func (r *rig) send(text string) {
	r.t.Helper()
	if _, err := r.far.Write([]byte(text)); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

// facts are the punches made durable, as "badge@time since the start".
func (r *rig) facts() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []string{}
	for _, p := range r.emitted {
		out = append(out, fmt.Sprintf("%s@%v", p.Badge, p.At.Sub(r.start)))
	}
	return out
}

func (r *rig) want(facts ...string) {
	r.t.Helper()
	if got := r.facts(); !slices.Equal(got, facts) && len(got)+len(facts) > 0 {
		r.t.Errorf("facts\n%q, want\n%q", got, facts)
	}
}

func (r *rig) note(word string) bool {
	return slices.ContainsFunc(r.driver.State().Notes, func(n string) bool { return strings.Contains(n, word) })
}

const (
	cardA  = "000414CD7E"
	cardB  = "61008EB2F9"
	frameA = "\x02000414CD7EA3\x03"
	frameB = "\x0261008EB2F9A4\x03"
)

const ms = time.Millisecond

func TestPunch(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Kolkata") // half an hour off
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Format: FormatRDM6300, Zone: zone, Direction: attendance.DirIn})
		r.at(1234*ms, frameA)
		r.at(1300*ms, frameA)
		if r.want(cardA + "@1.3s"); t.Failed() {
			return
		}
		at := r.start.Add(1300 * ms).UTC().Round(0)
		want := attendance.Punch{
			Key:       attendance.ReaderKey("gate", cardA, at),
			Kind:      attendance.KindPunch,
			Badge:     cardA,
			Direction: attendance.DirIn,
			Method:    attendance.MethodCard,
			Device:    attendance.Device{ID: "gate", Driver: "cardline"},
			// A bubble's clock begins at midnight UTC.
			DeviceTime: attendance.LocalDate(2000, 1, 1, 5, 30, 1, 300),
			Zone:       "Asia/Kolkata",
			At:         at,
			ReceivedAt: at,
			State:      -1,
			Verify:     -1,
			Evidence:   attendance.Evidence{Raw: []byte(frameA)},
		}
		got := r.emitted[0]
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("got\n%+v, want\n%+v", got, want)
		}
		if !got.DeviceTime.In(zone).Equal(at) {
			t.Errorf("the clock face %v in %v is not %v", got.DeviceTime, zone, at)
		}
		s := r.driver.State()
		if s.ID != "gate" || s.Driver != "cardline" || s.Address != "pipe:gate" || !s.Online || !s.Since.Equal(r.start) ||
			!s.LastRead.Equal(at) || s.Emitted != 1 || s.BadFrames != 0 || s.LastError != "" || len(s.Notes) != 0 {
			t.Errorf("state %+v", s)
		}
		r.end()
		if s := r.driver.State(); s.Online || !s.Since.Equal(at) {
			t.Errorf("state at the end %+v", s)
		}
	})
}

func TestForms(t *testing.T) {
	pattern := cardline.Line{Pattern: `^(?:\][A-Za-z]\d)?(?P<user>[A-Z0-9]+)$`}
	for _, c := range []struct {
		cfg         Config
		sent, badge string
		method      attendance.Method
	}{
		{Config{Format: FormatID12}, "\x0261008EB2F9A4\r\n\x03", "61008EB2F9", attendance.MethodCard},
		{Config{Format: FormatID12, Form: cardline.FormDec10}, "\x0261008EB2F9A4\r\n\x03", "0009351929", attendance.MethodCard},
		{Config{Format: FormatID12, Form: cardline.FormFCCN}, "\x0261008EB2F9A4\r\n\x03", "142,45817", attendance.MethodCard},
		{Config{Format: FormatLine}, "0009351929\r\n", "0009351929", attendance.MethodCard},
		{Config{Format: FormatLine, Line: pattern, Method: attendance.MethodQR}, "]C0EMP00042\r\n", "EMP00042", attendance.MethodQR},
		{Config{Format: FormatLine, Form: cardline.FormFCCN, Line: cardline.Line{Base: "hex", Layout: cardline.H10301}}, "2D00A200\r", "090,00324", attendance.MethodCard},
		{Config{Format: FormatLine}, "门禁 王小明\r\n", "门禁 王小明", attendance.MethodCard},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, c.cfg)
			for i := range len(c.sent) { // byte by byte
				r.send(c.sent[i : i+1])
			}
			if r.want(c.badge + "@0s"); t.Failed() {
				return
			}
			p := r.emitted[0]
			if p.Method != c.method || p.Zone != "UTC" || p.Direction != attendance.DirUnknown {
				t.Errorf("%+v", p)
			}
		})
	}
}

// TestPresence shows cards in all the ways in which people do.
func TestPresence(t *testing.T) {
	type show struct {
		at    time.Duration
		frame string
	}
	every := func(from, to, step time.Duration, frame string) (s []show) {
		for d := from; d <= to; d += step {
			s = append(s, show{d, frame})
		}
		return s
	}
	for _, c := range []struct {
		name        string
		shows       []show
		facts       []string
		repetitions int
		unconfirmed int
	}{
		{"a moment", every(0, 65*ms, 65*ms, frameA), []string{cardA + "@65ms"}, 0, 0},
		{"lies there a minute", every(0, time.Minute, 100*ms, frameA), []string{cardA + "@100ms"}, 0, 0},
		{"read once", []show{{0, frameA}}, nil, 0, 1},
		{"two readings just near enough", []show{{0, frameA}, {300 * ms, frameA}}, []string{cardA + "@300ms"}, 0, 0},
		{"two readings too far apart", []show{{0, frameA}, {301 * ms, frameA}}, nil, 0, 2},
		{"and then a third", []show{{0, frameA}, {301 * ms, frameA}, {400 * ms, frameA}}, []string{cardA + "@400ms"}, 0, 1},
		{"flickers, but is there", []show{{0, frameA}, {50 * ms, frameA}, {549 * ms, frameA}, {1048 * ms, frameA}}, []string{cardA + "@50ms"}, 0, 0},
		{"taken away and shown again", []show{{0, frameA}, {50 * ms, frameA}, {1050 * ms, frameA}, {1100 * ms, frameA}}, []string{cardA + "@50ms"}, 1, 0},
		{"again at the end of the lockout", []show{{0, frameA}, {50 * ms, frameA}, {3549 * ms, frameA}}, []string{cardA + "@50ms"}, 1, 0},
		{"again behind the lockout", append([]show{{0, frameA}, {50 * ms, frameA}}, every(3550*ms, 3600*ms, 50*ms, frameA)...), []string{cardA + "@50ms", cardA + "@3.6s"}, 0, 0},
		{"two people, one behind the other", []show{{0, frameA}, {50 * ms, frameA}, {200 * ms, frameB}, {250 * ms, frameB}}, []string{cardA + "@50ms", cardB + "@250ms"}, 0, 0},
		{"two cards in one purse", append(every(0, time.Second, 100*ms, frameA), every(1030*ms, 2*time.Second, 100*ms, frameB)...), []string{cardA + "@100ms", cardB + "@1.13s"}, 0, 0},
		{"both at once", []show{{0, frameA}, {40 * ms, frameB}, {80 * ms, frameA}, {120 * ms, frameB}, {160 * ms, frameA}, {200 * ms, frameB}}, []string{cardA + "@80ms", cardB + "@120ms"}, 0, 0},
		{"a ghost between", []show{{0, frameA}, {40 * ms, "\x0200F00000F000\x03"}, {80 * ms, frameA}}, []string{cardA + "@80ms"}, 0, 1},
		{"ghosts alone", []show{{0, "\x02000000078F88\x03"}, {50 * ms, "\x0200F00000F000\x03"}, {99 * ms, "\x02F000060007F1\x03"}, {150 * ms, "\x02B59A99E5A9FA\x03"}, {200 * ms, "\x024FFB388FFFFC\x03"}}, nil, 0, 5},
		{"both frames in one read", []show{{0, frameA + frameA}}, []string{cardA + "@0s"}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{Format: FormatRDM6300})
				for _, s := range c.shows {
					r.at(s.at, s.frame)
				}
				r.want(c.facts...)
				s := strings.Join(r.driver.State().Notes, "\n")
				want := ""
				if c.repetitions > 0 {
					want = fmt.Sprintf("%d repetitions within the lockout of 3s", c.repetitions)
				}
				if c.unconfirmed > 0 {
					want = fmt.Sprintf("%d readings without the 2 equal frames within 300ms that make a card", c.unconfirmed)
				}
				if s != want {
					t.Errorf("notes %q, want %q", s, want)
				}
			})
		})
	}
}

func TestWithoutConfirmationAndLockout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Format: FormatRDM6300, Confirm: 1, Lockout: -1, Absent: 100 * ms})
		r.at(0, frameA)
		r.at(99*ms, frameA)
		r.at(199*ms, frameA)
		r.at(300*ms, frameA)
		r.want(cardA+"@0s", cardA+"@199ms", cardA+"@300ms")
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Format: FormatRDM6300, Confirm: 3, ConfirmWithin: 100 * ms})
		r.at(0, frameA)
		r.at(100*ms, frameA)
		r.at(200*ms, frameA)
		r.at(300*ms, frameA)
		r.want(cardA + "@200ms")
	})
}

// A card that lies on the reader while the daemon is killed is one fact.
func TestFactsOfTheRunBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := newRig(t, Config{Format: FormatID12, Before: map[string]time.Time{
			cardA: start.Add(-200 * ms), cardB: start.Add(-3500 * ms), // half a second to be gone, three of lockout
		}})
		r.at(0, strings.Replace(frameA, "\x03", "\r\n\x03", 1))
		r.at(100*ms, strings.Replace(frameB, "\x03", "\r\n\x03", 1))
		r.at(3700*ms, strings.Replace(frameA, "\x03", "\r\n\x03", 1))
		r.want(cardB+"@100ms", cardA+"@3.7s")
	})
	synctest.Test(t, func(t *testing.T) { // the clock was set back meanwhile
		r := newRig(t, Config{Format: FormatRDM6300, Confirm: 1, Before: map[string]time.Time{cardA: time.Now().Add(time.Hour)}})
		r.at(0, frameA)
		r.at(3500*ms, frameA)
		r.want(cardA + "@3.5s")
	})
}

func TestBadFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Format: FormatRDM6300})
		r.send("\x02000414CD7EA7\x03") // checksum
		r.send("\x02000000000000\x03") // ghost
		r.send("\x020004\x03")         // short
		r.send("noise" + frameA)
		r.send(frameA[:7] + frameA)
		r.want(cardA + "@0s")
		if s := r.driver.State(); s.BadFrames != 5 || !r.note("newest of the frames given up: cardline: frame cut off behind 7 bytes") || s.LastError != "" {
			t.Errorf("%+v", s)
		}
	})
}

// A byte with wrong parity comes as NUL. Without it the line names somebody
// else.
func TestParityErrorInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Format: FormatLine})
		r.at(0, "12\x0045\r\n")
		r.at(time.Second, "12345\r\n\x00") // a reader that ends its lines so, too
		r.at(3*time.Second, "678\r\n\x00")
		r.at(6*time.Second, "\ufeff555\r\n")
		r.want("12345@1s", "678@3s", "555@6s")
		if s := r.driver.State(); s.BadFrames != 1 || !r.note("line of 4 bytes with a NUL") {
			t.Errorf("%+v", s)
		}
		r.send("\x00")
		r.far.Close() // nothing had begun
		synctest.Wait()
		if s := r.driver.State(); s.BadFrames != 1 {
			t.Errorf("%+v", s)
		}
		r.far = <-r.ends
	})
}

func TestIdleGapEndsLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Format: FormatLine, Line: cardline.Line{Terminator: cardline.EndIdle, Pattern: `^(?P<card>\d{10})$`}})
		r.at(0, "00093")
		r.at(49*ms, "51929")
		r.want() // the line may go on
		<-time.After(50 * ms)
		r.want("0009351929@99ms")
		r.at(10*time.Second, "00094")
		r.at(10*time.Second+51*ms, "66639") // two lines that match nothing
		<-time.After(time.Second)
		r.want("0009351929@99ms")
		if s := r.driver.State(); s.BadFrames != 2 {
			t.Errorf("%+v", s)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Format: FormatLine, IdleGap: 200 * ms, Line: cardline.Line{Terminator: cardline.EndIdle}})
		r.at(0, "42")
		<-time.After(200 * ms)
		r.want("42@200ms")
	})
}

// TestStaleLine holds that neither half of a line is a badge, nor both with a
// long pause between, and that the rest is not waited for for ever.
func TestStaleLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Format: FormatLine})
		r.at(0, "00093")
		r.at(999*ms, "51929\r\n") // slow, but whole
		r.want("0009351929@999ms")
		r.at(5*time.Second, "00094")
		<-time.After(1001 * ms)
		if s := r.driver.State(); s.BadFrames != 1 || !r.note("without terminator (if the reader sends none, set it to idle)") {
			t.Errorf("%+v", s)
		}
		r.at(20*time.Second, "66639\r\n") // nobody's number, or somebody else's
		r.at(21*time.Second, "0009466639\r\n")
		r.want("0009351929@999ms", "0009466639@21s")
		if s := r.driver.State(); s.BadFrames != 2 || !r.note("5 bytes behind a line that broke off, which may be its rest") {
			t.Errorf("%+v", s)
		}
		r.at(time.Minute, "\xff") // noise, and a card long after it
		r.at(time.Minute+32*time.Second, "42\r\n")
		r.want("0009351929@999ms", "0009466639@21s", "42@1m32s")
		if s := r.driver.State(); s.BadFrames != 3 {
			t.Errorf("%+v", s)
		}
	})
}

// TestLongOutageIsRetriedOften holds that a reader does not stay unread for
// long when it is back.
func TestLongOutageIsRetriedOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(8 * time.Hour)
		late := make(chan time.Duration, 1)
		d, err := New(Config{ID: "gate", Format: FormatID12, Emit: func(context.Context, []attendance.Punch) error { return nil },
			Link: link.PipeDialer("gate", func(_ context.Context, far link.Conn) error {
				if time.Now().Before(back) {
					return errors.New("no such port")
				}
				late <- time.Since(back)
				context.AfterFunc(t.Context(), func() { far.Close() })
				return nil
			})})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		if s := d.State(); s.Online || s.LastError != "link: pipe:gate: no such port" {
			t.Errorf("%+v", s)
		}
		if l := <-late; l > 5*time.Second {
			t.Errorf("found again after %v", l)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func line(i int) string { return fmt.Sprintf("%010d", i) }

// TestDiskFullForAnHour holds that reading goes on while nothing can be made
// durable, and that all of it comes in order when it can.
func TestDiskFullForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := newRig(t, Config{Format: FormatLine, Log: slog.New(slog.NewTextHandler(&log, nil))})
		r.answer(errors.New("no space left on device"))
		var want []string
		for i := range 720 { // one every five seconds
			at := time.Duration(i) * 5 * time.Second
			r.at(at, line(i)+"\r\n")
			want = append(want, fmt.Sprintf("%s@%v", line(i), at))
		}
		r.want()
		s := r.driver.State()
		if s.LastError != "no space left on device" || s.Emitted != 0 || !r.note("720 punches wait in memory") {
			t.Errorf("full: %+v", s)
		}
		if r.calls < 3500 || r.calls > 3700 {
			t.Errorf("asked %d times in an hour", r.calls)
		}
		r.answer(nil)
		<-time.After(time.Second)
		r.want(want...)
		if s := r.driver.State(); s.LastError != "" || s.Emitted != 720 || len(s.Notes) != 0 {
			t.Errorf("free again: %+v", s)
		}
		r.end()
		if n := strings.Count(log.String(), "\n"); n != 3 { // connected, full, free
			t.Errorf("%d lines in the log:\n%s", n, log.String())
		}
	})
}

// TestSlowEmitDoesNotBlockReading holds the same for an Emit that hangs.
func TestSlowEmitDoesNotBlockReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		var got []string
		r := newRig(t, Config{Format: FormatLine, Emit: func(ctx context.Context, punches []attendance.Punch) error {
			select {
			case <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			for _, p := range punches {
				got = append(got, p.Badge)
			}
			return nil
		}})
		var want []string
		for i := range 500 {
			r.send(line(i) + "\r\n")
			want = append(want, line(i))
		}
		if d := time.Since(r.start); d != 0 {
			t.Errorf("reading took %v", d)
		}
		close(free)
		synctest.Wait()
		if !slices.Equal(got, want) {
			t.Errorf("%d punches came, want %d in their order", len(got), len(want))
		}
	})
}

func TestQueueOverflowIsCountedAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := newRig(t, Config{Format: FormatLine, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))})
		r.answer(errors.New("no space left on device"))
		r.send(line(0) + "\r\n") // is taken out of the queue at once
		const more = 300
		for i := range queueSize + more {
			r.at(time.Duration(i+1)*time.Second, line(1+i)+"\r\n")
		}
		if !r.note("300 punches LOST") || !r.note("1025 punches wait") {
			t.Errorf("%+v", r.driver.State().Notes)
		}
		if n := strings.Count(log.String(), "punches lost"); n != more/60 {
			t.Errorf("told %d times in %d seconds:\n%s", n, more, log.String())
		}
		r.answer(nil)
		<-time.After(time.Second)
		got := r.facts()
		if len(got) != 1+queueSize || got[0] != line(0)+"@0s" || got[queueSize] != line(queueSize)+"@17m4s" {
			t.Errorf("%d facts, from %s to %s", len(got), got[0], got[len(got)-1])
		}
		if !slices.IsSorted(got[:10]) {
			t.Errorf("out of order: %q", got[:10])
		}
		if !r.note("300 punches LOST") || r.note("wait in memory") {
			t.Errorf("%+v", r.driver.State().Notes)
		}
	})
}

// TestEndHandsOverTheRest ends a driver whose punches wait.
func TestEndHandsOverTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Format: FormatLine})
		r.answer(errors.New("no space left on device"))
		for i := range 200 {
			r.send(line(i) + "\r\n")
		}
		<-time.After(500 * ms) // between two attempts
		r.answer(nil)
		r.end()
		if got := r.facts(); len(got) != 200 || got[0] != line(0)+"@0s" || got[199] != line(199)+"@199ns" {
			t.Errorf("%d facts: %q", len(got), got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := newRig(t, Config{Format: FormatLine, Log: slog.New(slog.NewTextHandler(&log, nil))})
		r.answer(errors.New("no space left on device"))
		for i := range 200 {
			r.send(line(i) + "\r\n")
		}
		r.end()
		if !r.note("200 punches LOST") || r.note("wait in memory") || !strings.Contains(log.String(), "level=ERROR msg=\"punches lost: they could not be made durable before the end\" reader=gate lost=200") {
			t.Errorf("%+v\n%s", r.driver.State(), log.String())
		}
	})
	// An Emit that hangs is given up after a while.
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Format: FormatLine, Emit: func(ctx context.Context, _ []attendance.Punch) error { <-ctx.Done(); return ctx.Err() }})
		r.send("42\r\n")
		start := time.Now()
		r.end()
		if d := time.Since(start); d != lastChance {
			t.Errorf("the end took %v", d)
		}
	})
}

// TestTwoFactsOfOneReadDiffer holds that no two facts share a key.
func TestTwoFactsOfOneReadDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Format: FormatLine})
		r.send("1\n2\n3\n4\n")
		r.want("1@0s", "2@1ns", "3@2ns", "4@3ns")
		keys := map[attendance.Key]bool{}
		for _, p := range r.emitted {
			keys[p.Key] = true
		}
		if len(keys) != 4 {
			t.Errorf("%d keys for 4 facts", len(keys))
		}
		r.at(time.Second, "5\n")
		r.want("1@0s", "2@1ns", "3@2ns", "4@3ns", "5@1s")
	})
}

func TestPresenceIsBounded(t *testing.T) {
	now := time.Now()
	p := presence{confirm: 1, absent: 500 * ms, lockout: time.Hour, cards: map[string]*track{}}
	for i := range 3 * maxTracks {
		if got := p.frame(line(i), now.Add(time.Duration(i)*ms)); got != isFact {
			t.Fatalf("card %d: %v", i, got)
		}
		if len(p.cards) > maxTracks {
			t.Fatalf("%d cards remembered", len(p.cards))
		}
	}
	later := now.Add(3 * maxTracks * ms)
	if got := p.frame(line(3*maxTracks-1), later); got != isNothing {
		t.Errorf("the newest card was forgotten: %v", got)
	}
	if got := p.frame(line(2*maxTracks), later); got != isRepetition {
		t.Errorf("the oldest card remembered: %v", got)
	}
	p.frame("other", later.Add(2*time.Hour))
	if len(p.cards) != 1 {
		t.Errorf("%d cards remembered behind their lockout: %v", len(p.cards), slices.Sorted(maps.Keys(p.cards)))
	}
}

func TestNewErrors(t *testing.T) {
	pipe := link.PipeDialer("x", nil)
	emit := func(context.Context, []attendance.Punch) error { return nil }
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "cardline: reader without an id"},
		{Config{ID: "gate"}, "cardline: reader gate has no link"},
		{Config{ID: "gate", Link: pipe}, "cardline: reader gate has nowhere to emit to"},
		{Config{ID: "gate", Link: pipe, Emit: emit}, `cardline: reader gate: unknown format "" (known: rdm6300, id12, line)`},
		{Config{ID: "gate", Link: pipe, Emit: emit, Format: "wiegand"}, `cardline: reader gate: unknown format "wiegand" (known: rdm6300, id12, line)`},
		{Config{ID: "gate", Link: pipe, Emit: emit, Format: FormatID12, Form: "dec"}, `cardline: reader gate: cardline: unknown form "dec" (known: hex, dec10, "fc,cn")`},
		{Config{ID: "gate", Link: pipe, Emit: emit, Format: FormatID12, Line: cardline.Line{SevenBit: true}}, `cardline: reader gate: settings of lines with format id12`},
		{Config{ID: "gate", Link: pipe, Emit: emit, Format: FormatLine, Form: "hex", Line: cardline.Line{Base: "dec", Form: "dec10"}}, `cardline: reader gate: form is both hex and dec10`},
		{Config{ID: "gate", Link: pipe, Emit: emit, Format: FormatLine, Line: cardline.Line{Pattern: "x"}}, `cardline: reader gate: cardline: pattern has the named groups [], it needs card, or fc and cn, or user`},
		{Config{ID: "gate", Link: pipe, Emit: emit, Format: FormatID12, Confirm: 11}, `cardline: reader gate: confirm 11 is not between 0 and 10`},
		{Config{ID: "gate", Link: pipe, Emit: emit, Format: FormatID12, Confirm: -1}, `cardline: reader gate: confirm -1 is not between 0 and 10`},
		{Config{ID: "gate", Link: pipe, Emit: emit, Format: FormatID12, Absent: -1}, `cardline: reader gate: absent -1ns is negative`},
		{Config{ID: "gate", Link: pipe, Emit: emit, Format: FormatID12, Zone: time.Local}, `cardline: reader gate: zone Local means another one on another machine; name it, as in Asia/Shanghai`},
	} {
		d, err := New(c.cfg)
		if err == nil || d != nil {
			t.Errorf("%+v is taken, want %s", c.cfg, c.want)
			continue
		}
		if err.Error() != c.want {
			t.Errorf("got  %s\nwant %s", err, c.want)
		}
	}
}

func TestHopelessLinkEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := New(Config{ID: "gate", Format: FormatID12, Emit: func(context.Context, []attendance.Punch) error { return nil },
			Link: link.PipeDialer("gate", func(context.Context, link.Conn) error { return link.Hopeless(errors.New("not on this system")) })})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Run(t.Context()); !errors.Is(err, link.ErrHopeless) || !strings.HasPrefix(err.Error(), "cardline: reader gate: ") {
			t.Error(err)
		}
	})
}
