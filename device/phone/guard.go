package phone

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/punchd/punchd/protocol/phone"
)

// Bounds of failed logins.
const (
	loginFailures = 10          // of one user from one address ...
	addressLimit  = 100         // ... or of all users from it ...
	loginWindow   = time.Minute // ... within this time, and they wait as long
	guardSize     = 10_000      // entries of either kind
)

// guard slows down who guesses passwords: a user that failed too often from an
// address is not heard from there for a while, nor is anybody from an address
// that tried many. Others behind the same address go on meanwhile, because one
// phone with an old password must not lock an office out. What is tried during
// the wait does not make it longer, so that an honest phone gets in after it.
type guard struct {
	mu        sync.Mutex
	users     tally[userAt]
	addresses tally[netip.Prefix]
}

// userAt is a user as one address names it.
type userAt struct {
	from netip.Prefix
	user string
}

// at makes the entry of a user. All names that no user can have are one, so
// that entries stay small.
func at(from netip.Prefix, user string) userAt {
	if !phone.ValidName(user) {
		user = ""
	}
	return userAt{from, user}
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

// held reports whether a user has to wait at an address.
func (g *guard) held(from netip.Prefix, user string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.addresses.held(from, addressLimit, now) || g.users.held(at(from, user), loginFailures, now)
}

// hold says who has to wait from now on.
type hold int

const (
	holdsNobody hold = iota
	holdsUser
	holdsAddress
)

// fail counts a failed login.
func (g *guard) fail(from netip.Prefix, user string, now time.Time) hold {
	g.mu.Lock()
	defer g.mu.Unlock()
	byUser := g.users.fail(at(from, user), loginFailures, now)
	switch {
	case g.addresses.fail(from, addressLimit, now):
		return holdsAddress
	case byUser:
		return holdsUser
	}
	return holdsNobody
}

// tally counts failures, and is bounded.
type tally[K comparable] struct {
	tries  map[K]tries
	tidied time.Time // when tries was last searched for what is over
}

type tries struct {
	failed int
	until  time.Time // when it is forgotten
}

// held reports whether k has failed to the limit.
func (t *tally[K]) held(k K, limit int, now time.Time) bool {
	of, ok := t.tries[k]
	return ok && of.failed >= limit && now.Before(of.until)
}

// fail counts a failure; true says that k has reached the limit by it.
func (t *tally[K]) fail(k K, limit int, now time.Time) bool {
	of, ok := t.tries[k]
	if !ok || !now.Before(of.until) {
		of = tries{until: now.Add(loginWindow)}
		t.makeRoom(now)
	}
	if of.failed++; of.failed == limit {
		of.until = now.Add(loginWindow)
	}
	if t.tries == nil {
		t.tries = map[K]tries{}
	}
	t.tries[k] = of
	return of.failed == limit
}

// makeRoom keeps the table bounded: first without what is over, which is looked
// for once a second at most, then without any one entry.
func (t *tally[K]) makeRoom(now time.Time) {
	if len(t.tries) < guardSize {
		return
	}
	if now.Sub(t.tidied) > time.Second {
		t.tidied = now
		maps.DeleteFunc(t.tries, func(_ K, of tries) bool { return !now.Before(of.until) })
	}
	for k := range t.tries {
		if len(t.tries) < guardSize {
			return
		}
		delete(t.tries, k)
	}
}
