package zk

import (
	"context"
	"slices"
	"time"

	wire "github.com/punchd/punchd/protocol/zk"
)

const (
	// maxQueue is how many events wait for a host that takes none. What is over
	// is lost to it, as it is with a real terminal: the log has it.
	maxQueue = 64
	// maxTogetherEvents is how many records one event tells.
	maxTogetherEvents = 16
	// resendTime is how long an event waits for its acknowledgement.
	resendTime = 2 * time.Second
)

// event is what a connection is to be told of an entry.
type event struct {
	code  wire.EventCode
	entry Entry
}

// tell queues the events of an entry for all who registered for them. mu is
// held, so they stand in the order of the log.
func (t *Terminal) tell(e Entry) {
	for _, c := range t.conns {
		for _, code := range []wire.EventCode{wire.EventScore, wire.EventVerify, wire.EventAttLog} {
			switch {
			case c.mask&uint32(code) == 0, code == wire.EventScore && e.Verify != byFinger:
			case len(c.queue) >= maxQueue:
				t.counts.EventsDropped++
			default:
				c.queue = append(c.queue, event{code, e})
			}
		}
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// register sets which events a connection gets.
func (c *conn) register(mask uint32) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	if mask == 0 {
		c.deafen()
	}
	c.mask = mask
}

// deafen ends the events of a connection. The Terminal's mu is held.
func (c *conn) deafen() { c.mask, c.queue = 0, nil }

// waits reports whether an event has to be acknowledged before the next.
func (q *Quirks) waits() bool { return q.Resend || q.Dup }

// tellWaiting sends what is in the queue, and again what was not acknowledged
// in time.
func (c *conn) tellWaiting(ctx context.Context) error {
	if c.unacked != nil && !time.Now().Before(c.again) {
		if err := c.tellEvent(ctx, *c.unacked); err != nil {
			return err
		}
		c.again = time.Now().Add(resendTime)
	}
	for c.unacked == nil {
		e := c.nextEvent()
		if e == nil {
			return nil
		}
		p, err := wire.EventPacket(e)
		if err != nil {
			return err
		}
		if err := c.tellEvent(ctx, p); err != nil {
			return err
		}
		if c.t.cfg.Quirks.Dup {
			if err := c.tellEvent(ctx, p); err != nil {
				return err
			}
		}
		if c.t.cfg.Quirks.waits() {
			c.unacked, c.again = &p, time.Now().Add(resendTime)
		}
	}
	return nil
}

func (c *conn) tellEvent(ctx context.Context, p wire.Packet) error {
	c.t.mu.Lock()
	c.t.counts.EventsSent++
	c.t.mu.Unlock()
	return c.line.frame(ctx, p)
}

// acked notes that the host acknowledged the event before. It can't say which.
func (c *conn) acked(session uint16) {
	c.t.mu.Lock()
	ours := session == c.session && c.told > 0
	if ours {
		c.t.counts.EventsAcked++
	}
	c.t.mu.Unlock()
	if !ours {
		return
	}
	c.unacked, c.again = nil, time.Time{}
}

// nextEvent takes the next event out of the queue, or nil. In the form of 52
// bytes one event tells all punches that wait.
func (c *conn) nextEvent() wire.Event {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	q := &c.t.cfg.Quirks
	if c.line.mute || q.SilentDrop > 0 && c.told >= q.SilentDrop {
		c.t.counts.EventsDropped += uint64(len(c.queue))
		c.queue = nil
	}
	if len(c.queue) == 0 {
		return nil
	}
	first, n := c.queue[0], 1
	c.told++
	switch first.code {
	case wire.EventScore:
		c.queue = slices.Delete(c.queue, 0, n)
		return wire.Scored{Score: 100}
	case wire.EventVerify:
		c.queue = slices.Delete(c.queue, 0, n)
		return wire.Verified{UID: uint32(first.entry.UID), Known: true}
	}
	form := q.form()
	slot := form == 10 || form == 14
	records := []wire.Record{first.entry.record(slot, !slot)}
	for form == 52 && n < min(len(c.queue), maxTogetherEvents) && c.queue[n].code == wire.EventAttLog {
		records = append(records, c.queue[n].entry.record(false, true))
		n++
	}
	c.queue = slices.Delete(c.queue, 0, n)
	return wire.Punched{Form: form, Records: records}
}
