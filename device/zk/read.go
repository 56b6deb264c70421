package zk

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// batchSize is how many punches are handed over at once, at most.
const batchSize = 1000

// readError is a reason for which the log can't be read, or not be understood,
// over a connection that is sound. It is tried again with the next poll.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// snapshot is a log as it was read.
type snapshot struct {
	reading
	layout  zk.Layout
	records []byte
	hashes  []uint64 // of each whole record
	extra   int
}

// read reads the log whole and hands over what is new in it, in its order.
func (d *Driver) read(ctx context.Context, s *session, before said) error {
	began := time.Now()
	heard := len(s.news.waiting)
	s.news.overflow = false
	err := d.readLog(ctx, s, before, heard)
	took := time.Since(began)
	d.terminal.rest = time.Now().Add(max(took, restAtLeast))
	if _, soft := errors.AsType[readError](err); soft {
		d.terminal.rest = time.Now().Add(d.cfg.Poll)
		d.unread(err)
		return nil
	}
	return err
}

func (d *Driver) readLog(ctx context.Context, s *session, before said, heard int) error {
	log, err := d.snapshot(ctx, s, before)
	if err != nil {
		return err
	}
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
	return d.settle(ctx, s, heard, log.find)
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
		t.layout, t.log = log.layout, nil
	}
	log.hashes = make([]uint64, 0, len(records)/log.layout.Size())
	for raw := range slices.Chunk(records, log.layout.Size()) {
		if len(raw) == log.layout.Size() {
			log.hashes = append(log.hashes, maphash.Bytes(d.seed, raw))
		}
	}
	return log, nil
}

// handOver emits the records that were not emitted before. What is durable is
// noted batch by batch, so that the next read goes on where this one fails.
func (d *Driver) handOver(ctx context.Context, s *session, log *snapshot, count said) error {
	t := &d.terminal
	done := overlap(t.log, log.hashes)
	if done == 0 && len(t.log) > 0 {
		d.log.Warn("the log was cleared or changed: all of it is handed over", "before", len(t.log), "now", len(log.hashes))
		d.learn(func(q *quirks) { q.cleared++ })
	}
	size := max(log.layout.Size(), 1)
	var punches []attendance.Punch
	for part := range slices.Chunk(log.records[done*size:], batchSize*size) {
		records, bad, err := zk.ParseRecords(part, log.layout)
		if err != nil {
			return err
		}
		if err := d.resolve(ctx, s, log, records, count); err != nil {
			return err
		}
		punches = d.punches(punches[:0], records, bad, log)
		if err := d.emit(ctx, punches); err != nil {
			return err
		}
		for _, r := range records {
			t.recent.add(sighting{r.PIN, r.At})
		}
		d.damaged(bad)
		done += len(part) / size
		t.log = log.hashes[:done]
	}
	t.log = log.hashes
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

// find reports whether the log has somebody's record of about that time. It
// reads all of it.
func (log *snapshot) find(told sighting) bool {
	for part := range slices.Chunk(log.records, batchSize*max(log.layout.Size(), 1)) {
		records, _, err := zk.ParseRecords(part, log.layout)
		if err == nil && slices.ContainsFunc(records, func(r zk.Record) bool { return told.near(sighting{r.PIN, r.At}) }) {
			return true
		}
	}
	return false
}
