package cardline

import (
	"fmt"
	"time"

	"github.com/punchd/punchd/device"
)

// counters is what State tells in words.
type counters struct {
	unconfirmed, repetitions uint64
	waiting                  int       // punches not durable yet
	lost                     uint64    // punches for which there was no room
	lossTold                 time.Time // when the log last said so
}

// State implements [device.Reporter].
func (d *Driver) State() device.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.state
	switch {
	case d.emitErr != nil:
		s.LastError = d.emitErr.Error()
	case d.linkErr != nil:
		s.LastError = d.linkErr.Error()
	}
	note := func(n uint64, format string, args ...any) {
		if n > 0 {
			s.Notes = append(s.Notes, fmt.Sprintf("%d ", n)+fmt.Sprintf(format, args...))
		}
	}
	c := &d.count
	note(c.lost, "punches LOST: they could not be made durable and no more than %d can wait", queueSize)
	note(uint64(c.waiting), "punches wait in memory to be made durable")
	note(c.repetitions, "repetitions within the lockout of %v", d.cfg.Lockout)
	note(c.unconfirmed, "readings without the %d equal frames within %v that make a card", d.cfg.Confirm, d.cfg.ConfirmWithin)
	if d.frameErr != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("newest of the frames given up: %v", d.frameErr))
	}
	return s
}

// connected is told of the link's changes.
func (d *Driver) connected(online bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if online != d.state.Online || d.state.Since.IsZero() {
		d.state.Online, d.state.Since = online, time.Now().UTC().Round(0)
	}
	d.linkErr = err
}
