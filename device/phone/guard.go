package phone

import (
	"maps"
	"net/netip"
	"sync"
	"time"
)

// Bounds of failed logins.
const (
	loginFailures = 10          // from one address ...
	loginWindow   = time.Minute // ... within this time, and it waits as long
	guardSize     = 10_000      // addresses remembered
)

// guard slows down who guesses passwords: an address that failed too often is
// not heard for a while. What it tries meanwhile does not make the wait longer,
// so that an honest phone behind the same address gets in after it.
type guard struct {
	mu     sync.Mutex
	tries  map[netip.Prefix]tries
	tidied time.Time // when tries was last searched for what is over
}

type tries struct {
	failed int
	until  time.Time // when it is forgotten
}

// source is what counts as one address: all of IPv6 that one line is given.
func source(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{} // no IP (a pipe): all such are one
	}
	addr := ap.Addr().Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// held reports whether the source has to wait.
func (g *guard) held(from netip.Prefix, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	t, ok := g.tries[from]
	return ok && t.failed >= loginFailures && now.Before(t.until)
}

// fail counts a failed login; true says that the source has to wait from now on.
func (g *guard) fail(from netip.Prefix, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	t, ok := g.tries[from]
	if !ok || !now.Before(t.until) {
		t = tries{until: now.Add(loginWindow)}
		g.makeRoom(now)
	}
	if t.failed++; t.failed == loginFailures {
		t.until = now.Add(loginWindow)
	}
	if g.tries == nil {
		g.tries = map[netip.Prefix]tries{}
	}
	g.tries[from] = t
	return t.failed == loginFailures
}

// makeRoom keeps the table bounded: first without what is over, which is looked
// for once a second at most, then without any one entry.
func (g *guard) makeRoom(now time.Time) {
	if len(g.tries) < guardSize {
		return
	}
	if now.Sub(g.tidied) > time.Second {
		g.tidied = now
		maps.DeleteFunc(g.tries, func(_ netip.Prefix, t tries) bool { return !now.Before(t.until) })
	}
	for from := range g.tries {
		if len(g.tries) < guardSize {
			return
		}
		delete(g.tries, from)
	}
}
