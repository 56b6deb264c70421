package zk

import (
	"context"
	"fmt"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

const (
	// rereadAfter is how many polls may find nothing new before the log is read
	// all the same: a count that is right a hundred times can be wrong once.
	rereadAfter = 20
	// restAtLeast is the pause before a read that events ask for. It is longer
	// after a read that took longer.
	restAtLeast = time.Second
)

// follow waits for events and polls, until the connection fails or ctx ends.
// The first poll comes at once: between the read before and the registration
// of events there was a gap.
func (d *Driver) follow(ctx context.Context, s *session) error {
	var probe, poll time.Time // when they are due
	for {
		if at := time.Now(); !at.Before(probe) {
			if err := d.clock(ctx, s); err != nil {
				return err
			}
			if !at.Before(poll) {
				if err := d.poll(ctx, s); err != nil {
					return err
				}
				poll = time.Now().Add(d.cfg.Poll)
			}
			probe = earlier(poll, time.Now().Add(probeEvery))
			continue
		}
		until := probe
		if err := d.settle(ctx, s, time.Time{}, nil); err != nil {
			return err
		}
		if due := d.due(s); !due.IsZero() {
			if !time.Now().Before(due) {
				if err := d.look(ctx, s); err != nil {
					return err
				}
				continue
			}
			until = earlier(probe, due)
		}
		if err := s.idle(ctx, until); err != nil {
			return err
		}
	}
}

// due is when the log is to be read before the next poll, zero if nothing asks
// for that: for events, for records that were held back or are in doubt, or because
// punches that could not be made durable are to be handed over again.
func (d *Driver) due(s *session) time.Time {
	t := &d.terminal
	at := t.again
	if t.stalled != nil {
		return at
	}
	for _, other := range [...]time.Time{t.doubt, s.news.due()} {
		if !other.IsZero() && (at.IsZero() || other.Before(at)) {
			at = other
		}
	}
	if !at.IsZero() && at.Before(t.rest) {
		return t.rest
	}
	return at
}

// look does what is due.
func (d *Driver) look(ctx context.Context, s *session) error {
	if d.terminal.stalled != nil {
		return d.retry(ctx)
	}
	return d.serve(ctx, s)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// poll reads the log if it may hold something new: if its count says so, if the
// count says nothing, and now and then. A terminal whose log takes long is left
// alone for as long, unless there is a reason.
func (d *Driver) poll(ctx context.Context, s *session) error {
	said, err := d.counts(ctx, s)
	if err != nil {
		return err
	}
	t := &d.terminal
	t.polls++
	known := len(t.log) + len(t.held)
	believed := said.told && !t.lies
	switch {
	case t.stalled != nil:
		return nil
	case d.readErr != nil, believed && int(said.Records) != known:
	case believed && !said.full() && t.polls < rereadAfter, time.Now().Before(t.rest):
		return nil
	}
	if err := d.read(ctx, s, said); err != nil {
		return err
	}
	if d.cfg.Live && len(t.log)+len(t.held) > known && !s.news.any() {
		// It has records that no event told: some terminals fall silent.
		return d.register(ctx, s)
	}
	return nil
}

// clock measures the terminal's clock. That it answers shows that it is there.
func (d *Driver) clock(ctx context.Context, s *session) error {
	sent := time.Now()
	p, err := s.ask(ctx, zk.Bare(zk.CmdGetTime))
	if err != nil {
		return err
	}
	middle := sent.Add(time.Since(sent) / 2)
	d.terminal.skew, d.terminal.face = nil, 0
	if err = p.Err(); err == nil {
		var face attendance.LocalTime
		if face, err = zk.ParseTime(p.Data); err == nil {
			// Clock faces are compared, not instants: in the hour that a zone
			// has twice, the face alone does not tell which of the two it is.
			d.terminal.face = face
			d.terminal.skew = new(time.Duration(face-attendance.LocalOf(middle.In(d.cfg.Zone))) * time.Millisecond)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.Skew, d.quirks.clock = d.terminal.skew, err
	return nil
}

// said is what the terminal says of its tables.
type said struct {
	zk.Sizes
	told bool // it said anything
}

// full says that each new record takes the place of the oldest: the count does
// not move then.
func (s said) full() bool { return s.RecordRoom > 0 && s.Records >= s.RecordRoom }

func (d *Driver) counts(ctx context.Context, s *session) (said, error) {
	p, err := s.ask(ctx, zk.Bare(zk.CmdGetFreeSizes))
	if err != nil {
		return said{}, err
	}
	var sizes zk.Sizes
	if err = p.Err(); err == nil {
		sizes, err = zk.ParseSizes(p.Data)
	}
	told := said{sizes, err == nil}
	d.learn(func(q *quirks) {
		q.uncounted, q.full = err, 0
		if told.full() {
			q.full = sizes.RecordRoom
		}
	})
	return told, nil
}

// trueCount reports whether counts from before and after a read can be those of
// a log that had n records in it.
func trueCount(before, after said, n int) error {
	if !before.told || !after.told {
		return nil
	}
	least, most := min(before.Records, after.Records), max(before.Records, after.Records)
	if n < int(least) || n > int(most) {
		return fmt.Errorf("it says that its log has %d records, which had %d", after.Records, n)
	}
	return nil
}
