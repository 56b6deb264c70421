// Package central is a stand-in for the central service: it takes batches of
// punches as the real one must, keeps what arrived first, and fails on demand.
//
// It judges the gateway from outside, so it answers for each event by what it
// holds, and never by what the gateway claims.
package central

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/punchd/punchd/protocol/cloudevents"
)

// defaultMaxHeld bounds the memory: an event takes some 700 bytes.
const defaultMaxHeld = 1_000_000

// Config says how the service is set up.
type Config struct {
	// Secrets are the keys of which one must have signed a request. None: the
	// signature is not looked at.
	Secrets []string
	// Seed decides every fault that is left to chance: the same requests in the
	// same order get the same answers.
	Seed uint64
	// MaxHeld bounds how many events are held; default 1,000,000. A batch that
	// would go beyond gets status 507.
	MaxHeld int
	// Out is a file that every event is added to, as a line of JSON. What it
	// holds at the start is held again. Empty: nothing outlives the process.
	Out    string
	Faults Faults
	// Clock is what the times of signatures are held against; time.Now if nil.
	Clock func() time.Time
}

// Central is the service. It is an [http.Handler] on whatever path, and safe
// for concurrent use.
type Central struct {
	keys    []cloudevents.Key
	maxHeld int
	clock   func() time.Time

	mu      sync.Mutex
	rnd     *rand.Rand
	seed    uint64
	faults  faults
	store   store
	stats   Stats
	outages []Outage
	parked  map[identity]struct{} // those that chance has parked once
}

// Stats are what the service has seen since it started.
type Stats struct {
	Requests   uint64 `json:"requests"`    // all of them
	Received   uint64 `json:"received"`    // events in batches that were read, repetitions included
	Distinct   uint64 `json:"distinct"`    // events held
	Heads      uint64 `json:"heads"`       // signed heads of ledgers held, which are not among those
	Duplicates uint64 `json:"duplicates"`  // events that were held already
	Parked     uint64 `json:"parked"`      // answers "park"
	Dead       uint64 `json:"dead"`        // answers "dead"
	Poisoned   uint64 `json:"poisoned"`    // batches answered 400 for an event in them
	Failed     uint64 `json:"failed"`      // requests failed by chance
	Lost       uint64 `json:"lost"`        // answers lost by chance, the batch taken
	Down       uint64 `json:"down"`        // requests during an outage
	Denied     uint64 `json:"denied"`      // requests without a good signature
	Unreadable uint64 `json:"unreadable"`  // requests that were no batch
	Full       uint64 `json:"full"`        // batches turned away because MaxHeld was reached
	FileErrors uint64 `json:"file_errors"` // batches turned away because Out could not be written
}

// Outage is a time during which the service was down.
type Outage struct {
	From, To time.Time // To is zero while it lasts
}

// New makes a service, and reads what its file holds.
func New(cfg Config) (*Central, error) {
	c := &Central{maxHeld: cfg.MaxHeld, seed: cfg.Seed, rnd: rand.New(rand.NewPCG(cfg.Seed, 0)), parked: map[identity]struct{}{}, clock: cfg.Clock}
	if c.clock == nil {
		c.clock = time.Now
	}
	if c.maxHeld <= 0 {
		c.maxHeld = defaultMaxHeld
	}
	for i, text := range cfg.Secrets {
		key, err := cloudevents.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("central: secret %d: %w", i+1, err)
		}
		c.keys = append(c.keys, key)
	}
	if err := c.SetFaults(cfg.Faults); err != nil {
		return nil, err
	}
	c.store.seen = map[identity]struct{}{}
	if cfg.Out != "" {
		if err := c.store.open(cfg.Out, c.maxHeld); err != nil {
			return nil, fmt.Errorf("central: %w", err)
		}
	}
	c.store.tell(&c.stats)
	return c, nil
}

// Close closes the file. No request may be under way.
func (c *Central) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.store.out == nil {
		return nil
	}
	f := c.store.out
	c.store.out = nil
	c.store.err = os.ErrClosed // what comes now is not taken
	return f.Close()
}

// Stats counts what came.
func (c *Central) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Held is everything held, in order of first arrival.
func (c *Central) Held() ([]Held, error) { return c.HeldFrom(0) }

// HeldFrom leaves out the first n of them, for whoever has seen those.
func (c *Central) HeldFrom(n int) ([]Held, error) {
	c.mu.Lock()
	events := c.store.events[min(n, len(c.store.events)):len(c.store.events):len(c.store.events)] // only ever appended to
	c.mu.Unlock()
	held := make([]Held, len(events))
	for i, e := range events {
		h, err := e.held()
		if err != nil {
			return nil, fmt.Errorf("central: held event %d: %w", n+i, err)
		}
		held[i] = h
	}
	return held, nil
}

// SetFaults changes how the service fails from the next request on.
func (c *Central) SetFaults(f Faults) error {
	compiled, err := f.compile()
	if err != nil {
		return fmt.Errorf("central: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = compiled
	return nil
}

// SetDown takes the service down or up again. While it is down every request,
// also one under way, ends with its connection closed and no answer; one whose
// batch was taken just before is a lost answer.
func (c *Central) SetDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch is := c.isDown(); {
	case down && !is:
		c.outages = append(c.outages, Outage{From: time.Now()})
	case !down && is:
		c.outages[len(c.outages)-1].To = time.Now()
	}
}

func (c *Central) isDown() bool {
	return len(c.outages) > 0 && c.outages[len(c.outages)-1].To.IsZero()
}

// Outages are the times during which the service was down.
func (c *Central) Outages() []Outage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Outage(nil), c.outages...)
}

var errFull = errors.New("no room for more events")
