package gateway

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/device"
	"github.com/punchd/punchd/firmware-sim/rig"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/forward/sourcetest"
)

// A roster that goes wrong under a running daemon needs a person until it is
// right again.
func TestWrongRosterIsAProblem(t *testing.T) {
	t.Parallel()
	s := newSite(t, rig.Scene{Seed: 1, Native: 2})
	s.start()
	ctx, file := t.Context(), s.config().Roster.File
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	problem := func(want string) {
		t.Helper()
		st := s.gateway.Status()
		if want == "" && (len(st.Problems) > 0 || st.Roster.Error != "") {
			t.Errorf("problems %q, %q", st.Problems, st.Roster.Error)
		}
		if want != "" && (len(st.Problems) != 1 || !strings.Contains(st.Problems[0], want) || strings.Contains(st.Problems[0], "\n") || st.Roster.FromCache) {
			t.Errorf("problems %q, want %q; %+v", st.Problems, want, st.Roster)
		}
	}
	problem("")
	for _, text := range []string{"employees: [{id: E1, colour: red}, {id: E2, shape: round}]\n", "employees: [\n"} {
		s.write(filepath.Base(file), text)
		if err := s.gateway.roster.Reload(ctx); err == nil {
			t.Error("a wrong roster was taken")
		}
		problem("the roster file can't be used; the last good one is in force (version ")
		problem(filepath.Base(file) + ":1:")
	}
	s.write(filepath.Base(file), string(good))
	if err := s.gateway.roster.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	problem("")
}

// away is a sink that answers nothing.
type away struct{}

func (away) Name() string { return "hq" }

func (away) Send(context.Context, []forward.Item) (forward.Receipt, error) {
	return nil, errors.New("connection refused")
}

// An outage is no problem in the morning, and one in the afternoon.
func TestLongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(sourcetest.Punch(0), sourcetest.Punch(1))
		f, err := forward.New(forward.Config{Source: source, Sink: away{}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		problems := func() []string {
			synctest.Wait()
			s := &Status{At: time.Now(), Sinks: []SinkStatus{sinkStatus(f.State(), nil, 2)}}
			s.otherProblems()
			return s.Problems
		}
		time.Sleep(time.Second)
		if p := problems(); p != nil {
			t.Errorf("at once: %q", p)
		}
		time.Sleep(longOutage - 2*time.Second)
		if p := problems(); p != nil {
			t.Errorf("before long: %q", p)
		}
		time.Sleep(2 * time.Second)
		if p := problems(); len(p) != 1 || p[0] != "sink hq has not answered for 4 hours, and 2 punches wait: connection refused" {
			t.Errorf("after long: %q", p)
		}
		time.Sleep(72 * time.Hour)
		if p := problems(); len(p) != 1 || !strings.Contains(p[0], "for 3 days, and") {
			t.Errorf("after days: %q", p)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestSinkProblems(t *testing.T) {
	now := time.Now()
	long := now.Add(-5 * time.Hour)
	for _, c := range []struct {
		sink SinkStatus
		want string
	}{
		{SinkStatus{Name: "hq", Online: true, Since: &long, Pending: 7}, ""},
		{SinkStatus{Name: "hq", Since: &long, Error: "refused", Pending: 1}, "sink hq has not answered for 5 hours, and 1 punch waits: refused"},
		{SinkStatus{Name: "hq", Since: &long, Error: "401", Alarm: "the sink does not let us in: 401"}, "sink hq: the sink does not let us in: 401"},
		{SinkStatus{Name: "hq", Online: true, Dead: 1},
			"sink hq will never take 1 punch; see which and why with: punchd dead list; once the cause is gone, send them again with: punchd dead replay"},
	} {
		s := &Status{At: now, Sinks: []SinkStatus{c.sink}}
		s.otherProblems()
		if got := strings.Join(s.Problems, "\n"); got != c.want {
			t.Errorf("%+v: %q, want %q", c.sink, got, c.want)
		}
	}
}

func TestLastHeard(t *testing.T) {
	read := time.Date(2026, 11, 4, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		state device.State
		want  time.Time
	}{
		{device.State{LastRead: read, LastHeard: read.Add(time.Minute)}, read.Add(time.Minute)},
		{device.State{LastHeard: read}, read}, // logged in, the log not read
		{device.State{LastRead: read}, read},  // a reader
		{device.State{}, time.Time{}},
	} {
		s := deviceStatus(c.state)
		if (s.LastHeard == nil) != c.want.IsZero() || s.LastHeard != nil && !s.LastHeard.Equal(c.want) {
			t.Errorf("%+v: %v, want %v", c.state, s.LastHeard, c.want)
		}
		if (s.LastRead == nil) != c.state.LastRead.IsZero() {
			t.Errorf("%+v: last read %v", c.state, s.LastRead)
		}
	}
}

// Orders over the control socket that can't be followed say why, and those that
// change nothing leave nothing behind.
func TestOrders(t *testing.T) {
	t.Parallel()
	s := newSite(t, rig.Scene{Seed: 1, Native: 1})
	s.start()
	dir, g := s.config().Gateway.DataDir, s.gateway
	sink := s.config().Sinks[0].Name
	if sent, err := OrderRetry(t.Context(), dir, sink); err != nil || sent.Punches != 0 || sent.Sink != sink {
		t.Errorf("retry: %+v, %v", sent, err)
	}
	for name, order := range map[string]func() error{
		"there is no sink \"nowhere\"; those that the daemon runs with: " + sink: func() error { _, err := OrderRetry(t.Context(), dir, "nowhere"); return err },
		"there is no sink \"\"": func() error { _, err := OrderReplay(t.Context(), dir, Replay{All: true}); return err },
		"0 punches are named":   func() error { _, err := OrderReplay(t.Context(), dir, Replay{Sink: sink}); return err },
		"neither a sequence nor a key": func() error {
			_, err := OrderReplay(t.Context(), dir, Replay{Sink: sink, Which: []string{"E1"}})
			return err
		},
	} {
		if err := order(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %s", err, name)
		}
	}
	sent, err := OrderReplay(t.Context(), dir, Replay{Sink: sink, Which: []string{"0", strings.Repeat("ab", 16)}})
	if err != nil || sent.Punches != 0 || len(sent.NotDead) != 2 {
		t.Errorf("replay of what is not dead: %+v, %v", sent, err)
	}
	st, err := g.journal.Stats()
	if err != nil || st.Next != 0 {
		t.Fatalf("%d records, %v, want none: nothing was changed", st.Next, err)
	}
}
