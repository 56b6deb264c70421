// Package link gives every driver one way to reach its device: a byte stream
// over TCP, a serial port or, in tests, memory, and the loop that keeps it up.
package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Conn is a live connection. Read and Write may run at the same time; Close may
// be called at any time, more than once, and wakes both. A deadline that passes
// is an error that [errors.Is] finds to be [os.ErrDeadlineExceeded] and whose
// Timeout method says true; the connection can be used further. The zero time
// is no deadline.
type Conn interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Dialer makes connections to one address.
type Dialer interface {
	// Dial connects, or gives up when ctx ends or the address's own time for
	// it is over.
	Dial(ctx context.Context) (Conn, error)
	// String is the address, without secrets.
	String() string
}

// Parse reads the address of a device:
//
//	tcp://192.168.1.201:4370           a host name or IPv4 address
//	tcp://[fe80::17%25eth0]:4370       an IPv6 address, here with its zone
//	serial:///dev/ttyUSB0?baud=9600    a serial port by its absolute path
//
// Parameters of tcp: timeout, how long connecting may take (5s). Parameters of
// serial: baud (9600), data (5 to 8), parity (none, even, odd), stop (1, 2);
// without them 9600 8N1. An unknown scheme or parameter is an error that names
// the known ones. Nothing is opened yet.
func Parse(address string) (Dialer, error) {
	if err := withoutScheme(address); err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the text, which may hold a password
		}
		return nil, fmt.Errorf("link: address: %w", err)
	}
	parse, err := parserOf(u.Scheme)
	if err != nil {
		return nil, err
	}
	switch {
	case u.Opaque != "":
		return nil, fmt.Errorf("link: address needs two slashes behind its scheme: %s://", u.Scheme)
	case u.User != nil:
		return nil, fmt.Errorf("link: %s:// takes no user or password", u.Scheme)
	case u.Fragment != "" || strings.HasSuffix(address, "#"):
		return nil, fmt.Errorf("link: address holds a #; write %%23 if it belongs to the path")
	}
	return parse(u)
}

func parserOf(scheme string) (func(*url.URL) (Dialer, error), error) {
	switch scheme {
	case "tcp":
		return parseTCP, nil
	case "serial":
		return parseSerial, nil
	case "":
		return nil, fmt.Errorf("link: address has no scheme, as in tcp://192.168.1.201:4370 (known: %s)", schemes)
	}
	return nil, fmt.Errorf("link: unknown scheme %q (known: %s)", scheme, schemes)
}

// schemes are those that are known.
const schemes = "serial, tcp"

var (
	// hostPort is a host name or IPv4 address with its port. It holds no @, so
	// that no password is repeated.
	hostPort = regexp.MustCompile(`^([A-Za-z0-9._-]+):[0-9]+$`)
	comPort  = regexp.MustCompile(`(?i)^(serial:/*)?COM[0-9]+:?$`)
)

// withoutScheme is the mistake of somebody who has written what a terminal's
// menu or the system shows, and left out what goes before it.
func withoutScheme(address string) error {
	m := hostPort.FindStringSubmatch(address)
	switch {
	case comPort.MatchString(address):
		return errors.New("link: a port is named by its path, as in serial:///dev/ttyUSB0; COM ports of Windows can't be used")
	case m != nil && m[1] != "tcp" && m[1] != "serial":
		return fmt.Errorf("link: address has no scheme; write tcp://%s", address)
	case strings.HasPrefix(address, "/") && !strings.Contains(address, "@"):
		return fmt.Errorf("link: address has no scheme; write serial://%s", address)
	}
	return nil
}

// parameters reads the query of an address, in which each of the known keys may
// stand once.
func parameters(u *url.URL, known ...string) (map[string]string, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("link: parameters: %w", err)
	}
	given := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(query)) {
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("link: unknown parameter %q of %s:// (known: %s)", key, u.Scheme, strings.Join(known, ", "))
		}
		if len(query[key]) != 1 {
			return nil, fmt.Errorf("link: parameter %s is given %d times", key, len(query[key]))
		}
		given[key] = query.Get(key)
	}
	return given, nil
}

// Pipe makes a connection in memory, for tests and simulators: what is written
// to one end is read from the other. A Write returns when all of it was read.
// It works inside a bubble of testing/synctest.
func Pipe() (Conn, Conn) { return net.Pipe() }

// PipeDialer gives a Dialer that makes a new [Pipe] each time and hands the far
// end to accept, which must not read or write before it returns: Dial returns
// after it, with its error if that is not nil. Name stands in the address.
func PipeDialer(name string, accept func(ctx context.Context, far Conn) error) Dialer {
	return pipeDialer{name, accept}
}

type pipeDialer struct {
	name   string
	accept func(context.Context, Conn) error
}

func (d pipeDialer) String() string { return "pipe:" + d.name }

func (d pipeDialer) Dial(ctx context.Context) (Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("link: %s: %w", d, err)
	}
	near, far := Pipe()
	if err := d.accept(ctx, far); err != nil {
		return nil, fmt.Errorf("link: %s: %w", d, errors.Join(err, near.Close(), far.Close()))
	}
	return near, nil
}
