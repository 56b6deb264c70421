// Package zk runs ZKTeco terminals: it reads a terminal's log over the
// standalone protocol and hears its events in between.
//
// The log is the truth, and an event only makes the driver look at it sooner.
package zk

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/punchd/punchd/device"
	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol/zk"
)

const (
	driverName = "zk"

	defaultPoll   = 30 * time.Second
	defaultAnswer = 10 * time.Second
	defaultAuth   = 75 * time.Second
	defaultQuiet  = 30 * time.Second
	// probeEvery is the longest that a connection stays without a word: a
	// terminal that was switched off says nothing.
	probeEvery = time.Minute
	// slowRetry is the pause before a terminal is tried again that will refuse
	// until a person changes something. Many lock up when they are asked often.
	slowRetry = 5 * time.Minute
)

// Config says how a terminal is read.
type Config struct {
	ID   string      // of the device, as in the config file
	Link link.Dialer // the way to it, as tcp://192.168.1.201:4370
	// Zone is that of the clock on the terminal's face, which tells none
	// itself. Its name stands in each punch. Nil: UTC.
	Zone *time.Location
	// CommKey is the number on the terminal's own menu, 0 if none is set there.
	CommKey uint32
	// Poll is how often the terminal is asked whether its log has grown (0: 30 s).
	Poll time.Duration
	// Live asks the terminal to tell punches as they happen.
	Live bool
	// Layout is that of the terminal's records, if a person has chosen it.
	// 0: it is found by what the records say.
	Layout zk.Layout
	// Known tells by what the punches of this terminal that are durable are told
	// apart: Device.Serial of the newest, empty if there are none. It is called
	// once, before the first is handed over. Nil: nothing is durable.
	Known    func(ctx context.Context) (string, error)
	Timeouts Timeouts
	Emit     device.Emit
	Log      *slog.Logger // nil: silent
}

// Timeouts bound the waits for a terminal. Zero fields have their defaults.
type Timeouts struct {
	Answer time.Duration // to a request (10 s)
	Auth   time.Duration // to the comm key, which slow units take a minute for (75 s)
	Quiet  time.Duration // without a byte while bulk data is on its way (30 s)
}

// Driver is one terminal. It implements [device.Driver] and [device.Reporter].
type Driver struct {
	cfg    Config
	log    *slog.Logger
	keeper link.Keeper
	seed   maphash.Seed

	// What follows belongs to Run's goroutine.
	notBefore time.Time // of the next Dial
	terminal  terminal
	recalled  bool   // Known was asked
	known     string // what it said
	nameless  nameless
	cutsAtKey int // connections in a row that were lost while the comm key was looked at

	heard   atomic.Int64 // when the terminal last spoke, ns since 1970; 0: never
	mu      sync.Mutex
	state   device.State // all but LastError, LastHeard and Notes
	quirks  quirks
	linkErr error // why there is no connection
	readErr error // why nothing comes of the log though there is one
}

var (
	_ device.Driver   = (*Driver)(nil)
	_ device.Reporter = (*Driver)(nil)
)

// New makes a driver. Its error says what is wrong with cfg.
func New(cfg Config) (*Driver, error) {
	switch {
	case cfg.ID == "":
		return nil, errors.New("zk: terminal without an id")
	case cfg.Link == nil:
		return nil, fmt.Errorf("zk: terminal %s has no link", cfg.ID)
	case cfg.Emit == nil:
		return nil, fmt.Errorf("zk: terminal %s has nowhere to emit to", cfg.ID)
	case cfg.Layout != 0 && !cfg.Layout.Valid():
		return nil, fmt.Errorf("zk: terminal %s: there are no attendance records of the layout %v", cfg.ID, cfg.Layout)
	case cfg.Zone == time.Local:
		return nil, fmt.Errorf("zk: terminal %s: zone Local means another one on another machine; name it, as in Asia/Shanghai", cfg.ID)
	}
	for _, t := range []struct {
		name    string
		d       *time.Duration
		absence time.Duration
	}{
		{"poll", &cfg.Poll, defaultPoll},
		{"answer timeout", &cfg.Timeouts.Answer, defaultAnswer},
		{"auth timeout", &cfg.Timeouts.Auth, defaultAuth},
		{"quiet timeout", &cfg.Timeouts.Quiet, defaultQuiet},
	} {
		switch {
		case *t.d < 0:
			return nil, fmt.Errorf("zk: terminal %s: %s %v is negative", cfg.ID, t.name, *t.d)
		case *t.d == 0:
			*t.d = t.absence
		}
	}
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	d := &Driver{cfg: cfg, log: cfg.Log, seed: maphash.MakeSeed()}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.log = d.log.With("terminal", cfg.ID)
	d.keeper = link.Keeper{Dialer: patient{d}, Log: d.log, OnState: d.connected}
	d.state = device.State{ID: cfg.ID, Driver: driverName, Address: cfg.Link.String()}
	return d, nil
}

// Run reads the terminal until ctx ends. It returns an error only if the link
// is hopeless.
func (d *Driver) Run(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	// The keeper closes the connection in the moment its context ends, and the
	// terminal, which may serve one host only, is to be told before. So the
	// keeper's context ends behind the use of a connection, if there is one.
	late, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	using := make(chan struct{}, 1)
	defer onEnd(ctx, func() {
		using <- struct{}{}
		end()
		<-using
	})()
	err := d.keeper.Run(late, func(_ context.Context, c link.Conn) error {
		using <- struct{}{}
		defer func() { <-using }()
		err := d.use(ctx, c)
		if ctx.Err() != nil {
			end()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("zk: terminal %s: %w", d.cfg.ID, err)
	}
	return nil
}

// onEnd calls f when ctx ends. What it returns undoes that, or waits for f if
// it has begun; it is to be called once.
func onEnd(ctx context.Context, f func()) (undo func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// use talks to the terminal over one connection until it fails or ctx ends.
func (d *Driver) use(ctx context.Context, c link.Conn) error {
	s := newSession(c, d.cfg.Timeouts, d.seed, d.badFrame)
	s.heard = &d.heard
	undo := onEnd(ctx, s.wake)
	err := d.converse(ctx, s)
	undo()
	s.part(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if _, slow := errors.AsType[personError](err); slow {
		d.notBefore = time.Now().Add(slowRetry)
	}
	return err
}

// converse logs in, reads the log, and then follows it.
func (d *Driver) converse(ctx context.Context, s *session) error {
	if err := d.login(ctx, s); err != nil {
		return err
	}
	if err := d.identify(ctx, s); err != nil {
		return err
	}
	d.online()
	if err := d.clock(ctx, s); err != nil {
		return err
	}
	if d.terminal.stalled == nil {
		said, err := d.counts(ctx, s)
		if err != nil {
			return err
		}
		if err := d.read(ctx, s, said); err != nil {
			return err
		}
	}
	if d.cfg.Live {
		if err := d.listen(ctx, s); err != nil {
			return err
		}
	}
	return d.follow(ctx, s)
}

// patient dials not before the time that the driver has set.
type patient struct{ d *Driver }

func (p patient) String() string { return p.d.cfg.Link.String() }

func (p patient) Dial(ctx context.Context) (link.Conn, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Until(p.d.notBefore)):
	}
	c, err := p.d.cfg.Link.Dial(ctx)
	return c, unreachable(err)
}
