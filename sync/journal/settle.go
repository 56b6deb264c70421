package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/buffer"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/ledger"
)

// settlement is what one call of Settle comes to.
type settlement struct {
	j      *Journal
	sink   *sink
	cursor uint64 // where the sink stands after the answers taken so far
	now    time.Time

	entries   []entry
	postponed []postponed
	named     int
	again     map[uint64]bool // parked records answered for
}

// postponed is a record that stays parked for the same reason: of that the
// ledger knows already, and it must not grow with every try.
type postponed struct {
	seq   uint64
	until time.Time
}

// take holds answers to what the sink was given and turns them into records.
func (t *settlement) take(ctx context.Context, answers []forward.Answer) error {
	for _, a := range answers {
		if next := t.j.ledger.Next(); a.First > a.Last || a.Last >= next {
			return fmt.Errorf("records %d to %d of %d: %w", a.First, a.Last, next, ErrAnswer)
		}
		if t.named += len(a.Dead) + len(a.Parked); t.named > maxNamed {
			return fmt.Errorf("over %d records dead or parked at once: %w", maxNamed, ErrAnswer)
		}
		var err error
		if a.First < t.cursor {
			err = t.parked(ctx, a)
		} else {
			err = t.stretch(ctx, a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stretch takes an answer that moves the cursor.
func (t *settlement) stretch(ctx context.Context, a forward.Answer) error {
	named := make(map[uint64]bool, len(a.Dead)+len(a.Parked))
	for _, d := range a.Dead {
		named[d.Seq] = true
	}
	for _, p := range a.Parked {
		named[p.Seq] = true
	}
	if len(named) < len(a.Dead)+len(a.Parked) {
		return fmt.Errorf("records %d to %d: one is named twice: %w", a.First, a.Last, ErrAnswer)
	}
	punches, err := t.count(ctx, a, named)
	if err != nil {
		return err
	}
	for seq := range named {
		return fmt.Errorf("record %d is no punch from %d to %d: %w", seq, a.First, a.Last, ErrAnswer)
	}
	if err := t.settle(a, punches); err != nil {
		return err
	}
	for _, p := range a.Parked {
		if err := t.park(p); err != nil {
			return err
		}
	}
	t.cursor = a.Last + 1
	return nil
}

// count counts the punches of a stretch, and crosses off those that are named.
func (t *settlement) count(ctx context.Context, a forward.Answer, named map[uint64]bool) (punches uint64, err error) {
	f := t.j.feeds.take(t.cursor)
	defer t.j.feeds.give(f)
	for f.pos() <= a.Last {
		if f.pos()%1024 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
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
		if frame.Kind != attendance.RecordPunch {
			continue
		}
		if frame.Seq < a.First {
			return 0, fmt.Errorf("records %d to %d: punch %d before them was not answered for: %w", a.First, a.Last, frame.Seq, ErrAnswer)
		}
		punches++
		delete(named, frame.Seq)
	}
	return punches, nil
}

// parked takes the answer to a punch that was parked.
func (t *settlement) parked(ctx context.Context, a forward.Answer) error {
	if a.First != a.Last {
		return fmt.Errorf("records %d to %d begin before %d, up to which all are answered for: %w", a.First, a.Last, t.cursor, ErrAnswer)
	}
	if t.again[a.First] {
		return fmt.Errorf("record %d is answered for twice: %w", a.First, ErrAnswer)
	}
	if t.again == nil {
		t.again = map[uint64]bool{}
	}
	t.again[a.First] = true
	_, ticket := t.sink.where()
	if err := t.j.applied.wait(ctx, ticket); err != nil {
		return err
	}
	look := t.j.buffer.Look()
	defer look.Close()
	now, found, err := look.Parked(t.sink.name, a.First)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("record %d is answered for and not parked: %w", a.First, ErrAnswer)
	}
	for _, d := range a.Dead {
		found = found && d.Seq == a.First
	}
	for _, p := range a.Parked {
		found = found && p.Seq == a.First
	}
	if !found || len(a.Dead)+len(a.Parked) > 1 {
		return fmt.Errorf("record %d: others are named: %w", a.First, ErrAnswer)
	}
	if len(a.Parked) == 0 {
		return t.settle(a, 0)
	}
	p := a.Parked[0]
	if buffer.ReasonHash(cut(p.Reason)) == now.Reason {
		t.postponed = append(t.postponed, postponed{p.Seq, p.Until})
		return nil
	}
	return t.park(p)
}

// settle adds the record of an answer.
func (t *settlement) settle(a forward.Answer, punches uint64) error {
	s := &attendance.Settled{Sink: t.sink.name, First: a.First, Last: a.Last}
	for _, d := range a.Dead {
		s.Dead = append(s.Dead, attendance.Dead{Seq: d.Seq, Reason: cut(d.Reason)})
	}
	return t.add(s, entry{settled: s, punches: punches})
}

// park adds the record of a parking.
func (t *settlement) park(p forward.Parked) error {
	r := &attendance.Parked{Sink: t.sink.name, Seq: p.Seq, Reason: cut(p.Reason)}
	if !p.Until.IsZero() {
		r.RetryAfter = max(p.Until.Sub(t.now), 1) // 0 would mean: when the cause changes
	}
	return t.add(r, entry{parked: r, at: t.now})
}

func (t *settlement) add(r attendance.Record, e entry) error {
	e.kind, e.payload = r.RecordKind(), attendance.AppendRecord(nil, r)
	if len(e.payload) > attendance.MaxStored {
		return fmt.Errorf("a record of %d bytes: %w", len(e.payload), ErrAnswer)
	}
	t.entries = append(t.entries, e)
	return nil
}

// postpone notes the new times; it runs in the applier.
func (t *settlement) postpone() error {
	u := t.j.buffer.Update()
	defer u.Drop()
	for _, p := range t.postponed {
		u.Postpone(t.sink.name, p.seq, p.until)
	}
	return u.Commit(t.j.buffer.Applied())
}
