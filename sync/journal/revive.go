package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// MaxRevived bounds how many punches one call of Revive takes.
const MaxRevived = 1000

// ErrNotDead says that a sink has not refused a punch for ever.
var ErrNotDead = errors.New("is not dead")

// Revive makes dead punches of a sink parked and due now, because a person asks.
// Who and why stands before them in the ledger, in the same batch: all of it is
// durable together or not at all. If one of them is not dead, the error wraps
// [ErrNotDead] and nothing has changed.
func (j *Journal) Revive(ctx context.Context, sink string, by *attendance.Operator, seqs []uint64) error {
	s, err := j.sink(sink)
	if err != nil {
		return err
	}
	if len(seqs) == 0 || len(seqs) > MaxRevived {
		return fmt.Errorf("journal: revive %d punches: 1 to %d can be at once", len(seqs), MaxRevived)
	}
	if err := s.lock(ctx); err != nil {
		return err
	}
	t, err := j.revival(ctx, s, by, slices.Compact(slices.Sorted(slices.Values(seqs))))
	if err != nil {
		s.unlock()
		return err
	}
	r := newRequest(t.entries)
	r.sink, r.cursor = s, t.cursor
	if err := j.send(ctx, r); err != nil {
		s.unlock()
		return err
	}
	return r.wait(ctx)
}

// revival makes the records. A punch that is parked behind its death is parked
// as any other, so that all that follows is the way of a parked punch.
func (j *Journal) revival(ctx context.Context, s *sink, by *attendance.Operator, seqs []uint64) (*settlement, error) {
	done, err := j.use()
	if err != nil {
		return nil, err
	}
	defer done()
	t := &settlement{j: j, sink: s, now: time.Now().Round(0)}
	t.cursor, _ = s.where()
	look, err := j.lookAt(ctx, s.name)
	if err != nil {
		return nil, err
	}
	defer look.Close()
	if err := t.add(by, entry{}); err != nil {
		return nil, err
	}
	for _, seq := range seqs {
		d, found, err := look.Dead(s.name, seq)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, fmt.Errorf("record %d %w for sink %s", seq, ErrNotDead, s.name)
		}
		why := j.reason(d.At, seq)
		p := &attendance.Parked{Sink: s.name, Seq: seq, Reason: cut("sent again by an operator; it was dead: " + why), RetryAfter: 1}
		if err := t.add(p, entry{parked: p, at: t.now}); err != nil {
			return nil, err
		}
	}
	return t, nil
}
