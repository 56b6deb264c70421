package gateway

import (
	"context"
	"fmt"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/device"
	"github.com/punchd/punchd/device/cardline"
	phonedriver "github.com/punchd/punchd/device/phone"
	"github.com/punchd/punchd/device/zk"
	"github.com/punchd/punchd/protocol/attendance"
	ce "github.com/punchd/punchd/protocol/cloudevents"
	"github.com/punchd/punchd/protocol/phone"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/sink/cloudevents"
	"github.com/punchd/punchd/sync/sink/file"
)

// driver is a device with its id.
type driver struct {
	device.Driver
	id string
}

func (g *Gateway) buildDrivers() error {
	for _, t := range g.cfg.Terminals {
		d, err := g.newDriver(t)
		if err != nil {
			return err
		}
		g.drivers = append(g.drivers, driver{d, t.ID})
	}
	return nil
}

func (g *Gateway) newDriver(t config.Terminal) (device.Driver, error) {
	log := g.log.With("part", t.Driver)
	switch {
	case t.ZK != nil:
		c := zk.Config{
			ID: t.ID, Link: t.Link, Zone: t.Zone, Poll: t.ZK.Poll, Live: t.ZK.Live, Layout: t.ZK.Layout, Emit: g.accept, Log: log,
			Known: func(ctx context.Context) (string, error) { return g.lastSerial(ctx, t.ID) },
		}
		if t.ZK.CommKey.IsSet() {
			key, err := t.ZK.CommKey.Number()
			if err != nil {
				return nil, fmt.Errorf("gateway: comm key of %s: %w", t.ID, err)
			}
			c.CommKey = key
		}
		return zk.New(c)
	case t.Cardline != nil:
		c := t.Cardline
		return cardline.New(cardline.Config{
			ID: t.ID, Link: t.Link, Zone: t.Zone, Format: c.Format, Form: c.Form, Line: c.Line, Confirm: c.Confirm,
			ConfirmWithin: c.ConfirmWithin, Absent: c.Absent, Lockout: c.Lockout, IdleGap: c.IdleGap,
			Before: g.history.cards[t.ID], Method: c.Method, Direction: c.Direction, Emit: g.accept, Log: log,
		})
	}
	return nil, fmt.Errorf("gateway: terminal %s has the driver %q, which is not built in", t.ID, t.Driver)
}

// mqttPart is either way of reaching phones.
type mqttPart interface {
	device.Driver
	device.Reporter
	Stats() phonedriver.Stats
}

// readKey reads the key that signs the ledger and the receipts, if there is one.
func (g *Gateway) readKey() error {
	if !g.cfg.Gateway.Key.IsSet() {
		return nil
	}
	text, err := g.cfg.Gateway.Key.Read()
	if err != nil {
		return fmt.Errorf("gateway: key: %w", err)
	}
	if g.signer, err = config.ParseKey(text); err != nil {
		return fmt.Errorf("gateway: %s %w", g.cfg.Gateway.Key.Path(), err)
	}
	return nil
}

func (g *Gateway) buildPhones() error {
	p := g.cfg.Phones
	if p == nil {
		return nil
	}
	log := g.log.With("part", "phones")
	var err error
	if e := p.Embedded; e != nil {
		c := phonedriver.BrokerConfig{
			Listen: e.Listen, MaxClients: e.MaxClients, Users: passwords(e.Users), Site: g.cfg.Site.ID, Formats: p.Formats,
			Verify: g.verify, Keys: g.key, Sign: g.sign, Log: log,
		}
		if e.TLS != nil {
			c.CertFile, c.KeyFile = e.TLS.Cert, e.TLS.Key.Path()
		}
		g.mqtt, err = phonedriver.NewBroker(c)
		return err
	}
	x := p.External
	c := phonedriver.ClientConfig{
		URL: x.URL, ClientID: x.ClientID, Username: x.Username, CAFile: x.CA, Site: g.cfg.Site.ID, Formats: p.Formats,
		Verify: g.verify, Keys: g.key, Sign: g.sign, Log: log,
	}
	if x.Password.IsSet() {
		c.Password = x.Password.Read
	}
	g.mqtt, err = phonedriver.NewClient(c)
	return err
}

// passwords looks up MQTT users. A secret is read at each login, so that a new
// password needs no restart; one that can't be read lets nobody in.
func passwords(users map[string]config.Secret) func(string) (string, bool) {
	return func(user string) (string, bool) {
		secret, ok := users[user]
		if !ok {
			return "", false
		}
		text, err := secret.Read()
		return text, err == nil
	}
}

// key finds the enrolled key of a native phone.
func (g *Gateway) key(id string) (phone.Key, bool) {
	k, ok := g.judgement.Load().keys[id]
	return k, ok
}

// sign makes the message of a receipt.
func (g *Gateway) sign(r *attendance.Receipt) ([]byte, error) {
	return phone.SignReceipt(g.signer, g.cfg.Gateway.ID, r)
}

func (g *Gateway) buildSinks() error {
	source := ce.GatewaySource(g.cfg.Site.ID, g.cfg.Gateway.ID)
	for _, s := range g.cfg.Sinks {
		var (
			sink  forward.Sink
			batch int
			err   error
		)
		if c := s.CloudEvents; c != nil {
			batch = c.Batch
			sink, err = g.newCloudEvents(s.Name, source, c)
		} else {
			sink, err = g.newFile(s.Name, source, s.JSONLines)
		}
		if err != nil {
			return err
		}
		f, err := forward.New(forward.Config{Source: g.journal, Sink: sink, BatchItems: batch, RetryMax: s.RetryMax, Log: g.log.With("part", "forward")})
		if err != nil {
			return err
		}
		g.forwarders = append(g.forwarders, f)
	}
	return nil
}

func (g *Gateway) newCloudEvents(name, source string, c *config.CloudEvents) (*cloudevents.Sink, error) {
	sc := cloudevents.Config{Name: name, URL: c.URL, Source: source, Gzip: c.Gzip, CAFile: c.CA, Version: g.opt.Version}
	if c.Secret.IsSet() {
		sc.Secret = c.Secret.Read
	}
	if c.Client != nil {
		sc.CertFile, sc.KeyFile = c.Client.Cert, c.Client.Key.Path()
	}
	sink, err := cloudevents.New(sc)
	if err != nil {
		return nil, err
	}
	g.closers = append(g.closers, sink.Close)
	return sink, nil
}

func (g *Gateway) newFile(name, source string, c *config.JSONLines) (*file.Sink, error) {
	sink, err := file.New(file.Config{Name: name, Path: c.Path, Source: source})
	if err != nil {
		return nil, err
	}
	g.closers = append(g.closers, sink.Close)
	return sink, nil
}
