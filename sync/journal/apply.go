package journal

import (
	"fmt"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/buffer"
)

// applyLoop is the applier: it alone changes the buffer.
func (j *Journal) applyLoop() {
	var given error // why the rest is left to the next start, nil while it is not
	for {
		group, ok := j.pipe.take()
		if !ok {
			return
		}
		err := j.Err()
		if err == nil && given == nil {
			if given = j.waitForRoom(); given != nil {
				j.applied.fail(given)
			}
		}
		if err == nil {
			err = given
		}
		if err == nil {
			if err = j.applyGroup(group); err != nil {
				j.fail(err)
			}
		}
		if err == nil {
			j.recent.applied(group)
			j.applied.reach(group[len(group)-1].ticket)
		}
		records := 0
		for _, w := range group {
			records += len(w.entries)
			if w.done != nil {
				w.done <- err
			}
		}
		j.pipe.finished(records)
	}
}

// fail ends the journal's work: its ledger is whole, its buffer can't be
// written. Going on would only fill the memory with what is not applied.
func (j *Journal) fail(err error) {
	j.failure = fmt.Errorf("journal: the buffer can't be written; all that was acknowledged is in the ledger, start again: %w", err)
	close(j.failed)
	j.log.Error("the journal has failed", "err", j.failure)
	j.applied.fail(j.failure)
	j.pipe.giveUp()
}

// applyGroup applies work in one transaction.
func (j *Journal) applyGroup(group []*work) error {
	if group[0].run != nil {
		return group[0].run()
	}
	u := j.buffer.Update()
	defer u.Drop()
	frames, count := group[0].frames, 0
	for i, w := range group {
		if i > 0 {
			frames = append(frames, w.frames...)
		}
		for k := range w.entries {
			j.index(u, w.first+uint64(k), &w.entries[k])
		}
		count += len(w.entries)
	}
	u.Block(group[0].first, count, frames)
	return u.Commit(group[0].first + uint64(count))
}

// index enters into the buffer what follows from a record.
func (j *Journal) index(u *buffer.Update, seq uint64, e *entry) {
	u.Count(e.kind, e.verdict)
	switch {
	case e.key != attendance.Key{}:
		u.Key(e.key, seq)
		if e.counter > 0 {
			u.Counter(e.phone, e.counter)
		}
	case e.settled != nil:
		s := e.settled
		parked := s.First < u.Cursor(s.Sink) // it is about a record that was parked
		if parked {
			u.Unpark(s.Sink, s.First)
		}
		for _, d := range s.Dead {
			u.Bury(s.Sink, buffer.Dead{Seq: d.Seq, At: seq})
		}
		if !parked {
			u.Pass(s.Sink, s.Last+1, e.punches)
		}
	case e.parked != nil:
		p := buffer.Parked{Seq: e.parked.Seq, At: seq, Reason: buffer.ReasonHash(e.parked.Reason), Since: e.at}
		if e.parked.RetryAfter > 0 {
			p.Until = e.at.Add(e.parked.RetryAfter)
		}
		u.Park(e.parked.Sink, p)
	case e.kind == attendance.RecordCheckpoint:
		u.Head(seq)
	}
}
