package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// spareStep is how much of a spare is written between two flushes, in bytes,
// so that a batch that is committed meanwhile waits for no more than that.
const spareStep = 2 << 20

// spare keeps one segment of zeros ready, so that a writer whose segment is
// full need not wait for one to be written.
type spare struct {
	l    *Ledger
	quit atomic.Bool    // the ledger is being closed
	run  sync.WaitGroup // the goroutine that prepares; Append and Close wait for it

	mu    sync.Mutex
	ready bool
	tried bool // in the background, since the last one was taken
}

// adopt takes over a spare that an earlier process left, if it is whole.
func (s *spare) adopt() error {
	names, err := s.l.fs.ReadDir(s.l.dir)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	for _, name := range names {
		path := filepath.Join(s.l.dir, name)
		if name == spareName {
			if f, err := s.l.fs.Open(path, false); err == nil {
				size, err := f.Size()
				s.ready = err == nil && size == s.l.size
				f.Close() // opened for reading
			}
		}
		if name == spareTemp || name == spareName && !s.ready {
			if err := s.l.fs.Remove(path); err != nil {
				return fmt.Errorf("ledger: %w", err)
			}
		}
	}
	return nil
}

// prepare begins to write a spare in the background unless there is one. It
// tries once: on a full disk it would only be in the way, and take tries again.
func (s *spare) prepare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready || s.tried || s.quit.Load() {
		return
	}
	s.tried = true
	s.run.Go(func() {
		err := s.make()
		s.mu.Lock()
		s.ready = err == nil
		s.mu.Unlock()
		if err != nil && !errors.Is(err, ErrClosed) {
			s.l.log.Warn("no spare ledger segment could be prepared; it is tried again when it is needed", "err", err)
		}
	})
}

// take returns when a spare is there, and counts it as taken.
func (s *spare) take() error {
	s.run.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		if err := s.make(); err != nil {
			return fmt.Errorf("ledger: prepare a segment: %w", err)
		}
	}
	s.ready, s.tried = false, false
	return nil
}

// make writes a spare and makes it durable, so that overwriting it later
// changes no more than its data.
func (s *spare) make() error {
	if s.l.room != nil {
		if err := s.l.room(s.l.size); err != nil {
			return err
		}
	}
	temp := filepath.Join(s.l.dir, spareTemp)
	f, err := s.l.fs.Create(temp)
	if err != nil {
		return err
	}
	for off := int64(0); off < s.l.size && err == nil; off += spareStep {
		if s.quit.Load() {
			err = ErrClosed
			break
		}
		if err = zero(f, off, min(off+spareStep, s.l.size)); err == nil {
			err = f.Datasync()
		}
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		// Its name becomes durable when it is taken; until then nothing is lost
		// with it.
		err = s.l.fs.Rename(temp, filepath.Join(s.l.dir, spareName))
	}
	if err == nil {
		return nil
	}
	if rerr := s.l.fs.Remove(temp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}
