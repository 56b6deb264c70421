package gateway

import (
	"context"
	"hash/maphash"
)

// locks serialises work by name. Names share a fixed number of locks, so that
// no number of names can make it grow; two that share one merely wait.
type locks struct {
	seed maphash.Seed
	held [512]chan struct{}
}

func newLocks() *locks {
	l := &locks{seed: maphash.MakeSeed()}
	for i := range l.held {
		l.held[i] = make(chan struct{}, 1)
	}
	return l
}

// lock waits for the name's lock and returns what gives it back.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	c := l.held[maphash.String(l.seed, name)%uint64(len(l.held))]
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
