package zk

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/punchd/punchd/protocol"
	wire "github.com/punchd/punchd/protocol/zk"
)

const (
	// maxWaiting is how many bytes a host may have sent of one frame; hosts
	// ask in less than a hundred.
	maxWaiting = 16 << 10
	// maxAsked is how many requests may wait. Some hosts ask for all chunks of
	// a log at once.
	maxAsked = 64
)

// errHangUp ends a connection from this side.
var errHangUp = errors.New("zk terminal: the terminal hangs up")

// conn is one host's connection. One goroutine owns it; another one only reads.
type conn struct {
	t      *Terminal
	cancel context.CancelFunc
	nc     net.Conn
	line   line

	asked chan wire.Packet // closed when the host says no more
	gone  chan struct{}    // closed then too
	wake  chan struct{}    // something is in queue

	authed  bool
	seated  bool         // it has the terminal's only seat
	dataset []byte       // what DATA_WRRQ made ready
	told    int          // events
	unacked *wire.Packet // the event that is to be acknowledged
	again   time.Time

	// Under the Terminal's mu.
	session uint16 // 0: no CONNECT yet
	mask    uint32 // of events
	queue   []event
}

func newConn(t *Terminal, nc net.Conn, cancel context.CancelFunc) *conn {
	return &conn{
		t: t, nc: nc, cancel: cancel, line: line{t: t, nc: nc, q: &t.cfg.Quirks},
		asked: make(chan wire.Packet, maxAsked), gone: make(chan struct{}), wake: make(chan struct{}, 1),
	}
}

// run owns the connection until the host goes, the terminal hangs up, or ctx
// ends, which cancel does.
func (c *conn) run(ctx context.Context) {
	log := c.t.cfg.Log.With("host", c.nc.RemoteAddr().String())
	log.Info("host connected")
	// Closing wakes a Read or Write that blocks. The peer may have been faster.
	stop := context.AfterFunc(ctx, func() { _ = c.nc.Close() })
	var reading sync.WaitGroup
	reading.Go(func() { c.read(ctx) })
	err := c.loop(ctx)
	c.cancel()
	reading.Wait()
	if stop() {
		_ = c.nc.Close()
	}
	c.stand()
	log.Info("host left", "reason", err)
}

// read takes in what the host sends.
func (c *conn) read(ctx context.Context) {
	defer close(c.asked)
	defer close(c.gone)
	var split wire.Splitter
	buf := make([]byte, 4096)
	for {
		n, err := c.nc.Read(buf)
		if n > 0 && !c.take(ctx, &split, buf[:n]) || err != nil {
			return
		}
	}
}

// take passes on the requests that b completes, and reports whether the host
// may go on.
func (c *conn) take(ctx context.Context, split *wire.Splitter, b []byte) bool {
	if split.Feed(b) != nil {
		return false
	}
	for {
		p, err := split.Next()
		switch {
		case err == nil:
			select {
			case c.asked <- p:
			case <-ctx.Done():
				return false
			}
		case errors.Is(err, protocol.ErrIncomplete):
			return split.Waiting() <= maxWaiting
		case errors.Is(err, protocol.ErrUnsupported):
			return false
		default:
			// A damaged request gets no answer.
			c.t.mu.Lock()
			c.t.counts.BadFrames++
			c.t.mu.Unlock()
		}
	}
}

// loop answers requests and tells events. What the host said goes first: it may
// be the acknowledgement for which an event would be sent again.
func (c *conn) loop(ctx context.Context) error {
	for {
		select {
		case p, ok := <-c.asked:
			if err := c.next(ctx, p, ok); err != nil {
				return err
			}
			continue
		default:
		}
		if err := c.tellWaiting(ctx); err != nil {
			return err
		}
		due := earliest(c.again, c.line.holdUntil)
		if c.line.holdUntil.IsZero() {
			if err := c.line.flush(ctx); err != nil {
				return err
			}
		}
		var alarm <-chan time.Time
		if !due.IsZero() {
			alarm = time.After(time.Until(due))
		}
		select {
		case p, ok := <-c.asked:
			if err := c.next(ctx, p, ok); err != nil {
				return err
			}
		case <-c.wake:
		case <-alarm:
			if err := c.line.flush(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var errGone = errors.New("zk terminal: the host ended the connection")

func (c *conn) next(ctx context.Context, p wire.Packet, ok bool) error {
	if !ok {
		// He may have closed his side alone, and wait for the answers.
		if err := c.line.flush(ctx); err != nil {
			return err
		}
		return errGone
	}
	return c.handle(ctx, p)
}

// earliest is the first of two times that are set.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
