package journal

import (
	"context"
	"sync"
)

// progress is a number that only grows, and that can be waited for.
type progress struct {
	mu      sync.Mutex
	value   uint64
	err     error         // what waiting ends with from now on
	changed chan struct{} // closed at the next change; nil if nobody waits
}

func newProgress(value uint64) *progress { return &progress{value: value} }

// get is the value now.
func (p *progress) get() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.value
}

// reach sets the value, if it is higher.
func (p *progress) reach(value uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value = max(p.value, value)
	p.wake()
}

// fail ends all waiting, now and later.
func (p *progress) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.wake()
}

func (p *progress) wake() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// wait returns nil when the value is reached.
func (p *progress) wait(ctx context.Context, value uint64) error {
	for {
		p.mu.Lock()
		if p.value >= value || p.err != nil {
			defer p.mu.Unlock()
			if p.value >= value {
				return nil
			}
			return p.err
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
