package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/buffer"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/ledger"
)

// Bounds of one call.
const (
	maxPending      = 4096    // items
	maxPendingBytes = 8 << 20 // stored forms
	maxPassed       = 1 << 16 // records of other kinds passed over
	maxNamed        = 4096    // dead and parked in one Settle
	maxReason       = 200     // bytes of a reason; a longer one is cut
)

// ErrAnswer says that an answer does not fit what the sink was given.
var ErrAnswer = errors.New("answer does not fit")

// sink is what the journal knows of a sink before it is applied.
type sink struct {
	name string
	// turn holds a token: whoever has it may change the sink. A request takes
	// it along to the committer, which gives it back.
	turn chan struct{}

	mu     sync.Mutex
	cursor uint64
	ticket uint64 // of the last work that may have changed what is parked
}

func newSink(name string, cursor uint64) *sink {
	s := &sink{name: name, turn: make(chan struct{}, 1), cursor: cursor}
	s.turn <- struct{}{}
	return s
}

// where is the sink's cursor, and the ticket of its last change.
func (s *sink) where() (cursor, ticket uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor, s.ticket
}

func (s *sink) move(cursor, ticket uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor, s.ticket = cursor, ticket
}

// lock takes the sink's turn.
func (s *sink) lock(ctx context.Context) error {
	select {
	case <-s.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *sink) unlock() { s.turn <- struct{}{} }

// sink gives a sink's state; a new one stands at the beginning.
func (j *Journal) sink(name string) (*sink, error) {
	if err := buffer.CheckSinkName(name); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s, ok := j.sinks[name]
	if !ok {
		s = newSink(name, 0)
		j.sinks[name] = s
	}
	return s, nil
}

// Cursor implements [forward.Source].
func (j *Journal) Cursor(sink string) (uint64, error) {
	s, err := j.sink(sink)
	if err != nil {
		return 0, err
	}
	cursor, _ := s.where()
	return cursor, nil
}

// Wait implements [forward.Source].
func (j *Journal) Wait(ctx context.Context, from uint64) error {
	return j.durable.wait(ctx, from+1)
}

// Pending implements [forward.Source]. What can't be read in either copy is
// passed over; it is told in [Stats] and in the log. Before a record that this
// program can't decode it stops, and at it the error is an [*Undecodable].
func (j *Journal) Pending(ctx context.Context, from uint64, max int) (items []forward.Item, next uint64, err error) {
	if max < 1 {
		return nil, from, fmt.Errorf("journal: pending: at most %d items asked for", max)
	}
	done, err := j.use()
	if err != nil {
		return nil, from, err
	}
	defer done()
	max = min(max, maxPending)
	f := j.feeds.take(from)
	defer j.feeds.give(f)
	for bytes, passed := 0, 0; len(items) < max && bytes < maxPendingBytes && passed < maxPassed; {
		if err := ctx.Err(); err != nil {
			return nil, from, err
		}
		frame, err := f.next()
		if err == io.EOF {
			break
		}
		if _, damaged := errors.AsType[*ledger.Damage](err); damaged {
			continue
		}
		if err != nil {
			return nil, from, err
		}
		if frame.Kind != attendance.RecordPunch && frame.Kind != attendance.RecordCheckpoint {
			passed++
			continue
		}
		rec, err := record(&frame)
		if err != nil && frame.Kind == attendance.RecordCheckpoint {
			passed++ // the next one says all that it does
			continue
		}
		if err != nil {
			// It is whole, and a newer program may read it: the sink must not
			// be led past it, but it may have what is before.
			j.found.cantDecode(frame.Seq)
			if len(items) > 0 {
				return items, frame.Seq, nil
			}
			return nil, from, err
		}
		bytes += len(frame.Payload)
		it := forward.Item{Seq: frame.Seq}
		it.Head, _ = rec.(*attendance.Checkpoint)
		it.Punch, _ = rec.(*attendance.Punch)
		items = append(items, it)
	}
	return items, f.pos(), nil
}

// Due implements [forward.Source].
func (j *Journal) Due(ctx context.Context, sink string, now time.Time, max int) ([]forward.Item, error) {
	done, err := j.use()
	if err != nil {
		return nil, err
	}
	defer done()
	look, err := j.lookAt(ctx, sink)
	if err != nil {
		return nil, err
	}
	defer look.Close()
	seqs, err := look.Due(sink, now, min(max, maxPending))
	if err != nil {
		return nil, err
	}
	var items []forward.Item
	for _, seq := range seqs {
		p, err := j.punch(seq)
		if _, damaged := errors.AsType[*ledger.Damage](err); damaged {
			continue
		}
		if err != nil {
			return nil, err
		}
		items = append(items, forward.Item{Seq: seq, Punch: p})
	}
	return items, nil
}

// lookAt gives a view of the buffer that includes every change of a sink so far.
func (j *Journal) lookAt(ctx context.Context, sink string) (buffer.Look, error) {
	s, err := j.sink(sink)
	if err != nil {
		return buffer.Look{}, err
	}
	_, ticket := s.where()
	if err := j.applied.wait(ctx, ticket); err != nil {
		return buffer.Look{}, err
	}
	return j.buffer.Look(), nil
}

// Retry implements [forward.Source].
func (j *Journal) Retry(ctx context.Context, sink string) (int, error) {
	s, err := j.sink(sink)
	if err != nil {
		return 0, err
	}
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	now, n := time.Now(), 0
	r := newRequest(nil)
	r.sink = s
	r.cursor, _ = s.where()
	r.run = func() (err error) {
		if n, err = j.buffer.RetryAll(sink, now); err == nil && n > 0 {
			err = j.buffer.Sync() // what caused it will not come again
		}
		return err
	}
	if err := j.send(ctx, r); err != nil {
		s.unlock()
		return 0, err
	}
	if err := r.wait(ctx); err != nil {
		return 0, err
	}
	return n, nil
}

// Settle implements [forward.Source]. A reason of over 200 bytes is cut.
func (j *Journal) Settle(ctx context.Context, sink string, answers ...forward.Answer) error {
	s, err := j.sink(sink)
	if err != nil {
		return err
	}
	if err := s.lock(ctx); err != nil {
		return err
	}
	t, err := j.settlement(ctx, s, answers)
	if err != nil || len(t.entries) == 0 && len(t.postponed) == 0 {
		s.unlock()
		return err
	}
	r := newRequest(t.entries)
	r.sink, r.cursor = s, t.cursor
	if len(t.postponed) > 0 {
		r.run = t.postpone
	}
	if err := j.send(ctx, r); err != nil {
		s.unlock()
		return err
	}
	return r.wait(ctx)
}

// settlement says what answers come to.
func (j *Journal) settlement(ctx context.Context, s *sink, answers []forward.Answer) (*settlement, error) {
	done, err := j.use()
	if err != nil {
		return nil, err
	}
	defer done()
	// Round takes off the monotonic clock: times are stored by the other.
	t := &settlement{j: j, sink: s, now: time.Now().Round(0)}
	t.cursor, _ = s.where()
	if err := t.take(ctx, answers); err != nil {
		return nil, fmt.Errorf("journal: settle %s: %w", s.name, err)
	}
	return t, nil
}

// cut shortens a reason to what is kept.
func cut(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	end := maxReason - len("…")
	for end > 0 && !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end] + "…"
}
