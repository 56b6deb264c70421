package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// failing is a dialer that refuses and notes when it was asked.
type failing struct {
	asked []time.Time
	err   func(n int) error
}

func (d *failing) String() string { return "test" }

func (d *failing) Dial(context.Context) (Conn, error) {
	d.asked = append(d.asked, time.Now())
	return nil, d.err(len(d.asked))
}

func (d *failing) pauses() []time.Duration {
	var p []time.Duration
	for i := 1; i < len(d.asked); i++ {
		p = append(p, d.asked[i].Sub(d.asked[i-1]))
	}
	return p
}

// silent is a dialer whose far ends nobody serves; they are closed with the
// test's context.
func silent(t *testing.T) Dialer {
	return PipeDialer("silent", func(_ context.Context, far Conn) error {
		context.AfterFunc(t.Context(), func() { far.Close() })
		return nil
	})
}

func TestBackOffGrowsWithJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &failing{err: func(int) error { return errors.New("refused") }}
		k := Keeper{Dialer: d}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := k.Run(ctx, nil); err != nil {
			t.Fatal(err)
		}
		pauses := d.pauses()
		if len(pauses) < 60 || len(pauses) > 600 {
			t.Fatalf("%d pauses in an hour", len(pauses))
		}
		ceilings := []time.Duration{2, 4, 8, 16, 32, 60}
		distinct := map[time.Duration]bool{}
		late := time.Duration(0)
		for i, p := range pauses {
			ceiling := ceilings[min(i, len(ceilings)-1)] * time.Second
			if p < time.Second || p > ceiling {
				t.Errorf("pause %d is %v, not within 1s and %v", i, p, ceiling)
			}
			distinct[p] = true
			late = max(late, p)
		}
		if len(distinct) < len(pauses)/2 {
			t.Errorf("only %d of %d pauses differ: no jitter", len(distinct), len(pauses))
		}
		if late < 40*time.Second {
			t.Errorf("the longest pause is %v: it does not grow", late)
		}
	})
}

func TestBackOffBounds(t *testing.T) {
	for _, c := range []struct {
		least, most, ceiling time.Duration
		failures             int
	}{
		{time.Second, time.Minute, 2 * time.Second, 1},
		{time.Second, time.Minute, 32 * time.Second, 5},
		{time.Second, time.Minute, time.Minute, 6},
		{time.Second, time.Minute, time.Minute, 1 << 30},
		{time.Second, 1<<63 - 1, 1<<63 - 1, 1 << 30},
		{time.Minute, time.Second, time.Minute, 3}, // upside down: Min counts
		{time.Second, time.Second, time.Second, 3},
	} {
		longest := time.Duration(0)
		for range 1000 {
			p := backOff(c.least, c.most, c.failures)
			if p < c.least || p > c.ceiling {
				t.Fatalf("%+v: pause %v", c, p)
			}
			longest = max(longest, p)
		}
		if longest < c.ceiling/2 {
			t.Errorf("%+v: the longest of 1,000 pauses is %v", c, longest)
		}
	}
}

func TestThreeDayOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(72 * time.Hour)
		refusals := 0
		inner := silent(t)
		d := dialFunc(func(ctx context.Context) (Conn, error) {
			if time.Now().Before(back) {
				refusals++
				return nil, errors.New("no route to host")
			}
			return inner.Dial(ctx)
		})
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		k := Keeper{Dialer: d, Log: slog.New(slog.NewTextHandler(&log, nil))}
		err := k.Run(ctx, func(context.Context, Conn) error {
			if late := time.Since(back); late > time.Minute {
				t.Errorf("found again after %v", late)
			}
			cancel()
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if refusals < 72*60 || refusals > 72*60*4 {
			t.Errorf("%d attempts in three days", refusals)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines in the log for one outage, want 2:\n%s", n, log.String())
		}
	})
}

type dialFunc func(context.Context) (Conn, error)

func (f dialFunc) Dial(ctx context.Context) (Conn, error) { return f(ctx) }
func (f dialFunc) String() string                         { return "test" }

// TestCancel ends the context in each of the places where Run can be.
func TestCancel(t *testing.T) {
	read := func(_ context.Context, c Conn) error { _, err := c.Read(make([]byte, 1)); return err }
	for name, dialer := range map[string]func(*testing.T) Dialer{
		"dialing": func(*testing.T) Dialer {
			return dialFunc(func(ctx context.Context) (Conn, error) { <-ctx.Done(); return nil, ctx.Err() })
		},
		"reading": silent,
		"waiting": func(*testing.T) Dialer { return &failing{err: func(int) error { return io.EOF }} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				k := Keeper{Dialer: dialer(t), Min: time.Hour}
				go func() { done <- k.Run(ctx, read) }()
				synctest.Wait()
				select {
				case err := <-done:
					t.Fatalf("ended by itself: %v", err)
				default:
				}
				start := time.Now()
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if d := time.Since(start); d != 0 {
					t.Errorf("ended %v after its context", d)
				}
			})
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	k := Keeper{Dialer: &failing{err: func(int) error { t.Error("dialed"); return io.EOF }}}
	if err := k.Run(ended, read); err != nil {
		t.Error(err)
	}
}

// lifetimes runs uses that live as long as told and end with err, and gives the
// pauses between them.
func lifetimes(t *testing.T, err error, lives ...time.Duration) []time.Duration {
	t.Helper()
	var pauses []time.Duration
	var ended time.Time
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	k := Keeper{Dialer: silent(t)}
	use := 0
	if err := k.Run(ctx, func(context.Context, Conn) error {
		if use > 0 {
			pauses = append(pauses, time.Since(ended))
		}
		if use == len(lives) {
			cancel()
			return nil
		}
		<-time.After(lives[use])
		use++
		ended = time.Now()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return pauses
}

func TestBackOffResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("lost")
		for _, p := range lifetimes(t, nil, make([]time.Duration, 200)...) {
			if p < time.Second || p > 2*time.Second {
				t.Errorf("pause %v after a use that ended well", p)
			}
		}
		for _, p := range lifetimes(t, lost, slices.Repeat([]time.Duration{10 * time.Second}, 200)...) {
			if p < time.Second || p > 2*time.Second {
				t.Errorf("pause %v after a connection that lived long enough", p)
			}
		}
		short := lifetimes(t, lost, slices.Repeat([]time.Duration{9 * time.Second}, 200)...)
		if longest := slices.Max(short); longest < 40*time.Second || longest > time.Minute {
			t.Errorf("longest pause between connections that soon break: %v", longest)
		}
	})
}

func TestHopeless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := errors.New("wrong communication key")
		states := []string{}
		k := Keeper{Dialer: silent(t), OnState: func(online bool, err error) { states = append(states, fmt.Sprint(online, " ", err)) }}
		err := k.Run(t.Context(), func(context.Context, Conn) error { return fmt.Errorf("zk: log in: %w", Hopeless(denied)) })
		if !errors.Is(err, ErrHopeless) || !errors.Is(err, denied) {
			t.Errorf("from use: %v", err)
		}
		if want := "link: pipe:silent: zk: log in: wrong communication key: trying again is pointless"; err.Error() != want {
			t.Errorf("%s, want %s", err, want)
		}
		if want := []string{"true <nil>", "false zk: log in: wrong communication key: trying again is pointless"}; !slices.Equal(states, want) {
			t.Errorf("states %q, want %q", states, want)
		}
		k = Keeper{Dialer: &failing{err: func(int) error { return Hopeless(denied) }}}
		if err := k.Run(t.Context(), nil); !errors.Is(err, ErrHopeless) {
			t.Errorf("from Dial: %v", err)
		}
	})
	if Hopeless(nil) != nil {
		t.Error("no error is hopeless")
	}
}

func TestStateTellsChangesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := silent(t)
		dials := 0
		d := dialFunc(func(ctx context.Context) (Conn, error) {
			switch dials++; {
			case dials <= 20:
				return nil, errors.New("refused")
			case dials <= 40:
				return nil, errors.New("no route")
			}
			return inner.Dial(ctx)
		})
		var states []string
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		uses := 0
		k := Keeper{Dialer: d, OnState: func(online bool, err error) { states = append(states, fmt.Sprint(online, " ", err)) }}
		if err := k.Run(ctx, func(context.Context, Conn) error {
			switch uses++; uses {
			case 1:
				return errors.New("reset")
			case 2:
				return nil
			}
			cancel()
			return errors.New("use of closed connection")
		}); err != nil {
			t.Error(err)
		}
		want := []string{"false refused", "false no route", "true <nil>", "false reset", "true <nil>", "false <nil>", "true <nil>", "false <nil>"}
		if !slices.Equal(states, want) {
			t.Errorf("states\n%q, want\n%q", states, want)
		}
	})
}

func TestPanicIsNotSwallowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conn Conn
		k := Keeper{Dialer: silent(t)}
		func() {
			defer func() {
				if p := recover(); p != "boom" {
					t.Errorf("recovered %v", p)
				}
			}()
			_ = k.Run(t.Context(), func(_ context.Context, c Conn) error { conn = c; panic("boom") })
		}()
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the connection is open behind the panic: %v", err)
		}
	})
}

func TestUseSeesOneConnectionAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var last Conn
		k := Keeper{Dialer: silent(t)}
		uses := 0
		if err := k.Run(ctx, func(_ context.Context, c Conn) error {
			if last != nil {
				if _, err := last.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("the one before is still open: %v", err)
				}
			}
			if last = c; uses == 10 {
				cancel()
			}
			uses++
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}
