package journal

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/buffer"
	"github.com/punchd/punchd/sync/ledger"
)

// Stats is the state of a journal, for status pages.
type Stats struct {
	Ledger  string // its id
	Next    uint64 // sequence of the next record: so many are durable
	Backlog uint64 // records that are durable and not yet applied to the buffer

	// Totals over all records applied.
	Records  uint64
	Punches  uint64
	Verdicts [4]uint64 // punches, by attendance.Verdict

	Duplicates uint64 // punches that were there already, since Open
	Sinks      []SinkStats

	LedgerBytes int64  // on disk
	BufferBytes int64  // on disk
	FreeBytes   uint64 // that this user may still write; 0 if the system does not tell
	Commit      Latency

	Scrub  *Scrubbed // when everything was read last, by this process; nil before that
	Signed *Signed   // nil if nobody signs, or it has not begun

	// What is wrong, or was when the journal was opened.
	Torn     *ledger.Torn     // the batch that was never finished, nil if there was none
	Damage   []ledger.Damage  // stretches of the ledger that can't be read, the first 100
	Lost     []ledger.Damage  // those of which there is no second copy either, the first 100
	Headers  []string         // segment headers that are damaged or don't belong
	Copies   uint64           // records read from their second copy, since Open
	Suspects []buffer.Suspect // buffers that were moved aside
	Replayed uint64           // records applied at Open that the buffer did not have
	Rebuilt  bool             // the buffer was made anew
	Failure  error            // why nothing is accepted any more, nil if all is well
	// Undecodable counts records that are whole but can't be decoded by this
	// program; a sink stops before one.
	Undecodable uint64
	Refusing    string   // why new records are refused for the time being, empty if they are not
	Problems    []string // all that a person must see to, one line each, those above included
}

// SinkStats is the state of one sink.
type SinkStats struct {
	Name    string
	Cursor  uint64 // first sequence it has not answered for
	Pending uint64 // punches from there on
	Parked  uint64 // punches it will not take yet
	Dead    uint64 // punches it never will take
	Settled uint64 // punches it has
}

// Latency is how long it took lately to make a batch durable.
type Latency struct{ Last, P50, P99 time.Duration }

// Stats tells the state of the journal.
func (j *Journal) Stats() (Stats, error) {
	done, err := j.use()
	if err != nil {
		return Stats{}, err
	}
	defer done()
	counts := j.buffer.Counts()
	s := Stats{
		Ledger: j.ledger.Identity().String(), Next: j.durable.get(),
		Records: counts.Records(), Punches: counts.Punches(), Verdicts: counts.Verdicts,
		Duplicates: j.counts.duplicates.Load(), Copies: j.counts.copies.Load(),
		LedgerBytes: j.ledger.Size(), Commit: j.timing.latency(),
		Failure: j.Err(),
	}
	if applied := j.buffer.Applied(); applied < s.Next {
		s.Backlog = s.Next - applied
	}
	for name, k := range j.buffer.Sinks() {
		s.Sinks = append(s.Sinks, SinkStats{
			Name: name, Cursor: k.Cursor, Parked: k.Parked, Dead: k.Dead,
			Pending: s.Punches - min(k.Passed, s.Punches), Settled: k.Passed - min(k.Parked+k.Dead, k.Passed),
		})
	}
	slices.SortFunc(s.Sinks, func(a, b SinkStats) int { return strings.Compare(a.Name, b.Name) })
	j.found.tell(&s)
	if s.BufferBytes, err = j.buffer.Size(); err != nil {
		return s, fmt.Errorf("journal: %w", err)
	}
	d, _, err := diskSpace(j.dir)
	if err != nil {
		return s, fmt.Errorf("journal: free space: %w", err)
	}
	s.FreeBytes = d.free
	return s, j.addProblems(&s)
}

// ParkedPunch is a punch that a sink will not take yet.
type ParkedPunch struct {
	Seq    uint64
	Reason string
	Since  time.Time
	Until  time.Time // when it is sent again; zero: when the cause changes
	Tries  uint64    // how often the sink has refused it
}

// DeadPunch is a punch that a sink never will take.
type DeadPunch struct {
	Seq    uint64
	Reason string
}

// ListParked gives up to max parked punches of a sink with sequences from from
// on, in order.
func (j *Journal) ListParked(ctx context.Context, sink string, from uint64, max int) ([]ParkedPunch, error) {
	done, err := j.use()
	if err != nil {
		return nil, err
	}
	defer done()
	look, err := j.lookAt(ctx, sink)
	if err != nil {
		return nil, err
	}
	defer look.Close()
	all, err := look.AllParked(sink, from, max)
	if err != nil {
		return nil, err
	}
	var out []ParkedPunch
	for _, p := range all {
		out = append(out, ParkedPunch{p.Seq, j.reason(p.At, p.Seq), p.Since, p.Until, p.Tries})
	}
	return out, nil
}

// ListDead gives up to max dead punches of a sink with sequences from from on,
// in order.
func (j *Journal) ListDead(ctx context.Context, sink string, from uint64, max int) ([]DeadPunch, error) {
	done, err := j.use()
	if err != nil {
		return nil, err
	}
	defer done()
	look, err := j.lookAt(ctx, sink)
	if err != nil {
		return nil, err
	}
	defer look.Close()
	all, err := look.AllDead(sink, from, max)
	if err != nil {
		return nil, err
	}
	var out []DeadPunch
	for _, d := range all {
		out = append(out, DeadPunch{d.Seq, j.reason(d.At, d.Seq)})
	}
	return out, nil
}

// reason reads from the record at a sequence why a punch is parked or dead. It
// is no more than text, so that a record of it that can't be read keeps nobody
// from listing the punch or from sending it again.
func (j *Journal) reason(at, seq uint64) string {
	f, err := j.frame(at)
	if err != nil {
		return fmt.Sprintf("(not readable: %v)", err)
	}
	rec, err := record(&f)
	if err != nil {
		return fmt.Sprintf("(not readable: %v)", err)
	}
	switch r := rec.(type) {
	case *attendance.Parked:
		return r.Reason
	case *attendance.Settled:
		for _, d := range r.Dead {
			if d.Seq == seq {
				return d.Reason
			}
		}
	}
	return fmt.Sprintf("(not readable: record %d says nothing of record %d)", at, seq)
}

// timing remembers how long the last commits took.
type timing struct {
	mu    sync.Mutex
	took  [1024]time.Duration
	count int
}

func (t *timing) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took[t.count%len(t.took)] = d
	t.count++
}

func (t *timing) latency() (l Latency) {
	t.mu.Lock()
	took := slices.Clone(t.took[:min(t.count, len(t.took))])
	if t.count > 0 {
		l.Last = t.took[(t.count-1)%len(t.took)]
	}
	t.mu.Unlock()
	if len(took) > 0 {
		slices.Sort(took)
		l.P50, l.P99 = took[len(took)/2], took[len(took)*99/100]
	}
	return l
}

// Bounds of what is remembered, each for one kind of finding. All are logged.
const (
	// maxFindings is how many stretches are remembered: as many as the buffer
	// gives back after a start.
	maxFindings = 3000
	// maxShown is how many stretches are told one by one in [Stats].
	maxShown = 100
)

// findings collects what is wrong, each thing once.
type findings struct {
	mu   sync.Mutex
	said Stats // only what is wrong
	// undecodable are stretches of records; open are directories that others may
	// write to.
	undecodable []buffer.Finding
	open        []string
	dropped     bool // some did not fit; the buffer keeps them all the same
	// keep, if not nil, keeps a finding for the next start; forget forgets some.
	keep   func(buffer.Finding)
	forget func([]buffer.Finding)
}

// opened takes in what opening the ledger found.
func (f *findings) opened(log *slog.Logger, r ledger.Report) {
	if r.Torn != nil {
		log.Warn("the last batch of the ledger was never finished; nobody was told that it is durable; it is wiped",
			"segment", r.Torn.Segment, "offset", r.Torn.Offset, "seq", r.Torn.First, "whole", r.Torn.Frames, "of", r.Torn.Count)
	}
	for _, h := range r.Headers {
		log.Error("a ledger segment's header is damaged", "problem", h)
	}
	for i := range r.Damage {
		f.damaged(log, &r.Damage[i])
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said.Torn, f.said.Headers = r.Torn, r.Headers
}

// damaged takes in damage to the ledger.
func (f *findings) damaged(log *slog.Logger, d *ledger.Damage) {
	if f.add(&f.said.Damage, d) {
		f.note(buffer.Finding{Kind: buffer.FoundDamage, First: d.First, Last: d.Last})
		log.Error("the ledger is damaged", "segment", d.Segment, "offset", d.Offset, "first", d.First, "last", d.Last)
	}
}

// lost takes in damage for which there is no second copy.
func (f *findings) lost(log *slog.Logger, d *ledger.Damage) {
	if f.add(&f.said.Lost, d) {
		f.note(buffer.Finding{Kind: buffer.FoundLost, First: d.First, Last: d.Last})
		log.Error("records can't be read, neither in the ledger nor in their second copy", "segment", d.Segment, "offset", d.Offset, "first", d.First, "last", d.Last)
	}
}

func (f *findings) add(to *[]ledger.Damage, d *ledger.Damage) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, have := range *to {
		if have.First <= d.First && d.Last <= have.Last {
			return false
		}
	}
	if len(*to) < maxFindings {
		*to = append(*to, *d)
	} else {
		f.dropped = true
	}
	return true
}

// replayed takes in that records were applied at opening.
func (f *findings) replayed(log *slog.Logger, n uint64, rebuilt bool) {
	log.Info("the buffer was brought up to the ledger", "records", n, "rebuilt", rebuilt)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said.Replayed, f.said.Rebuilt = n, rebuilt
}

// tell copies what is wrong.
func (f *findings) tell(s *Stats) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Torn, s.Headers = f.said.Torn, f.said.Headers
	s.Damage, s.Lost = shown(f.said.Damage), shown(f.said.Lost)
	s.Replayed, s.Rebuilt, s.Scrub = f.said.Replayed, f.said.Rebuilt, f.said.Scrub
}

// shown is a copy of what is told one by one.
func shown(all []ledger.Damage) []ledger.Damage {
	return slices.Clone(all[:min(len(all), maxShown)])
}
