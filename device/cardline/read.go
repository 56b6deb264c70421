package cardline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol/attendance"
)

// errCut is a frame or line whose connection ended.
var errCut = errors.New("cardline: connection ended within a frame")

// read reads one connection until it fails. What a frame or line had begun with
// stays behind. The rest of a line is no line on the next connection either: a
// serial server may have kept it.
func (d *Driver) read(_ context.Context, c link.Conn) error {
	split := d.split
	// An outage is no silence: the rest can come however long it was.
	heard := time.Now()
	buf := make([]byte, 512)
	for {
		var deadline time.Time
		switch {
		case split.Cut():
			deadline = heard.Add(restAfter)
		case split.Pending():
			deadline = time.Now().Add(d.gap)
		}
		if err := c.SetReadDeadline(deadline); err != nil {
			return fmt.Errorf("cardline: set read deadline: %w", err)
		}
		n, err := c.Read(buf)
		now := time.Now()
		if n > 0 {
			heard = now
		}
		for frame, bad := range split.Feed(buf[:n]) {
			d.frame(now, frame, bad)
		}
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			if frame, bad := split.Flush(); frame != nil || bad != nil {
				d.frame(now, frame, bad)
			}
			continue
		}
		if err != nil {
			if bad := split.Break(); bad != nil {
				d.frame(now, nil, errCut)
			}
			return fmt.Errorf("cardline: read: %w", err)
		}
	}
}

// frame takes what the splitter gave at now: a frame, or why there is none.
func (d *Driver) frame(now time.Time, frame []byte, bad error) {
	badge := ""
	if bad == nil {
		badge, bad = d.parse(frame)
	}
	if bad != nil {
		d.log.Debug("frame given up", "frame", frame, "error", bad)
		d.mu.Lock()
		d.state.BadFrames++
		d.frameErr = bad
		d.mu.Unlock()
		return
	}
	what := d.seen.frame(badge, now)
	d.mu.Lock()
	d.state.LastRead = now.UTC().Round(0)
	d.count.unconfirmed, d.count.repetitions = d.seen.unconfirmed, d.seen.repetitions
	d.mu.Unlock()
	if what == isFact {
		d.accept(d.punch(now, badge, frame))
	}
}

// punch makes the fact of a card. A reader has no clock, so every time in it is
// the gateway's, taken once.
func (d *Driver) punch(now time.Time, badge string, frame []byte) attendance.Punch {
	at := now.UTC().Round(0) // without the monotonic part, which is no part of the fact
	// The time is in the key, and one read can hold two facts.
	if back := d.lastAt.Sub(at); back >= 0 && back < time.Microsecond {
		at = d.lastAt.Add(1)
	}
	d.lastAt = at
	return attendance.Punch{
		Key:        attendance.ReaderKey(d.cfg.ID, badge, at),
		Kind:       attendance.KindPunch,
		Badge:      badge,
		Direction:  d.cfg.Direction,
		Method:     d.cfg.Method,
		Device:     attendance.Device{ID: d.cfg.ID, Driver: driverName},
		DeviceTime: attendance.LocalOf(at.In(d.cfg.Zone)),
		Zone:       d.cfg.Zone.String(),
		At:         at,
		ReceivedAt: at,
		State:      -1,
		Verify:     -1,
		Evidence:   attendance.Evidence{Raw: bytes.Clone(frame)},
	}
}
