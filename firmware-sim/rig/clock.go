package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/punchd/punchd/firmware-sim/central"
	"github.com/punchd/punchd/firmware-sim/phone"
	"github.com/punchd/punchd/firmware-sim/terminal/zk"
)

// ClockConfig says how often to set the clock of which daemon.
type ClockConfig struct {
	Jumps  int
	Seed   uint64
	Boot   int       // the year with which a box without a battery begins
	Daemon string    // the program
	Env    []string  // of the program, beside that of this process
	Dir    string    // where to work; what is in it tells what happened
	Out    io.Writer // progress
}

// ClockFigures are what came of it.
type ClockFigures struct {
	Seed   uint64 `json:"seed"`
	Passed int    `json:"passed"`
	Failed int    `json:"failed"`

	Made     int `json:"made"`
	Promised int `json:"promised"`
	Held     int `json:"held"`   // distinct, at central
	Skewed   int `json:"skewed"` // of those, with the reason clock-skew
	Late     int `json:"late"`   // and marked as late
	Restarts int `json:"restarts"`
	Outages  int `json:"outages"` // of central, across a jump
	Denied   int `json:"denied"`  // requests that central did not believe for their time

	// How long it took at the longest after a jump: until a phone was promised a
	// check-in, and, once central believed the clock, until it had all.
	LongestPhoneSeconds float64 `json:"longest_phone_seconds"`
	LongestDrainSeconds float64 `json:"longest_drain_seconds"`

	Faults   Tally    `json:"-"`
	Failures []string `json:"failures,omitempty"`
}

// The bounds of a run.
const (
	jumpsOnOneDay = 5
	shortestHold  = time.Second
	longestHold   = 3 * time.Second
	afterJump     = 5 * time.Second  // until phones are promised again
	answeredIn    = 20 * time.Second // until each phone has an answer for all that it made before its clock was right again
	drainedWithin = 15 * time.Second // until central has all, once it believes the clock
)

// moment is when the devices of a site are taken to be, and where.
type moment struct {
	name string
	zone string
	at   string // RFC 3339; some seconds after the beginning. Empty: now
}

// moments are those at which calendars do what programs forget.
var moments = []moment{
	{"an ordinary day", "Asia/Shanghai", ""},
	{"the end of summer time", "Europe/Berlin", "2026-10-25T01:00:00Z"},
	{"the beginning of summer time", "Europe/Berlin", "2027-03-28T01:00:00Z"},
	{"into 29 February", "Asia/Shanghai", "2028-02-28T16:00:00Z"},
	{"out of 29 February", "Asia/Shanghai", "2028-02-29T16:00:00Z"},
	{"a new year", "America/New_York", "2027-01-01T05:00:00Z"},
	{"the end of 32 bits", "Asia/Shanghai", "2038-01-19T03:14:08Z"},
	{"29 February 2096", "Australia/Lord_Howe", "2096-02-28T13:00:00Z"},
}

// lead is how long before its moment a site begins.
const lead = 8 * time.Second

func clockScene(seed uint64, m moment, clock func() time.Time, unsigned bool) Scene {
	return Scene{
		Seed: seed, Terminals: 3, Users: 200, Logs: 200, TerminalPace: 100 * time.Millisecond,
		Quirks: []zk.Quirks{{}, {AttSize: 16}, {Piece: 1008, Split: 700}},
		// What a log's layout is taken for depends on whether its dates are likely by
		// the gateway's clock. That is not what is tested here.
		Layouts: true,
		Reader:  true, Cards: 20_000, ReaderPace: 300 * time.Millisecond,
		Native: 21, OwnTracks: 14, PhonePace: 150 * time.Millisecond,
		Behaviours: phone.Behaviours(),
		Faults:     central.Faults{Fail: 0.02, Lose: 0.05, Delay: 2 * time.Millisecond, Jitter: 20 * time.Millisecond},
		Zone:       m.zone, Clock: clock, Unsigned: unsigned,
	}
}

// clockRun is one run of the rig at one moment.
type clockRun struct {
	*stage
	cfg      ClockConfig
	random   *rand.Rand
	figures  *ClockFigures
	fails    map[int]string
	first    int // number of its first jump, from 0
	process  *Process
	unsigned bool
	site     func() time.Time
	siteLead time.Duration // the site's time minus the true one
	told     int           // faults of which a jump was told
	denied   uint64        // requests by central, as of the last time the clock was set right
	judged   int           // events whose clocks were looked at
	epochs   []epoch
}

// Clock sets the wall clock of a daemon under load again and again, in years and
// hours, both ways, running and between two runs, and counts. A jump fails if
// the daemon ended, did not go on in time, or told any punch with another time, a
// wrong skew, a wrong verdict or out of order, or if anything is lost or doubled.
// The figures are there also with [ErrFailed].
func Clock(ctx context.Context, cfg ClockConfig) (*ClockFigures, error) {
	figures := &ClockFigures{Seed: cfg.Seed}
	fails := map[int]string{}
	random := rand.New(rand.NewPCG(cfg.Seed, 4))
	var order []int
	for first := 0; first < cfg.Jumps; first += jumpsOnOneDay {
		if len(order) == 0 { // every moment before any comes again
			order = random.Perm(len(moments))
		}
		r := &clockRun{cfg: cfg, random: random, figures: figures, fails: fails, first: first, unsigned: first/jumpsOnOneDay%2 == 0}
		if err := r.day(ctx, moments[order[0]], min(jumpsOnOneDay, cfg.Jumps-first)); err != nil {
			return nil, fmt.Errorf("rig: seed %d: %w", cfg.Seed, err)
		}
		order = order[1:]
	}
	figures.Failed = len(fails)
	figures.Passed = cfg.Jumps - len(fails)
	for i := range cfg.Jumps {
		if why, failed := fails[i]; failed {
			figures.Failures = append(figures.Failures, fmt.Sprintf("jump %d: %s", i+1, why))
		}
	}
	_, err := fmt.Fprintf(cfg.Out, "%d facts made, %d promised, %d at central, %d of them with clock-skew and %d late; %d restarts, %d outages, %d requests denied for their time; %s\n"+
		"after a jump a phone was promised a check-in within %.1f s at the longest, and central had all within %.1f s\n",
		figures.Made, figures.Promised, figures.Held, figures.Skewed, figures.Late, figures.Restarts, figures.Outages, figures.Denied, &figures.Faults,
		figures.LongestPhoneSeconds, figures.LongestDrainSeconds)
	return figures, errors.Join(err, report(cfg.Out, cfg.Seed, cfg.Jumps, fails))
}

// day runs jumps at a moment, in front of a world of its own.
func (r *clockRun) day(ctx context.Context, m moment, jumps int) (err error) {
	seed := r.cfg.Seed + uint64(r.first)
	dir := filepath.Join(r.cfg.Dir, fmt.Sprintf("day-%d", r.first/jumpsOnOneDay+1))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if m.at != "" {
		at, err := time.Parse(time.RFC3339, m.at)
		if err != nil {
			return err
		}
		r.siteLead = time.Until(at.Add(-lead)).Truncate(time.Second)
	}
	r.site = func() time.Time { return time.Now().Add(r.siteLead) }
	r.stage, err = newStage(ctx, clockScene(seed, m, r.site, r.unsigned), dir, Daemon{Path: r.cfg.Daemon, Env: r.cfg.Env, OwnClock: true, Ahead: r.siteLead})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	r.plain = func(line string, says *Says) {
		says.Verdict = 0
		if line == ReaderID { // it has the gateway's time
			says.At = time.Time{}
		}
	}
	r.say("%s, in %s; central %s", m.name, m.zone, map[bool]string{true: "believes any time", false: "believes no time that is off by over 5 minutes"}[r.unsigned])
	err = r.jumps(ctx, jumps)
	if r.process != nil {
		err = errors.Join(err, r.process.Kill())
	}
	return err
}

func (r *clockRun) jumps(ctx context.Context, jumps int) (err error) {
	r.epochs = []epoch{{ahead: 0, from: time.Now()}}
	if r.process, err = r.start(ctx); err != nil {
		return errors.Join(err, r.quiet())
	}
	r.cards(ctx)
	for i := range jumps {
		if err := r.jump(ctx, r.first+i); err != nil {
			return errors.Join(err, r.quiet())
		}
	}
	last := r.first + jumps - 1
	if err := r.setRight(ctx, last); err != nil {
		return errors.Join(err, r.quiet())
	}
	if err := r.answered(ctx, last); err != nil {
		return errors.Join(err, r.quiet())
	}
	if err := r.quiet(); err != nil {
		return err
	}
	if err := r.count(ctx, last); err != nil {
		return err
	}
	if err := r.process.Stop(stopPatience); err != nil {
		r.fail(last, "%v", err)
	}
	differ, err := r.world.ReceiptsDiffer()
	if err != nil {
		return err
	}
	if len(differ) > 0 {
		r.fail(last, "%d receipts are not true; the first: %s", len(differ), differ[0])
	}
	t, err := r.total()
	if err != nil {
		return err
	}
	f := r.figures
	f.Made, f.Promised, f.Held = f.Made+t.Made, f.Promised+t.Promised, f.Held+t.Held
	f.Denied += int(r.world.Central().Stats().Denied)
	f.Faults.add(t)
	return nil
}

// fail notes the first thing that went wrong at a jump.
func (r *clockRun) fail(jump int, format string, args ...any) {
	if _, failed := r.fails[jump]; !failed {
		r.fails[jump] = fmt.Sprintf(format, args...)
		r.say("jump %d FAILED: %s", jump+1, r.fails[jump])
	}
}

func (r *clockRun) say(format string, args ...any) {
	fmt.Fprintf(r.cfg.Out, format+"\n", args...) // progress is of no worth to nobody
}
