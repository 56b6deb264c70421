package phone

import (
	"bytes"
	"container/list"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Bounds of connections that nobody knows yet.
const (
	connectTimeout = 10 * time.Second // from the first byte of TCP to the CONNECT packet, TLS included
	maxConnect     = 16 << 10         // bytes of a CONNECT packet; the will of an app is far smaller
	maxStrangers   = 1024             // connections without a CONNECT; one more closes the oldest
	acceptPause    = 100 * time.Millisecond
)

// gate accepts connections and hands them to the broker library once their
// CONNECT packet is there. The library itself would wait for it without end and
// allocate whatever length a stranger claims.
type gate struct {
	listener net.Listener
	max      int // connections behind the gate
	log      *slog.Logger
	rejected func()
	leave    func(*conn) // called when a connection has ended
	done     chan struct{}
	stopOnce sync.Once
	wg       sync.WaitGroup

	mu        sync.Mutex
	open      map[*conn]bool
	strangers *list.List // of *conn, the oldest first
	closed    bool
}

func newGate(l net.Listener, max int, log *slog.Logger, rejected func(), leave func(*conn)) *gate {
	return &gate{
		listener: l, max: max, log: log, rejected: rejected, leave: leave,
		done: make(chan struct{}), open: map[*conn]bool{}, strangers: list.New(),
	}
}

// ID, Init, Address and Protocol make the gate a listener of the library.
func (g *gate) ID() string              { return "phones" }
func (g *gate) Init(*slog.Logger) error { return nil }
func (g *gate) Address() string         { return g.listener.Addr().String() }
func (g *gate) Protocol() string        { return "tcp" }

// Serve accepts until the gate is closed.
func (g *gate) Serve(establish listeners.EstablishFn) {
	for {
		nc, err := g.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of file descriptors: the connections that end give some back
			g.log.Error("phones: accept", "err", err)
			select {
			case <-time.After(acceptPause):
			case <-g.done:
				return
			}
			continue
		}
		c := &conn{Conn: nc, from: source(nc.RemoteAddr().String()), gone: make(chan struct{})}
		if !g.enter(c) {
			g.rejected()
			c.cut()
			continue
		}
		// enter counted it, so the wait for all of them can't have begun.
		go func() {
			defer g.wg.Done()
			g.exit(c, g.serve(c, establish))
		}()
	}
}

// enter takes a connection in as a stranger.
func (g *gate) enter(c *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || len(g.open)-g.strangers.Len() >= g.max {
		return false
	}
	if g.strangers.Len() >= maxStrangers {
		oldest := g.strangers.Front().Value.(*conn)
		g.forget(oldest)
		oldest.cut() // its goroutine does the rest
		g.rejected()
	}
	g.open[c] = true
	g.wg.Add(1)
	c.place = g.strangers.PushBack(c)
	return true
}

// forget ends a connection's time as a stranger.
func (g *gate) forget(c *conn) {
	g.strangers.Remove(c.place)
	c.place = nil
}

// known ends a connection's time as a stranger; false if it was cut meanwhile.
func (g *gate) known(c *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.place == nil {
		return false
	}
	g.forget(c)
	return true
}

func (g *gate) exit(c *conn, err error) {
	c.cut()
	g.leave(c)
	g.mu.Lock()
	delete(g.open, c)
	g.mu.Unlock()
	g.log.Debug("phones: connection ended", "user", c.user, "from", c.from, "err", err)
}

// serve waits for the CONNECT packet and runs the connection.
func (g *gate) serve(c *conn, establish listeners.EstablishFn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			// Nothing of ours panics on input. The library parses what
			// strangers send, and one of them must not stop the daemon.
			err = fmt.Errorf("the broker library panicked: %v", p)
			g.rejected()
			g.log.Error("phones: connection given up", "from", c.from, "err", err, "stack", string(debug.Stack()))
		}
	}()
	first, err := readConnect(c.Conn)
	if !g.known(c) { // cut meanwhile, and counted there
		return err
	}
	if err != nil {
		g.rejected()
		return err
	}
	c.prefix = bytes.NewReader(first)
	return establish(g.ID(), c)
}

// readConnect reads a CONNECT packet, bounded in size and time.
func readConnect(nc net.Conn) ([]byte, error) {
	if err := nc.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return nil, err
	}
	head := make([]byte, 1, 64)
	if _, err := io.ReadFull(nc, head); err != nil {
		return nil, err
	}
	if head[0] != packets.Connect<<4 {
		return nil, fmt.Errorf("first byte %#02x, a CONNECT packet starts with 0x10", head[0])
	}
	length := 0
	for shift := 0; ; shift += 7 {
		var b [1]byte
		if _, err := io.ReadFull(nc, b[:]); err != nil {
			return nil, err
		}
		head = append(head, b[0])
		if length |= int(b[0]&0x7f) << shift; length > maxConnect || shift > 14 {
			return nil, fmt.Errorf("a CONNECT packet of more than %d bytes", maxConnect)
		}
		if b[0]&0x80 == 0 {
			break
		}
	}
	packet := append(head, make([]byte, length)...)
	if _, err := io.ReadFull(nc, packet[len(head):]); err != nil {
		return nil, err
	}
	return packet, nc.SetDeadline(time.Time{})
}

// stop accepts no more.
func (g *gate) stop() {
	g.stopOnce.Do(func() {
		g.mu.Lock()
		g.closed = true
		g.mu.Unlock()
		close(g.done)
		g.listener.Close()
	})
}

// drop closes every connection and waits until all have ended.
func (g *gate) drop() {
	g.stop()
	g.mu.Lock()
	for c := range g.open {
		c.cut()
	}
	g.mu.Unlock()
	g.wg.Wait()
}

// Close is called by the library when it stops.
func (g *gate) Close(listeners.CloseFn) { g.drop() }
