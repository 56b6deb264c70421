package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// maxRejected is how many punches in a row may die because the sink rejected
// them, each alone, with nothing taken between. More than that is a service
// that is wrong about everything, and no list of broken punches.
const maxRejected = 20

// maxUnnamed is at how many answers in a row that say nothing of what was sent
// a person is told. One may be a service that restarts in the middle; one that
// never says anything will not by itself.
const maxUnnamed = 5

// maxReason bounds in bytes what is kept of a sink's reason.
const maxReason = 500

// delivery is a batch on its way: what is answered of it, and in which pieces
// the rest is sent.
type delivery struct {
	batch
	results []Result // by item
	ends    []int    // where the pieces end, rising; the piece from at to ends[0] is next
	at      int
	settled int // items that are settled; not for parked ones, which are settled one by one
}

// newDelivery cuts a batch into pieces of at most limit bytes.
func newDelivery(b batch, limit int) *delivery {
	d := &delivery{batch: b, results: make([]Result, len(b.items))}
	size := 0
	for i, it := range b.items {
		n := estimate(it)
		if size > 0 && size+n > limit {
			d.ends = append(d.ends, i)
			size = 0
		}
		size += n
	}
	d.ends = append(d.ends, len(b.items))
	return d
}

// piece gives the indices of the items to send next: those of the first piece
// that are not answered. There are none when all is answered.
func (d *delivery) piece() []int {
	for len(d.ends) > 0 {
		var open []int
		for i := d.at; i < d.ends[0]; i++ {
			if d.results[i].Outcome == Unanswered {
				open = append(open, i)
			}
		}
		if len(open) > 0 {
			return open
		}
		d.pass()
	}
	return nil
}

// pass leaves the first piece behind.
func (d *delivery) pass() { d.at, d.ends = d.ends[0], d.ends[1:] }

// split cuts the first piece in two of about the same size in bytes. It has at
// least two open items.
func (d *delivery) split(piece []int) {
	total, half := d.size(piece), 0
	for n, i := range piece[1:] { // the first item is always in the first half
		half += estimate(d.items[piece[n]])
		if 2*half >= total || n == len(piece)-2 {
			d.ends = append([]int{i}, d.ends...)
			return
		}
	}
}

func (d *delivery) size(piece []int) (n int) {
	for _, i := range piece {
		n += estimate(d.items[i])
	}
	return n
}

// whole makes one piece of all that is left.
func (d *delivery) whole() { d.ends = []int{len(d.items)} }

// deliver sends a batch until all of it is settled or ctx ends. Parked punches
// get one try each, for new ones must not wait for them: what is not answered
// stays parked. If that try failed, deliver returns how long they should be let
// alone.
func (f *Forwarder) deliver(ctx context.Context, b batch) (rest time.Duration) {
	d := newDelivery(b, f.limit)
	for ctx.Err() == nil {
		piece := d.piece()
		if len(piece) == 0 {
			return 0
		}
		items := make([]Item, len(piece))
		for n, i := range piece {
			items[n] = d.items[i]
		}
		f.status.request()
		receipt, err := f.sink.Send(ctx, items)
		if ctx.Err() != nil && err != nil {
			return 0
		}
		if err == nil {
			err = f.take(d, piece, receipt)
		}
		if unclear, ok := errors.AsType[Unclear](err); ok {
			err = f.unsaid(unclear, "")
		}
		if reject, ok := errors.AsType[Rejected](err); ok {
			err = f.reject(d, piece, reject)
		}
		if err == nil {
			f.settle(ctx, d, piece)
			continue
		}
		wait, asked := f.fail(err)
		if d.parked && !asked {
			return wait
		}
		f.pause(ctx, wait)
		if d.parked {
			return duePoll
		}
	}
	return 0
}

// take enters a receipt. An answer that names nothing of what was sent is a
// failure: nothing would change if it were sent again at once.
func (f *Forwarder) take(d *delivery, piece []int, receipt Receipt) error {
	if len(receipt) != len(piece) {
		return fmt.Errorf("forward: the sink answered for %d punches, %d were sent", len(receipt), len(piece))
	}
	answered := 0
	for n, i := range piece {
		if o := receipt[n].Outcome; o != Unanswered && o <= Dead {
			d.results[i] = f.head(&d.items[i], receipt[n])
			answered++
		}
	}
	if answered == 0 {
		return f.unsaid(fmt.Errorf("forward: the answer names none of the %d punches sent", len(piece)),
			"; the service must name each with the id that was sent, or say that it took all")
	}
	f.unnamed = 0
	if d.parked {
		d.pass() // those it did not name stay parked
	}
	f.rejected = 0
	f.status.brake(false)
	f.backoff.reset()
	f.online()
	return nil
}

// head is the result for an item: a head that the sink refuses is passed over,
// since the next one says all that it does; but a person is told.
func (f *Forwarder) head(it *Item, r Result) Result {
	if it.Head == nil {
		return r
	}
	refused := ""
	if r.Outcome == Park || r.Outcome == Dead {
		refused = reason(r)
		r = Result{Outcome: Accepted}
	}
	if f.status.heads(refused) {
		f.log.Warn("the sink takes no signed heads of the ledger: it can't bear witness if the ledger is changed", "reason", refused)
	}
	return r
}

// unsaid counts an answer that says nothing of what was sent. From the
// maxUnnamed-th in a row on a person is told, and what to do unless err says it.
func (f *Forwarder) unsaid(err error, remedy string) error {
	if f.unnamed++; f.unnamed < maxUnnamed {
		return err
	}
	return Misconfigured{fmt.Errorf("%w (%d such answers in a row)%s", err, f.unnamed, remedy)}
}

// online reports that the sink has answered.
func (f *Forwarder) online() {
	if outage, news := f.status.answered(); news {
		f.log.Info("the sink answers", "after", outage.Round(time.Second))
	}
}

// reject divides a piece that the sink refuses, until the culprit stands
// alone, and then gives that up. The error is nil, or says that this has gone
// too far.
func (f *Forwarder) reject(d *delivery, piece []int, why Rejected) error {
	divisible := len(piece) > 1
	if f.rejected >= maxRejected && !(divisible && why.TooLarge) {
		d.whole()
		return Misconfigured{fmt.Errorf("forward: the sink rejected %d punches in a row, each alone, which became dead; no more are given up until it takes one or a retry is asked for: %w", f.rejected, why.Err)}
	}
	f.status.rejected()
	f.online()
	if divisible {
		if why.TooLarge {
			f.limit = max(1, d.size(piece)/2)
		}
		d.split(piece)
		return nil
	}
	if why.TooLarge {
		f.limit = f.batchBytes // the one was too large, not the batches
	}
	if it := &d.items[piece[0]]; it.Head != nil {
		d.results[piece[0]] = f.head(it, Result{Outcome: Dead, Reason: why.Error()})
		return nil
	}
	f.rejected++
	f.status.brake(f.rejected >= maxRejected)
	d.results[piece[0]] = Result{Outcome: Dead, Reason: why.Error()}
	return nil
}

// fail reports a failure. It returns how long its kind demands to wait, and
// whether the far end itself asked for that.
func (f *Forwarder) fail(err error) (wait time.Duration, asked bool) {
	later, _ := errors.AsType[Later](err)
	wait = f.backoff.next(later.After)
	alarm := ""
	if _, ok := errors.AsType[Denied](err); ok {
		alarm = "the sink does not let us in: " + err.Error()
		wait = deniedDelay
	} else if _, ok := errors.AsType[Misconfigured](err); ok {
		alarm = err.Error()
	} else if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound && !f.status.everAnswered() {
		// A name that was found before comes back by itself, as after the
		// provider's fault; one that never was is likely mistyped.
		err = fmt.Errorf("%w; is the host right in the sink's url, and does this machine's name server know it?", err)
		alarm = err.Error()
	}
	if f.status.failed(err, alarm, time.Now().Add(wait)) {
		if alarm != "" {
			f.log.Error("the sink needs attention; punches wait in the ledger", "err", err)
		} else {
			f.log.Warn("the sink does not answer; punches wait in the ledger", "err", err)
		}
	}
	return wait, later.After > 0
}

// settle keeps what has been answered: of new punches all before the first
// that is not, since the cursor moves over nothing unanswered; of parked ones
// those in the piece.
func (f *Forwarder) settle(ctx context.Context, d *delivery, piece []int) {
	var answers []Answer
	var done []int
	if d.parked {
		for _, i := range piece {
			if d.results[i].Outcome != Unanswered {
				seq := d.items[i].Seq
				answers = append(answers, f.answer(d, seq, seq, i))
				done = append(done, i)
			}
		}
	} else {
		for i := d.settled; i < len(d.items) && d.results[i].Outcome != Unanswered; i++ {
			done = append(done, i)
		}
		if len(done) > 0 {
			last := d.next - 1
			if upTo := d.settled + len(done); upTo < len(d.items) {
				last = d.items[upTo].Seq - 1
			}
			answers = []Answer{f.answer(d, d.from, last, done...)}
			d.settled, d.from = d.settled+len(done), last+1
		}
	}
	if len(answers) > 0 && f.keep(ctx, d.parked, answers) {
		f.report(d, done)
	}
}

// answer is what became of the items at the given indices.
func (f *Forwarder) answer(d *delivery, first, last uint64, indices ...int) Answer {
	a := Answer{First: first, Last: last}
	now := time.Now()
	for _, i := range indices {
		seq, r := d.items[i].Seq, d.results[i]
		if r.Outcome == Park {
			a.Parked = append(a.Parked, Parked{Seq: seq, Reason: reason(r), Until: f.tries.until(seq, now, r.RetryAfter)})
			continue
		}
		if r.Outcome == Dead {
			a.Dead = append(a.Dead, attendance.Dead{Seq: seq, Reason: reason(r)})
		}
		f.tries.forget(seq)
	}
	return a
}

// report counts what has become durable, and tells of the dead.
func (f *Forwarder) report(d *delivery, done []int) {
	results := make([]Result, 0, len(done))
	dead, example := 0, 0
	for _, i := range done {
		if d.items[i].Head != nil {
			continue // the counts are of punches
		}
		results = append(results, d.results[i])
		if d.results[i].Outcome == Dead {
			dead, example = dead+1, i
		}
	}
	f.status.settled(results)
	if dead > 0 {
		f.log.Warn("the sink will never take these punches; they are kept as dead", "punches", dead,
			"key", d.items[example].Punch.Key, "reason", reason(d.results[example]))
	}
}

// reason is r's reason, on one line and not too long.
func reason(r Result) string {
	if s := strings.Join(strings.Fields(r.Reason), " "); len(s) > maxReason {
		return strings.ToValidUTF8(s[:maxReason], "") + "..."
	} else if s != "" {
		return s
	}
	return "no reason given"
}

// keep makes answers durable. It reports false if ctx ended first.
func (f *Forwarder) keep(ctx context.Context, parked bool, answers []Answer) bool {
	again := false
	return f.insist(ctx, "keep an answer", f.pause, func() error {
		if again { // a try that failed may have been kept all the same
			if kept, err := f.kept(ctx, parked, answers); kept || err != nil {
				return err
			}
		}
		again = true
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		defer cancel()
		return f.source.Settle(within, f.name, answers...)
	})
}

// kept asks the source whether it has these answers. It keeps all of one call
// or none, so one sign is enough: the cursor has moved, or the first of the
// parked punches is no longer due. The latter can be wrong if more punches are
// due than are asked for; then those are sent once more, which harms nobody.
func (f *Forwarder) kept(ctx context.Context, parked bool, answers []Answer) (bool, error) {
	if !parked {
		cursor, err := f.source.Cursor(f.name)
		return cursor > answers[0].Last, err
	}
	due, err := f.source.Due(ctx, f.name, time.Now(), f.batchItems)
	return !slices.ContainsFunc(due, func(it Item) bool { return it.Seq == answers[0].First }), err
}
