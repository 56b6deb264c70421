package zk

import (
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/punchd/punchd/device"
	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/zk"
)

// skewNoted is by how much a terminal's clock may be wrong without a note.
const skewNoted = 30 * time.Second

// quirks is what State tells in words of a terminal. Another terminal at the
// address begins with none.
type quirks struct {
	identity  string    // by what its punches are told apart, if not by a serial number
	replaced  string    // the terminal that was at the address before
	layout    zk.Layout // of the last log that was not empty
	extra     int       // bytes behind the last log
	count     error     // why its count is not believed
	uncounted error     // why it gives none
	full      uint32    // records for which there is room, if the log is full
	classic   bool      // it refuses the newer way to read
	clock     error     // why its clock can't be read
	unlike    bool      // its events are not found in its log
	deaf      error     // why it tells no events

	waiting      int       // records held back for one that changes at each reading
	waitingSince time.Time // since when

	cleared, restless, nobody, damaged, checksums, garbage uint64
	newest                                                 error // reason for the newest of damaged, checksums and garbage
}

// State implements [device.Reporter].
func (d *Driver) State() device.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.state
	switch {
	case d.linkErr != nil:
		s.LastError = d.linkErr.Error()
	case d.readErr != nil:
		s.LastError = d.readErr.Error()
	}
	if s.Skew != nil {
		s.Skew = new(*s.Skew)
	}
	if ns := d.heard.Load(); ns != 0 {
		s.LastHeard = time.Unix(0, ns).UTC()
	}
	s.Notes = d.quirks.notes(s.Skew)
	return s
}

func (q *quirks) notes(skew *time.Duration) (notes []string) {
	note := func(holds bool, format string, args ...any) {
		if holds {
			notes = append(notes, fmt.Sprintf(format, args...))
		}
	}
	note(q.identity != "", "%s", q.identity)
	note(q.replaced != "", "it is another terminal than before, when %s was there: its log was read as a new one", q.replaced)
	note(q.layout != 0, "attendance records of layout %v", q.layout)
	note(q.extra > 0, "%d bytes behind the end of the log as it states it are left out", q.extra)
	note(q.count != nil, "its count is not believed: %v; the log is read with every poll", q.count)
	note(q.uncounted != nil, "it does not count its records: %v; the log is read with every poll", q.uncounted)
	note(q.full > 0 && q.count == nil, "the log is full (%d records): each new one takes the place of the oldest; the log is read with every poll", q.full)
	note(q.classic, "it refuses bulk reads and is read in the classic way")
	note(q.deaf != nil, "it tells no events, punches come with the poll: %v", q.deaf)
	note(q.unlike, "it tells events that are not in its log; the log is what counts")
	note(q.clock != nil, "its clock can't be read: %v", q.clock)
	if skew != nil {
		off := skew.Round(time.Second)
		note(off > skewNoted, "its clock is %v ahead", off)
		note(off < -skewNoted, "its clock is %v behind", -off)
	}
	note(q.cleared > 0, "its log was cleared or changed %d times", q.cleared)
	note(q.waiting > 0, "the newest record changes at each reading; %d are held back since %s", q.waiting, q.waitingSince.Format(time.RFC3339))
	note(q.restless > 0, "%d records changed at each of %d readings, and were handed over as they were at the last", q.restless, maxChanges+1)
	note(q.nobody > 0, "%d punches of slots that nobody holds", q.nobody)
	note(q.damaged > 0, "%d records of the log can't be read and are kept as malformed, with their bytes", q.damaged)
	note(q.checksums > 0, "%d packets with a wrong checksum, taken all the same", q.checksums)
	note(q.garbage > 0, "%d times bytes outside any frame", q.garbage)
	note(q.newest != nil, "newest of these: %v", q.newest)
	return notes
}

func (d *Driver) learn(what func(q *quirks)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	what(&d.quirks)
}

// connected is told of the link's changes. A connection is not yet a terminal
// that talks, so it clears no error.
func (d *Driver) connected(up bool, err error) {
	if up {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn(false)
	d.linkErr = err
}

// online says that the terminal has let us in. An error of the connection before
// holds until this one has done better.
func (d *Driver) online() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn(true)
}

func (d *Driver) turn(online bool) {
	if online != d.state.Online || d.state.Since.IsZero() {
		d.state.Online, d.state.Since = online, now()
	}
}

// wasRead notes a complete read of the log.
func (d *Driver) wasRead(log *snapshot, classic bool) {
	d.mu.Lock()
	again := d.readErr != nil
	d.linkErr, d.readErr = nil, nil
	d.state.LastRead, d.state.LogCount = log.at, len(log.hashes)
	d.quirks.extra, d.quirks.classic = log.extra, classic
	if log.layout != 0 {
		d.quirks.layout = log.layout
	}
	d.mu.Unlock()
	if again {
		d.log.Info("the log can be read again")
	}
}

// unread notes why nothing comes of the log though the connection is sound.
func (d *Driver) unread(err error) {
	d.mu.Lock()
	known := d.readErr != nil && d.readErr.Error() == err.Error()
	d.linkErr, d.readErr = nil, err
	d.mu.Unlock()
	what := "the log can't be read"
	if d.terminal.stalled != nil {
		what = "punches wait, and nothing is read until they are durable"
	}
	if !known {
		d.log.Warn(what, "error", err)
	}
}

// badFrame counts a frame that is wrong.
func (d *Driver) badFrame(err error) {
	d.log.Debug("bad frame", "error", err)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.BadFrames++
	if errors.Is(err, protocol.ErrChecksum) {
		d.quirks.checksums++
	} else {
		d.quirks.garbage++
	}
	d.quirks.newest = err
}

// damaged tells of records that can't be read, of each once.
func (d *Driver) damaged(bad []zk.Bad) {
	for _, b := range bad {
		hash := maphash.Bytes(d.seed, b.Raw)
		t := &d.terminal
		if _, again := t.told[hash]; again {
			continue
		}
		if len(t.told) < maxTold {
			t.told[hash] = struct{}{}
			d.log.Warn("a record of the terminal's log can't be read", "record", fmt.Sprintf("%x", b.Raw), "error", b.Err)
		}
		d.mu.Lock()
		d.state.BadFrames++
		d.quirks.damaged++
		d.quirks.newest = b.Err
		d.mu.Unlock()
	}
}

// now is the gateway's clock as it stands in facts: UTC, without the monotonic
// part.
func now() time.Time { return time.Now().UTC().Round(0) }
