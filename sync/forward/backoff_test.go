package forward

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for failures := range 40 {
		ceiling := min(maxDelay, baseDelay<<min(failures, 20))
		var sum, least, most time.Duration
		least = maxDelay
		const n = 400
		for range n {
			b := backoff{failures: failures}
			d := b.next(0)
			if d < 0 || d > ceiling {
				t.Fatalf("after %d failures it waits %v, at most %v", failures, d, ceiling)
			}
			sum, least, most = sum+d, min(least, d), max(most, d)
		}
		// Full jitter: evenly spread from 0 to the ceiling. The bounds are six
		// standard deviations wide.
		if mean := sum / n; mean < ceiling*40/100 || mean > ceiling*60/100 {
			t.Errorf("after %d failures the mean is %v of %v", failures, mean, ceiling)
		}
		if least > ceiling/10 || most < ceiling*9/10 {
			t.Errorf("after %d failures it waits from %v to %v of %v", failures, least, most, ceiling)
		}
	}
	for _, c := range []struct{ asked, least, most time.Duration }{
		{time.Minute, time.Minute, time.Minute + baseDelay},
		{100 * time.Hour, maxRetryAfter, maxRetryAfter + baseDelay},
		{-time.Hour, 0, baseDelay},
	} {
		if d := (&backoff{}).next(c.asked); d < c.least || d > c.most {
			t.Errorf("asked for %v it waits %v", c.asked, d)
		}
	}
	b := backoff{}
	for range 1000 {
		b.next(0)
	}
	if b.reset(); b.next(0) > baseDelay {
		t.Error("reset does not reset")
	}
}

// A try out of turn leaves the bound of the pauses as it was, however often it
// was asked for, and counts for one failure only.
func TestBackoffHeld(t *testing.T) {
	b := backoff{}
	b.hold()
	if b.next(0); b.failures != 1 { // there was no pause before
		t.Errorf("%d failures after the first", b.failures)
	}
	for range 5 {
		b.next(0)
	}
	for range 100 {
		b.hold()
		b.hold()
		if d := b.next(0); d > baseDelay<<5 || b.failures != 6 {
			t.Fatalf("held, it waits %v after %d failures", d, b.failures)
		}
	}
	if b.next(0); b.failures != 7 {
		t.Errorf("%d failures", b.failures)
	}
	b.hold()
	b.reset()
	b.next(0)
	if b.next(0); b.failures != 2 {
		t.Errorf("%d failures after a reset", b.failures)
	}
}

func TestTries(t *testing.T) {
	now := time.Date(2026, 11, 4, 0, 0, 0, 0, time.UTC)
	k := tries{}
	for n, want := range []time.Duration{30, 60, 120, 240, 480, 960, 1920, 3600, 3600} {
		if got := k.until(7, now, time.Second).Sub(now); got != want*time.Second {
			t.Errorf("after %d tries it waits %v, want %v", n, got, want*time.Second)
		}
	}
	if got := k.until(7, now, 2*time.Hour).Sub(now); got != 2*time.Hour {
		t.Errorf("asked for two hours it waits %v", got)
	}
	if got := k.until(7, now, 1000*time.Hour).Sub(now); got != maxAsked {
		t.Errorf("asked for a thousand hours it waits %v", got)
	}
	if !k.until(8, now, 0).IsZero() || len(k) != 1 {
		t.Error("a punch that waits for its cause has a time")
	}
	k.forget(7)
	if got := k.until(7, now, 1).Sub(now); got != minPark {
		t.Errorf("forgotten, it waits %v", got)
	}
	for seq := range uint64(maxTries + 10) {
		k.until(100+seq, now, 1)
	}
	if len(k) != maxTries {
		t.Errorf("%d tries are remembered", len(k))
	}
	if got := k.until(1<<40, now, 1).Sub(now); got != maxPark {
		t.Errorf("one too many waits %v", got)
	}
}

// However a piece is split, both halves are not empty and in order, and every
// item can come to stand alone.
func TestSplit(t *testing.T) {
	for n := 2; n < 40; n++ {
		b := batch{next: uint64(n)}
		for seq := range n {
			b.items = append(b.items, Item{Seq: uint64(seq), Punch: punchOf(seq * seq % 37 * 100)})
		}
		d := newDelivery(b, 1<<30)
		alone := 0
		for steps := 0; ; steps++ {
			piece := d.piece()
			if len(piece) == 0 {
				break
			}
			if steps > 2*n {
				t.Fatalf("%d items are not apart after %d steps", n, steps)
			}
			if len(piece) > 1 {
				d.split(piece)
				if first := d.piece(); len(first) == 0 || len(first) >= len(piece) || first[0] != piece[0] {
					t.Fatalf("%v is split at %v", piece, first)
				}
				continue
			}
			if piece[0] != alone {
				t.Fatalf("%d stands alone, want %d", piece[0], alone)
			}
			d.results[alone].Outcome = Accepted
			alone++
		}
		if alone != n {
			t.Fatalf("%d of %d came to stand alone", alone, n)
		}
	}
}

func TestPiecesKeepToTheLimit(t *testing.T) {
	b := batch{next: 10}
	for seq := range 10 {
		b.items = append(b.items, Item{Seq: uint64(seq), Punch: punchOf(0)})
	}
	one := estimate(b.items[0])
	for _, c := range []struct{ limit, pieces int }{{1, 10}, {one, 10}, {2 * one, 5}, {3 * one, 4}, {100 * one, 1}} {
		if d := newDelivery(b, c.limit); len(d.ends) != c.pieces {
			t.Errorf("with a limit of %d items there are %d pieces, want %d", c.limit/one, len(d.ends), c.pieces)
		}
	}
}
