package zk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

const (
	// batchSize is how many punches are handed over at once, at most.
	batchSize = 1000
	// retryAfter is the pause before punches that could not be made durable are
	// handed over again.
	retryAfter = 5 * time.Second
)

// readError is a reason for which the log can't be read, or not be understood,
// over a connection that is sound. It is tried again with the next poll.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// read reads the log whole and hands over what is new in it, in its order.
func (d *Driver) read(ctx context.Context, s *session, before said) error {
	began := time.Now()
	if !began.Before(s.news.overflow) {
		s.news.overflow = time.Time{}
	}
	if !began.Before(d.terminal.doubt) {
		d.terminal.doubt = time.Time{}
	}
	d.terminal.again = time.Time{}
	err := d.readLog(ctx, s, before, began)
	took := time.Since(began)
	d.terminal.rest = time.Now().Add(max(took, restAtLeast))
	if d.terminal.stalled != nil {
		// The connection is sound, and a read would bring the same again.
		d.terminal.again = time.Now().Add(retryAfter)
		d.unread(err)
		return nil
	}
	if _, soft := errors.AsType[readError](err); soft {
		d.terminal.rest = time.Now().Add(d.cfg.Poll)
		d.unread(err)
		return nil
	}
	return err
}

func (d *Driver) readLog(ctx context.Context, s *session, before said, began time.Time) error {
	log, err := d.snapshot(ctx, s, before)
	if err != nil {
		return err
	}
	log.began = began
	after, err := d.counts(ctx, s)
	if err != nil {
		return err
	}
	if err := d.handOver(ctx, s, log, after); err != nil {
		return err
	}
	t := &d.terminal
	t.polls = 0
	if err := trueCount(before, after, len(log.hashes)); err != nil && !t.lies {
		t.lies = true
		d.log.Warn("the terminal's count is not believed any more", "reason", err)
		d.learn(func(q *quirks) { q.count = err })
	}
	d.wasRead(log, s.classic)
	return d.settle(ctx, s, began, func(told sighting) bool { return log.find(told, len(d.terminal.log)) })
}

// snapshot reads the log and finds out how it is to be read.
func (d *Driver) snapshot(ctx context.Context, s *session, count said) (*snapshot, error) {
	data, err := s.fetch(ctx, attendanceLog())
	if _, refused := errors.AsType[*zk.RefusedError](err); refused {
		return nil, readError{err}
	}
	if err != nil {
		return nil, err
	}
	t := &d.terminal
	log := &snapshot{reading: reading{at: now(), skew: t.skew}}
	if len(data) == 0 {
		return log, nil
	}
	records, extra, err := zk.SplitDataset(data)
	if err != nil {
		return nil, err
	}
	log.records, log.extra = records, len(extra)
	if len(records) == 0 {
		return log, nil
	}
	hints := zk.Hints{
		Now: attendance.LocalOf(log.at.In(d.cfg.Zone)), Count: int(count.Records), Before: t.layout, Configured: d.cfg.Layout,
	}
	guess, err := zk.GuessLayout(records, hints)
	switch {
	case errors.Is(err, protocol.ErrUnsupported) && d.cfg.Layout == 0:
		return nil, readError{fmt.Errorf("%w; if this lasts, name the layout of this terminal's records in its configuration, as layout: 40 (8, 8-ma300, 16, 40, 49)", err)}
	case errors.Is(err, protocol.ErrUnsupported):
		return nil, readError{fmt.Errorf("%w; correct layout: in the configuration of this terminal, or leave it out", err)}
	}
	if err != nil {
		return nil, err
	}
	if log.layout = guess.Layout; log.layout != t.layout {
		d.log.Info("layout of the log", "bytes", log.layout, "before", t.layout, "reason", guess.Reason)
		t.layout, t.log, t.held = log.layout, nil, nil
	}
	return log, log.hash(d.seed)
}

// handOver emits the records that are settled and were not emitted before. What
// is durable is noted batch by batch, so that the next read goes on where this
// one fails.
func (d *Driver) handOver(ctx context.Context, s *session, log *snapshot, count said) error {
	t := &d.terminal
	done := d.durable(log)
	size := max(log.layout.Size(), 1)
	settled, held := d.settled(s, log, done)
	end := len(log.records)
	if len(held) > 0 {
		end = settled * size // without the rest behind the last whole record
	}
	t.held = nil
	var punches []attendance.Punch
	for part := range slices.Chunk(log.records[done*size:end], batchSize*size) {
		records, bad, err := zk.ParseRecords(part, log.layout)
		if err != nil {
			return err
		}
		if err := d.resolve(ctx, s, log, records, count); err != nil {
			return err
		}
		punches = d.punches(punches[:0], records, bad, log)
		done += len(part) / size
		deliver := func(ctx context.Context) error {
			if err := d.emit(ctx, punches); err != nil {
				return err
			}
			for _, r := range records {
				t.recent.add(sighting{r.PIN, r.At})
			}
			d.damaged(bad)
			t.log = log.hashes[:done]
			return nil
		}
		if err := deliver(ctx); err != nil {
			if ctx.Err() == nil {
				t.stalled = deliver
			}
			return err
		}
	}
	t.log, t.held = log.hashes[:settled], held
	if len(held) > 0 {
		t.again = time.Now().Add(pause(held))
	}
	return nil
}

// durable is how many records at the beginning of the log are durable. In a log
// that was changed those in front of the change still are.
func (d *Driver) durable(log *snapshot) int {
	t := &d.terminal
	done := overlap(t.log, log.hashes)
	if done > 0 || len(t.log) == 0 {
		return done
	}
	for done < min(len(t.log), len(log.hashes)) && t.log[done] == log.hashes[done] {
		done++
	}
	d.log.Warn("the log was cleared or changed: what has not stayed is handed over", "before", len(t.log), "now", len(log.hashes), "stayed", done)
	d.learn(func(q *quirks) { q.cleared++ })
	t.held, t.changed = nil, time.Now()
	return done
}

// retry hands over again what could not be made durable. The terminal has no
// part in it: however long the journal takes nothing, its log is read once, and
// again when the journal takes what was read then.
func (d *Driver) retry(ctx context.Context) error {
	t := &d.terminal
	err := t.stalled(ctx)
	switch {
	case err == nil:
		t.stalled, t.again = nil, time.Now() // the log goes on behind it
	case ctx.Err() != nil:
		return err
	default:
		t.again = time.Now().Add(retryAfter)
		d.unread(err)
	}
	return nil
}

// emit hands over punches that follow each other.
func (d *Driver) emit(ctx context.Context, punches []attendance.Punch) error {
	if len(punches) == 0 {
		return nil
	}
	if err := d.cfg.Emit(ctx, punches); err != nil {
		return fmt.Errorf("zk: %d punches could not be made durable: %w", len(punches), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.Emitted += uint64(len(punches))
	return nil
}

// punches makes the facts of records in the order of the log, those that can't be
// read among them.
func (d *Driver) punches(to []attendance.Punch, records []zk.Record, bad []zk.Bad, log *snapshot) []attendance.Punch {
	for n := len(to); len(records)+len(bad) > 0; n++ {
		switch {
		case len(bad) == 0 || len(records) > 0 && bad[0].Index != n:
			to = append(to, d.punch(records[0], log.reading))
			records = records[1:]
			continue
		case len(bad[0].Raw) == log.layout.Size(): // else it is not whole, and may be next time
			to = append(to, d.malformed(bad[0], log))
		}
		bad = bad[1:]
	}
	return to
}
