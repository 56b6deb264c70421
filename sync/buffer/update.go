package buffer

import (
	"fmt"
	"maps"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/punchd/punchd/protocol/attendance"
)

// Update is a change of the buffer that becomes visible as a whole: records,
// what follows from them, and how far the ledger is applied. The first error
// sticks and is returned by Commit; no other change may follow one that failed.
type Update struct {
	b       *Buffer
	txn     *badger.Txn
	state   state // sinks holds those that changed
	bytes   int64 // of blocks
	entries int   // in txn
	err     error
}

// Update begins a change. It must be committed or dropped.
func (b *Buffer) Update() *Update {
	u := &Update{b: b, txn: b.db.NewTransaction(true)}
	b.mu.RLock()
	defer b.mu.RUnlock()
	u.state = state{b.state.applied, b.state.counts, map[string]Sink{}}
	return u
}

// maxEntries is how many entries go into one of Badger's transactions, which
// may hold 6,553 of them and 600 kB. What is left is for Commit.
const maxEntries = 3800

// set writes an entry; a nil value deletes it.
func (u *Update) set(key, val []byte) {
	if u.err != nil {
		return
	}
	if u.entries >= maxEntries {
		// Commit what there is without moving on in the ledger. Should that be
		// all that is left after a crash, the same records are applied again:
		// every step that changes a sink looks first whether it was done, and
		// what only counts is not written yet. It is synced, since no block
		// stands in this part by which its loss would be noticed.
		if u.fail(u.commitSinks()); u.err != nil {
			return
		}
		if u.fail(u.b.db.Sync()); u.err != nil {
			return
		}
		u.txn, u.entries = u.b.db.NewTransaction(true), 0
	}
	u.entries++
	if val == nil {
		u.fail(u.txn.Delete(key))
		return
	}
	u.fail(u.txn.Set(key, val))
}

func (u *Update) fail(err error) {
	if err != nil && u.err == nil {
		u.err = fmt.Errorf("buffer: %w", err)
	}
}

// commitSinks commits the entries so far, and the sinks with them.
func (u *Update) commitSinks() error {
	for name, s := range u.state.sinks {
		if err := u.txn.Set(sinkKey(name), s.encode()); err != nil {
			return err
		}
	}
	return u.txn.Commit()
}

// sink gives what is known of a sink, this change included.
func (u *Update) sink(name string) Sink {
	if s, ok := u.state.sinks[name]; ok {
		return s
	}
	u.b.mu.RLock()
	defer u.b.mu.RUnlock()
	return u.b.state.sinks[name]
}

// Cursor is the first sequence a sink has not answered for.
func (u *Update) Cursor(sink string) uint64 { return u.sink(sink).Cursor }

// Look gives a view that includes this change.
func (u *Update) Look() Look { return Look{u.txn} }

// Block keeps the second copy of a stretch of frames. Nil frames say that the
// ledger has lost them. The bytes are held until Commit.
func (u *Update) Block(first uint64, count int, frames []byte) {
	if frames == nil {
		frames = lost
		u.set(Finding{FoundLost, first, first + uint64(count) - 1}.key(), []byte{})
	}
	u.bytes += int64(len(frames))
	u.set(blockKey(first, uint32(count)), frames)
}

// Count counts a record. The verdict counts for a punch only.
func (u *Update) Count(kind attendance.RecordKind, verdict attendance.Verdict) {
	if int(kind) >= len(u.state.counts.Kinds) {
		kind = 0
	}
	u.state.counts.Kinds[kind]++
	if kind != attendance.RecordPunch {
		return
	}
	if int(verdict) >= len(u.state.counts.Verdicts) {
		verdict = 0
	}
	u.state.counts.Verdicts[verdict]++
}

// Key makes a punch's key known.
func (u *Update) Key(k attendance.Key, seq uint64) { u.set(punchKey(k), numbers(seq)) }

// Head notes where the newest checkpoint stands.
func (u *Update) Head(seq uint64) { u.set(keyHead, numbers(seq)) }

// maxCounters bounds how many phones' counters are remembered.
const maxCounters = 4096

// Counter notes a counter of a phone; only the highest is kept.
func (u *Update) Counter(phone string, n uint64) {
	have, known := u.b.counters[phone]
	if !known {
		var err error
		have, err = u.Look().Counter(phone)
		u.fail(err)
		if len(u.b.counters) >= maxCounters {
			clear(u.b.counters)
		}
	}
	u.b.counters[phone] = max(n, have)
	if n > have {
		u.set(phoneKey(phone), numbers(n))
	}
}

// Pass moves a sink's cursor over a number of punches.
func (u *Update) Pass(sink string, cursor, punches uint64) {
	u.tally(sink, func(s *Sink) { s.Cursor, s.Passed = cursor, s.Passed+punches })
}

// tally changes what is known of a sink. It is called behind the set that it
// counts: set may commit what was there before, and a count without its entry
// would be counted again when the records are.
func (u *Update) tally(sink string, change func(s *Sink)) {
	s := u.sink(sink)
	change(&s)
	u.state.sinks[sink] = s
}

// Park keeps a record as parked, or parked again: then Since stays and Tries
// counts up. One that was dead is so no more.
func (u *Update) Park(sink string, p Parked) {
	old, found, err := u.Look().Parked(sink, p.Seq)
	u.fail(err)
	if found {
		p.Since, p.Tries = old.Since, old.Tries
		u.undue(sink, old)
	}
	p.Tries++
	u.set(recordKey(prefixParked, sink, p.Seq), p.encode())
	if !found {
		u.tally(sink, func(s *Sink) { s.Parked++ })
	}
	u.due(sink, p)
	u.revive(sink, p.Seq)
}

// revive ends that a record is dead, if it is.
func (u *Update) revive(sink string, seq uint64) {
	_, found, err := u.Look().Dead(sink, seq)
	u.fail(err)
	if found {
		u.set(recordKey(prefixDead, sink, seq), nil)
		u.tally(sink, func(s *Sink) { s.Dead-- })
	}
}

func (u *Update) due(sink string, p Parked) {
	if !p.Until.IsZero() {
		u.set(dueKey(sink, p.Until, p.Seq), []byte{})
	}
}

func (u *Update) undue(sink string, p Parked) {
	if !p.Until.IsZero() {
		u.set(dueKey(sink, p.Until, p.Seq), nil)
	}
}

// Unpark ends the parking of a record, if it is parked.
func (u *Update) Unpark(sink string, seq uint64) {
	old, found, err := u.Look().Parked(sink, seq)
	u.fail(err)
	if !found {
		return
	}
	u.undue(sink, old)
	u.set(recordKey(prefixParked, sink, seq), nil)
	u.tally(sink, func(s *Sink) { s.Parked-- })
}

// Bury keeps a record as dead.
func (u *Update) Bury(sink string, d Dead) {
	_, found, err := u.Look().Dead(sink, d.Seq)
	u.fail(err)
	u.set(recordKey(prefixDead, sink, d.Seq), numbers(d.At))
	if !found {
		u.tally(sink, func(s *Sink) { s.Dead++ })
	}
}

// Postpone sets when a parked record is to be sent again, and counts the try.
func (u *Update) Postpone(sink string, seq uint64, until time.Time) {
	p, found, err := u.Look().Parked(sink, seq)
	u.fail(err)
	if !found {
		return
	}
	u.undue(sink, p)
	p.Until, p.Tries = until, p.Tries+1
	u.set(recordKey(prefixParked, sink, seq), p.encode())
	u.due(sink, p)
}

// RetryAll makes every parked record of a sink due at a time. It commits as
// it goes and returns how many there are.
func (b *Buffer) RetryAll(sink string, at time.Time) (n int, err error) {
	for from := uint64(0); ; {
		l := b.Look()
		some, err := l.AllParked(sink, from, retryStep)
		l.Close()
		if err != nil || len(some) == 0 {
			return n, err
		}
		u := b.Update()
		for _, p := range some {
			u.undue(sink, p)
			p.Until = at
			u.set(recordKey(prefixParked, sink, p.Seq), p.encode())
			u.due(sink, p)
		}
		if err := u.Commit(u.state.applied); err != nil {
			return n, err
		}
		n += len(some)
		from = some[len(some)-1].Seq + 1
	}
}

// retryStep is how many records RetryAll changes in one transaction.
const retryStep = 500

// Drop ends a change without effect.
func (u *Update) Drop() { u.txn.Discard() }

// Commit makes the change visible, and says that the first so many records of
// the ledger are applied.
func (u *Update) Commit(applied uint64) error {
	defer u.txn.Discard()
	if u.err != nil {
		return u.err
	}
	u.state.applied = applied
	u.fail(u.txn.Set(keyCounts, u.state.counts.encode()))
	u.fail(u.txn.Set(keyApplied, numbers(applied)))
	if u.err == nil {
		u.fail(u.commitSinks())
	}
	if u.err != nil {
		return u.err
	}
	u.b.mu.Lock()
	u.b.state.applied, u.b.state.counts = u.state.applied, u.state.counts
	maps.Copy(u.b.state.sinks, u.state.sinks)
	u.b.mu.Unlock()
	u.b.Touched(u.bytes)
	return nil
}
