package phone

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// What a user may send of what others could have sent in its name. Whoever
// knows one phone's password could otherwise fill the disk, since everything is
// kept. A person presses far less often, so nobody honest ever waits.
const (
	perMessage = time.Second             // in the long run, a message a second ...
	perByte    = time.Minute / (1 << 20) // ... and a mebibyte a minute
	unproven   = time.Minute             // at once: 60 messages, or a mebibyte, of what proves nothing
	unsigned   = 100_000 * perMessage    // at once: what an OwnTracks phone brings home from any journey ...
	unsignedBy = 64 << 20 * perByte      // ... which is 100,000 messages, or 64 MiB
	slowNoted  = 10 * time.Minute        // a user is told of as slowed for so long ...
	namesTold  = 3                       // ... and so many by name
)

// rate is how much of one sort of message a user may be ahead of the long run.
type rate struct {
	sort            int // index into the debts of a user
	messages, bytes time.Duration
}

const sorts = 2

// rateOf is the rate for a grade of authentication that is not signed.
func rateOf(a attendance.Auth) rate {
	if a == attendance.AuthUser {
		return rate{1, unsigned, unsignedBy}
	}
	return rate{0, unproven, unproven}
}

// brake makes users wait that send too much of what proves too little. All
// connections of a user share it. It remembers those who logged in with a
// password, so it has no more entries than the configuration has users.
type brake struct {
	mu    sync.Mutex
	users map[string]*pace
}

// pace is what a user has sent, as the moment until which it would have been
// sent in the long run: a token bucket in one number for each sort and measure.
type pace struct {
	debts  [sorts]struct{ messages, bytes time.Time }
	slowed time.Time // when a message had to wait, last
}

// take counts a message and says how long it has to wait. first says that the
// user was not slowed down for some time.
func (b *brake) take(user string, r rate, bytes int, now time.Time) (wait time.Duration, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.users[user]
	if p == nil {
		if b.users == nil {
			b.users = map[string]*pace{}
		}
		p = &pace{}
		b.users[user] = p
	}
	d := &p.debts[r.sort]
	d.messages = later(d.messages, now).Add(perMessage)
	d.bytes = later(d.bytes, now).Add(time.Duration(bytes) * perByte)
	wait = max(d.messages.Sub(now)-r.messages, d.bytes.Sub(now)-r.bytes)
	if wait > 0 {
		first = now.Sub(p.slowed) > slowNoted
		p.slowed = now
	}
	return wait, first
}

// giveBack takes a message back that was not kept after all, or those who hang
// up while they wait would make the next ones wait for them.
func (b *brake) giveBack(user string, r rate, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.users[user]; p != nil {
		d := &p.debts[r.sort]
		d.messages = d.messages.Add(-perMessage)
		d.bytes = d.bytes.Add(-time.Duration(bytes) * perByte)
	}
}

// notes says for status pages who is slowed down, nil if nobody is.
func (b *brake) notes(now time.Time) []string {
	b.mu.Lock()
	var names []string
	for user, p := range b.users {
		if now.Sub(p.slowed) <= slowNoted {
			names = append(names, user)
		}
	}
	b.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	more := ""
	if n := len(names) - namesTold; n > 0 {
		names, more = names[:namesTold], fmt.Sprintf(" and %d more", n)
	}
	return []string{fmt.Sprintf("slowed down, because too much came that proves too little: %s%s; look at the app, or change the password", strings.Join(names, ", "), more)}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
