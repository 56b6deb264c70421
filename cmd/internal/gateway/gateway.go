// Package gateway is the daemon: it starts the parts and joins them. What comes
// from devices goes through accept, what comes from phones through verify, both
// into the journal; forwarders carry the journal to the sinks.
package gateway

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/journal"
	"github.com/punchd/punchd/sync/roster"
)

// Options are what a daemon is given beside its configuration.
type Options struct {
	Log     *slog.Logger // nil: silent
	Version string       // of the program, for status and the sinks
	// Ready, if not nil, is called once, when phones can connect and the control
	// socket answers.
	Ready func()
}

// Gateway is a daemon that owns its data directory. Make it with [New].
type Gateway struct {
	cfg     *config.Config
	opt     Options
	log     *slog.Logger
	started time.Time
	signer  ed25519.PrivateKey // nil if no phones are served that need it

	journal    *journal.Journal
	roster     *roster.Keeper
	judgement  atomic.Pointer[judgement]
	history    *history
	phones     *locks
	drivers    []driver
	mqtt       mqttPart // nil: phones are not served
	forwarders []*forward.Forwarder
	closers    []func() error // of the sinks
	counts     counts
	troubles   troubles
}

// New opens the data directory, reads the roster and makes the parts. Nothing
// listens and nothing is dialled yet. If it succeeds, [Gateway.Run] must be
// called, which closes everything again.
func New(ctx context.Context, cfg *config.Config, opt Options) (*Gateway, error) {
	g := &Gateway{cfg: cfg, opt: opt, log: opt.Log, started: time.Now(), history: newHistory(), phones: newLocks()}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	for _, w := range cfg.Warnings() {
		g.log.Warn("config: " + w.Error())
	}
	if err := os.MkdirAll(cfg.Gateway.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("gateway: data directory: %w", err)
	}
	var err error
	if g.journal, err = journal.Open(ctx, journal.Config{Dir: cfg.Gateway.DataDir, Log: g.log.With("part", "journal")}); err != nil {
		return nil, err
	}
	if err := g.build(ctx); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *Gateway) build(ctx context.Context) (err error) {
	if g.roster, err = roster.Open(ctx, roster.Config{
		File: g.cfg.Roster.File, Cache: filepath.Join(g.cfg.Gateway.DataDir, "roster.last"),
		Accept: g.takeRoster, Log: g.log.With("part", "roster"),
	}); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return noRoster{err}
	}
	if err := g.history.load(ctx, g.journal, g.log); err != nil {
		return err
	}
	if err := g.readKey(); err != nil {
		return err
	}
	if err := g.buildDrivers(); err != nil {
		return err
	}
	if err := g.buildPhones(); err != nil {
		return err
	}
	return g.buildSinks()
}

// ErrRoster is in the error of [New] if there is no roster to begin with.
var ErrRoster = errors.New("gateway: no roster")

// noRoster is [ErrRoster] with its cause, which it leaves as it is: each of its
// lines may begin with a file's name.
type noRoster struct{ error }

func (e noRoster) Unwrap() []error { return []error{ErrRoster, e.error} }

// close gives back what New took.
func (g *Gateway) close() error {
	var errs []error
	for _, c := range g.closers {
		errs = append(errs, c())
	}
	return errors.Join(append(errs, g.journal.Close())...)
}

// Run serves until ctx ends, then stops cleanly: first what takes punches in,
// then what carries them out, then the journal. It returns nil if that is how
// it ended, and an error if a part could not do its work at all.
func (g *Gateway) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, g.close()) }()
	// The outer parts go on while the inner ones finish.
	outer, stopOuter := context.WithCancel(context.WithoutCancel(ctx))
	defer stopOuter()
	out, outer := errgroup.WithContext(outer)
	in, inner := errgroup.WithContext(ctx)

	listening := make(chan struct{})
	out.Go(func() error { return g.control(outer, listening) })
	out.Go(func() error { return g.roster.Run(outer) })
	out.Go(func() error { g.watchDevices(outer); return nil })
	for _, f := range g.forwarders {
		out.Go(func() error { return f.Run(outer) })
	}
	out.Go(func() error { return g.journal.Tend(outer) })
	if g.signer != nil {
		out.Go(func() error { return g.journal.Notarize(outer, g.signer) })
	}
	out.Go(func() error {
		select {
		case <-g.journal.Failed(): // it can't go on by itself; a new start makes it anew
			return g.journal.Err()
		case <-outer.Done():
			return nil
		}
	})
	in.Go(func() error { // an outer part that fails ends the inner ones too
		select {
		case <-outer.Done():
			return errOuter
		case <-inner.Done():
			return nil
		}
	})
	for _, d := range g.drivers {
		in.Go(func() error { g.drive(inner, d); return nil })
	}
	if g.mqtt != nil {
		in.Go(func() error { return g.mqtt.Run(inner) })
	}
	in.Go(func() error { g.tellReady(inner, listening); return nil })

	errIn := in.Wait()
	notify(g.log, notifyStopping)
	g.log.Info("stopping")
	stopOuter()
	errOut := out.Wait()
	if errors.Is(errIn, errOuter) {
		errIn = nil // errOut says why
	}
	return errors.Join(errIn, errOut)
}

// errOuter ends the inner parts when an outer one has failed.
var errOuter = errors.New("gateway: another part failed")

// drive runs one driver. A device that can't be run does not keep the others
// from their work: it is told, and its state stays on the status page.
func (g *Gateway) drive(ctx context.Context, d driver) {
	if err := d.Run(ctx); err != nil {
		g.log.Error("this device is given up until the daemon is started again", "device", d.id, "err", err)
	}
}

// tellReady waits until everybody can be served.
func (g *Gateway) tellReady(ctx context.Context, listening <-chan struct{}) {
	waits := []<-chan struct{}{listening}
	if b, ok := g.mqtt.(interface{ Ready() <-chan struct{} }); ok {
		waits = append(waits, b.Ready())
	}
	for _, w := range waits {
		select {
		case <-w:
		case <-ctx.Done():
			return
		}
	}
	now := g.judgement.Load().roster
	g.log.Info("ready", "site", g.cfg.Site.ID, "gateway", g.cfg.Gateway.ID, "terminals", len(g.drivers), "sinks", len(g.forwarders),
		"employees", len(now.Roster.Employees), "roster", now.Version, "after", time.Since(g.started).Round(time.Millisecond))
	notify(g.log, notifyReady)
	if g.opt.Ready != nil {
		g.opt.Ready()
	}
}
