package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/cmd/internal/gateway"
	"github.com/punchd/punchd/firmware-sim/phone"
	"github.com/punchd/punchd/firmware-sim/rig"
	"github.com/punchd/punchd/sync/journal"
	"github.com/punchd/punchd/sync/ledger"
)

// The demo's bounds.
const (
	shortestDemo   = 12 * time.Second // with an outage inside and time to drain
	shortestOutage = 5500 * time.Millisecond
	drainLimit     = 30 * time.Second // beyond the time asked for
	readyLimit     = 30 * time.Second
)

func newDemo() *cobra.Command {
	d := demo{}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the gateway at work with simulated devices, an outage, and a count of both sides",
		Long: `demo runs the gateway on this machine with simulated devices: three ZKTeco
terminals over TCP, a card reader on a pty, fifty phones, some of which cheat,
and a stand-in for the central service that goes away in the middle. It ends by
itself and counts what the devices made against what central holds.

Nothing leaves this machine. Its exit status is 1 if a punch was lost, doubled
or out of order.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d.out = c.OutOrStdout()
			d.view.out, d.view.live = d.out, !d.json && isTerminal(d.out)
			ctx, stop := outlive(c.Context())
			defer stop()
			err := d.run(ctx)
			if errors.Is(err, syscall.EPIPE) {
				return errors.New("the demo was interrupted: nobody reads its output any more")
			}
			return err
		},
	}
	c.Flags().DurationVar(&d.length, "for", time.Minute, "how long at most, unless central is slow to catch up; at least "+shortestDemo.String())
	c.Flags().Uint64Var(&d.seed, "seed", 1, "what the simulated people do")
	c.Flags().StringVar(&d.keep, "keep", "", "directory to work in, and to leave as it is at the end; it must not exist")
	jsonFlag(c, &d.json, "make the last line one JSON object")
	return c
}

// demo is one demonstration.
type demo struct {
	length time.Duration
	seed   uint64
	keep   string
	json   bool
	out    io.Writer

	world   *rig.World
	cfg     *config.Config
	gateway *gateway.Gateway
	view    view
	started time.Time
	drained time.Duration // from central's return until it had what had waited
}

// scene is what the demo shows: half of the phones are honest.
func (d *demo) scene() rig.Scene {
	return rig.Scene{
		Seed: d.seed, Terminals: 3, Users: 40, Logs: 120, TerminalPace: 900 * time.Millisecond,
		Reader: true, ReaderPace: 1500 * time.Millisecond,
		Native: 40, OwnTracks: 10, PhonePace: 4 * time.Second,
		Behaviours: []phone.Behaviour{
			phone.Honest, phone.Outside, phone.Honest, phone.WrongBSSID, phone.Honest, phone.WrongKey, phone.Honest, phone.Replayed, phone.Honest, phone.Stale,
		},
	}
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.length < shortestDemo {
		return &exitError{exitUsage, fmt.Errorf("--for %s is too short: an outage is to be inside; at least %s", d.length, shortestDemo)}
	}
	dir, remove, err := d.directory()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if d.world, err = rig.NewWorld(d.scene()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.world.Close()) }()
	if err := d.world.WriteFiles(dir); err != nil {
		return err
	}
	if d.cfg, err = config.Load(filepath.Join(dir, rig.ConfigFile)); err != nil {
		return err
	}
	interrupted, err := d.play(ctx, dir)
	if err != nil {
		return err
	}
	s, err := d.summary(ctx)
	if err != nil {
		return err
	}
	if err := d.report(s); err != nil {
		return err
	}
	switch {
	case !s.Clean():
		return errSilent
	case interrupted:
		return errors.New("the demo was interrupted")
	}
	return nil
}

// directory is where the demo works, and what to do with it at the end.
func (d *demo) directory() (dir string, remove func() error, err error) {
	if d.keep != "" {
		if err := os.Mkdir(d.keep, 0o700); err != nil {
			return "", nil, fmt.Errorf("--keep: %w", err)
		}
		return d.keep, func() error { return nil }, nil
	}
	dir, err = os.MkdirTemp("", "punchd-demo-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

// play starts everything, lets the story happen, and stops everything.
func (d *demo) play(ctx context.Context, dir string) (interrupted bool, err error) {
	logFile, err := os.Create(filepath.Join(dir, "punchd.log"))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, logFile.Close()) }()
	ready := make(chan struct{})
	// What is started outlives an interruption: it still has to drain.
	lives, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	d.gateway, err = gateway.New(ctx, d.cfg, gateway.Options{
		Log: slog.New(slog.NewTextHandler(logFile, nil)), Version: readBuildInfo().Version, Ready: func() { close(ready) },
	})
	if err != nil {
		return false, err
	}
	worldLives, stopWorld := context.WithCancel(lives)
	defer stopWorld()
	group, lives := errgroup.WithContext(lives)
	group.Go(func() error {
		defer stopWorld()
		return d.gateway.Run(lives)
	})
	group.Go(func() error {
		if err := d.world.Serve(worldLives); err != nil {
			return err
		}
		if lives.Err() == nil { // it can only have been the gateway that ended
			return errors.New("the gateway ended by itself")
		}
		return nil
	})
	select {
	case <-ready:
		err = d.story(ctx, lives)
		interrupted = ctx.Err() != nil
	case <-lives.Done():
	case <-ctx.Done():
		interrupted = true
	case <-time.After(readyLimit):
		err = fmt.Errorf("the gateway was not ready within %s", readyLimit)
	}
	stop()
	return interrupted, errors.Join(err, group.Wait())
}

// story is what happens: punches all the time, central gone in the middle of
// it, and then the time to drain. An interruption of ctx cuts it short but lets
// what was made arrive; it all ends when lives does,
// or when a device can't do its part.
func (d *demo) story(ctx, lives context.Context) error {
	d.started = time.Now()
	group, lives := errgroup.WithContext(lives)
	punching, stopPunching := context.WithCancel(lives)
	defer stopPunching()
	watching, stopWatching := context.WithCancel(lives)
	defer stopWatching()
	punched := make(chan struct{})
	group.Go(func() error {
		defer close(punched)
		return d.world.Punch(punching)
	})
	group.Go(func() error { return d.view.show(watching, d.frame) })

	d.view.say("punching begins")
	pause(ctx, lives, d.length/4)
	d.world.Central().SetDown(true)
	d.view.say("central goes away")
	pause(ctx, lives, max(shortestOutage, d.length*3/10))
	d.world.Central().SetDown(false)
	d.view.say("central is back")
	group.Go(func() error { d.drained = d.arrive(watching, d.world.Made(true)); return nil })
	pause(ctx, lives, d.length*3/4-time.Since(d.started))
	stopPunching()
	<-punched
	d.view.say("punching ends")
	rest, cancel := context.WithDeadline(lives, d.started.Add(d.length+drainLimit))
	d.arrive(rest, d.world.Made(true))
	cancel()
	stopWatching()
	return group.Wait()
}

// arrive waits until central holds what was made, and says how long it took.
func (d *demo) arrive(ctx context.Context, made []rig.Fact) time.Duration {
	start := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		// An event that can't be read is told by the summary.
		if seen, _, err := d.world.Held(); err != nil || rig.Check(made, seen).Lost == 0 {
			return time.Since(start)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return time.Since(start)
		}
	}
}

// pause waits, until either context ends.
func pause(ctx, lives context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	case <-lives.Done():
	}
}

// summary counts both sides, once everything has stopped.
func (d *demo) summary(ctx context.Context) (*rig.Summary, error) {
	s, err := d.world.Summarize(true)
	if err != nil {
		return nil, err
	}
	s.DrainSeconds = d.drained.Seconds()
	dir := filepath.Join(d.cfg.Gateway.DataDir, journal.LedgerDir)
	_, err = ledger.Scan(context.WithoutCancel(ctx), dir, 0, func(ledger.Frame) error { s.LedgerRecords++; return nil },
		func(damage *ledger.Damage) error { return damage })
	return s, err
}

func (d *demo) report(s *rig.Summary) error {
	p := &page{w: d.out}
	p.line("")
	p.line("What the devices made, and what central holds:")
	p.line("  terminals  %5d punches in their logs", s.TerminalPunches)
	p.line("  reader     %5d cards shown", s.ReaderPunches)
	p.line("  phones     %5d check-ins: %d accepted, %d flagged, %d refused", s.CheckIns.Sent, s.CheckIns.Accepted, s.CheckIns.Flagged, s.CheckIns.Refused)
	p.line("  ledger     %5d records", s.LedgerRecords)
	p.line("  central    %5d distinct events, of %d received in %d requests", s.Central.Distinct, s.Central.Received, s.Central.Requests)
	p.line("")
	p.line("Central was away for %.1f s; what waited was there %.1f s after it came back.", s.OutageSeconds, s.DrainSeconds)
	p.line("lost %d, doubled %d, invented %d, altered %d, out of order %d", s.Lost, s.Doubled, s.Invented, s.Altered, s.OutOfOrder)
	for _, x := range s.Examples {
		p.line("  %s", printable(x))
	}
	if d.keep != "" {
		p.line("Configuration, ledger and log are in %s.", d.keep)
	}
	if p.err == nil && d.json {
		p.err = json.NewEncoder(d.out).Encode(s)
	}
	return p.err
}
