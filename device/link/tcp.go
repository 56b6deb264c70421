package link

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A terminal that lost its power or its cable says nothing. The kernel gives it
// up after about this long, whether bytes wait for its answer (the user
// timeout) or the line was quiet (keepalive).
const (
	deadAfter       = 30 * time.Second
	keepAliveIdle   = 15 * time.Second
	keepAliveEvery  = 5 * time.Second
	keepAliveProbes = 3

	dialTimeout = 5 * time.Second
)

type tcpDialer struct {
	host, port string
	timeout    time.Duration
}

func parseTCP(u *url.URL) (Dialer, error) {
	given, err := parameters(u, "timeout")
	if err != nil {
		return nil, err
	}
	d := tcpDialer{host: u.Hostname(), port: u.Port(), timeout: dialTimeout}
	if d.host == "" || d.port == "" {
		return nil, fmt.Errorf("link: tcp:// needs a host and a port, as in tcp://192.168.1.201:4370")
	}
	if strings.Contains(d.host, ":") && u.Host[0] != '[' {
		return nil, fmt.Errorf("link: an IPv6 address stands in brackets, as in tcp://[fe80::17%%25eth0]:4370")
	}
	if n, err := strconv.ParseUint(d.port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("link: port %s is not between 1 and 65535", d.port)
	}
	if strings.Trim(d.host, "0123456789.") == "" && net.ParseIP(d.host) == nil {
		return nil, fmt.Errorf("link: %s is no IP address: it has four numbers from 0 to 255 without zeros before them, as in tcp://192.168.1.201:4370", d.host)
	}
	if u.Path != "" {
		return nil, fmt.Errorf("link: tcp:// takes no path, %q stands behind the port", u.Path)
	}
	if text, ok := given["timeout"]; ok {
		if d.timeout, err = time.ParseDuration(text); err != nil || d.timeout <= 0 {
			return nil, fmt.Errorf("link: timeout %q is no time like 5s", text)
		}
	}
	return d, nil
}

func (d tcpDialer) String() string {
	u := url.URL{Scheme: "tcp", Host: net.JoinHostPort(d.host, d.port)}
	if d.timeout != dialTimeout {
		u.RawQuery = "timeout=" + d.timeout.String()
	}
	return u.String()
}

func (d tcpDialer) Dial(ctx context.Context) (Conn, error) {
	nd := net.Dialer{
		Timeout: d.timeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: keepAliveIdle, Interval: keepAliveEvery, Count: keepAliveProbes,
		},
		Control: setUserTimeout,
	}
	conn, err := nd.DialContext(ctx, "tcp", net.JoinHostPort(d.host, d.port))
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	return conn, nil
}
