package phone

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/punchd/punchd/device"
	"github.com/punchd/punchd/device/link"
)

const dialTimeout = 30 * time.Second // TLS included

// ClientConfig says how to reach a broker that is there already, and where the
// check-ins go.
type ClientConfig struct {
	ID  string // in status pages; "phones" if empty
	URL string // mqtt://host[:1883] or mqtts://host[:8883]
	// ClientID is what the broker keeps messages under while the gateway is
	// away. It must stay the same, and be nobody else's.
	ClientID string
	Username string // empty: none
	// Password is asked at every connection, so that it may change; nil for none.
	Password func() (string, error)
	CAFile   string // PEM; the system's authorities if empty

	Site    string   // the level of the topics
	Formats []string // FormatNative, FormatOwnTracks; both if empty
	Verify  Verify
	Keys    Keys // needed for FormatNative
	Sign    Sign // needed for FormatNative
	Log     *slog.Logger
}

// Client takes check-ins from an external broker. Who sent one is the level of
// its topic that names the user: the broker has to see to it that nobody else
// may publish there.
type Client struct {
	intake
	cfg    ClientConfig
	dialer brokerDialer
	retry  time.Duration // the shortest wait between connections; 0: link's own
}

// NewClient checks the configuration. It reads the CAFile and opens nothing
// else.
func NewClient(cfg ClientConfig) (*Client, error) {
	s, err := newSettings(cfg.Site, cfg.Formats, cfg.Verify, cfg.Keys, cfg.Sign, cfg.Log)
	if err != nil {
		return nil, err
	}
	if cfg.ID == "" {
		cfg.ID = "phones"
	}
	c := &Client{cfg: cfg}
	if c.dialer, err = parseURL(cfg.URL, cfg.CAFile); err != nil {
		return nil, err
	}
	if cfg.ClientID == "" {
		return nil, errors.New("phone: the broker needs a client id to keep messages under while the gateway is away; it is empty")
	}
	c.settings, c.status.id, c.status.address = s, cfg.ID, c.dialer.String()
	return c, nil
}

var (
	_ device.Driver   = (*Client)(nil)
	_ device.Reporter = (*Client)(nil)
)

// State implements [device.Reporter].
func (c *Client) State() device.State {
	s := c.state(&c.counters)
	s.Notes = append(s.Notes, "a phone is who its topic says; the broker's ACL must let nobody else publish there")
	s.Notes = append(s.Notes, inClear(c.dialer.address, c.dialer.tls != nil)...)
	return s
}

// Stats counts what happened since the start.
func (c *Client) Stats() Stats { return c.snapshot() }

// Run keeps a session with the broker until ctx ends, and returns nil then. It
// comes back from every loss and refusal, more slowly each time, since the
// broker keeps the messages meanwhile.
func (c *Client) Run(ctx context.Context) error {
	k := &link.Keeper{Dialer: c.dialer, Min: c.retry, Log: c.log, OnState: func(online bool, err error) {
		if !online { // online begins later, with the subscriptions
			c.set(false, err)
			c.log.Debug("phones: broker is away", "broker", c.dialer.String(), "err", err)
		}
	}}
	return k.Run(ctx, func(ctx context.Context, conn link.Conn) error {
		return c.session(ctx, conn.(net.Conn)) // as brokerDialer made it
	})
}

// brokerDialer reaches the broker. It is a [link.Dialer].
type brokerDialer struct {
	scheme, address string
	tls             *tls.Config // nil: none
}

func parseURL(text, caFile string) (brokerDialer, error) {
	u, err := url.Parse(text)
	if err != nil {
		return brokerDialer{}, errors.New("phone: broker: the URL can't be read; mqtt://host:1883 or mqtts://host:8883 is wanted") // the text may hold a password
	}
	d := brokerDialer{scheme: u.Scheme}
	port := "1883"
	switch u.Scheme {
	case "mqtt":
		if caFile != "" {
			return d, errors.New("phone: broker: a CA file is given and the URL is mqtt://, without TLS; write mqtts://")
		}
	case "mqtts":
		port = "8883"
		d.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	default:
		return d, fmt.Errorf("phone: broker: scheme %q is not known (known: mqtt, mqtts)", u.Scheme)
	}
	switch {
	case u.Hostname() == "":
		return d, fmt.Errorf("phone: broker: no host in the URL; %s://host:%s is wanted", u.Scheme, port)
	case u.User != nil:
		return d, errors.New("phone: broker: user and password do not belong into the URL, which is shown; give them by themselves")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return d, fmt.Errorf("phone: broker: something stands behind the address; %s://host:%s is wanted", u.Scheme, port)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	d.address = net.JoinHostPort(u.Hostname(), port)
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return d, fmt.Errorf("phone: broker: CA file: %w", err)
		}
		d.tls.RootCAs = x509.NewCertPool()
		if !d.tls.RootCAs.AppendCertsFromPEM(text) {
			return d, fmt.Errorf("phone: broker: CA file %s holds no certificate in PEM", caFile)
		}
	}
	return d, nil
}

func (d brokerDialer) String() string { return d.scheme + "://" + d.address }

// Dial implements [link.Dialer].
func (d brokerDialer) Dial(ctx context.Context) (link.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nd := &net.Dialer{}
	var nc net.Conn
	var err error
	if d.tls != nil {
		nc, err = (&tls.Dialer{NetDialer: nd, Config: d.tls}).DialContext(ctx, "tcp", d.address)
	} else {
		nc, err = nd.DialContext(ctx, "tcp", d.address)
	}
	if err != nil {
		return nil, fmt.Errorf("phone: broker: %w", err)
	}
	return nc, nil
}
