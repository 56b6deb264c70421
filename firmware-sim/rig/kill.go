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
	rounds
	cfg    KillConfig
	daemon *Daemon
	random *rand.Rand
}

// Kill kills a daemon under load again and again, starts it again each time,
// and counts at the end. A round fails if the daemon ended by itself, or if a
// fact that was made in it is lost, doubled, altered or out of order.
func Kill(ctx context.Context, cfg KillConfig) (o *Outcome, err error) {
	r := &killRun{cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 1)), rounds: rounds{out: cfg.Out, seed: cfg.Seed, began: time.Now(), fails: map[int]string{}}}
	if r.world, err = NewWorld(killScene(cfg.Seed)); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.world.Close()) }()
	if err := r.world.WriteFiles(cfg.Dir); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(cfg.Dir, "punchd.log"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	r.daemon = &Daemon{Path: cfg.Daemon, Dir: cfg.Dir, Log: log}
	if err := r.underLoad(ctx, r.kill, r.settle); err != nil {
		return nil, err
	}
	return r.judge()
}

// kill kills the daemon the number of times asked for.
func (r *killRun) kill(ctx context.Context) error {
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
		so := r.note()
		if (i+1)%10 == 0 || i+1 == r.cfg.Rounds {
			if _, err := fmt.Fprintf(r.cfg.Out, "killed %d of %d times; %s\n", i+1, r.cfg.Rounds, so); err != nil {
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
	if err := r.drain(ctx, p.Exited(), drainPatience); err != nil {
		return errors.Join(err, p.Kill(), p.err)
	}
	return p.Stop(stopPatience)
}
