package zk

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// maxQueue bounds the events that wait. What comes beyond it is not
// acknowledged: it stands in the log, which is read then, and some terminals
// tell it again.
const maxQueue = 64

// event tells of punches. It waits until they are durable to be acknowledged.
type event struct {
	hash   uint64     // by which its repetition is known, 0 if it can't be read
	form   int        // bytes of a record in it
	record *zk.Record // nil if it does not tell exactly one that can be read
	reads  int        // that began when it was due and have not found it
	due    time.Time  // when the log is to be read for it
}

// news are the events of a session that nobody has acknowledged.
type news struct {
	seed    maphash.Seed
	waiting []event
	// overflow is when the log is to be read for those that can't wait, zero if
	// there are none.
	overflow time.Time
	came     int // ever
}

func (n *news) any() bool { return len(n.waiting) > 0 || !n.overflow.IsZero() }

// due is when the log is to be read for events, zero if for none.
func (n *news) due() time.Time {
	at := n.overflow
	for _, e := range n.waiting {
		if at.IsZero() || e.due.Before(at) {
			at = e.due
		}
	}
	return at
}

// hear takes an event. Those of other things than punches are acknowledged at
// once: some terminals send them though nobody asked.
func (s *session) hear(ctx context.Context, p zk.Packet) error {
	if zk.EventCode(p.Session) != zk.EventAttLog {
		if !s.connected {
			return nil // what would it be acknowledged with?
		}
		return s.acknowledge(ctx)
	}
	n := &s.news
	e := event{due: time.Now().Add(settleWithin)}
	// An event that can't be read, or that tells several punches, is a hint to
	// read the log like any other.
	if form, records, err := zk.ParsePunches(p.Data); err == nil {
		e.form, e.hash = form, maphash.Bytes(n.seed, p.Data)
		if len(records) == 1 {
			records[0].Raw = bytes.Clone(records[0].Raw)
			e.record = &records[0]
		}
	}
	n.came++
	switch {
	case slices.ContainsFunc(n.waiting, func(w event) bool { return e.hash != 0 && w.hash == e.hash }):
		// Told again because we are slow; one acknowledgement is for both.
	case len(n.waiting) == maxQueue:
		n.overflow = e.due
	default:
		n.waiting = append(n.waiting, e)
	}
	return nil
}

func (s *session) acknowledge(ctx context.Context) error {
	return s.write(ctx, zk.EventAck(s.id), s.timeouts.Answer)
}

// listen asks for events. A terminal that is disabled tells none, and takes no
// punches either: it serves one host, and that is us, so what disabled it is
// gone, and it is enabled. Nothing is done to a person who is just being
// recognised or enrolled.
func (d *Driver) listen(ctx context.Context, s *session) error {
	_, refused, err := s.try(ctx, zk.Bare(zk.CmdEnableDevice))
	if err != nil {
		return err
	}
	if refused != nil {
		d.log.Debug("terminal not enabled", "error", refused)
	}
	return d.register(ctx, s)
}

// register asks for events of punches and of nothing else.
func (d *Driver) register(ctx context.Context, s *session) error {
	_, refused, err := s.try(ctx, zk.RegisterEvents{Mask: uint32(zk.EventAttLog)})
	if err != nil {
		return err
	}
	d.learn(func(q *quirks) { q.deaf = refused })
	return nil
}

// serve makes durable what the waiting events tell, by reading the log. An event
// itself is never handed over: it may tell another verify code, state or second
// than the log does of the same punch, which would then be two, and no number of
// events that agreed says that the next one will.
func (d *Driver) serve(ctx context.Context, s *session) error {
	// What its clock shows now tells which records are settled.
	if err := d.clock(ctx, s); err != nil {
		return err
	}
	said, err := d.counts(ctx, s)
	if err != nil {
		return err
	}
	return d.read(ctx, s, said)
}

// comparable reports whether an event names its person as the log does. A slot
// is given to other people, and the number 12 may be the PIN 12 or 0012.
func (t *terminal) comparable(e event) bool {
	switch {
	case e.record == nil || e.record.PIN == "" || !t.layout.HasPIN():
		return false
	case t.layout == zk.Layout16:
		return e.form == 12
	}
	return t.layout != 0 && e.form >= 32
}

// tell reports whether one of some events tells a record to the second.
func (t *terminal) tell(events []event, r zk.Record) bool {
	return slices.ContainsFunc(events, func(e event) bool {
		return t.comparable(e) && e.record.PIN == r.PIN && e.record.At == r.At
	})
}

// settle acknowledges the events that are served. After a read of the log, began
// is when it began, and find searches in what is durable of it.
func (d *Driver) settle(ctx context.Context, s *session, began time.Time, find func(sighting) bool) error {
	var rest []event
	for _, e := range s.news.waiting {
		// A read that began sooner may have come before the record.
		if !began.Before(e.due) {
			e.reads++
			e.due = time.Now().Add(settleWithin)
		}
		if !d.served(e, find) {
			rest = append(rest, e)
			continue
		}
		if err := s.acknowledge(ctx); err != nil {
			return fmt.Errorf("zk: event: %w", err)
		}
		if e.hash != 0 {
			d.terminal.acked.add(e.hash)
		}
	}
	s.news.waiting = rest
	return nil
}

// served reports whether what an event tells is durable, as far as it can be.
// Find is nil if no log was just read.
func (d *Driver) served(e event, find func(sighting) bool) bool {
	t := &d.terminal
	switch {
	case e.hash != 0 && t.acked.has(e.hash):
		return true
	case !t.comparable(e) || t.unlike:
		// What is held back may be its record; after two reads it no longer is.
		return e.reads > 1 || e.reads > 0 && len(t.held) == 0
	}
	told := sighting{e.record.PIN, e.record.At}
	switch {
	// Somebody may punch twice in two seconds: before a read, near is no proof.
	case t.recent.has(told), e.reads > 0 && t.recent.find(told.near), find != nil && find(told):
		return true
	case e.reads > 1:
		// Once can be too soon: some tell an event before they write the log.
		t.unlike = true
		d.learn(func(q *quirks) { q.unlike = true })
		d.log.Warn("this event is not in the log, which is what counts", "event", fmt.Sprintf("%x", e.record.Raw))
		return true
	}
	return false
}

// sighting is a person at a time: enough to know an event's record by, whose
// codes and second may be others.
type sighting struct {
	pin string
	at  attendance.LocalTime
}

// near reports whether two may be the same.
func (a sighting) near(b sighting) bool {
	return a.pin == b.pin && max(a.at, b.at)-min(a.at, b.at) <= 2000
}
