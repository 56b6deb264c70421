package gateway

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/firmware-sim/central"
	"github.com/punchd/punchd/firmware-sim/phone"
	"github.com/punchd/punchd/firmware-sim/rig"
	"github.com/punchd/punchd/firmware-sim/terminal/zk"
)

// site is a simulated world with a gateway in this process.
type site struct {
	t     *testing.T
	world *rig.World
	dir   string
	log   *lockedBuffer

	gateway *Gateway
	stop    func() // ends the gateway cleanly
}

// lockedBuffer holds what the gateway tells, for a test that fails.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newSite makes a world that answers until the test ends, and the gateway's
// files. No gateway runs yet.
func newSite(t *testing.T, scene rig.Scene) *site {
	t.Helper()
	w, err := rig.NewWorld(scene)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, world: w, dir: t.TempDir(), log: &lockedBuffer{}}
	if err := w.WriteFiles(s.dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Serve(ctx) }()
	t.Cleanup(func() {
		if s.stop != nil {
			s.stop()
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("simulators: %v", err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", s.log)
		}
	})
	return s
}

// config reads the gateway's configuration.
func (s *site) config() *config.Config {
	s.t.Helper()
	cfg, err := config.Load(filepath.Join(s.dir, rig.ConfigFile))
	if err != nil {
		s.t.Fatal(err)
	}
	return cfg
}

// start runs the gateway, changed before it runs if that is asked for, and waits
// until it is ready.
func (s *site) start(change ...func(*Gateway)) {
	s.t.Helper()
	ready := make(chan struct{})
	g, err := New(s.t.Context(), s.config(), Options{Log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Ready: func() { close(ready) }})
	if err != nil {
		s.t.Fatal(err)
	}
	s.gateway = g
	for _, c := range change {
		c(g)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	s.stop = func() {
		s.stop = nil
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("the gateway did not end cleanly: %v", err)
		}
	}
	select {
	case <-ready:
	case err := <-done:
		s.t.Fatalf("the gateway ended: %v", err)
	case <-time.After(20 * time.Second):
		s.t.Fatal("the gateway is not ready")
	}
}

// punch has people punch for a while.
func (s *site) punch(d time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), d)
	defer cancel()
	if err := s.world.Punch(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// clean waits until central holds all that was made, and sees that it holds
// nothing else and all of it in order.
func (s *site) clean(limit time.Duration) *rig.Tally {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		seen, _, err := s.world.Held()
		if err != nil {
			s.t.Fatal(err)
		}
		tally := rig.Check(s.world.Made(true), seen)
		if tally.Lost == 0 || time.Now().After(deadline) {
			if !tally.Clean() {
				s.t.Errorf("%s of %d; %q", tally, tally.Made, tally.Examples())
			}
			if _, err := s.world.Witness(); err != nil {
				s.t.Error(err)
			}
			return tally
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-s.t.Context().Done():
			s.t.Fatal("interrupted")
		}
	}
}

// Nearly all of the time here goes by in waiting for terminals that are slow on
// purpose, so many tests run side by side, whatever the number of cores.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// Every terminal of the simulator is read whole, live and after a restart, and
// central holds each entry once and in the log's order.
func TestTerminals(t *testing.T) {
	for _, quirks := range [][]string{
		nil,
		{"att_size=8"},
		{"att_size=ma300"},
		{"att_size=16"},
		{"att_size=49", "count_lies=zero"},
		{"att_size=49", "count_lies=huge", "rt_len=52"},
		{"count_lies=off", "rt_len=36"},
		{"piece=1008", "split=1"},
		{"coalesce", "trailing=glued"},
		{"comm_key=123456"},
		{"rt_len=12", "att_size=16"},
		{"rt_len=10"},
		{"rt_silent_drop=3"},
		{"clock_skew=-37m"},
		{"dup"},
		{"state=255"},
		{"pin_alnum"},
		{"name_charset=gbk", "bad_checksum"},
		{"bulk=unsupported"},
		{"sizes=112", "opt_unknown=silent"},
		{"sn_refused=1"},
		{"silence=3000"},
		{"single_client=starve", "rst_on_connect=2"},
	} {
		name := "plain"
		if len(quirks) > 0 {
			name = ""
			for _, q := range quirks {
				name += " " + q
			}
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if slices.Contains(quirks, "silence=3000") && os.Getenv("CI") != "true" {
				t.Skip("waits 30 s for a terminal that has gone silent; runs with CI=true")
			}
			scene := rig.Scene{Seed: 11, Terminals: 1, Users: 30, Logs: 400, TerminalPace: 30 * time.Millisecond}
			var q zk.Quirks
			for _, text := range quirks {
				if err := zk.ParseQuirk(&q, text); err != nil {
					t.Fatal(err)
				}
			}
			q.Gap = zk.NoGap
			scene.Quirks = []zk.Quirks{q}
			s := newSite(t, scene)
			if q.CommKey != 0 {
				s.commKey("123456")
			}
			s.start()
			s.punch(700 * time.Millisecond)
			first := s.clean(60 * time.Second)
			s.stop()
			s.punch(200 * time.Millisecond) // while nobody listens
			s.start()
			s.punch(200 * time.Millisecond)
			if second := s.clean(60 * time.Second); second.Made <= first.Made || first.Made <= 400 {
				t.Errorf("only %d and %d facts were made", first.Made, second.Made)
			}
			st := s.gateway.Status()
			if d := st.Devices[0]; !d.Online || d.Serial == "" || d.New == 0 || d.New != st.Counts.Terminal || d.New >= d.Punches { // the log was read again
				t.Errorf("state: %+v, %+v", d, st.Counts)
			}
		})
	}
}

// commKey tells the gateway the terminal's comm key.
func (s *site) commKey(key string) {
	s.t.Helper()
	s.write("keys/comm", key)
	s.edit("driver: zk,", "driver: zk, comm_key: {file: keys/comm},")
}

// write writes one of the gateway's files.
func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// edit replaces a text in the configuration.
func (s *site) edit(old, now string) {
	s.t.Helper()
	path := filepath.Join(s.dir, rig.ConfigFile)
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(old)) {
		s.t.Fatalf("the configuration has no %q", old)
	}
	s.write(rig.ConfigFile, string(bytes.ReplaceAll(text, []byte(old), []byte(now))))
}

// A connection that breaks off in the middle of a bulk answer costs nothing and
// doubles nothing: the log is read whole on the next try.
func TestTerminalCutInMidBulk(t *testing.T) {
	for _, at := range []int{1, 8, 1000, 20_000, 39_999} { // of 40,004 bytes
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := newSite(t, rig.Scene{Seed: uint64(at), Terminals: 1, Users: 30, Logs: 1000, TerminalPace: 50 * time.Millisecond,
				Quirks: []zk.Quirks{{Cut: at, Piece: 1008, Gap: zk.NoGap}}})
			s.start()
			s.clean(60 * time.Second)
			if c := s.world.TerminalCounts(0); c.Accepted < 2 {
				t.Errorf("only %d connections: the cut did not happen", c.Accepted)
			}
		})
	}
}

// A log of 100,000 entries is read whole, and a second poll forwards nothing.
func TestTerminalWithLongLog(t *testing.T) {
	s := newSite(t, rig.Scene{Seed: 5, Terminals: 1, Users: 500, Logs: 100_000, TerminalPace: 100 * time.Millisecond, Quirks: []zk.Quirks{{Gap: zk.NoGap}}})
	s.start()
	s.clean(120 * time.Second)
	before := s.world.Central().Stats()
	s.stop()
	s.start() // a new process knows nothing of what it has read
	s.punch(300 * time.Millisecond)
	s.clean(60 * time.Second)
	after := s.world.Central().Stats()
	if sent := after.Received - before.Received; sent > 50 {
		t.Errorf("the second read sent %d events", sent)
	}
}

// Phones, honest and cheating, and a reader, in front of a central that fails.
func TestPhonesAndReader(t *testing.T) {
	s := newSite(t, rig.Scene{
		Seed: 3, Reader: true, ReaderPace: 100 * time.Millisecond, Native: 12, OwnTracks: 12, PhonePace: 40 * time.Millisecond, Behaviours: phone.Behaviours(),
		Faults: central.Faults{Fail: 0.2, Lose: 0.2, ParkShare: 0},
	})
	s.start()
	s.punch(1500 * time.Millisecond)
	s.clean(60 * time.Second)
	sum, err := s.world.Summarize(true)
	if err != nil {
		t.Fatal(err)
	}
	if sum.ReaderPunches < 5 || sum.CheckIns.Accepted == 0 || sum.CheckIns.Flagged == 0 || sum.CheckIns.Refused == 0 {
		t.Errorf("%+v", sum)
	}
	// What the phones were told is what central was told.
	told, err := s.world.ReceiptsDiffer()
	if err != nil || len(told) > 0 {
		t.Errorf("receipts differ from events: %v %v", told, err)
	}
}
