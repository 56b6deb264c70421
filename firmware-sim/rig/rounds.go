package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Outcome is how a run of a rig ended. Its JSON is what `--json` prints.
type Outcome struct {
	Seed     uint64  `json:"seed"`
	Passed   int     `json:"passed"`
	Failed   int     `json:"failed"`
	Made     int     `json:"made"` // facts
	Promised int     `json:"promised"`
	Held     int     `json:"held"` // distinct ones at central
	Seconds  float64 `json:"seconds"`

	Lost       int `json:"lost"`
	Doubled    int `json:"doubled"`
	Invented   int `json:"invented"`
	OutOfOrder int `json:"out_of_order"`
	Altered    int `json:"altered"`
	Heads      int `json:"heads"` // signed heads of the ledger at central

	Power *PowerFigures `json:"power,omitempty"` // of power cuts
}

// rounds is what the rigs that end a daemon again and again have in common.
type rounds struct {
	world *World
	out   io.Writer // progress
	seed  uint64
	began time.Time
	ends  []map[string]int // how many facts of each line there were at each end
	fails map[int]string   // what went wrong in a round, by its number from 0
}

// underLoad runs the rounds while everybody punches, and then lets the daemon
// settle while nobody does.
func (r *rounds) underLoad(ctx context.Context, run, settle func(context.Context) error) error {
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	punching, stopPunching := context.WithCancel(serving)
	defer stopPunching()
	served, punched := make(chan error, 1), make(chan error, 1)
	go func() { served <- r.world.Serve(serving) }()
	go func() { punched <- r.world.Punch(punching) }()
	err := run(ctx)
	stopPunching()
	err = errors.Join(err, <-punched)
	if err == nil {
		err = settle(ctx)
	}
	stopServing()
	return errors.Join(err, <-served)
}

// note closes a round, and says in words what there is so far.
func (r *rounds) note() string {
	made := r.world.Made(false)
	ends := map[string]int{}
	promised := 0
	for _, f := range made {
		ends[f.Line]++
		if f.Promised {
			promised++
		}
	}
	r.ends = append(r.ends, ends)
	return fmt.Sprintf("%d facts made, %d promised, %d at central", len(made), promised, r.world.Central().Stats().Distinct)
}

// drain waits until central has everything, as long as it gets something.
func (r *rounds) drain(ctx context.Context, ended <-chan struct{}, limit time.Duration) error {
	made := r.world.Made(false)
	least, since := len(made)+1, time.Now()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for time.Since(since) < limit {
		seen, _, err := r.world.Held()
		if err != nil {
			return err
		}
		lost := Check(made, seen).Lost
		if lost == 0 {
			break
		}
		if lost < least {
			least, since = lost, time.Now()
		}
		select {
		case <-tick.C:
		case <-ended:
			return errors.New("rig: the daemon ended while it was to drain; see its log")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// judge counts, says what failed and how many rounds passed.
func (r *rounds) judge() (*Outcome, error) {
	seen, _, err := r.world.Held()
	if err != nil {
		return nil, err
	}
	t := Check(r.world.Made(false), seen)
	differ, err := r.world.ReceiptsDiffer()
	if err != nil {
		return nil, err
	}
	last := max(len(r.ends)-1, 0)
	if _, known := r.fails[last]; len(differ) > 0 && !known { // a receipt does not tell in which round it was signed
		r.fails[last] = fmt.Sprintf("%d receipts are not true; the first: %s", len(differ), differ[0])
	}
	for _, f := range t.Faults {
		i := r.roundOf(f)
		if _, known := r.fails[i]; !known {
			r.fails[i] = f.String()
		}
	}
	heads, err := r.world.Witness()
	if _, known := r.fails[last]; err != nil && !known {
		r.fails[last] = err.Error()
	}
	o := &Outcome{
		Seed: r.seed, Passed: len(r.ends) - len(r.fails), Failed: len(r.fails), Made: t.Made, Promised: t.Promised, Held: t.Held, Seconds: time.Since(r.began).Seconds(),
		Lost: t.Lost, Doubled: t.Doubled, Invented: t.Invented, OutOfOrder: t.OutOfOrder, Altered: t.Altered, Heads: heads,
	}
	stats := r.world.Central().Stats()
	if _, err := fmt.Fprintf(r.out, "%d facts made, %d promised, %d at central (%d requests, %d events, %d of them again), and %d signed heads of the ledger; %s\n",
		t.Made, t.Promised, t.Held, stats.Requests, stats.Received, stats.Duplicates, heads, t); err != nil {
		return nil, err
	}
	return o, report(r.out, r.seed, len(r.ends), r.fails)
}

// roundOf is the round in which a fact was made; what nobody made, or was made
// after the last end, counts for the last.
func (r *rounds) roundOf(f Fault) int {
	if f.Index >= 0 {
		for i, ends := range r.ends {
			if f.Index < ends[f.Line] {
				return i
			}
		}
	}
	return max(len(r.ends)-1, 0)
}

// ErrFailed says that a rig has found something; it has told what.
var ErrFailed = errors.New("rig: failed")

// report prints what failed, and "N passed, N failed".
func report(out io.Writer, seed uint64, rounds int, fails map[int]string) error {
	told := 0
	for i := range rounds {
		if why, failed := fails[i]; failed && told < 20 {
			told++
			if _, err := fmt.Fprintf(out, "round %d: %s\n", i+1, why); err != nil {
				return err
			}
		}
	}
	if _, err := fmt.Fprintf(out, "seed %d: %d passed, %d failed\n", seed, rounds-len(fails), len(fails)); err != nil {
		return err
	}
	if len(fails) > 0 {
		return ErrFailed
	}
	return nil
}
