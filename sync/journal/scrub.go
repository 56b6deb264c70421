package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/punchd/punchd/sync/buffer"
	"github.com/punchd/punchd/sync/ledger"
)

// Scrubbed is what reading everything came to. Its JSON names are part of the
// commands' interface.
type Scrubbed struct {
	At       time.Time     `json:"at"`
	Took     time.Duration `json:"took_ns"`
	Records  uint64        `json:"records"`  // read, in both copies
	Repaired uint64        `json:"repaired"` // written back into the ledger from their second copy
	Copied   uint64        `json:"copied"`   // written into the second copy again from the ledger
	Headers  int           `json:"headers"`  // of segments, written anew
	Lost     uint64        `json:"lost"`     // can't be read in either
	Left     uint64        `json:"left"`     // readable in one copy, and could not be written back to the other
	Differ   uint64        `json:"differ"`   // two readable copies that say different things
}

// Bounds of one step of a scrub.
const (
	scrubBytes  = 1 << 20
	scrubBlocks = 256
	// scrubPace is how many bytes are read in a second beside a running gateway:
	// a million records take a minute.
	scrubPace = 20 << 20
	// scrubEvery is how often everything is read.
	scrubEvery = 24 * time.Hour
)

// Tend reads both copies of every record now and once a day, and rebuilds what
// can't be read of one from the other, until ctx ends. Damage that nobody looks
// for has taken the second copy too when it is met.
func (j *Journal) Tend(ctx context.Context) error {
	for {
		s, err := j.Scrub(ctx, scrubPace)
		switch {
		case ctx.Err() != nil || errors.Is(err, ErrClosed):
			return nil
		case err != nil:
			j.log.Warn("the ledger and its second copy can't be read through; it is tried again tomorrow", "err", err)
		case s.Repaired+s.Copied+s.Lost+s.Left+s.Differ > 0 || s.Headers > 0:
			j.log.Warn("the ledger and its second copy were read through", "records", s.Records, "repaired", s.Repaired, "copied", s.Copied,
				"headers", s.Headers, "lost", s.Lost, "left", s.Left, "differ", s.Differ, "took", s.Took.Round(time.Millisecond))
		}
		pause(ctx, scrubEvery)
	}
}

// Scrub reads both copies of every record and rebuilds what can't be read of one
// from the other, at so many bytes a second, or as fast as it goes if that is 0.
// The error is one that ended it; what it found is in the result, and in [Stats].
func (j *Journal) Scrub(ctx context.Context, pace int64) (Scrubbed, error) {
	s := &scrub{j: j, said: Scrubbed{At: time.Now()}, pace: pace}
	err := s.headers()
	for err == nil && !s.done {
		if err = ctx.Err(); err == nil {
			err = s.step(ctx)
		}
	}
	s.said.Took = time.Since(s.said.At)
	if err != nil {
		return s.said, err
	}
	j.found.scrubbed(s.said)
	return s.said, nil
}

type scrub struct {
	j    *Journal
	said Scrubbed
	pace int64
	next uint64 // sequence to go on at
	done bool
}

func (s *scrub) headers() error {
	done, err := s.j.use()
	if err != nil {
		return err
	}
	defer done()
	names, err := s.j.ledger.RepairHeaders()
	s.said.Headers = len(names)
	for _, name := range names {
		s.j.log.Warn("the header of a ledger segment is repaired", "segment", name)
	}
	if err != nil {
		s.j.log.Error("the header of a ledger segment can't be repaired", "err", err)
	}
	s.j.found.repaired(names)
	return nil
}

// pair is a stretch of both copies, read side by side.
type pair struct {
	from, to uint64 // the latter exclusive
	blocks   []buffer.Block
	ledger   map[uint64][]byte // frames as they stand in the ledger
	copy     map[uint64][]byte // and in the second copy
}

// step reads some blocks, and mends what must be.
func (s *scrub) step(ctx context.Context) error {
	begun := time.Now()
	s.j.scrubs.Lock()
	p, err := s.read()
	if err == nil && p != nil {
		err = s.mend(ctx, p)
	}
	s.j.scrubs.Unlock()
	if err != nil || p == nil {
		s.done = true
		return err
	}
	n := 0
	for _, b := range p.ledger {
		n += len(b)
	}
	s.next = p.to
	s.said.Records += p.to - p.from
	if s.pace > 0 {
		pause(ctx, time.Duration(int64(n)*int64(time.Second)/s.pace)-time.Since(begun))
	}
	return nil
}

// read reads the next stretch; nil behind the end of what is applied.
func (s *scrub) read() (*pair, error) {
	done, err := s.j.use()
	if err != nil {
		return nil, err
	}
	defer done()
	p := &pair{from: s.next, to: s.next, ledger: map[uint64][]byte{}, copy: map[uint64][]byte{}}
	id, end := s.j.ledger.Identity(), s.j.buffer.Applied()
	for size := 0; p.to < end && size < scrubBytes && len(p.blocks) < scrubBlocks; {
		b, found, err := s.j.buffer.Block(p.to)
		if err != nil {
			s.j.log.Warn("a second copy can't be read", "seq", p.to, "err", err)
		}
		if !found || b.Count == 0 || b.First > p.to {
			return nil, fmt.Errorf("journal: the second copy of record %d is not there", p.to)
		}
		for rest := b.Frames; len(rest) > 0; {
			f, n, err := id.ParseFrame(rest)
			if err != nil {
				break
			}
			p.copy[f.Seq], rest = rest[:n], rest[n:]
		}
		size += len(b.Frames)
		s.j.buffer.Touched(int64(len(b.Frames)))
		p.blocks = append(p.blocks, b)
		p.to = b.First + uint64(b.Count)
	}
	if p.to == p.from {
		return nil, nil
	}
	return p, s.readLedger(p)
}

func (s *scrub) readLedger(p *pair) error {
	id, r := s.j.ledger.Identity(), s.j.ledger.Reader(p.from)
	defer r.Close()
	for r.Seq() < p.to {
		f, err := r.Next()
		switch d, damaged := errors.AsType[*ledger.Damage](err); {
		case damaged:
			s.j.found.damaged(s.j.log, d)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("journal: %w", err)
		case f.Seq < p.to:
			p.ledger[f.Seq] = id.AppendFrame(nil, f)
		}
	}
	return nil
}

// mend writes back what one copy lacks and the other has.
func (s *scrub) mend(ctx context.Context, p *pair) error {
	for seq := p.from; seq < p.to; {
		a, b := p.ledger[seq], p.copy[seq]
		switch {
		case a != nil && b != nil && !bytes.Equal(a, b):
			s.said.Differ++
			s.j.log.Error("the ledger and its second copy say different things; neither is touched", "seq", seq)
		case a == nil && b == nil:
			s.said.Lost++
			s.find(func(f *findings) { f.lost(s.j.log, &ledger.Damage{First: seq, Last: seq}) })
		case a == nil:
			n := s.writeBack(p, seq)
			seq += n
			continue
		}
		seq++
	}
	for i := range p.blocks {
		if err := s.copyAgain(ctx, p, &p.blocks[i]); err != nil {
			return err
		}
	}
	return nil
}

// writeBack writes a stretch of frames back into the ledger. It gives how many.
func (s *scrub) writeBack(p *pair, first uint64) (n uint64) {
	var frames []byte
	last := first
	for ; last < p.to && p.ledger[last] == nil && p.copy[last] != nil; last++ {
		frames = append(frames, p.copy[last]...)
	}
	n = last - first
	done, err := s.j.use()
	if err == nil {
		defer done()
		err = s.j.gate.answers(gateFresh) // a segment may have to be made
	}
	if err == nil {
		err = s.j.ledger.Repair(frames)
	}
	if err != nil {
		s.said.Left += n
		s.j.log.Error("records of the ledger can't be written back from their second copy", "first", first, "last", last-1, "err", err)
		return n
	}
	s.said.Repaired += n
	s.j.log.Warn("records of the ledger are repaired from their second copy", "first", first, "last", last-1)
	s.j.found.cured(first, last-1)
	for seq := first; seq < last; seq++ {
		p.ledger[seq] = p.copy[seq]
	}
	return n
}

// copyAgain writes a block into the buffer again, if it is not what it should be
// and all of it can be had.
func (s *scrub) copyAgain(ctx context.Context, p *pair, b *buffer.Block) error {
	var frames []byte
	missing := uint64(0)
	for seq := b.First; seq < b.First+uint64(b.Count); seq++ {
		if p.copy[seq] == nil {
			missing++
		}
		if p.ledger[seq] == nil {
			return nil // told as lost, or left
		}
		frames = append(frames, p.ledger[seq]...)
	}
	if missing == 0 {
		return nil
	}
	err := s.apply(ctx, func() error {
		u := s.j.buffer.Update()
		defer u.Drop()
		u.Block(b.First, int(b.Count), frames)
		return u.Commit(s.j.buffer.Applied())
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
		s.said.Left += missing
		s.j.log.Error("a second copy can't be written again", "first", b.First, "records", b.Count, "err", err)
		return nil
	}
	if err == nil {
		s.said.Copied += missing
		s.j.log.Warn("a second copy is written again from the ledger", "first", b.First, "records", b.Count)
		s.find(func(f *findings) { f.cured(b.First, b.First+uint64(b.Count)-1) }) // what was lost with both is there now
	}
	return err
}

// find changes what is found, which is kept in the buffer.
func (s *scrub) find(change func(*findings)) {
	if done, err := s.j.use(); err == nil {
		defer done()
		change(&s.j.found)
	}
}

// apply has the applier do something, since it alone changes the buffer.
func (s *scrub) apply(ctx context.Context, do func() error) error {
	r := newRequest(nil)
	r.run = do
	if err := s.j.send(ctx, r); err != nil {
		return err
	}
	return r.wait(ctx)
}
