package journal

import (
	"sync"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// Bounds of what is durable and not yet applied to the buffer.
const (
	maxBacklog = 16 << 10 // records; when there are more, committing waits
	maxGroup   = 1800     // records applied in one transaction
	maxBlock   = 1 << 20  // bytes of frames kept as one copy
)

// work is something for the applier, in the order of the ledger.
type work struct {
	first   uint64 // sequence of the first entry
	entries []entry
	frames  []byte // as they stand in the ledger
	// run changes the buffer where nothing was written to the ledger. A work
	// has either entries or this.
	run    func() error
	done   chan<- error // told when it is applied; nil if nobody asks
	ticket uint64
}

// entry is a record on its way, with what the buffer must know of it.
type entry struct {
	kind    attendance.RecordKind
	payload []byte
	key     attendance.Key // of a punch
	verdict attendance.Verdict
	phone   string // of a native check-in, with its counter
	counter uint64
	settled *attendance.Settled
	punches uint64 // passed by settled
	parked  *attendance.Parked
	at      time.Time // of parked
}

// pipe is the queue between committer and applier.
type pipe struct {
	mu      sync.Mutex
	changed *sync.Cond
	works   []*work
	records int // in works, and taken but not applied
	closed  bool
	broken  bool
}

func newPipe() *pipe {
	p := &pipe{}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// put hands work over. It waits while the backlog is full.
func (p *pipe) put(w *work) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.records >= maxBacklog && !p.broken {
		p.changed.Wait()
	}
	p.works = append(p.works, w)
	p.records += len(w.entries)
	p.changed.Broadcast()
}

// take waits for work and takes as much as goes into one transaction: one
// that runs alone, or any number with entries. ok is false after close, when
// nothing is left.
func (p *pipe) take() (group []*work, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.works) == 0 {
		if p.closed {
			return nil, false
		}
		p.changed.Wait()
	}
	n, records, bytes := 0, 0, 0
	for _, w := range p.works {
		records += len(w.entries)
		bytes += len(w.frames)
		if n > 0 && (w.run != nil || records > maxGroup || bytes > maxBlock) {
			break
		}
		if n++; w.run != nil {
			break
		}
	}
	group = p.works[:n:n]
	p.works = p.works[n:]
	return group, true
}

// finished says that so many records are applied.
func (p *pipe) finished(records int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records -= records
	p.changed.Broadcast()
}

// close says that nothing is put in any more.
func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.changed.Broadcast()
}

// giveUp lets put never wait again.
func (p *pipe) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = true
	p.changed.Broadcast()
}
