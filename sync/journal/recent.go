package journal

import (
	"sync"

	"github.com/punchd/punchd/protocol/attendance"
)

// recent knows of the records that are durable and not yet applied. Whoever
// looks something up asks it first and the buffer second: what it has let go
// of in between is in the buffer by then.
type recent struct {
	mu       sync.RWMutex
	keys     map[attendance.Key]uint64
	counters map[string]counter
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

// drop forgets entries that are applied.
func (r *recent) drop(first uint64, entries []entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range entries {
		e := &entries[i]
		if e.kind != attendance.RecordPunch {
			continue
		}
		delete(r.keys, e.key)
		if e.counter > 0 && r.counters[e.phone].seq <= first+uint64(i) {
			delete(r.counters, e.phone)
		}
	}
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
