package journal

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// signing is what is told of the notary's work.
type signing struct {
	mu      sync.Mutex
	running bool
	signed  Signed
	err     error
}

func (s *signing) reach(to Signed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.signed, s.err = true, to, nil
}

func (s *signing) fail(log *slog.Logger, err error) {
	s.mu.Lock()
	news := s.err == nil || s.err.Error() != err.Error()
	s.err = err
	s.mu.Unlock()
	if news {
		log.Error("the ledger can't be signed; it is tried again", "err", err)
	}
}

// tell adds it to the stats.
func (s *signing) tell(st *Stats) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		signed := s.signed
		st.Signed = &signed
	}
	return s.err
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
