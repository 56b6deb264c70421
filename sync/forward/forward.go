package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// duePoll is how often the source is asked for parked punches whose time has
// come. The shortest wait of a parked punch is 30 s.
const duePoll = 10 * time.Second

// settleTimeout bounds one try to keep an answer. It goes on when the
// forwarder is told to stop: an answer in hand is kept, not asked for again.
const settleTimeout = 10 * time.Second

// Config says what a forwarder forwards, and where to.
type Config struct {
	Source Source
	Sink   Sink
	// A batch holds at most BatchItems punches (default 500), and about
	// BatchBytes bytes (default 1 MiB), but at least one punch.
	BatchItems int
	BatchBytes int
	// RetryMax is the longest wait after a failure that the far end set no time
	// for; 5 minutes if 0. It is shorter for a service on the same network, and
	// can't exceed an hour.
	RetryMax time.Duration
	Log      *slog.Logger // nil: none
}

// Forwarder carries punches from a source to one sink. One batch is on its way
// at a time, and the next is read meanwhile. See DESIGN.md.
type Forwarder struct {
	source     Source
	sink       Sink
	name       string
	batchItems int
	batchBytes int
	gather     time.Duration
	log        *slog.Logger

	wake    chan struct{}
	release atomic.Bool // an operator asks: the brake is let go with the next wake
	status  status

	// What follows belongs to the goroutine of Run.
	backoff  backoff
	tries    tries
	limit    int  // bytes that the far end is believed to take in one request
	rejected int  // punches rejected alone since the sink last took one
	unnamed  int  // answers in a row that said nothing of what was sent
	woken    bool // Wake was called, and Source.Retry is still to be
}

// New makes a forwarder.
func New(cfg Config) (*Forwarder, error) {
	if cfg.Source == nil || cfg.Sink == nil {
		return nil, errors.New("forward: a source and a sink are needed")
	}
	f := &Forwarder{
		source: cfg.Source, sink: cfg.Sink, name: cfg.Sink.Name(),
		batchItems: cfg.BatchItems, batchBytes: cfg.BatchBytes, gather: gather, log: cfg.Log,
		wake: make(chan struct{}, 1), tries: tries{},
	}
	if f.name == "" {
		return nil, errors.New("forward: the sink has no name")
	}
	if cfg.RetryMax < 0 || cfg.RetryMax > time.Hour {
		return nil, fmt.Errorf("forward: a longest wait of %v is not between 0 and an hour", cfg.RetryMax)
	}
	f.backoff.most = cfg.RetryMax
	if f.batchItems <= 0 {
		f.batchItems = 500
	}
	if f.batchBytes <= 0 {
		f.batchBytes = 1 << 20
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	f.log = f.log.With("sink", f.name)
	f.limit = f.batchBytes
	f.status.state.Sink = f.name
	return f, nil
}

// State is what the forwarder knows of its sink now. It may be called from any
// goroutine.
func (f *Forwarder) State() State { return f.status.get() }

// Wake says that the cause of a failure, or of parked punches, may have
// changed: a new roster came. A wait is cut short, every parked punch is sent
// again, and that the far end takes little at a time is forgotten; that it
// rejects everything is not, see [Forwarder.Release]. It may be called from any
// goroutine and never blocks.
func (f *Forwarder) Wake() {
	select {
	case f.wake <- struct{}{}:
	default: // it will wake anyhow
	}
}

// Release says that an operator asks for a retry, and answers for it: as Wake,
// and a sink that rejected many punches in a row is believed once more, and the
// back-off begins anew. Nothing that happens by itself may call it: each call
// can cost maxRejected punches.
func (f *Forwarder) Release() {
	f.release.Store(true)
	f.Wake()
}

// Run forwards until ctx ends, and then returns nil. No failure ends it. It
// must not run twice at a time.
func (f *Forwarder) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	want := make(chan struct{}, 1)
	batches := make(chan batch)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	r := reader{f: f, want: want, out: batches}
	reading.Go(func() { r.run(ctx) })

	due := time.NewTimer(0)
	defer due.Stop()
	want <- struct{}{}
	for {
		select {
		case b := <-batches:
			f.deliver(ctx, b)
			want <- struct{}{}
		case <-due.C:
			// With many parked punches due this takes turns with the new ones:
			// select is fair.
			due.Reset(f.deliverDue(ctx))
		case <-f.wake:
			f.awake()
		case <-ctx.Done():
			return nil
		}
		if f.woken && f.retry(ctx) {
			due.Reset(0)
		}
	}
}

// awake takes a Wake.
func (f *Forwarder) awake() {
	f.woken = true
	f.backoff.hold()
	if f.release.Swap(false) {
		f.rejected = 0
		f.status.brake(false)
		f.backoff.reset() // whoever asks waits for what comes of it
	}
	f.limit = f.batchBytes
}

// retry makes what is parked due.
func (f *Forwarder) retry(ctx context.Context) bool {
	f.woken = false
	var n int
	ok := f.insist(ctx, "retry the parked punches", f.pause, func() (err error) {
		n, err = f.source.Retry(ctx, f.name)
		return err
	})
	if n > 0 {
		f.log.Info("parked punches are tried again", "punches", n)
	}
	return ok
}

// deliverDue sends parked punches whose time has come, and returns when to look
// for more: now, if there are as many as a batch holds.
func (f *Forwarder) deliverDue(ctx context.Context) time.Duration {
	var items []Item
	ok := f.insist(ctx, "read the parked punches", f.pause, func() (err error) {
		items, err = f.source.Due(ctx, f.name, time.Now(), f.batchItems)
		return err
	})
	if !ok || len(items) == 0 {
		return duePoll
	}
	rest := f.deliver(ctx, batch{items: items, parked: true})
	if rest == 0 && len(items) == f.batchItems {
		return 0
	}
	return max(rest, duePoll)
}

// insist asks the source until it does not fail, with the back-off between. A
// ledger that can't be read or written for a while (a full disk) must cost no
// punch. It reports false if ctx ended first.
func (f *Forwarder) insist(ctx context.Context, what string, sleep func(context.Context, time.Duration), do func() error) bool {
	var b backoff
	for {
		err := do()
		if ctx.Err() != nil {
			return err == nil
		}
		if f.status.sourceIs(what, err) {
			if err != nil {
				f.log.Error("the ledger fails; it is tried again until it works", "to", what, "err", err)
			} else {
				f.log.Info("the ledger works again", "to", what)
			}
		}
		if err == nil {
			return true
		}
		sleep(ctx, b.next(0))
	}
}

// pause waits for d, until ctx ends, or until Wake.
func (f *Forwarder) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-f.wake:
		f.awake()
	case <-ctx.Done():
	}
}
