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

// FullConfig says how often to fill the disk of which daemon.
type FullConfig struct {
	Cycles int
	Seed   uint64
	Daemon string    // the program
	Env    []string  // of the program, beside that of this process
	Dir    string    // where to work; what is in it tells what happened
	Disk   string    // [DiskExt4] or [DiskTmpfs]
	Out    io.Writer // progress
}

// FullFigures are what came of it.
type FullFigures struct {
	Seed   uint64 `json:"seed"`
	Disk   string `json:"disk"`
	Passed int    `json:"passed"`
	Failed int    `json:"failed"`

	Made     int `json:"made"`
	Promised int `json:"promised"`
	Held     int `json:"held"`      // distinct, at central
	KeptBack int `json:"kept_back"` // made while the disk was full, and kept by their devices until it was not
	Refused  int `json:"refused"`   // starts on a full disk that the daemon refused

	// How long it took at the longest after there was room again: until a phone
	// was promised a check-in, and until a terminal's punch was at central.
	LongestPhoneSeconds    float64 `json:"longest_phone_seconds"`
	LongestTerminalSeconds float64 `json:"longest_terminal_seconds"`

	Faults   Tally    `json:"-"`
	Failures []string `json:"failures,omitempty"`
}

// The bounds of a run.
const (
	cyclesOnOneDisk = 25  // what is kept for years must fit on the small disk
	leastDisk       = 96  // MiB
	mostDisk        = 320 // MiB
	resumeWithin    = 5 * time.Second
	shortestFull    = 1500 * time.Millisecond
	longestFull     = 4 * time.Second
)

// fullScene is a busy site. Its people come more slowly than those of
// [killScene], since all that they do must fit on a small disk.
func fullScene(seed uint64) Scene {
	return Scene{
		Seed: seed, Terminals: 3, Users: 200, Logs: 500, TerminalPace: 60 * time.Millisecond,
		Quirks: []zk.Quirks{{}, {AttSize: 16}, {Piece: 1008, Split: 700}},
		Reader: true, Cards: 20_000, ReaderPace: 200 * time.Millisecond,
		Native: 24, OwnTracks: 12, PhonePace: 100 * time.Millisecond,
		Behaviours: phone.Behaviours(),
		Faults:     central.Faults{Fail: 0.02, Lose: 0.05, Delay: 2 * time.Millisecond, Jitter: 20 * time.Millisecond},
	}
}

// fullRun is one run of the rig on one disk.
type fullRun struct {
	*stage
	cfg     FullConfig
	random  *rand.Rand
	figures *FullFigures
	fails   map[int]string
	first   int // number of its first cycle, from 0
	process *Process
	data    string // where the disk is mounted
	said    int64  // how long the daemon's log was when the cycle began
	told    int    // faults of which a cycle was told
}

// Full fills the disk of a daemon under load again and again, frees it again,
// and counts. A cycle fails if the daemon ended by itself, took what it could
// not keep, did not go on in time, or if at its end anything that was promised is
// lost, doubled, altered or out of order. The figures are there also with
// [ErrFailed].
func Full(ctx context.Context, cfg FullConfig) (*FullFigures, error) {
	figures := &FullFigures{Seed: cfg.Seed, Disk: cfg.Disk}
	fails := map[int]string{}
	random := rand.New(rand.NewPCG(cfg.Seed, 3))
	for first := 0; first < cfg.Cycles; first += cyclesOnOneDisk {
		r := &fullRun{cfg: cfg, random: random, figures: figures, fails: fails, first: first}
		if err := r.disk(ctx, min(cyclesOnOneDisk, cfg.Cycles-first)); err != nil {
			return nil, fmt.Errorf("rig: seed %d: %w", cfg.Seed, err)
		}
	}
	figures.Failed = len(fails)
	figures.Passed = cfg.Cycles - len(fails)
	for i := range cfg.Cycles {
		if why, failed := fails[i]; failed {
			figures.Failures = append(figures.Failures, fmt.Sprintf("cycle %d: %s", i+1, why))
		}
	}
	_, err := fmt.Fprintf(cfg.Out, "%d facts made, %d promised, %d at central, %d kept by their devices while the disk was full, %d starts refused; %s\n"+
		"after there was room, a phone was promised a check-in within %.1f s at the longest, and a terminal's punch was at central within %.1f s\n",
		figures.Made, figures.Promised, figures.Held, figures.KeptBack, figures.Refused, &figures.Faults, figures.LongestPhoneSeconds, figures.LongestTerminalSeconds)
	return figures, errors.Join(err, report(cfg.Out, cfg.Seed, cfg.Cycles, fails))
}

// disk runs cycles on one disk that it mounts, in front of a world of its own.
func (r *fullRun) disk(ctx context.Context, cycles int) (err error) {
	seed := r.cfg.Seed + uint64(r.first)
	dir := filepath.Join(r.cfg.Dir, fmt.Sprintf("disk-%d", r.first/cyclesOnOneDisk+1))
	r.data = filepath.Join(dir, dataDir)
	if err := os.MkdirAll(r.data, 0o700); err != nil {
		return err
	}
	size := leastDisk + r.random.Int64N(mostDisk-leastDisk)
	if err := mountDisk(r.cfg.Disk, r.data, filepath.Join(dir, "disk.img"), size<<20); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.keep(dir), unmountDisk(r.data)) }()
	if r.stage, err = newStage(ctx, fullScene(seed), dir, Daemon{Path: r.cfg.Daemon, Env: r.cfg.Env}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	r.say("%s of %d MiB", r.cfg.Disk, size)
	err = r.cycles(ctx, cycles)
	if r.process != nil {
		err = errors.Join(err, r.process.Kill())
	}
	return err
}

// keep leaves what a failed run has on a disk that is gone with this process.
func (r *fullRun) keep(dir string) error {
	if r.cfg.Disk == DiskExt4 || len(r.fails) == 0 {
		return nil
	}
	return os.CopyFS(filepath.Join(dir, "kept"), os.DirFS(r.data))
}

func (r *fullRun) cycles(ctx context.Context, cycles int) (err error) {
	if r.process, err = r.start(ctx); err != nil {
		return errors.Join(err, r.quiet())
	}
	r.cards(ctx)
	var order []int
	for i := range cycles {
		if len(order) == 0 { // every kind before any comes again
			order = r.random.Perm(len(fullKinds))
		}
		kind := fullKinds[order[0]]
		order = order[1:]
		if err := r.cycle(ctx, r.first+i, kind); err != nil {
			return errors.Join(err, r.quiet())
		}
	}
	if err := r.quiet(); err != nil {
		return err
	}
	return r.end(ctx, r.first+cycles-1)
}

// end lets everything come to central, stops the daemon in the ordinary way and
// counts.
func (r *fullRun) end(ctx context.Context, last int) error {
	lost, err := r.drain(ctx, r.process)
	if err != nil {
		return err
	}
	for _, f := range lost {
		r.fail(last, "%s", f)
	}
	if err := r.process.Stop(stopPatience); err != nil {
		r.fail(last, "%v", err)
	}
	t, err := r.total()
	if err != nil {
		return err
	}
	for _, f := range t.Faults[min(r.told, len(t.Faults)):] { // those before are told
		r.fail(last, "%s", f)
	}
	differ, err := r.world.ReceiptsDiffer()
	if err != nil {
		return err
	}
	if len(differ) > 0 {
		r.fail(last, "%d receipts are not true; the first: %s", len(differ), differ[0])
	}
	f := r.figures
	f.Made, f.Promised, f.Held = f.Made+t.Made, f.Promised+t.Promised, f.Held+t.Held
	f.Faults.add(t)
	return nil
}

// fail notes the first thing that went wrong in a cycle.
func (r *fullRun) fail(cycle int, format string, args ...any) {
	if _, failed := r.fails[cycle]; !failed {
		r.fails[cycle] = fmt.Sprintf(format, args...)
		r.say("cycle %d FAILED: %s", cycle+1, r.fails[cycle])
	}
}

func (r *fullRun) say(format string, args ...any) {
	fmt.Fprintf(r.cfg.Out, format+"\n", args...) // progress is of no worth to nobody
}
