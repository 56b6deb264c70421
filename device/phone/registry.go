package phone

import (
	"slices"
	"sync"
)

// maxPerUser bounds the connections of one user: a phone, its predecessor that
// the network forgot, a second phone, a test.
const maxPerUser = 8

// registry knows the connections of every user. The broker library keeps
// sessions by client id alone, which would let one user take over another's;
// here a client id means something only within its user.
type registry struct {
	mu    sync.Mutex
	users map[string][]*conn // in the order of their logins
	last  uint64
}

// add lists a connection and returns the one that it replaces: the user's
// earlier connection with the same client id, or the oldest if the user has too
// many. The caller closes that.
func (r *registry) add(c *conn) (replaced *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	c.serial = r.last
	list := r.users[c.user]
	i := slices.IndexFunc(list, func(o *conn) bool { return c.clientID != "" && o.clientID == c.clientID })
	if i < 0 && len(list) >= maxPerUser {
		i = 0
	}
	if i >= 0 {
		replaced = list[i]
		list = slices.Delete(list, i, i+1)
	}
	if r.users == nil {
		r.users = map[string][]*conn{}
	}
	r.users[c.user] = append(list, c)
	return replaced
}

// remove forgets a connection that has ended.
func (r *registry) remove(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.users[c.user]
	if i := slices.Index(list, c); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(r.users, c.user)
		return
	}
	r.users[c.user] = list
}

// of lists the connections of a user.
func (r *registry) of(user string) []*conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.users[user])
}
