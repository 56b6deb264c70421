package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// stage is a world that is served and punched at, with a daemon in front of it.
type stage struct {
	world  *World
	daemon *Daemon
	dir    string
	log    *os.File

	stopServing, stopPunching context.CancelFunc
	served, punched           chan error
	stopCards                 context.CancelFunc // nil: no cards are shown
	shown                     chan error
	next                      int    // event at central to look at next
	seen                      []Seen // of what central holds, so far as it was looked at
	punches                   []*attendance.Punch
	lost                      map[identity]bool // found to be lost already

	// plain leaves out what can't be known of a fact before it is told, where the
	// daemon's clock decides on it; nil: nothing.
	plain func(line string, says *Says)
}

// newStage makes a world with its files in a directory, and has it served and
// punched at, but for the cards. [stage.close] ends it.
func newStage(ctx context.Context, scene Scene, dir string, d Daemon) (_ *stage, err error) {
	s := &stage{daemon: &d, dir: dir, served: make(chan error, 1), punched: make(chan error, 1), shown: make(chan error, 1), lost: map[identity]bool{}}
	if s.world, err = NewWorld(scene); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.world.Close())
		}
	}()
	if err := s.world.WriteFiles(dir); err != nil {
		return nil, err
	}
	if s.log, err = os.OpenFile(filepath.Join(dir, "punchd.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	d.Dir, d.Log = dir, s.log
	ctx, s.stopServing = context.WithCancel(ctx)
	punching, stop := context.WithCancel(ctx)
	s.stopPunching = stop
	go func() { s.served <- s.world.Serve(ctx) }()
	go func() { s.punched <- s.world.punchWithoutCards(punching) }()
	return s, nil
}

// cards has cards shown until noCards. A card that is shown while the daemon does
// not run waits in the port, and nobody could tell then whether it was one or two,
// so cards are shown only to a daemon that runs, and each of them is a promise.
func (s *stage) cards(ctx context.Context) {
	if s.stopCards == nil {
		ctx, s.stopCards = context.WithCancel(ctx)
		go func() { s.shown <- s.world.showCards(ctx) }()
	}
}

// cardsRest is how long the last card may take to become a fact that is durable.
const cardsRest = time.Second

// noCards ends it, and waits until the daemon has what was shown.
func (s *stage) noCards() error {
	if s.stopCards == nil {
		return nil
	}
	s.stopCards()
	s.stopCards = nil
	err := <-s.shown
	time.Sleep(cardsRest)
	return err
}

// quiet ends the punching. It may be called once.
func (s *stage) quiet() error {
	err := s.noCards()
	s.stopPunching()
	return errors.Join(err, <-s.punched)
}

// close ends what serves the world, after quiet.
func (s *stage) close() error {
	s.stopServing()
	return errors.Join(<-s.served, s.world.Close(), s.log.Close())
}

// start starts the daemon and waits until it serves.
func (s *stage) start(ctx context.Context) (*Process, error) {
	p, err := s.daemon.Start()
	if err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	if err := p.Ready(ready); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

// held is what central holds by now.
func (s *stage) held() ([]Seen, error) {
	more, punches, next, err := s.world.heldFrom(s.next)
	s.next = next
	for i := range more {
		if s.plain != nil {
			s.plain(more[i].Line, more[i].Says)
		}
	}
	s.seen, s.punches = append(s.seen, more...), append(s.punches, punches...)
	return s.seen, err
}

// made is what the devices made by now.
func (s *stage) made() []Fact {
	made := s.world.Made(true)
	if s.plain != nil {
		for i := range made {
			s.plain(made[i].Line, made[i].Says)
		}
	}
	return made
}

// total counts both sides at the end.
func (s *stage) total() (*Tally, error) {
	seen, err := s.held()
	if err != nil {
		return nil, err
	}
	return Check(s.made(), seen), nil
}

// tally counts both sides while they go on. What is promised and not yet at
// central is no fault then.
func (s *stage) tally() (*Tally, error) {
	seen, err := s.held() // before what was made, so that nothing seems to be made by nobody
	if err != nil {
		return nil, err
	}
	t := Check(s.made(), seen)
	rest := t.Faults[:0]
	for _, f := range t.Faults {
		if f.Kind != Lost {
			rest = append(rest, f)
		}
	}
	t.Lost, t.Faults = 0, rest
	return t, nil
}

// drain waits until central holds all that was promised so far, as long as
// there is progress, and gives what it does not get and was not found lost
// before.
func (s *stage) drain(ctx context.Context, p *Process) ([]Fault, error) {
	made := s.made()
	least, since := len(made)+1, time.Now()
	for {
		seen, err := s.held()
		if err != nil {
			return nil, err
		}
		var lost []Fault
		for _, f := range Check(made, seen).Faults {
			if f.Kind == Lost && !s.lost[identity{f.Line, f.ID}] {
				lost = append(lost, f)
			}
		}
		if len(lost) == 0 {
			return nil, nil
		}
		if len(lost) < least {
			least, since = len(lost), time.Now()
		}
		if time.Since(since) > drainPatience {
			for _, f := range lost {
				s.lost[identity{f.Line, f.ID}] = true
			}
			return lost, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-p.Exited():
			return nil, fmt.Errorf("rig: the daemon ended while it was to drain: %w", p.err)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
