package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// ErrHopeless marks an error after which trying again is pointless until a
// person changes something. [Keeper.Run] ends with it.
var ErrHopeless = errors.New("trying again is pointless")

// Hopeless marks err with [ErrHopeless]; nil stays nil.
func Hopeless(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", err, ErrHopeless)
}

const (
	defaultMin = time.Second
	defaultMax = time.Minute
	// steady times Min is how long a connection must have lived for its end
	// to be no part of the trouble before it.
	steady = 10
)

// Keeper keeps a connection to one device: it dials, lets it be used, and after
// its end waits and dials again. It holds the only such loop of the product.
//
// The wait after the n-th failure in a row is random between Min and
// Min times 2 to the n, which grows no further than Max, so that a hundred
// terminals behind one switch do not come back in step. A connection that its
// user ended without an error, or that lived ten times Min, ends a row.
type Keeper struct {
	Dialer   Dialer
	Min, Max time.Duration // 0: 1 s and 1 min
	Log      *slog.Logger  // nil: silent
	// OnState, if not nil, is told when the connection comes up, when it goes
	// down, and while it is down when the reason becomes another. The error is
	// nil when it is up, and when nothing went wrong: its user was done with
	// it, or Run's context ended. It is called by Run's goroutine.
	OnState func(online bool, err error)
}

// Run dials and hands each connection to use, until ctx ends; then it returns
// nil. It closes the connection when use returns, panics, or when ctx ends, so
// that a blocked Read wakes; use must return then, and Run waits for it. A nil
// from use means that it is done with this connection; it gets another one.
// Run returns an error only if Dial or use returned one that wraps
// [ErrHopeless].
func (k *Keeper) Run(ctx context.Context, use func(ctx context.Context, c Conn) error) error {
	least, most := k.Min, k.Max
	if least <= 0 {
		least = defaultMin
	}
	if most <= 0 {
		most = defaultMax
	}
	r := reporter{log: k.Log, address: k.Dialer.String(), tell: k.OnState}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	for failures := 0; ctx.Err() == nil; {
		lived, err := k.once(ctx, &r, use)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, ErrHopeless) {
			r.down(err, 0)
			return fmt.Errorf("link: %s: %w", r.address, err)
		}
		if err == nil || lived >= steady*least {
			failures = 0
		}
		failures++
		pause := backOff(least, most, failures)
		r.down(err, pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	r.stopped()
	return nil
}

// once dials and uses one connection, and says how long it was up.
func (k *Keeper) once(ctx context.Context, r *reporter, use func(context.Context, Conn) error) (time.Duration, error) {
	c, err := k.Dialer.Dial(ctx)
	if err != nil {
		return 0, err
	}
	// Both Closes come too late to change anything: what use made of the
	// connection is known, or given up.
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer func() {
		stop()
		_ = c.Close()
	}()
	r.up()
	start := time.Now()
	err = use(ctx, c)
	return time.Since(start), err
}

// backOff is how long to wait after the given number of failures in a row.
func backOff(least, most time.Duration, failures int) time.Duration {
	ceiling := least
	for range failures {
		if ceiling >= most/2 {
			ceiling = most
			break
		}
		ceiling *= 2
	}
	if ceiling <= least {
		return least
	}
	return least + rand.N(ceiling-least+1)
}

// reporter tells changes of the connection's state, and nothing but changes: an
// outage of three days is two lines in the log.
type reporter struct {
	log     *slog.Logger
	address string
	tell    func(bool, error)

	known  bool // something was told before
	online bool
	reason string
}

func (r *reporter) up() {
	r.log.Info("connected", "address", r.address)
	r.change(true, nil)
}

func (r *reporter) down(err error, pause time.Duration) {
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	if r.known && !r.online && r.reason == reason {
		return
	}
	switch {
	case err == nil:
		r.log.Debug("connection ended", "address", r.address, "again_in", pause)
	case errors.Is(err, ErrHopeless):
		r.log.Error("connection given up", "address", r.address, "error", err)
	case r.online:
		r.log.Warn("connection lost", "address", r.address, "error", err, "again_in", pause)
	default:
		r.log.Warn("no connection", "address", r.address, "error", err, "again_in", pause)
	}
	r.change(false, err)
	r.reason = reason
}

func (r *reporter) stopped() {
	if r.online {
		r.change(false, nil)
	}
}

func (r *reporter) change(online bool, err error) {
	r.known, r.online, r.reason = true, online, ""
	if r.tell != nil {
		r.tell(online, err)
	}
}
