package forward

import (
	"context"
	"time"
)

// gather is how long the first punch after a quiet time waits for company: a
// request and its settlement cost more than a punch, for us and for the far end.
const gather = 10 * time.Millisecond

// batch is a stretch of the ledger on its way to the sink, or a number of
// parked punches whose time has come.
type batch struct {
	from, next uint64 // the stretch: from inclusive, next exclusive; not for parked ones
	items      []Item
	parked     bool
}

// estimate is about how many bytes an item takes in a batch.
func estimate(it Item) int {
	if it.Head != nil {
		return 500 + 2*len(it.Head.Note) // it goes along in text and signature
	}
	p := it.Punch
	n := 520 + 3*len(p.Employee) + len(p.Badge) + len(p.Device.ID) + len(p.Device.Driver) + len(p.Device.Serial) + len(p.Site) + len(p.Place)
	for _, r := range p.Reasons {
		n += len(r) + 3
	}
	return n
}

// reader reads the next batch while one is on its way.
type reader struct {
	f    *Forwarder
	want <-chan struct{} // one value for each batch that is asked for
	out  chan<- batch
}

// run reads from the sink's cursor on until ctx ends. The stretches it gives
// join without a gap, so that the cursor moves over every record.
func (r *reader) run(ctx context.Context) {
	var from uint64
	if !r.insist(ctx, "read the cursor", func() (err error) {
		from, err = r.f.source.Cursor(r.f.name)
		return err
	}) {
		return
	}
	for {
		b := batch{from: from, next: from}
		full, ok := r.fill(ctx, &b) // while the batch before is on its way
		if !ok {
			return
		}
		select {
		case <-r.want:
		case <-ctx.Done():
			return
		}
		// What came meanwhile goes along: a slow far end makes large batches,
		// not many.
		for gathered := false; !full; {
			if full, ok = r.fill(ctx, &b); !ok {
				return
			}
			if full || gathered {
				break
			}
			if len(b.items) > 0 {
				if r.f.gather > 0 {
					r.sleep(ctx, r.f.gather)
				}
				gathered = true
				continue
			}
			if !r.insist(ctx, "wait for records", func() error { return r.f.source.Wait(ctx, b.next) }) {
				return
			}
		}
		select {
		case r.out <- b:
			from = b.next
		case <-ctx.Done():
			return
		}
	}
}

// fill reads once on, until the batch is full by number or by size. It reports
// false when ctx has ended.
func (r *reader) fill(ctx context.Context, b *batch) (full, ok bool) {
	room := r.f.batchItems - len(b.items)
	if room <= 0 {
		return true, true
	}
	var (
		items []Item
		next  uint64
	)
	ok = r.insist(ctx, "read the ledger", func() (err error) {
		items, next, err = r.f.source.Pending(ctx, b.next, room)
		return err
	})
	if !ok {
		return false, false
	}
	size := 0
	for _, it := range b.items {
		size += estimate(it)
	}
	for _, it := range items {
		size += estimate(it)
		if size > r.f.batchBytes && len(b.items) > 0 {
			b.next = it.Seq // read again with the next batch
			return true, true
		}
		b.items = append(b.items, it)
	}
	b.next = next
	return len(b.items) >= r.f.batchItems, true
}

func (r *reader) insist(ctx context.Context, what string, do func() error) bool {
	return r.f.insist(ctx, what, r.sleep, do)
}

// sleep waits for d or until ctx ends.
func (r *reader) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
