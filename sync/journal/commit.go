package journal

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/ledger"
)

// Bounds of one commit.
const (
	maxRecords = 1024
	maxBytes   = 1 << 20
	// gatherYields is how often the processor is given up before a batch that
	// does not grow any more is taken as whole.
	gatherYields = 3
)

// Result says where a record is.
type Result struct {
	Seq uint64
	// Duplicate: a punch with the same key was there already, as Seq.
	Duplicate bool
}

// request is what a caller waits for: records that are made durable together.
type request struct {
	entries []entry
	bytes   int
	results []Result     // one for each entry, filled in before done is told
	looked  uint64       // the buffer was asked about the entries when so much was applied
	run     func() error // for the applier instead of entries, see work
	done    chan error   // holds one
	// Of a Settle or Retry: the sink, whose lock is given back when the request
	// is decided, and where its cursor stands then.
	sink   *sink
	cursor uint64
}

// Append makes records durable. It returns nil when all of them are, or were
// before. Their order is kept. After an error nothing is known of them: the
// caller appends the same records again, and their keys keep that harmless.
//
// Cancelling ctx ends the waiting, not what was handed in. Settled and Parked
// records are written by Settle alone. Nothing is kept of recs.
func (j *Journal) Append(ctx context.Context, recs []attendance.Record) ([]Result, error) {
	results := make([]Result, 0, len(recs))
	for chunk := range slices.Chunk(recs, maxRecords) { // a terminal's whole log may come at once
		entries, err := encode(chunk)
		if err != nil {
			return nil, err
		}
		for len(entries) > 0 {
			n, bytes := 0, 0
			for n < len(entries) && (n == 0 || bytes+len(entries[n].payload) <= maxBytes) {
				bytes += len(entries[n].payload)
				n++
			}
			r := newRequest(entries[:n])
			if err := j.hand(ctx, r); err != nil {
				return nil, err
			}
			results = append(results, r.results...)
			entries = entries[n:]
		}
	}
	return results, nil
}

// hand hands in records and waits until they are durable.
func (j *Journal) hand(ctx context.Context, r *request) error {
	done, err := j.use()
	if err != nil {
		return err
	}
	if err = j.Err(); err == nil {
		err = j.look(r)
	}
	done()
	if err != nil {
		return err
	}
	if known := r.known(); known == len(r.entries) { // as of a terminal's log that is read again
		j.counts.duplicates.Add(uint64(known))
		return nil
	}
	if err := j.send(ctx, r); err != nil {
		return err
	}
	return r.wait(ctx)
}

// known counts the entries that are marked as durable already.
func (r *request) known() (n int) {
	for i := range r.results {
		if r.results[i].Duplicate {
			n++
		}
	}
	return n
}

func newRequest(entries []entry) *request {
	r := &request{entries: entries, results: make([]Result, len(entries)), done: make(chan error, 1)}
	for i := range entries {
		r.bytes += len(entries[i].payload)
	}
	return r
}

// encode brings records into their stored form.
func encode(recs []attendance.Record) ([]entry, error) {
	entries := make([]entry, len(recs))
	size := 0
	for _, rec := range recs {
		size += 320 // of all but the message as it came, which is most of the rest
		if p, ok := rec.(*attendance.Punch); ok {
			size += len(p.Evidence.Raw)
		}
	}
	buf := make([]byte, 0, size)
	ends := make([]int, len(recs))
	for i, rec := range recs {
		e := &entries[i]
		e.kind = rec.RecordKind()
		switch r := rec.(type) {
		case *attendance.Punch:
			if r.Key == (attendance.Key{}) {
				return nil, fmt.Errorf("journal: punch of device %s at %v has no key: %w", r.Device.ID, r.At, protocol.ErrMalformed)
			}
			if err := checkCodes(r); err != nil {
				return nil, err
			}
			e.of(r)
		case *attendance.Settled, *attendance.Parked:
			return nil, fmt.Errorf("journal: a %v record is written by Settle alone", e.kind)
		}
		before := len(buf)
		buf = attendance.AppendRecord(buf, rec)
		if n := len(buf) - before; n > attendance.MaxStored {
			return nil, fmt.Errorf("journal: a %v record of %d bytes, at most %d are stored: %w", e.kind, n, attendance.MaxStored, protocol.ErrTooLarge)
		}
		ends[i] = len(buf)
	}
	at := 0
	for i, end := range ends { // buf does not move any more
		entries[i].payload = buf[at:end:end]
		at = end
	}
	return entries, nil
}

// checkCodes refuses what could be written and not be read back: the stored form
// keeps a device's codes from -1, for none, up to 31 bits.
func checkCodes(p *attendance.Punch) error {
	if min(p.State, p.Verify) < -1 || max(p.State, p.Verify) > math.MaxInt32 {
		return fmt.Errorf("journal: punch of device %s at %v has the codes %d (state) and %d (verify), -1 to %d can be stored: %w",
			p.Device.ID, p.At, p.State, p.Verify, math.MaxInt32, protocol.ErrMalformed)
	}
	return nil
}

// send hands a request to the committer.
func (j *Journal) send(ctx context.Context, r *request) error {
	done, err := j.use()
	if err != nil {
		return err
	}
	defer done()
	select {
	case j.queue <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *request) wait(ctx context.Context) error {
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commitLoop is the committer: it alone appends to the ledger.
func (j *Journal) commitLoop() {
	defer j.pipe.close()
	var next *request // taken, but too much for the batch before
	for {
		if next == nil {
			r, ok := <-j.queue
			if !ok {
				return
			}
			next = r
		}
		var batch []*request
		batch, next = j.gather(next)
		j.commit(batch)
	}
}

// gather takes what waits behind a request, as far as it goes into one batch.
// What was taken and does not is returned as next.
func (j *Journal) gather(first *request) (batch []*request, next *request) {
	batch = []*request{first}
	records, bytes := len(first.entries), first.bytes
	for patience := gatherYields; patience > 0; {
		select {
		case r, ok := <-j.queue:
			if !ok {
				return batch, nil
			}
			records, bytes = records+len(r.entries), bytes+r.bytes
			if records > maxRecords || bytes > maxBytes {
				return batch, r
			}
			batch = append(batch, r)
			patience = gatherYields
		default:
			// Those who were just answered often have more to hand in. To let
			// them run costs less than a second flush for it.
			runtime.Gosched()
			patience--
		}
	}
	return batch, nil
}

// batch is what is being committed.
type batch struct {
	requests []*request
	fresh    []bool  // by request: it depends on this batch
	sorted   bool    // fresh is known
	entries  []entry // what is to be written
	placed   []placed
}

// placed is a result that is known when the first sequence is.
type placed struct {
	result *Result
	at     int // index in the batch's entries
}

// commit makes requests durable as one batch and answers them.
func (j *Journal) commit(requests []*request) {
	if requests = j.admit(requests); len(requests) == 0 {
		return
	}
	b := &batch{requests: requests, fresh: make([]bool, len(requests))}
	err := j.Err()
	if err == nil {
		err = j.sortOut(b)
	}
	var w ledger.Written
	if err == nil && len(b.entries) > 0 {
		w, err = j.write(b.entries)
	}
	if err != nil {
		for i, r := range requests {
			if b.sorted && !b.fresh[i] && r.run == nil {
				r.done <- nil // it has nothing to do with this batch
				continue
			}
			if r.sink != nil {
				r.sink.unlock()
			}
			r.done <- err
		}
		return
	}
	for _, p := range b.placed {
		p.result.Seq = w.First + uint64(p.at)
	}
	if len(b.entries) > 0 {
		j.recent.add(w.First, b.entries)
		j.durable.reach(w.First + uint64(len(b.entries)))
	}
	j.deliver(b, w)
}

// sortOut finds out which records are new. A record whose like is still in the
// same batch shares its fate; one whose like is durable does not.
func (j *Journal) sortOut(b *batch) error {
	if err := j.lookUp(b); err != nil {
		return err
	}
	b.sorted = true
	keys := map[attendance.Key]int{} // index in b.entries
	for i, r := range b.requests {
		for k := range r.entries {
			e, res := &r.entries[k], &r.results[k]
			if res.Duplicate {
				j.counts.duplicates.Add(1)
				continue
			}
			b.fresh[i] = true
			if at, ok := keys[e.key]; ok && e.kind == attendance.RecordPunch {
				res.Duplicate = true
				j.counts.duplicates.Add(1)
				b.placed = append(b.placed, placed{res, at})
				continue
			}
			if e.kind == attendance.RecordPunch {
				keys[e.key] = len(b.entries)
			}
			b.placed = append(b.placed, placed{res, len(b.entries)})
			b.entries = append(b.entries, *e)
		}
	}
	return nil
}

// lookUp marks the punches that are durable already. Each request has looked
// into the buffer itself, so that this need not be done by one for all; what
// became known since is recent.
func (j *Journal) lookUp(b *batch) error {
	for _, r := range j.recent.mark(b.requests) {
		if err := j.look(r); err != nil {
			return err
		}
	}
	return nil
}

// look marks the punches of a request that the buffer knows.
func (j *Journal) look(r *request) error {
	r.looked = j.applied.get() // before the view is begun, which then includes that
	look := j.buffer.Look()
	defer look.Close()
	for k := range r.entries {
		if r.entries[k].kind != attendance.RecordPunch || r.results[k].Duplicate {
			continue
		}
		seq, found, err := look.Seq(r.entries[k].key)
		if err != nil {
			return err
		}
		if found {
			r.results[k] = Result{seq, true}
		}
	}
	return nil
}

// write appends entries to the ledger.
func (j *Journal) write(entries []entry) (ledger.Written, error) {
	out := make([]ledger.Entry, len(entries))
	for i, e := range entries {
		out[i] = ledger.Entry{Kind: e.kind, Payload: e.payload}
	}
	w, err := j.ledger.Append(out)
	if err != nil {
		return w, fmt.Errorf("journal: %d records are not durable: %w", len(entries), err)
	}
	j.timing.add(w.Sync)
	for i := range entries {
		entries[i].payload = nil // it stands in the frames
	}
	return w, nil
}

// deliver answers what is durable and hands it to the applier. It answers
// first: durable is durable, and the applier works while the next batch is
// being written. Whoever needs what is not applied yet waits for its ticket.
func (j *Journal) deliver(b *batch, w ledger.Written) {
	var works []*work
	if len(b.entries) > 0 {
		works = append(works, j.ticket(&work{first: w.First, entries: b.entries, frames: w.Frames}))
	}
	for _, r := range b.requests {
		if r.run != nil {
			works = append(works, j.ticket(&work{run: r.run, done: r.done}))
		}
		if r.sink != nil {
			r.sink.move(r.cursor, j.tickets)
			r.sink.unlock()
		}
		if r.run == nil {
			r.done <- nil
		}
	}
	for _, w := range works {
		j.pipe.put(w)
	}
}

// ticket numbers work for the applier.
func (j *Journal) ticket(w *work) *work {
	j.tickets++
	w.ticket = j.tickets
	return w
}
