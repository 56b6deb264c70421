package zk

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
)

// maxConns bounds the connections at a time. Real terminals bear one or two.
const maxConns = 16

// Serve answers hosts that connect to l, until ctx ends: then it closes l and
// all connections, waits for them, and returns nil. It returns an error if l
// fails. At most 16 connections are served at a time: for a new one the oldest
// goes that has not said CONNECT, and if all have, the new one is refused.
func (t *Terminal) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var conns sync.WaitGroup
	// A listener that can't be closed is closed already.
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer func() {
		cancel()
		stop()
		conns.Wait()
	}()
	t.cfg.Log.Info("serving", "address", l.Addr().String())
	for {
		nc, err := l.Accept()
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("zk terminal: %s: %w", t.cfg.ID, err)
		}
		own, end := context.WithCancel(ctx)
		c := t.admit(nc, end)
		if c == nil {
			end()
			continue
		}
		conns.Go(func() {
			c.run(own)
			t.leave(c)
		})
	}
}

// admit makes the connection for nc, which end ends, or closes nc and gives nil.
func (t *Terminal) admit(nc net.Conn, end context.CancelFunc) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	reset := t.resets != 0
	if t.resets > 0 {
		t.resets--
	}
	if !reset && len(t.conns) >= maxConns {
		if i := slices.IndexFunc(t.conns, func(c *conn) bool { return c.session == 0 }); i >= 0 {
			t.conns[i].cancel()
			t.conns = slices.Delete(t.conns, i, i+1)
		}
	}
	if reset || len(t.conns) >= maxConns {
		t.counts.Refused++
		hangUp(nc, reset)
		t.cfg.Log.Info("connection refused", "from", nc.RemoteAddr().String(), "reset", reset)
		return nil
	}
	t.counts.Accepted++
	c := newConn(t, nc, end)
	t.conns = append(t.conns, c)
	return c
}

// hangUp closes nc, if it can with a reset. An error says that the peer was
// faster.
func hangUp(nc net.Conn, reset bool) {
	if tcp, ok := nc.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = nc.Close()
}

// leave forgets a connection. What it had disabled is enabled again, unless a
// quirk says that it stays so.
func (t *Terminal) leave(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns = slices.DeleteFunc(t.conns, func(other *conn) bool { return other == c })
	t.release(c)
}

// release ends the session of a connection. mu is held.
func (t *Terminal) release(c *conn) {
	c.session = 0
	c.deafen()
	if t.lock.by == c && !t.cfg.Quirks.StuckDisabled {
		t.lock = lock{}
	}
}

// Restart switches the terminal off and on: all connections end, and it is
// enabled. Users, log, options and clock stay.
func (t *Terminal) Restart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lock = lock{}
	for _, c := range t.conns {
		c.cancel()
	}
}

// newSession is a session for a new connection: on real terminals it counts
// seconds. mu is held.
func (t *Terminal) newSession() uint16 {
	s := uint16(t.cfg.Clock().Unix())
	for s == 0 || slices.ContainsFunc(t.conns, func(c *conn) bool { return c.session == s }) {
		s++
	}
	return s
}
