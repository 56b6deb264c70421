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
// is new. Reading and decoding go on beside the writing. After an error it may
// be called again, and goes on where the buffer stands.
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
		read <- j.readStretches(ctx, from, to, stretches)
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

// stretcher cuts the ledger into pieces for one transaction each.
type stretcher struct {
	j        *Journal
	ctx      context.Context
	out      chan<- *stretch
	s        *stretch
	from, to uint64 // what is being replayed
	salvage  *buffer.Salvage
}

// readStretches sends the ledger from one sequence to another in pieces.
func (j *Journal) readStretches(ctx context.Context, from, to uint64, out chan<- *stretch) error {
	r := j.ledger.Reader(from)
	defer r.Close()
	x := &stretcher{j: j, ctx: ctx, out: out, s: &stretch{first: from}, from: from, to: to}
	defer x.close()
	for {
		f, err := r.Next()
		if d, damaged := errors.AsType[*ledger.Damage](err); damaged {
			j.found.damaged(j.log, d)
			if err := x.damaged(d); err != nil {
				return err
			}
			continue
		}
		if err == io.EOF {
			return x.send(r.Seq())
		}
		if err == nil {
			err = x.add(&f)
		}
		if err != nil {
			return err
		}
	}
}

// send sends what was gathered, and begins anew at a sequence.
func (x *stretcher) send(next uint64) error {
	if x.s.count > 0 {
		select {
		case x.out <- x.s:
		case <-x.ctx.Done():
			return x.ctx.Err()
		}
	}
	x.s = &stretch{first: next}
	return nil
}

// add takes in a frame.
func (x *stretcher) add(f *ledger.Frame) error {
	id, e := x.j.ledger.Identity(), x.j.decode(f)
	if e.settled != nil && x.salvage != nil {
		// What it passes over is counted when it is applied: copies of that must
		// be in the buffer by then.
		if err := x.send(f.Seq); err != nil {
			return err
		}
	}
	x.s.frames = id.AppendFrame(x.s.frames, *f)
	x.s.entries = append(x.s.entries, e)
	if x.s.count++; x.s.count >= maxGroup || len(x.s.frames) >= maxBlock {
		return x.send(f.Seq + 1)
	}
	return nil
}

// damaged takes records that the ledger has lost from the buffers that were
// moved aside, as far as they have them.
func (x *stretcher) damaged(d *ledger.Damage) (err error) {
	if x.salvage == nil {
		if x.salvage, err = x.j.buffer.Salvage(x.j.ledger.Identity(), x.from, x.to); err != nil {
			return err
		}
	}
	for seq := d.First; seq <= d.Last; {
		next, found := x.salvage.Next(seq)
		if !found || next > d.Last {
			return x.lost(d, seq, d.Last)
		}
		if next > seq {
			if err := x.lost(d, seq, next-1); err != nil {
				return err
			}
		}
		f, err := x.salvage.Frame(next)
		if err != nil {
			x.j.log.Warn("a copy in a buffer moved aside can't be read", "seq", next, "err", err)
			err = x.lost(d, next, next)
		} else {
			x.j.counts.copies.Add(1)
			err = x.add(&f)
		}
		if err != nil {
			return err
		}
		seq = next + 1
	}
	return nil
}

// lost passes over records of which there is no copy.
func (x *stretcher) lost(d *ledger.Damage, first, last uint64) error {
	x.j.found.lost(x.j.log, &ledger.Damage{Segment: d.Segment, Offset: d.Offset, First: first, Last: last})
	if err := x.send(first); err != nil {
		return err
	}
	// The count of a block has 32 bits.
	for first <= last {
		x.s.count = int(min(last-first+1, 1<<31))
		first += uint64(x.s.count)
		if err := x.send(first); err != nil {
			return err
		}
	}
	return nil
}

func (x *stretcher) close() {
	if x.salvage != nil {
		x.salvage.Close()
	}
}

// applyStretch applies a stretch in one transaction.
func (j *Journal) applyStretch(s *stretch) error {
	if err := j.gate.room(0); err != nil {
		return err
	}
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
		j.found.cantDecode(f.Seq)
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

// Undecodable is the error for a record that is whole and that this program
// can't decode: a newer one wrote it, or it is sealed.
type Undecodable struct {
	Seq uint64
	Err error // why
}

func (u *Undecodable) Error() string { return fmt.Sprintf("journal: record %d: %v", u.Seq, u.Err) }

// Unwrap gives the reason.
func (u *Undecodable) Unwrap() error { return u.Err }

// record decodes a frame's payload. Its error is an [*Undecodable].
func record(f *ledger.Frame) (attendance.Record, error) {
	if f.Flags != 0 {
		return nil, &Undecodable{f.Seq, fmt.Errorf("it has flags %#x: %w", f.Flags, protocol.ErrUnsupported)}
	}
	rec, err := attendance.DecodeRecord(f.Kind, f.Payload)
	if err != nil {
		return nil, &Undecodable{f.Seq, err}
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
