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

// KillConfig says how often to kill which daemon.
type KillConfig struct {
	Rounds int
	Seed   uint64
	Daemon string    // the program
	Dir    string    // where to work; what is in it tells what happened
	Out    io.Writer // progress
}

// The bounds of a round, and of what follows the last one.
const (
	shortestLife  = 20 * time.Millisecond
	longestLife   = 900 * time.Millisecond
	drainPatience = 30 * time.Second // without any progress
	stopPatience  = 15 * time.Second
)

// killScene is a site at its busiest, in front of a central that fails now and
// then. Terminals of three sorts, and phones that cheat.
func killScene(seed uint64) Scene {
	return Scene{
		Seed: seed, Terminals: 3, Users: 200, Logs: 500, TerminalPace: 40 * time.Millisecond,
		Quirks: []zk.Quirks{{}, {AttSize: 16}, {Piece: 1008, Split: 700}},
		// Each card is shown once: what a reader says while nobody listens is
		// lost, and then a card that comes again could not be told from itself.
		Reader: true, Cards: 20_000, ReaderPace: 200 * time.Millisecond,
		Native: 24, OwnTracks: 12, PhonePace: 30 * time.Millisecond,
		Behaviours: phone.Behaviours(),
		Faults:     central.Faults{Fail: 0.05, Lose: 0.1, Delay: 2 * time.Millisecond, Jitter: 20 * time.Millisecond},
	}
}

// killRun is one run of the rig.
type killRun struct {
	cfg    KillConfig
	world  *World
	daemon *Daemon
	random *rand.Rand
	ends   []map[string]int // how many facts of each line there were at each kill
	fails  map[int]string   // what went wrong in a round, by its number from 0
}

// Kill kills a daemon under load again and again, starts it again each time,
// and counts at the end. A round fails if the daemon ended by itself, or if a
// fact that was made in it is lost, doubled, altered or out of order.
func Kill(ctx context.Context, cfg KillConfig) (err error) {
	r := &killRun{cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 1)), fails: map[int]string{}}
	if r.world, err = NewWorld(killScene(cfg.Seed)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.world.Close()) }()
	if err := r.world.WriteFiles(cfg.Dir); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(cfg.Dir, "punchd.log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	r.daemon = &Daemon{Path: cfg.Daemon, Dir: cfg.Dir, Log: log}

	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	punching, stopPunching := context.WithCancel(serving)
	defer stopPunching()
	served, punched := make(chan error, 1), make(chan error, 1)
	go func() { served <- r.world.Serve(serving) }()
	go func() { punched <- r.world.Punch(punching) }()
	runErr := r.rounds(ctx)
	stopPunching()
	runErr = errors.Join(runErr, <-punched)
	if runErr == nil {
		runErr = r.settle(ctx)
	}
	stopServing()
	if runErr = errors.Join(runErr, <-served); runErr != nil {
		return runErr
	}
	return r.judge()
}

// rounds kills the daemon the number of times asked for.
func (r *killRun) rounds(ctx context.Context) error {
	for i := range r.cfg.Rounds {
		p, err := r.daemon.Start()
		if err != nil {
			return err
		}
		life := shortestLife + time.Duration(r.random.Int64N(int64(longestLife-shortestLife)))
		select {
		case <-p.Exited():
			r.fails[i] = fmt.Sprintf("the daemon ended by itself: %v", p.err)
		case <-time.After(life):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), p.Kill())
		}
		if err := p.Kill(); err != nil {
			return err
		}
		made := r.world.Made(false)
		ends := map[string]int{}
		promised := 0
		for _, f := range made {
			ends[f.Line]++
			if f.Promised {
				promised++
			}
		}
		r.ends = append(r.ends, ends)
		if (i+1)%10 == 0 || i+1 == r.cfg.Rounds {
			if _, err := fmt.Fprintf(r.cfg.Out, "killed %d of %d times; %d facts made, %d promised, %d at central\n",
				i+1, r.cfg.Rounds, len(made), promised, r.world.Central().Stats().Distinct); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle lets a daemon that is not killed bring everything to central, and
// stops it in the ordinary way.
func (r *killRun) settle(ctx context.Context) error {
	p, err := r.daemon.Start()
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	if err := p.Ready(ready); err != nil {
		return errors.Join(err, p.Kill())
	}
	made := r.world.Made(false)
	least, since := len(made)+1, time.Now()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for time.Since(since) < drainPatience {
		seen, _, err := r.world.Held()
		if err != nil {
			return errors.Join(err, p.Kill())
		}
		lost := Check(made, seen).Lost
		if lost == 0 {
			break
		}
		if lost < least {
			least, since = lost, time.Now()
		}
		select {
		case <-tick.C:
		case <-p.Exited():
			return fmt.Errorf("rig: the daemon ended while it was to drain: %w", p.err)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), p.Kill())
		}
	}
	return p.Stop(stopPatience)
}

// judge counts, and says how many rounds passed.
func (r *killRun) judge() error {
	seen, _, err := r.world.Held()
	if err != nil {
		return err
	}
	t := Check(r.world.Made(false), seen)
	differ, err := r.world.ReceiptsDiffer()
	if err != nil {
		return err
	}
	if len(differ) > 0 { // a receipt does not tell in which round it was signed
		r.fails[max(len(r.ends)-1, 0)] = fmt.Sprintf("%d receipts are not true; the first: %s", len(differ), differ[0])
	}
	for _, f := range t.Faults {
		i := r.roundOf(f)
		if _, known := r.fails[i]; !known {
			r.fails[i] = f.String()
		}
	}
	stats := r.world.Central().Stats()
	heads, err := r.world.Witness()
	if err != nil {
		r.fails[max(len(r.ends)-1, 0)] = err.Error()
	}
	if _, err := fmt.Fprintf(r.cfg.Out, "%d facts made, %d promised, %d at central (%d requests, %d events, %d of them again), and %d signed heads of the ledger; %s\n",
		t.Made, t.Promised, t.Held, stats.Requests, stats.Received, stats.Duplicates, heads, t); err != nil {
		return err
	}
	return report(r.cfg.Out, r.cfg.Seed, r.cfg.Rounds, r.fails)
}

// roundOf is the round in which a fact was made; what nobody made, or was made
// after the last kill, counts for the last.
func (r *killRun) roundOf(f Fault) int {
	if f.Index >= 0 {
		for i, ends := range r.ends {
			if f.Index < ends[f.Line] {
				return i
			}
		}
	}
	return max(len(r.ends)-1, 0)
}

// ErrFailed says that a rig has found something; it has told what.
var ErrFailed = errors.New("rig: failed")

// report prints what failed, and "N passed, N failed".
func report(out io.Writer, seed uint64, rounds int, fails map[int]string) error {
	told := 0
	for i := range rounds {
		if why, failed := fails[i]; failed && told < 20 {
			told++
			if _, err := fmt.Fprintf(out, "round %d: %s\n", i+1, why); err != nil {
				return err
			}
		}
	}
	if _, err := fmt.Fprintf(out, "seed %d: %d passed, %d failed\n", seed, rounds-len(fails), len(fails)); err != nil {
		return err
	}
	if len(fails) > 0 {
		return ErrFailed
	}
	return nil
}
