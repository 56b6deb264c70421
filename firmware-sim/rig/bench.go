package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/punchd/punchd/firmware-sim/phone"
	protocolphone "github.com/punchd/punchd/protocol/phone"
)

// BenchConfig says which daemon to measure, and how long.
type BenchConfig struct {
	Seed    uint64
	Daemon  string // the program
	Dir     string // where to work
	Each    int    // check-ins of each of the 64 phones in a run; default 500
	Backlog int    // punches buffered when the daemon is started again and drains; default 200,000
	Out     io.Writer
}

// benchPhones is how many phones check in side by side.
const benchPhones = 64

// Figures are what a daemon came to on this machine, with the simulators and
// the stand-in central on the same cores.
type Figures struct {
	BinaryMB float64 `json:"binary_mb"`

	// What this machine does alone, before the daemon is started: one fdatasync
	// of 512 bytes after the other, and verifications on one core.
	SyncsPerSecond float64 `json:"plain_fdatasync_per_second"`
	ES256VerifyUS  float64 `json:"plain_es256_verify_us"`
	EdDSAVerifyUS  float64 `json:"plain_eddsa_verify_us"`

	Unsigned Pace `json:"unsigned_64"` // OwnTracks, 64 phones
	ES256    Pace `json:"es256_64"`
	EdDSA    Pace `json:"eddsa_64"`
	One      Pace `json:"unsigned_1"` // one phone

	RSSIdleMB    Memory `json:"rss_idle_mb"`
	RSSLoadMB    Memory `json:"rss_load_mb"`    // after the runs above
	RSSBacklogMB Memory `json:"rss_backlog_mb"` // with the backlog buffered, fresh from the start
	RSSDrainedMB Memory `json:"rss_drained_mb"` // after draining it

	Backlog         int     `json:"backlog"`
	StartCleanMS    float64 `json:"start_clean_ms"`      // from exec to ready, with the backlog, after a clean stop
	StartKilledMS   float64 `json:"start_killed_ms"`     // the same after kill -9
	FirstAckMS      float64 `json:"first_ack_killed_ms"` // and to the first acknowledgement
	DrainPerSecond  float64 `json:"drain_per_second"`
	DrainSeconds    float64 `json:"drain_seconds"`
	LedgerBytesEach float64 `json:"ledger_bytes_each"` // of a record, with the settlements
	BufferBytesEach float64 `json:"buffer_bytes_each"`
}

// Pace is how fast check-ins were acknowledged, each after its fdatasync.
type Pace struct {
	PerSecond float64 `json:"per_second"`
	P50MS     float64 `json:"p50_ms"`
	P99MS     float64 `json:"p99_ms"`
	// Processor time for a check-in: the daemon's, forwarding included, and
	// that of phones and central together.
	DaemonUS float64 `json:"daemon_cpu_us"`
	OthersUS float64 `json:"others_cpu_us"`
}

// Memory is what the system counts for a process.
type Memory struct {
	RSS       float64 `json:"rss"`
	Anonymous float64 `json:"anonymous"` // without the pages of files, which the system can drop
	Peak      float64 `json:"peak"`
}

// bench is one measurement.
type bench struct {
	cfg     BenchConfig
	world   *World
	daemon  *Daemon
	process *Process
	figures Figures
}

// Bench measures a daemon. Every check-in that was acknowledged is counted at
// central at the end; an error says if one is missing.
func Bench(ctx context.Context, cfg BenchConfig) (f *Figures, err error) {
	if cfg.Each == 0 {
		cfg.Each = 500
	}
	if cfg.Backlog == 0 {
		cfg.Backlog = 200_000
	}
	b := &bench{cfg: cfg}
	info, err := os.Stat(cfg.Daemon)
	if err != nil {
		return nil, err
	}
	b.figures.BinaryMB = float64(info.Size()) / 1e6
	if b.world, err = NewWorld(Scene{Seed: cfg.Seed, Native: 2 * benchPhones, OwnTracks: 2 * benchPhones}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.world.Close()) }()
	if err := b.world.WriteFiles(cfg.Dir); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(cfg.Dir, "punchd.log"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	b.daemon = &Daemon{Path: cfg.Daemon, Dir: cfg.Dir, Log: log}
	if err := b.machine(); err != nil {
		return nil, err
	}

	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	served := make(chan error, 1)
	go func() { served <- b.world.Serve(serving) }()
	runErr := b.run(ctx)
	if b.process != nil {
		runErr = errors.Join(runErr, b.process.Stop(stopPatience))
	}
	stopServing()
	if err := errors.Join(runErr, <-served); err != nil {
		return nil, err
	}
	return &b.figures, b.count()
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.cfg.Out, format+"\n", args...) // progress: of no worth if nobody reads it
}

func (b *bench) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{b.idle, b.paces, b.fill, b.restart, b.drain} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// start starts the daemon and says how long it took to be ready.
func (b *bench) start(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	p, err := b.daemon.Start()
	if err != nil {
		return 0, err
	}
	b.process = p
	ready, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	err = p.Ready(ready)
	return time.Since(began), err
}

func (b *bench) idle(ctx context.Context) error {
	if _, err := b.start(ctx); err != nil {
		return err
	}
	if err := rest(ctx, 2*time.Second); err != nil {
		return err
	}
	b.figures.RSSIdleMB = memoryOf(b.process.PID())
	b.say("binary %.1f MB, idle %.0f MB", b.figures.BinaryMB, b.figures.RSSIdleMB.RSS)
	return nil
}

// paces measures how fast check-ins are acknowledged while central takes them.
func (b *bench) paces(ctx context.Context) error {
	for _, run := range []struct {
		name string
		load phone.Load
		to   *Pace
	}{
		{"one phone, unsigned", phone.Load{Phones: 1, Each: 2000}, &b.figures.One},
		{"64 phones, unsigned", phone.Load{Phones: benchPhones, Each: b.cfg.Each}, &b.figures.Unsigned},
		{"64 phones, ES256", phone.Load{Algorithm: protocolphone.ES256, Phones: benchPhones, Each: b.cfg.Each}, &b.figures.ES256},
		{"64 phones, EdDSA", phone.Load{Algorithm: protocolphone.EdDSA, Phones: benchPhones, Each: b.cfg.Each}, &b.figures.EdDSA},
	} {
		var daemon, others []time.Duration // at the start and at the end of the clock
		run.load.Clock = func() {
			daemon, others = append(daemon, cpuOf(b.process.PID())), append(others, cpuOf(os.Getpid()))
		}
		burst, err := b.world.fleet.Burst(ctx, run.load)
		if err != nil {
			return err
		}
		each := func(cpu []time.Duration) float64 {
			return float64((cpu[1] - cpu[0]).Microseconds()) / float64(burst.CheckIns)
		}
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		*run.to = Pace{burst.Rate(), ms(burst.Quantile(0.5)), ms(burst.Quantile(0.99)), each(daemon), each(others)}
		b.say("%-20s %7.0f check-ins a second, each after its fdatasync; p50 %.2f ms, p99 %.2f ms; CPU each %.0f us, phones and central %.0f us",
			run.name, run.to.PerSecond, run.to.P50MS, run.to.P99MS, run.to.DaemonUS, run.to.OthersUS)
	}
	b.figures.RSSLoadMB = memoryOf(b.process.PID())
	b.say("after that %.0f MB, at most %.0f", b.figures.RSSLoadMB.RSS, b.figures.RSSLoadMB.Peak)
	return nil
}

// fill makes a backlog while central is away.
func (b *bench) fill(ctx context.Context) error {
	if err := b.world.settled(ctx); err != nil {
		return err
	}
	b.world.central.SetDown(true)
	for left := b.cfg.Backlog; left > 0; {
		n := min(left/benchPhones+1, 2000)
		burst, err := b.world.fleet.Burst(ctx, phone.Load{Phones: benchPhones, Each: n})
		if err != nil {
			return err
		}
		left -= burst.CheckIns
		b.figures.Backlog += burst.CheckIns
	}
	b.say("%d punches wait for central", b.figures.Backlog)
	return nil
}

// restart measures how soon the daemon is back with a backlog.
func (b *bench) restart(ctx context.Context) error {
	if err := b.process.Stop(stopPatience); err != nil {
		return err
	}
	took, err := b.start(ctx)
	if err != nil {
		return err
	}
	b.figures.StartCleanMS = float64(took.Microseconds()) / 1000
	// Something to replay: what was acknowledged last before the kill.
	if _, err := b.world.fleet.Burst(ctx, phone.Load{Phones: benchPhones, Each: 50}); err != nil {
		return err
	}
	if err := b.process.Kill(); err != nil {
		return err
	}
	began := time.Now()
	if took, err = b.start(ctx); err != nil {
		return err
	}
	b.figures.StartKilledMS = float64(took.Microseconds()) / 1000
	if _, err := b.world.fleet.Burst(ctx, phone.Load{Phones: 1, Each: 1}); err != nil {
		return err
	}
	b.figures.FirstAckMS = float64(time.Since(began).Microseconds()) / 1000
	if err := rest(ctx, 2*time.Second); err != nil {
		return err
	}
	b.figures.RSSBacklogMB = memoryOf(b.process.PID())
	b.say("ready %.0f ms after a clean stop, %.0f ms after a kill, the first acknowledgement after %.0f ms; %.0f MB",
		b.figures.StartCleanMS, b.figures.StartKilledMS, b.figures.FirstAckMS, b.figures.RSSBacklogMB.RSS)
	return nil
}

// drain measures how fast a backlog goes out, from the first event that central
// takes again to the last.
func (b *bench) drain(ctx context.Context) error {
	before := b.world.central.Stats().Distinct
	b.world.central.SetDown(false)
	var first time.Time
	var firstAt, last uint64
	progress, tick := time.Now(), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	want := uint64(len(b.world.Made(false)))
	for last = before; last < want; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		now := b.world.central.Stats().Distinct
		if now != last {
			progress = time.Now()
			if first.IsZero() {
				first, firstAt = progress, now
			}
			last = now
		}
		if time.Since(progress) > drainPatience {
			return fmt.Errorf("rig: %d of %d punches are at central, and no more come", last, want)
		}
	}
	took := time.Since(first).Seconds()
	b.figures.DrainSeconds = took
	b.figures.DrainPerSecond = float64(last-firstAt) / took
	b.figures.RSSDrainedMB = memoryOf(b.process.PID())
	b.figures.LedgerBytesEach = size(filepath.Join(b.cfg.Dir, dataDir, "ledger")) / float64(want)
	b.figures.BufferBytesEach = size(filepath.Join(b.cfg.Dir, dataDir, "buffer")) / float64(want)
	b.say("drained %d punches in %.1f s, %.0f a second; %.0f MB", last-before, took, b.figures.DrainPerSecond, b.figures.RSSDrainedMB.RSS)
	return nil
}

// count compares both sides at the end.
func (b *bench) count() error {
	seen, _, err := b.world.Held()
	if err != nil {
		return err
	}
	t := Check(b.world.Made(false), seen)
	b.say("%d check-ins promised, %d at central; %s", t.Promised, t.Held, t)
	if !t.Clean() {
		for _, e := range t.Examples() {
			b.say("%s", e)
		}
		return ErrFailed
	}
	return nil
}

// settled waits until central holds everything that was made.
func (w *World) settled(ctx context.Context) error {
	want, least, since := uint64(len(w.Made(false))), uint64(0), time.Now()
	for time.Since(since) < drainPatience {
		now := w.central.Stats().Distinct
		if now >= want {
			return nil
		}
		if now > least {
			least, since = now, time.Now()
		}
		if err := rest(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("rig: %d of %d facts are at central, and no more come", least, want)
}

// rest waits, unless ctx ends.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
