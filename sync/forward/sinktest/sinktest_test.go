package sinktest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
)

// shelf is the least that passes: a far end in memory with a unique index.
type shelf struct {
	mu                 sync.Mutex
	down, hangs, loses bool
	held               []attendance.Key
}

func (s *shelf) Name() string { return "shelf" }

func (s *shelf) Send(ctx context.Context, items []forward.Item) (forward.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hangs {
		s.hangs = false
		<-ctx.Done()
	}
	if s.down || ctx.Err() != nil {
		return nil, forward.Later{Err: errors.New("shelf: can't be reached")}
	}
	receipt := forward.All(len(items), forward.Accepted)
	for i, it := range items {
		if slices.Contains(s.held, it.Punch.Key) {
			receipt[i].Outcome = forward.Duplicate
			continue
		}
		s.held = append(s.held, it.Punch.Key)
	}
	if s.loses {
		s.loses = false
		return nil, errors.New("shelf: the answer is lost")
	}
	return receipt, nil
}

func (s *shelf) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func TestShelf(t *testing.T) {
	TestSink(t, func(*testing.T) Far {
		s := &shelf{}
		return Far{
			Sink: func(testing.TB) forward.Sink { return s },
			Held: func(testing.TB) (held []attendance.Key) { s.set(func() { held = slices.Clone(s.held) }); return held },
			Down: func(_ testing.TB, down bool) { s.set(func() { s.down = down }) },
			Hang: func(testing.TB) { s.set(func() { s.hangs = true }) },
			Lose: func(testing.TB) { s.set(func() { s.loses = true }) },
		}
	})
}
