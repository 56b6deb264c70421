package zk

import (
	"context"
	"slices"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

const (
	// maxRecent is how many of the newest facts are remembered, to know the
	// event that tells one again.
	maxRecent = 256
	// maxOverlaps bounds the search for where a log goes on: a log in which
	// many records equal the first is handed over whole instead.
	maxOverlaps = 16
	// maxTold bounds the damaged records that are remembered as told.
	maxTold = 1024
)

// terminal is what is known of one terminal. It outlives connections; another
// terminal at the address begins anew.
type terminal struct {
	identity string // in keys; empty if no terminal was seen yet
	skew     *time.Duration
	face     attendance.LocalTime // of its clock, as last told; 0 if it can't be read
	layout   zk.Layout            // 0: no record was seen yet

	// log has a hash for each record of the log that is durable, in the order
	// in which the last read found them; changed is when one had not stayed.
	log     []uint64
	changed time.Time
	// held are the records behind those that were in the last read and are not
	// settled yet, and again is when they are to be looked at. Doubt is when it is
	// to be looked at what was handed over without the terminal's clock; zero: not.
	held         []unsettled
	again, doubt time.Time
	// stalled hands over again what could not be made durable, nil if all was.
	stalled func(ctx context.Context) error

	polls int  // since the last read
	lies  bool // its count of the log was wrong once
	// rest is when the log may be read again without a reason to be sure of.
	rest time.Time

	recent ring[sighting]      // the newest that were handed over
	unlike bool                // its events are not found in its log
	acked  ring[uint64]        // hashes of the newest events acknowledged
	told   map[uint64]struct{} // hashes of damaged records
}

func newTerminal(identity string) terminal {
	return terminal{identity: identity, told: map[uint64]struct{}{}}
}

// ring keeps the newest of what is added.
type ring[T comparable] struct {
	of   []T
	next int
}

func (r *ring[T]) add(v T) {
	if len(r.of) < maxRecent {
		r.of = append(r.of, v)
		return
	}
	r.of[r.next] = v
	r.next = (r.next + 1) % maxRecent
}

func (r *ring[T]) has(v T) bool { return slices.Contains(r.of, v) }

func (r *ring[T]) find(is func(T) bool) bool { return slices.ContainsFunc(r.of, is) }

// overlap is how many records at the beginning of now are those with which
// before ends: all of before while the log only grows, fewer once it is full
// and drops its oldest record for each new one, none if it was cleared.
//
// Records that overlap are equal in all that is read of them to records that are
// durable, and in every byte if nothing can be read, so they have their keys, and
// passing over them loses nothing in any case.
func overlap(before, now []uint64) int {
	if len(now) == 0 {
		return 0
	}
	tried := 0
	for i, h := range before {
		if h != now[0] {
			continue
		}
		if rest := before[i:]; len(rest) <= len(now) && slices.Equal(rest, now[:len(rest)]) {
			return len(rest)
		}
		if tried++; tried == maxOverlaps {
			break
		}
	}
	return 0
}
