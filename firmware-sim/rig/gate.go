package rig

import (
	"context"
	"net"
	"sync"
	"time"
)

// gate holds the phones' dials back until the machine serves. Its network card
// would take them before and answer nothing, and the phones would be waiting
// for their time to run out when the next cut comes.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while the gate is open
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) unlock() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.open:
		g.open = make(chan struct{})
	default:
	}
}

func (g *gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, address)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
