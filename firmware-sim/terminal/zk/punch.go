package zk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// noState is the code of an entry for which no state key was pressed.
const noState = 255

// ErrDisabled says that a host has disabled the terminal: nobody can punch.
var ErrDisabled = errors.New("zk terminal: disabled by a host")

var (
	errTwin   = errors.New("zk terminal: an entry like this was made already")
	errNobody = errors.New("zk terminal: nobody is there to punch")
)

// Punch lets the person with a PIN punch now: it appends an entry to the log,
// with the time that the clock shows, and tells it to every connection that
// registered for events. Two like it within a second can't be told apart by
// anybody: whoever counts must not ask for them. A state is 0 to 15, or 255 for
// none. The error is [ErrDisabled], or says that nobody has the PIN or that
// there is no such state.
func (t *Terminal) Punch(pin string, state, verify uint8) (Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.people.people[t.people.byPIN[pin]]
	if p == nil {
		return Entry{}, fmt.Errorf("zk terminal: nobody has the PIN %.32q", pin)
	}
	if state > 15 && state != noState {
		return Entry{}, fmt.Errorf("zk terminal: no key gives the state %d", state)
	}
	return t.punch(Entry{UID: p.UID, PIN: p.PIN, State: state, Verify: verify}, true)
}

// punch makes e a fact. mu is held.
func (t *Terminal) punch(e Entry, twins bool) (Entry, error) {
	if t.disabled() && !t.cfg.Quirks.DisableIgnored {
		return Entry{}, ErrDisabled
	}
	if t.cfg.Quirks.NoState {
		e.State = noState
	}
	e.At = t.face()
	if !twins && t.ledger.has(e) {
		return Entry{}, errTwin
	}
	e = t.ledger.add(e)
	if t.jumpAt > 0 {
		if t.jumpAt--; t.jumpAt == 0 {
			t.offset += attendance.LocalTime(t.cfg.Quirks.ClockJump.Milliseconds())
		}
	}
	if !t.disabled() {
		t.tell(e)
	}
	return e, nil
}

// Run lets people punch, one about every pace, until ctx ends or limit entries
// are made (0: no limit); both give nil. The seed decides who and how. While
// nobody can punch, since a host has disabled the terminal or it knows nobody,
// people wait.
//
// No two entries have the same PIN, second, state and verify code, since nobody
// could tell such twins apart; so a pace that is too fast for the people there
// are becomes slower. The quirk dup_second makes twins all the same.
func (t *Terminal) Run(ctx context.Context, pace time.Duration, limit int) error {
	for made := 0; limit <= 0 || made < limit; {
		if !sleep(ctx, t.jitter(pace)) {
			return nil
		}
		n, err := t.punchAny(limit - made)
		made += n
		switch {
		case errors.Is(err, ErrDisabled), errors.Is(err, errNobody):
			// They try again after a while.
			if !sleep(ctx, patience) {
				return nil
			}
		case errors.Is(err, errTwin):
			if !sleep(ctx, t.nextSecond()) {
				return nil
			}
		case err != nil:
			return err
		}
	}
	return nil
}

// patience is how long people wait before they try a disabled terminal again.
const patience = 100 * time.Millisecond

// jitter is a time from half the pace to one and a half.
func (t *Terminal) jitter(pace time.Duration) time.Duration {
	if pace <= 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return pace/2 + time.Duration(t.random.Int64N(int64(pace)))
}

// nextSecond is how long it is until the clock shows another one.
func (t *Terminal) nextSecond() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Duration(1000-t.fine()%1000) * time.Millisecond
}

// punchAny makes one drawn entry, or with dup_second now and then two alike. The
// error is errTwin if none was found that differs from all there are.
func (t *Terminal) punchAny(limit int) (made int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.people.slots) == 0 {
		return 0, errNobody
	}
	const tries = 16
	for range tries {
		p := t.people.people[t.people.slots[t.random.IntN(len(t.people.slots))]]
		e := t.entry(p, t.random, drawState(t.random))
		twice := t.random.IntN(4) == 0 && t.cfg.Quirks.DupSecond && limit != 1
		if _, err = t.punch(e, false); err == nil {
			made++
			if twice {
				if _, err = t.punch(e, true); err == nil {
					made++
				}
			}
			return made, err
		}
		if !errors.Is(err, errTwin) {
			break
		}
	}
	return made, err
}

// drawState is mostly in or out.
func drawState(random *rand.Rand) uint8 {
	if n := random.IntN(10); n >= 6 {
		return uint8(n - 4)
	}
	return uint8(random.IntN(2))
}

// sleep waits for d and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
