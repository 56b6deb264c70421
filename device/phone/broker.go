package phone

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"github.com/punchd/punchd/device"
)

const (
	defaultListen  = "127.0.0.1:1883"
	defaultClients = 2000
	spareClients   = 64              // over the limit, to be told so
	drainTime      = 5 * time.Second // for check-ins in flight when the broker stops
	maxPacket      = 256 << 10       // bytes
	forever        = 1 << 30         // seconds
)

// BrokerConfig says how phones reach the embedded broker and where their
// check-ins go.
type BrokerConfig struct {
	ID     string // in status pages; "phones" if empty
	Listen string // address; 127.0.0.1:1883 if empty
	// CertFile and KeyFile turn TLS on. Both are PEM, and read once.
	CertFile, KeyFile string
	// Users finds the password of an MQTT user; false for one who is not
	// known. It is asked at every login, so that it may change at any time.
	Users      func(user string) (password string, ok bool)
	MaxClients int // connections at one time; 2,000 if 0

	Site    string   // the level of the topics
	Formats []string // FormatNative, FormatOwnTracks; both if empty
	Verify  Verify
	Keys    Keys // needed for FormatNative
	Sign    Sign // needed for FormatNative
	Log     *slog.Logger
}

// Broker is an MQTT broker (3.1, 3.1.1 and 5) for phones and nothing else: a
// user publishes check-ins, gets receipts, and sees nobody else's messages.
// Nothing is retained, queued or passed on.
//
// A session ends with its connection. A phone that was away sends again what it
// has no receipt for, and that needs no memory here.
type Broker struct {
	intake
	cfg      BrokerConfig
	tls      *tls.Config
	guard    guard
	brake    brake
	registry registry
	server   *mqtt.Server
	ctx      context.Context // of the check-ins in flight; outlives Run's by drainTime
	started  atomic.Bool
	ready    chan struct{}
	stopping chan struct{}  // closed when Run's context ends: nobody waits for the brake any more
	side     sync.WaitGroup // what connections do to each other, so that none waits for another

	mu       sync.Mutex
	inFlight int
	draining bool
	drained  chan struct{} // closed when draining and nothing is in flight
}

// NewBroker checks the configuration. It opens nothing but the certificate.
func NewBroker(cfg BrokerConfig) (*Broker, error) {
	s, err := newSettings(cfg.Site, cfg.Formats, cfg.Verify, cfg.Keys, cfg.Sign, cfg.Log)
	if err != nil {
		return nil, err
	}
	if cfg.Users == nil {
		return nil, errors.New("phone: the embedded broker needs Users; it lets nobody in without a password")
	}
	if cfg.Listen == "" {
		cfg.Listen = defaultListen
	}
	if cfg.ID == "" {
		cfg.ID = "phones"
	}
	if cfg.MaxClients <= 0 {
		cfg.MaxClients = defaultClients
	}
	b := &Broker{cfg: cfg, ready: make(chan struct{}), stopping: make(chan struct{}), drained: make(chan struct{})}
	b.settings, b.status.id, b.status.address = s, cfg.ID, cfg.Listen
	if b.server, err = b.newServer(); err != nil {
		return nil, err
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, errors.New("phone: TLS needs a certificate and a key; only one of them is given")
	}
	if cfg.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("phone: TLS: %w", err)
		}
		b.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	return b, nil
}

// Ready is closed when phones can connect; the address is then in State.
func (b *Broker) Ready() <-chan struct{} { return b.ready }

var (
	_ device.Driver   = (*Broker)(nil)
	_ device.Reporter = (*Broker)(nil)
)

// State implements [device.Reporter].
func (b *Broker) State() device.State {
	s := b.state(&b.counters)
	s.Notes = append([]string{fmt.Sprintf("%d phones connected", b.connected.Load())}, s.Notes...)
	s.Notes = append(s.Notes, b.brake.notes(time.Now())...)
	s.Notes = append(s.Notes, inClear(s.Address, b.tls != nil)...)
	return s
}

// Stats counts what happened since the start.
func (b *Broker) Stats() Stats { return b.snapshot() }

// listenHelp says what a person may do who has named an address that can't be
// had, empty if the error says enough.
func listenHelp(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "; does another one run?"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return ", which is no address of this machine; name one that it has, or 0.0.0.0 for all of them"
	case errors.Is(err, syscall.EACCES):
		return "; ports below 1024 are not for everybody, choose a higher one"
	}
	return ""
}

// Run serves phones until ctx ends. It then takes no more check-ins, waits up
// to 5 s for those in flight, and cuts all connections. It returns an error if
// the address can't be had, and may be called once.
func (b *Broker) Run(ctx context.Context) error {
	if !b.started.CompareAndSwap(false, true) {
		return errors.New("phone: the broker ran already")
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", b.cfg.Listen)
	if err != nil {
		err = fmt.Errorf("phone: the broker can't listen on %s%s: %w", b.cfg.Listen, listenHelp(err), err)
		b.set(false, err)
		return err
	}
	address := l.Addr().String()
	b.at(address)
	if b.tls != nil {
		l = tls.NewListener(l, b.tls)
	}
	inFlight, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	b.ctx = inFlight
	g := newGate(l, b.cfg.MaxClients+spareClients, b.log, func() { b.rejected.Add(1) }, b.left)
	defer g.drop()
	if err := b.serve(g); err != nil {
		b.set(false, err)
		return err
	}
	b.set(true, nil)
	close(b.ready)
	b.log.Info("phones: broker is listening", "address", address, "tls", b.tls != nil)

	<-ctx.Done()
	g.stop()
	close(b.stopping)
	b.drain()
	cancel()
	g.drop()
	b.side.Wait() // their connections are cut, so none of it lasts
	b.set(false, nil)
	if err := b.server.Close(); err != nil {
		return fmt.Errorf("phone: stop the broker: %w", err)
	}
	return nil
}

// serve starts the broker library behind the gate.
func (b *Broker) serve(g *gate) error {
	if err := b.server.AddListener(g); err != nil {
		return fmt.Errorf("phone: broker: %w", err)
	}
	if err := b.server.Serve(); err != nil {
		return fmt.Errorf("phone: broker: %w", err)
	}
	return nil
}

// newServer sets the broker library up so that it keeps nothing for anybody.
func (b *Broker) newServer() (*mqtt.Server, error) {
	limits := mqtt.NewDefaultServerCapabilities()
	limits.MaximumClients = int64(b.cfg.MaxClients)
	limits.MaximumClientWritesPending = 1   // nothing is passed on from phone to phone
	limits.MaximumSessionExpiryInterval = 0 // a session ends with its connection
	limits.MaximumPacketSize = maxPacket
	limits.MaximumInflight = 64
	limits.TopicAliasMaximum = 0 // the hook resolves them
	limits.SharedSubAvailable = 0
	limits.MaximumQos = 1
	limits.Compatibilities.NoInheritedPropertiesOnAck = true // or an ack would repeat what the phone sent
	// RetainAvailable stays on, or an app with a retained will could not even
	// connect. Nothing is retained all the same: see the hook.
	server := mqtt.New(&mqtt.Options{
		Capabilities: limits,
		// The library logs whole packets, passwords and positions included.
		Logger:                 slog.New(slog.DiscardHandler),
		SysTopicResendInterval: forever, // nobody may read $SYS
	})
	if err := server.AddHook(&hook{b: b}, nil); err != nil {
		return nil, fmt.Errorf("phone: broker: %w", err)
	}
	return server, nil
}

// enter counts a check-in as in flight; false if the broker is stopping.
func (b *Broker) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.draining {
		return false
	}
	b.inFlight++
	return true
}

// leave ends what enter began.
func (b *Broker) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inFlight--; b.inFlight == 0 && b.draining {
		close(b.drained)
	}
}

// drain lets no further check-in begin and waits for those in flight.
func (b *Broker) drain() {
	b.mu.Lock()
	b.draining = true
	n := b.inFlight
	if n == 0 {
		close(b.drained)
	}
	b.mu.Unlock()
	b.log.Info("phones: broker is stopping", "check-ins in flight", n)
	select {
	case <-b.drained:
	case <-time.After(drainTime):
		b.log.Warn("phones: check-ins in flight given up; their phones will send them again", "after", drainTime)
	}
}

// left cleans up behind a connection that has ended.
func (b *Broker) left(c *conn) {
	if c.taking { // the library panicked in between
		c.taking = false
		b.leave()
	}
	if c.client != nil {
		b.registry.remove(c)
		b.connected.Add(-1)
	}
}
