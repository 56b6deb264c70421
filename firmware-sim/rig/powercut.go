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
	"github.com/punchd/punchd/firmware-sim/rig/disk"
	"github.com/punchd/punchd/firmware-sim/rig/machine"
	"github.com/punchd/punchd/firmware-sim/terminal/zk"
)

// PowerConfig says how often to cut the power of which daemon.
type PowerConfig struct {
	Cuts    int
	Seed    uint64
	NoFsync bool      // the disk answers flushes and drops them; the run must then fail
	Kernel  string    // directory with boot/ and lib/modules/ of a kernel
	Daemon  string    // the program, static
	Dir     string    // where to work; what is in it tells what happened
	Out     io.Writer // progress
}

// PowerFigures is what the disk and the machine went through.
type PowerFigures struct {
	CutsPerMinute float64 `json:"cuts_per_minute"`
	Acknowledged  int     `json:"acknowledged"` // check-ins: what a missing flush would lose
	Early         int     `json:"early"`        // cuts before the daemon served
	SectorsKept   int     `json:"sectors_kept"` // that were not flushed at a cut
	SectorsLost   int     `json:"sectors_lost"`
	WritesTorn    int     `json:"writes_torn"`
	Writes        uint64  `json:"writes"`
	Flushes       uint64  `json:"flushes"`
	Forced        uint64  `json:"forced"`       // writes that are durable at once
	OpenSeconds   float64 `json:"open_seconds"` // at most, from the file system to service
}

// The bounds of what a machine lives once its daemon serves.
const (
	shortestService = 50 * time.Millisecond
	longestService  = 1200 * time.Millisecond
	mostWrites      = 4               // that a disk still takes before it falls silent
	longestWait     = 2 * time.Second // for them
)

// powerScene is the kill rig's, as busy as a virtual machine can bear.
func powerScene(seed uint64, apart *Apart) Scene {
	return Scene{
		Seed: seed, Terminals: 3, Users: 100, Logs: 50, TerminalPace: 200 * time.Millisecond,
		Quirks: []zk.Quirks{{}, {AttSize: 16}, {Piece: 1008, Split: 700}},
		Reader: true, Cards: 20_000, ReaderPace: 200 * time.Millisecond,
		Native: 16, OwnTracks: 8, PhonePace: 40 * time.Millisecond,
		Behaviours: phone.Behaviours(),
		Faults:     central.Faults{Fail: 0.05, Lose: 0.1, Delay: 2 * time.Millisecond, Jitter: 20 * time.Millisecond},
		Apart:      apart,
	}
}

// powerRun is one run of the rig.
type powerRun struct {
	rounds
	cfg     PowerConfig
	machine *machine.Machine
	gate    *gate
	random  *rand.Rand
	figures PowerFigures
	opening time.Duration // how long the last start took from the file system to service
}

// errClosed ends the cuts early: what does not open once does not open again.
var errClosed = errors.New("rig: the gateway does not open")

// PowerCut cuts the power of a daemon under load again and again, puts it on
// again each time, and counts at the end. A round fails if its start did not
// open the file system and the ledger, if the daemon ended by itself, or if a
// fact that was made in it is lost, doubled, altered or out of order.
func PowerCut(ctx context.Context, cfg PowerConfig) (o *Outcome, err error) {
	r := &powerRun{cfg: cfg, gate: newGate(), random: rand.New(rand.NewPCG(cfg.Seed, 3)), rounds: rounds{out: cfg.Out, seed: cfg.Seed, fails: map[int]string{}}}
	r.world, err = NewWorld(powerScene(cfg.Seed, &Apart{machine.HostAddress, machine.Address + ":" + machine.BrokerPort, r.gate.dial}))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.world.Close()) }()
	if err := r.build(ctx); err != nil {
		return nil, err
	}
	r.began = time.Now()
	err = r.underLoad(ctx, r.cuts, r.settle)
	if err != nil && !errors.Is(err, errClosed) {
		return nil, err
	}
	for _, m := range r.world.fleet.Made() {
		if m.Promised {
			r.figures.Acknowledged++
		}
	}
	if err := r.say("%d check-ins acknowledged; %d cuts while it opened; of the unflushed sectors %d kept and %d lost, %d writes torn; %d writes and %d flushes; %.1f cuts a minute",
		r.figures.Acknowledged, r.figures.Early, r.figures.SectorsKept, r.figures.SectorsLost, r.figures.WritesTorn, r.figures.Writes, r.figures.Flushes, r.figures.CutsPerMinute); err != nil {
		return nil, err
	}
	o, err = r.judge()
	if o != nil {
		o.Power = &r.figures
	}
	return o, err
}

// build makes the machine.
func (r *powerRun) build(ctx context.Context) error {
	began := time.Now()
	site := filepath.Join(r.cfg.Dir, "site")
	if err := os.Mkdir(site, 0o700); err != nil {
		return err
	}
	if err := r.world.WriteFiles(site); err != nil {
		return err
	}
	guest, err := build(ctx, r.cfg.Dir, "guest", "firmware-sim/rig/guest", nil, forGuest...)
	if err != nil {
		return fmt.Errorf("rig: build the machine's first program: %w", err)
	}
	r.machine, err = machine.New(ctx, machine.Config{
		Kernel: r.cfg.Kernel, Dir: r.cfg.Dir, Daemon: r.cfg.Daemon, Guest: guest, Site: site, Broker: r.world.Broker(),
	})
	if err != nil {
		return err
	}
	if r.cfg.NoFsync {
		r.machine.Disk().IgnoreFlushes()
	}
	return r.say("the machine is made, in %.1f s", time.Since(began).Seconds())
}

func (r *powerRun) say(format string, args ...any) error {
	_, err := fmt.Fprintf(r.cfg.Out, format+"\n", args...)
	return err
}

// cuts cuts the power the number of times asked for.
func (r *powerRun) cuts(ctx context.Context) error {
	for i := range r.cfg.Cuts {
		life, err := r.start(ctx, i)
		if err != nil {
			return err
		}
		share, how := r.fate()
		loss := r.machine.Disk().Cut(r.random, share, how)
		so := r.note()
		r.figures.SectorsKept += loss.Kept
		r.figures.SectorsLost += loss.Lost
		r.figures.WritesTorn += loss.Torn
		r.figures.CutsPerMinute = float64(i+1) / time.Since(r.began).Minutes()
		stats := r.machine.Disk().Stats()
		r.figures.Writes, r.figures.Flushes, r.figures.Forced = stats.Writes, stats.Flushes, stats.Forced
		if err := r.say("cut %d of %d, %s: unflushed sectors %d kept and %d lost %s, %d writes torn; %s; %.1f cuts a minute",
			i+1, r.cfg.Cuts, life, loss.Kept, loss.Lost, how, loss.Torn, so, r.figures.CutsPerMinute); err != nil {
			return err
		}
		if why, failed := r.fails[i]; failed {
			return errors.Join(errClosed, r.say("the other %d cuts are not made: %s", r.cfg.Cuts-i-1, why))
		}
	}
	return nil
}

// fate decides how much of the cache survives a cut, and how. All and nothing
// come more often than chance would have it.
func (r *powerRun) fate() (share float64, how disk.Manner) {
	switch r.random.IntN(6) {
	case 0:
		share = 0
	case 1:
		share = 1
	default:
		share = r.random.Float64()
	}
	return share, disk.Manner(r.random.IntN(int(disk.Manners)))
}

// start puts the power on, and cuts it at a random moment: in one of four cases
// while the file system and the ledger are being opened, else in service. It
// says in words when it did.
func (r *powerRun) start(ctx context.Context, i int) (life string, err error) {
	run, err := r.machine.Start(ctx, fmt.Sprintf("cut-%04d", i+1))
	if err != nil {
		return "", err
	}
	defer func() {
		r.gate.shut()
		err = errors.Join(err, run.Cut())
	}()

	early, part := r.random.IntN(4) == 0 && r.opening > 0, r.random.Float64()
	if err := run.Await(ctx, machine.Mounted); err != nil {
		return r.unopened(ctx, i, err)
	}
	mounted := time.Now()

	if early {
		r.figures.Early++
		return r.live(ctx, run, i, "while it opened", time.Duration(part*float64(r.opening)))
	}
	if err := run.Await(ctx, machine.Ready); err != nil {
		return r.unopened(ctx, i, err)
	}
	r.opening = time.Since(mounted)

	r.figures.OpenSeconds = max(r.figures.OpenSeconds, r.opening.Seconds())
	r.gate.unlock()
	longest := max(longestService, r.opening) // a busy computer needs more time for the same work
	return r.live(ctx, run, i, "in service", shortestService+time.Duration(part*float64(longest-shortestService)))
}

// unopened notes a start that came to nothing.
func (r *powerRun) unopened(ctx context.Context, i int, err error) (string, error) {
	r.fails[i] = err.Error()
	return "it did not open", ctx.Err()
}

// live lets a machine live for a while. Then the power is cut, in three of four
// cases when the disk has just got one of the next writes and not its flush, or
// at the latest a while later.
func (r *powerRun) live(ctx context.Context, run *machine.Run, i int, when string, life time.Duration) (string, error) {
	exact, writes := r.random.IntN(4) > 0, 1+r.random.IntN(mostWrites)
	timer := time.NewTimer(life)
	defer timer.Stop()
	var silent <-chan struct{}
	for began := time.Now(); ; {
		select {
		case w := <-run.Words():
			if w.State == machine.Failed {
				r.fails[i] = w.What
				return when, nil
			}
		case <-run.Ended():
			r.fails[i] = "QEMU ended by itself; see the console's log"
			return when, nil
		case <-silent:
			return fmt.Sprintf("%s for %s and %d writes", when, time.Since(began).Round(time.Millisecond), writes), nil
		case <-timer.C:
			if !exact || silent != nil {
				return fmt.Sprintf("%s for %s", when, time.Since(began).Round(time.Millisecond)), nil
			}
			silent = r.machine.Disk().SilentAfter(writes)
			timer.Reset(longestWait)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// settle lets a machine whose power stays on bring everything to central, and
// stops it in the ordinary way. What goes wrong here counts for the last cut.
func (r *powerRun) settle(ctx context.Context) (err error) {
	run, err := r.machine.Start(ctx, "settle")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.Cut()) }()
	err = run.Await(ctx, machine.Ready)
	if err == nil {
		err = r.drain(ctx, run.Ended(), drainPatience)
	}
	if err == nil {
		err = run.Stop(ctx)
	}
	if err != nil && ctx.Err() == nil {
		r.fails[r.cfg.Cuts-1] = "after it: " + err.Error()
		return nil
	}
	return err
}
