package journal

import (
	"slices"
	"sync"

	"github.com/punchd/punchd/protocol/attendance"
)

// keepApplied is how many records stay known after they are applied. An append
// looks into the buffer before it is handed in, and what was applied since must
// not have been forgotten when its turn comes.
const keepApplied = 4096

// recent knows of the records that are durable and not yet applied, and of some
// that were lately. Whoever looks something up asks it first and the buffer
// second: what it has forgotten in between is in the buffer by then.
type recent struct {
	mu       sync.RWMutex
	keys     map[attendance.Key]uint64
	counters map[string]counter
	done     []*work // applied and still known
	records  int     // in done
	// forgotten is the ticket of the last work that is not known any more. A
	// look into the buffer from before it may have missed something.
	forgotten uint64
}

type counter struct {
	value uint64
	seq   uint64 // of the last record that told one
}

// add takes in entries from a sequence on.
func (r *recent) add(first uint64, entries []entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil {
		r.keys, r.counters = map[attendance.Key]uint64{}, map[string]counter{}
	}
	for i := range entries {
		e := &entries[i]
		if e.kind != attendance.RecordPunch {
			continue
		}
		seq := first + uint64(i)
		r.keys[e.key] = seq
		if e.counter > 0 {
			r.counters[e.phone] = counter{max(r.counters[e.phone].value, e.counter), seq}
		}
	}
}

// applied takes in that works are applied, and forgets the oldest.
func (r *recent) applied(works []*work) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range works {
		w.frames = nil
		r.done = append(r.done, w)
		r.records += len(w.entries)
	}
	n := 0
	for ; n < len(r.done) && r.records > keepApplied; n++ {
		r.forget(r.done[n])
	}
	r.done = slices.Delete(r.done, 0, n)
}

func (r *recent) forget(w *work) {
	for i := range w.entries {
		e := &w.entries[i]
		if e.kind != attendance.RecordPunch {
			continue
		}
		delete(r.keys, e.key)
		if e.counter > 0 && r.counters[e.phone].seq <= w.first+uint64(i) {
			delete(r.counters, e.phone)
		}
	}
	r.records -= len(w.entries)
	r.forgotten = w.ticket
}

// mark marks the punches of requests that are known, and gives back the
// requests that may have missed something when they looked into the buffer.
func (r *recent) mark(requests []*request) (stale []*request) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, q := range requests {
		punches := false
		for k := range q.entries {
			e := &q.entries[k]
			if e.kind != attendance.RecordPunch {
				continue
			}
			punches = true
			if seq, ok := r.keys[e.key]; ok {
				q.results[k] = Result{seq, true}
			}
		}
		if punches && q.looked < r.forgotten {
			stale = append(stale, q)
		}
	}
	return stale
}

// seq finds a punch by its key.
func (r *recent) seq(k attendance.Key) (seq uint64, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	seq, ok = r.keys[k]
	return seq, ok
}

// counter is the highest counter of a phone, 0 if none is recent.
func (r *recent) counter(phone string) uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.counters[phone].value
}
