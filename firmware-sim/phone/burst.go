package phone

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/punchd/punchd/protocol/owntracks"
	"github.com/punchd/punchd/protocol/phone"
)

// Load says how hard a burst is.
type Load struct {
	// Algorithm picks the phones: ES256 or EdDSA for native ones, empty for
	// OwnTracks on Android, which does not sign. On iOS nothing tells two
	// check-ins of one second and place apart.
	Algorithm string
	Phones    int // of them, each with a connection of its own
	Each      int // check-ins of each, one after the other's acknowledgement

	// Clock, if not nil, is called when the clock starts and when it stops.
	Clock func()
}

// Burst is what a load came to.
type Burst struct {
	CheckIns int
	Took     time.Duration   // from the first publication to the last acknowledgement
	Latency  []time.Duration // from publication to acknowledgement, ascending
}

// Rate is the acknowledged check-ins in a second.
func (b *Burst) Rate() float64 { return float64(b.CheckIns) / b.Took.Seconds() }

// Quantile is the latency that the share q of the check-ins did not exceed.
func (b *Burst) Quantile(q float64) time.Duration {
	if len(b.Latency) == 0 {
		return 0
	}
	return b.Latency[min(int(q*float64(len(b.Latency))), len(b.Latency)-1)]
}

// maxBurst bounds the check-ins of one phone in a burst: their packet ids must
// differ.
const maxBurst = 65_000

// Burst has phones check in as fast as they are answered. Everything is made
// and signed before the clock starts, so that what is measured is the gateway's
// work and not the phones'. Receipts are checked behind the clock. The facts
// stand among those of [Fleet.Made].
func (f *Fleet) Burst(ctx context.Context, l Load) (*Burst, error) {
	if l.Each < 1 || l.Each > maxBurst {
		return nil, fmt.Errorf("phone simulator: %d check-ins of each phone; 1 to %d are wanted", l.Each, maxBurst)
	}
	var shooters []*shooter
	for _, h := range f.phones {
		if len(shooters) < l.Phones && h.enrolled.Algorithm() == l.Algorithm && (h.native || h.dialect == owntracks.Android) {
			shooters = append(shooters, &shooter{h: h})
		}
	}
	if len(shooters) < l.Phones {
		return nil, fmt.Errorf("phone simulator: the fleet has %d phones of that sort, %d are wanted", len(shooters), l.Phones)
	}
	defer func() {
		for _, s := range shooters {
			s.close()
		}
	}()
	if err := each(shooters, func(s *shooter) error { return s.prepare(ctx, l.Each) }); err != nil {
		return nil, err
	}
	if l.Clock == nil {
		l.Clock = func() {}
	}
	l.Clock()
	start := time.Now()
	if err := each(shooters, (*shooter).shoot); err != nil {
		return nil, err
	}
	b := &Burst{Took: time.Since(start)}
	l.Clock()
	if err := each(shooters, (*shooter).finish); err != nil {
		return nil, err
	}
	for _, s := range shooters {
		b.Latency = append(b.Latency, s.took...)
	}
	b.CheckIns = len(b.Latency)
	slices.Sort(b.Latency)
	return b, ctx.Err()
}

// each does one thing for all at the same time.
func each(shooters []*shooter, do func(*shooter) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(shooters))
	for i, s := range shooters {
		wg.Go(func() { errs[i] = do(s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// shooter is one phone of a burst.
type shooter struct {
	h        *handset
	w        *wire
	packets  [][]byte // whole publications
	first    uint16   // packet id of the first
	took     []time.Duration
	receipts [][]byte
}

func (s *shooter) close() {
	if s.w != nil {
		_ = s.w.nc.Close() // what was wanted of it is known
	}
}

// prepare connects and makes the publications.
func (s *shooter) prepare(ctx context.Context, n int) error {
	cfg := &s.h.fleet.cfg
	nc, err := cfg.Dial(ctx, "tcp", cfg.Broker)
	if err != nil {
		return err
	}
	s.w = &wire{nc: nc, r: bufio.NewReaderSize(nc, 4<<10)}
	if err := s.w.within(cfg.Patience); err != nil {
		return err
	}
	if err := s.w.connect(s.h.login()); err != nil {
		return err
	}
	if s.h.native {
		if err := s.w.subscribe(phone.ReceiptTopic(cfg.Site, s.h.user), func([]byte) {}); err != nil {
			return err
		}
	}
	s.h.waiting = nil
	s.took = make([]time.Duration, 0, n)
	for i := range n {
		if err := s.h.press(time.Now()); err != nil {
			return err
		}
		id := s.h.nextID()
		if i == 0 {
			s.first = id
		}
		s.packets = append(s.packets, publication(s.h.waiting[i].topic, id, !s.h.native, s.h.waiting[i].payload))
	}
	return nil
}

// shoot publishes each when the one before is acknowledged.
func (s *shooter) shoot() error {
	id := s.first
	for _, p := range s.packets {
		if err := s.w.within(s.h.fleet.cfg.Patience); err != nil {
			return err
		}
		start := time.Now()
		if _, err := s.w.nc.Write(p); err != nil {
			return err
		}
		for acked := false; !acked; {
			answer, err := s.w.next()
			switch {
			case err != nil:
				return fmt.Errorf("phone simulator: %s: after %d acknowledgements: %w", s.h.user, len(s.took), err)
			case answer.kind == packetPublish:
				s.receipts = append(s.receipts, answer.payload)
			case answer.kind == packetPuback && answer.id == id:
				acked = true
			}
		}
		s.took = append(s.took, time.Since(start))
		if id++; id == 0 {
			id = 1
		}
	}
	return nil
}

// finish waits for the receipts that are under way, checks all of them, and
// notes what was promised.
func (s *shooter) finish() error {
	if !s.h.native {
		for range s.packets {
			s.h.answered(0, nil, true)
		}
		return nil
	}
	for len(s.receipts) < len(s.packets) {
		answer, err := s.w.next()
		if err != nil {
			return fmt.Errorf("phone simulator: %s: %d of %d receipts: %w", s.h.user, len(s.receipts), len(s.packets), err)
		}
		if answer.kind == packetPublish {
			s.receipts = append(s.receipts, answer.payload)
		}
	}
	turned := s.h.turned
	for _, r := range s.receipts {
		s.h.receipt(r)
	}
	if n := len(s.h.waiting) + s.h.turned - turned; n > 0 {
		return fmt.Errorf("phone simulator: %s: %d of %d receipts are no promise of what it sent; the log says which", s.h.user, n, len(s.receipts))
	}
	return nil
}
