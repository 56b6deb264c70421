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
	// maxChanges is how often a record may be another than at the read before.
	// One that is written is that once or twice; one that never is the same
	// must not hold back those behind it for ever.
	maxChanges = 10
	// maxPause is the longest pause between the reads that wait for a record.
	maxPause = 30 * time.Second
	// doubtAfter is when the log is read once more after records that only a
	// second read has settled: a terminal may take longer than settleWithin, and
	// its count does not move when it completes a record. calm is for how long a
	// log in which such a record did change is spared that.
	doubtAfter = 30 * time.Second
	calm       = 10 * time.Minute
)

// unsettled is a record that may not be written to its end.
type unsettled struct {
	hash    uint64
	since   time.Time // when a read that found this in it was complete
	first   time.Time // when the first read that held it back was complete
	changes int       // how many reads found another record than the one before
}

// settled gives the number of records of the log that may be handed over, of
// which the first done were, and those that are held back until a later read: the
// first of the last few that may be half written, and all behind it, for the
// order. Half a record would stay for ever, beside the whole one.
//
// A record is settled if it is older than the time a terminal takes to write it,
// by the terminal's own clock, and its date can't be half of one. Whatever else a
// record says (it can't be read, its clock was set), it is settled once a read
// finds it as one found it that much earlier, or after too many that did not.
func (d *Driver) settled(s *session, log *snapshot, done int) (int, []unsettled) {
	t := &d.terminal
	all := len(log.hashes)
	var held []unsettled
	doubt, restless := false, 0
	told := func(r zk.Record) bool { return t.tell(s.news.waiting, r) }
	for i := max(done, all-maxUnsettled); i < all; i++ {
		u := t.unsettled(i-done, log.hashes[i])
		switch {
		case len(held) > 0:
			held = append(held, u)
		case log.old(i, t.face, told):
		case log.began.Sub(u.since) >= settleWithin:
			doubt = true
		case u.changes >= maxChanges:
			restless++
		default:
			held = append(held, u)
		}
	}
	if now := time.Now(); doubt && (t.changed.IsZero() || now.Sub(t.changed) >= calm) {
		t.doubt = now.Add(doubtAfter)
	}
	d.waits(held, restless)
	return all - len(held), held
}

// unsettled is what is known of the record that stands n behind those that are
// durable, now that a read has found it.
func (t *terminal) unsettled(n int, hash uint64) unsettled {
	now := time.Now()
	u := unsettled{hash: hash, since: now, first: now}
	if n >= len(t.held) {
		return u
	}
	before := t.held[n]
	u.first, u.changes = before.first, before.changes
	if before.hash == hash {
		u.since = before.since
	} else {
		u.changes++
	}
	return u
}

// waits says in notes what is held back for a record that is another at each
// reading, and how many of those were not waited for any longer. One that changes
// once was being written.
func (d *Driver) waits(held []unsettled, restless int) {
	var n int
	var since time.Time
	if len(held) > 0 && held[0].changes > 1 {
		n, since = len(held), held[0].first
	}
	d.learn(func(q *quirks) {
		q.waiting, q.waitingSince = n, since.UTC()
		q.restless += uint64(restless)
	})
	if restless > 0 {
		d.log.Warn("records at the end of the log were others at each reading, and are handed over as they are now", "records", restless, "readings", maxChanges+1)
	}
}

// pause is the time until the log is read again for records that are held back.
// It grows while the first of them is another each time.
func pause(held []unsettled) time.Duration {
	p := settleWithin
	for n := held[0].changes; n > 1 && p < maxPause; n-- {
		p *= 2
	}
	return min(p, maxPause)
}

// old reports whether a record of the log is older than the time a terminal takes
// to write it, when its clock shows face. A date that is half written can lie
// anywhere before. So one that may lack bytes is believed only if an event told it
// too, and never one of more than a day ago, or one before that of the record in
// front: that alone would not do, since the one in front may be wrong, or old.
func (log *snapshot) old(i int, face attendance.LocalTime, told func(zk.Record) bool) bool {
	r, ok := log.record(i)
	latest := face - attendance.LocalTime(settleWithin.Milliseconds())
	switch {
	case !ok, face == 0, r.At > latest, r.At <= face-attendance.LocalTime((24*time.Hour).Milliseconds()):
		return false
	case incomplete(r.At, latest) && !told(r):
		return false
	case i == 0:
		return true
	}
	before, ok := log.record(i - 1)
	return ok && before.At <= r.At
}

// incomplete reports whether a date may be one that lies behind latest and lacks
// bytes. They are written one behind the other, so what is not written yet is zero
// at one end. The first byte is zero in dates of 2000 alone; the last one is every
// 256th second, and what it lacks are some minutes.
func incomplete(at, latest attendance.LocalTime) bool {
	v, err := zk.EncodeTime(at)
	if err != nil || v>>24 == 0 {
		return true
	}
	for lacks := uint32(0xffffff); lacks > 0; lacks >>= 8 {
		if v&lacks == 0 {
			return at+attendance.LocalTime(lacks)*1000 > latest
		}
	}
	return false
}

// record gives a record of the log, if it can be read.
func (log *snapshot) record(i int) (zk.Record, bool) {
	size := log.layout.Size()
	records, _, err := zk.ParseRecords(log.records[i*size:(i+1)*size], log.layout)
	if err != nil || len(records) != 1 {
		return zk.Record{}, false
	}
	return records[0], true
}
