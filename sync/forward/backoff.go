package forward

import (
	"cmp"
	"math/rand/v2"
	"time"
)

// The bounds of waiting after a failure.
const (
	baseDelay   = 500 * time.Millisecond
	maxDelay    = 5 * time.Minute // unless the configuration says otherwise
	deniedDelay = 5 * time.Minute
	// maxRetryAfter bounds what a far end may ask for: an hour of silence is
	// enough to let it recover, and a misplaced header must not stop a day.
	maxRetryAfter = time.Hour
)

// backoff is the product's one back-off: exponential with full jitter, so that
// the gateways of a hundred branches do not come back in step after an outage.
// Every repetition that is not a device's goes through it.
type backoff struct {
	failures int
	held     bool          // the next failure makes no pause longer
	most     time.Duration // 0: maxDelay
}

// next is how long to wait after one more failure, and never less than
// atLeast, which the far end asked for. The jitter is on top of that: every
// gateway got the same answer.
func (b *backoff) next(atLeast time.Duration) time.Duration {
	if b.held && b.failures > 0 {
		b.failures-- // the bound is that of the pause before
	}
	b.held = false
	ceiling := cmp.Or(b.most, maxDelay)
	if b.failures < 20 { // 500 ms * 2^20 is more than any cap
		ceiling = min(ceiling, baseDelay<<b.failures)
	}
	b.failures++
	return max(0, min(atLeast, maxRetryAfter)) + rand.N(ceiling+1)
}

func (b *backoff) reset() { b.failures, b.held = 0, false }

// hold says that the next try comes out of turn: that it fails says nothing new
// about how long the outage lasts.
func (b *backoff) hold() { b.held = true }

// The bounds of a parked punch's waiting.
const (
	minPark = 30 * time.Second
	maxPark = time.Hour
	// maxAsked bounds what the far end may ask for.
	maxAsked = 7 * 24 * time.Hour
	// maxTries bounds the memory of how often each parked punch was tried. One
	// that does not fit in counts as tried often.
	maxTries = 1 << 16
)

// tries counts how often each punch was parked. It starts anew with the
// process, which costs each parked punch a few early tries.
type tries map[uint64]uint8

// until is when a punch that is parked now is sent again. The zero time means:
// when the cause changes, which is so unless the far end named a time.
func (t tries) until(seq uint64, now time.Time, asked time.Duration) time.Time {
	if asked <= 0 {
		return time.Time{}
	}
	wait := maxPark
	n, known := t[seq]
	if known || len(t) < maxTries {
		if n < 7 { // 30 s * 2^7 is more than the cap
			wait = min(maxPark, minPark<<n)
		}
		t[seq] = min(n+1, 7)
	}
	return now.Add(max(wait, min(asked, maxAsked)))
}

func (t tries) forget(seq uint64) { delete(t, seq) }
