package zk

import (
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

const (
	// settleWithin is the time within which a terminal is done with writing a
	// record. Some tell the event first, and write the state last.
	settleWithin = 3 * time.Second
	// maxUnsettled is how many records at the end of a log may not be done.
	// Whatever is odd in front of them was so for long, or never changes.
	maxUnsettled = 8
)

// unsettled is a record that may not be written to its end.
type unsettled struct {
	hash  uint64
	since time.Time // when a read that found these bytes was complete
}

// settled gives the number of records of the log that may be handed over, of
// which the first done were, and those that are held back until a later read: the
// first of the last few that may be half written, and all behind it, for the
// order. Half a record would stay for ever, beside the whole one.
//
// A record is settled if it is older than the time a terminal takes to write it,
// by the terminal's own clock. A date that lacks some bytes can lie anywhere
// before, so it must not lie before that of the record in front of it. Whatever
// else a record says (it can't be read, its clock was set), it is settled once a
// read finds it as one found it that much earlier.
func (d *Driver) settled(log *snapshot, done int) (int, []unsettled) {
	t := &d.terminal
	all := len(log.hashes)
	from := max(done, all-maxUnsettled)
	var held []unsettled
	for i := from; i < all; i++ {
		u := unsettled{log.hashes[i], time.Now()}
		if n := i - done; n < len(t.held) && t.held[n].hash == u.hash {
			u.since = t.held[n].since
		}
		if len(held) > 0 || log.began.Sub(u.since) < settleWithin && !log.old(i, t.face) {
			held = append(held, u)
		}
	}
	return all - len(held), held
}

// old reports whether a record of the log is older than the time a terminal takes
// to write it, when its clock shows face, and no older than the one before it.
func (log *snapshot) old(i int, face attendance.LocalTime) bool {
	at, ok := log.time(i)
	if !ok || face == 0 || at > face-attendance.LocalTime(settleWithin.Milliseconds()) {
		return false
	}
	if i == 0 {
		return at > face-attendance.LocalTime((24*time.Hour).Milliseconds())
	}
	before, ok := log.time(i - 1)
	return ok && before <= at
}

// time gives the time of a record, if the record can be read.
func (log *snapshot) time(i int) (attendance.LocalTime, bool) {
	size := log.layout.Size()
	records, _, err := zk.ParseRecords(log.records[i*size:(i+1)*size], log.layout)
	if err != nil || len(records) != 1 {
		return 0, false
	}
	return records[0].At, true
}
