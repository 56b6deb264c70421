package rig

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/punchd/punchd/firmware-sim/central"
	"github.com/punchd/punchd/firmware-sim/phone"
	"github.com/punchd/punchd/firmware-sim/reader"
	"github.com/punchd/punchd/firmware-sim/terminal/zk"
	protocolphone "github.com/punchd/punchd/protocol/phone"
)

// The names of a simulated site.
const (
	Site    = "xm-hq"
	Gateway = "gw-01"
	zone    = "Asia/Shanghai"
)

// office is where honest phones are: the second city of the product's examples.
var office = phone.Office{Lat: 24.479834, Lon: 118.089425, BSSID: "a2:8b:7f:c0:27:4b", SSID: "Office"}

// Scene says which devices a world has and how busy they are.
type Scene struct {
	Seed uint64

	Terminals    int           // ZKTeco terminals
	Users, Logs  int           // of each terminal: people, and entries in its log at the start
	TerminalPace time.Duration // between two punches at one terminal
	Quirks       []zk.Quirks   // go round the terminals

	Layouts bool // the configuration names how their logs are laid out

	Reader     bool          // an RDM6300
	Cards      int           // different ones; few enough come again, 0: 8
	ReaderPace time.Duration // between two cards

	Native, OwnTracks int // phones
	Behaviours        []phone.Behaviour
	PhonePace         time.Duration // between two check-ins of one phone; 0: at once

	Zone     string           // of the site; empty: Asia/Shanghai
	Clock    func() time.Time // of the site, but for the gateway's; nil: time.Now
	Unsigned bool             // central takes a batch whoever signed it, and when

	Faults central.Faults
	Log    *slog.Logger // of the simulators; nil: silent

	Apart *Apart // nil: the daemon runs on this computer
}

// Apart says how a daemon that runs on another computer reaches the devices, and
// they it.
type Apart struct {
	Host   string // at which the daemon finds what listens here
	Listen string // address its broker is to have
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

// World is a site with simulated devices and a stand-in central, and the files
// of a gateway that serves it. Everything is on loopback.
type World struct {
	scene     Scene
	zone      *time.Location
	terminals []*terminal
	reader    *reader.Reader // nil: none
	shown     int            // cards, by showCards
	port      port
	link      string // of the reader
	fleet     *phone.Fleet
	broker    string // address at which phones find the gateway's broker
	central   *central.Central
	listener  net.Listener // of central
	key       ed25519.PrivateKey
	secret    string
}

type terminal struct {
	*zk.Terminal
	id       string
	skew     time.Duration // of its clock, as it began: the rig does not follow one that jumps
	layout   string        // of its log, as the configuration names it
	listener net.Listener
}

// NewWorld makes the devices and opens their listeners and ports. [World.Close]
// gives them back.
func NewWorld(s Scene) (w *World, err error) {
	if s.Zone == "" {
		s.Zone = zone
	}
	w = &World{scene: s}
	if w.zone, err = time.LoadLocation(s.Zone); err != nil {
		return nil, fmt.Errorf("rig: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	seed := make([]byte, ed25519.SeedSize) // a simulated gateway has no secret to keep
	for i := range 8 {
		seed[i] = byte(s.Seed >> (8 * i))
	}
	w.key = ed25519.NewKeyFromSeed(seed)
	w.secret = "whsec_" + base64.StdEncoding.EncodeToString(seed)
	if err = w.openCentral(); err == nil {
		err = w.openTerminals()
	}
	if err == nil && s.Reader {
		err = w.openReader()
	}
	if err == nil && s.Native+s.OwnTracks > 0 {
		err = w.makePhones()
	}
	return w, err
}

func (w *World) openCentral() (err error) {
	c := central.Config{Secrets: []string{w.secret}, Seed: w.scene.Seed, Faults: w.scene.Faults, Clock: w.scene.Clock}
	if w.scene.Unsigned {
		c.Secrets = nil
	}
	w.central, err = central.New(c)
	if err == nil {
		w.listener, err = net.Listen("tcp", "127.0.0.1:0")
	}
	return err
}

func (w *World) openTerminals() error {
	names := []string{"lobby", "dock", "canteen"}
	for i := range w.scene.Terminals {
		id := fmt.Sprintf("terminal-%d", i+1)
		if i < len(names) {
			id = names[i]
		}
		c := zk.Config{ID: id, Users: w.scene.Users, Logs: w.scene.Logs, Seed: w.scene.Seed, Zone: w.zone, Clock: w.scene.Clock, Log: w.scene.Log}
		if q := w.scene.Quirks; len(q) > 0 {
			c.Quirks = q[i%len(q)]
		}
		t, err := zk.New(c)
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		layout := ""
		if w.scene.Layouts {
			layout = fmt.Sprintf(", layout: %d", cmp.Or(c.Quirks.AttSize, 40))
		}
		w.terminals = append(w.terminals, &terminal{t, id, c.Quirks.ClockSkew, layout, l})
	}
	return nil
}

func (w *World) openReader() (err error) {
	open := openPort
	if w.scene.Apart != nil { // nobody there can open a pty of this computer
		open = openSerialServer
	}
	if w.port, w.link, err = open(); err != nil {
		return err
	}
	w.reader, err = reader.New(reader.Config{Format: reader.FormatRDM6300, Seed: w.scene.Seed, Cards: cards(w.scene.Seed, w.scene.Cards), Faults: reader.Faults{Noise: 0.2, Ghost: 0.1, BadChecksum: 0.2}}, w.port)
	return err
}

// cards makes n different cards.
func cards(seed uint64, n int) []string {
	list := make([]string, n)
	start := rand.New(rand.NewPCG(seed, 2)).Uint32N(1 << 31)
	for i := range list {
		list[i] = fmt.Sprintf("%02X%08X", byte(seed), start+uint32(i)*7919)
	}
	return list
}

func (w *World) makePhones() (err error) {
	if w.broker, err = freeAddress(); err != nil {
		return err
	}
	key, err := protocolphone.NewKey(w.key.Public())
	if err != nil {
		return err
	}
	var dial func(ctx context.Context, network, address string) (net.Conn, error)
	if w.scene.Apart != nil {
		dial = w.scene.Apart.Dial
	}
	w.fleet, err = phone.New(phone.Config{
		Dial: dial, Site: Site, Broker: w.broker, Seed: w.scene.Seed, Native: w.scene.Native, OwnTracks: w.scene.OwnTracks, Gateway: key,
		Office: office, Zone: w.zone, Behaviours: w.scene.Behaviours, Pace: w.scene.PhonePace, Patience: 5 * time.Second, Clock: w.scene.Clock, Log: w.scene.Log,
	})
	return err
}

// freeAddress is a port on loopback that nobody has at this moment.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Close gives back the listeners and ports.
func (w *World) Close() error {
	var errs []error
	for _, t := range w.terminals {
		errs = append(errs, ignoreClosed(t.listener.Close()))
	}
	if w.listener != nil {
		errs = append(errs, ignoreClosed(w.listener.Close()))
	}
	if w.port != nil {
		errs = append(errs, w.port.Close())
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Serve has the terminals and central answer until ctx ends.
func (w *World) Serve(ctx context.Context) error {
	return w.all(ctx, func(start func(func(context.Context) error)) {
		for _, t := range w.terminals {
			start(func(ctx context.Context) error { return t.Serve(ctx, t.listener) })
		}
		start(func(ctx context.Context) error { return w.central.Serve(ctx, w.listener) })
	})
}

// Punch has people punch and check in until ctx ends. It may be called again.
func (w *World) Punch(ctx context.Context) error {
	return w.all(ctx, func(start func(func(context.Context) error)) {
		start(w.punchWithoutCards)
		if w.reader != nil {
			start(func(ctx context.Context) error {
				return w.reader.Run(ctx, reader.Pace{For: forever, Every: w.scene.ReaderPace})
			})
		}
	})
}

// showCards has people show cards until ctx ends, the last one to its end. It may
// be called again, and goes on with the next card.
func (w *World) showCards(ctx context.Context) error {
	cards := w.reader.Cards()
	for wait(ctx, w.scene.ReaderPace) {
		// Nobody takes a card away because the test moves on.
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), longestShow)
		err := w.reader.Present(whole, cards[w.shown%len(cards)])
		late := whole.Err() != nil
		cancel()
		if w.shown++; err != nil && !late { // one that nobody reads promises nothing
			return err
		}
	}
	return nil
}

// longestShow is more than a card that is read takes.
const longestShow = 5 * time.Second

// punchWithoutCards is Punch for what is no reader.
func (w *World) punchWithoutCards(ctx context.Context) error {
	return w.all(ctx, func(start func(func(context.Context) error)) {
		for _, t := range w.terminals {
			start(func(ctx context.Context) error { return t.Run(ctx, w.scene.TerminalPace, 0) })
		}
		if w.fleet != nil {
			start(w.fleet.Run)
		}
	})
}

// forever is longer than any run.
const forever = 1000 * time.Hour

// all runs things side by side; an error of one ends the others.
func (w *World) all(ctx context.Context, begin func(start func(func(context.Context) error))) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	begin(func(run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
				cancel()
			}
		})
	})
	wg.Wait()
	return errors.Join(errs...)
}

// seenFrom is an address of this computer as the daemon is to write it.
func (w *World) seenFrom(address string) string {
	_, port, err := net.SplitHostPort(address)
	if w.scene.Apart == nil || err != nil {
		return address
	}
	return net.JoinHostPort(w.scene.Apart.Host, port)
}

// Broker is the address of this computer that leads to the gateway's broker.
func (w *World) Broker() string { return w.broker }

// Central is the stand-in central.
func (w *World) Central() *central.Central { return w.central }

// Phones is how many there are.
func (w *World) Phones() int { return w.scene.Native + w.scene.OwnTracks }

// ReaderID names the card reader.
const ReaderID = "gate"

// TerminalCounts is what the i-th terminal has counted.
func (w *World) TerminalCounts(i int) zk.Counts { return w.terminals[i].Counts() }
