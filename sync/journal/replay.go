package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/buffer"
	"github.com/punchd/punchd/sync/ledger"
)

// progressEvery is how often a long replay says how far it is.
const progressEvery = 2 * time.Second

// stretch is a part of the ledger on its way into the buffer.
type stretch struct {
	first   uint64
	count   int
	entries []entry // none if the ledger has lost these records
	frames  []byte
}

// replay applies to the buffer what the ledger has and it has not: all, if it
// is new. Reading and decoding go on beside the writing.
func (j *Journal) replay(ctx context.Context) error {
	from, to := j.buffer.Applied(), j.ledger.Next()
	if from == to {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stretches := make(chan *stretch, 4)
	read := make(chan error, 1)
	go func() {
		defer close(stretches)
		read <- j.readStretches(ctx, from, stretches)
	}()
	said := time.Now()
	var err error
	for s := range stretches {
		if err != nil {
			continue // wait for the reader to notice
		}
		if err = j.applyStretch(s); err != nil {
			cancel()
		}
		if time.Since(said) > progressEvery {
			said = time.Now()
			j.log.Info("bringing the buffer up to the ledger", "done", s.first+uint64(s.count)-from, "of", to-from)
		}
	}
	if rerr := <-read; err == nil {
		err = rerr
	}
	if err != nil {
		return fmt.Errorf("journal: bring the buffer up to the ledger: %w", err)
	}
	j.found.replayed(j.log, to-from, from == 0)
	return nil
}

// readStretches sends the ledger from a sequence on in pieces for one
// transaction each.
func (j *Journal) readStretches(ctx context.Context, from uint64, out chan<- *stretch) error {
	r := j.ledger.Reader(from)
	defer r.Close()
	id := j.ledger.Identity()
	s := &stretch{first: from}
	send := func(next uint64) error {
		if s.count > 0 {
			select {
			case out <- s:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s = &stretch{first: next}
		return nil
	}
	for {
		f, err := r.Next()
		if d, damaged := errors.AsType[*ledger.Damage](err); damaged {
			j.found.damaged(j.log, d)
			if err := send(d.First); err != nil {
				return err
			}
			s.count = int(d.Last - d.First + 1)
			if err := send(d.Last + 1); err != nil {
				return err
			}
			continue
		}
		if err == io.EOF {
			return send(r.Seq())
		}
		if err != nil {
			return err
		}
		s.frames = id.AppendFrame(s.frames, f)
		s.entries = append(s.entries, j.decode(&f))
		if s.count++; s.count >= maxGroup || len(s.frames) >= maxBlock {
			if err := send(f.Seq + 1); err != nil {
				return err
			}
		}
	}
}

// applyStretch applies a stretch in one transaction.
func (j *Journal) applyStretch(s *stretch) error {
	u := j.buffer.Update()
	defer u.Drop()
	for i := range s.entries {
		e := &s.entries[i]
		if e.settled != nil {
			var err error
			if e.punches, err = j.punchesBetween(u.Cursor(e.settled.Sink), e.settled.Last); err != nil {
				return err
			}
		}
		j.index(u, s.first+uint64(i), e)
	}
	u.Block(s.first, s.count, s.frames)
	return u.Commit(s.first + uint64(s.count))
}

// decode brings a frame into the form in which records go into the buffer. What
// can't be decoded is kept and counted, but nothing follows from it.
func (j *Journal) decode(f *ledger.Frame) entry {
	e := entry{kind: f.Kind}
	switch f.Kind {
	case attendance.RecordPunch, attendance.RecordSettled, attendance.RecordParked:
	default:
		return e
	}
	rec, err := record(f)
	if err != nil {
		j.log.Error("a record of the ledger can't be decoded", "seq", f.Seq, "err", err)
		return e
	}
	switch r := rec.(type) {
	case *attendance.Punch:
		e.of(r)
	case *attendance.Settled:
		if err = buffer.CheckSinkName(r.Sink); err == nil {
			e.settled = r
		}
	case *attendance.Parked:
		if err = buffer.CheckSinkName(r.Sink); err == nil {
			e.parked, e.at = r, time.Now()
		}
	}
	if err != nil {
		j.log.Error("a record of the ledger names no sink", "seq", f.Seq, "err", err)
	}
	return e
}

// of takes over what the buffer must know of a punch.
func (e *entry) of(p *attendance.Punch) {
	e.key, e.verdict = p.Key, p.Verdict
	if p.Counter > 0 && p.Device.Driver == "phone" {
		e.phone, e.counter = p.Device.ID, p.Counter
	}
}

// record decodes a frame's payload.
func record(f *ledger.Frame) (attendance.Record, error) {
	if f.Flags != 0 {
		return nil, fmt.Errorf("journal: record %d has flags %#x: %w", f.Seq, f.Flags, protocol.ErrUnsupported)
	}
	rec, err := attendance.DecodeRecord(f.Kind, f.Payload)
	if err != nil {
		return nil, fmt.Errorf("journal: record %d: %w", f.Seq, err)
	}
	return rec, nil
}

// punchesBetween counts the punches from one sequence to another, both
// inclusive. What can't be read in any copy is not counted.
func (j *Journal) punchesBetween(from, to uint64) (n uint64, err error) {
	if from > to {
		return 0, nil
	}
	f := j.feeds.take(from)
	defer j.feeds.give(f)
	for f.pos() <= to {
		frame, err := f.next()
		if _, damaged := errors.AsType[*ledger.Damage](err); damaged {
			continue
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		if frame.Kind == attendance.RecordPunch && frame.Seq <= to {
			n++
		}
	}
	return n, nil
}
