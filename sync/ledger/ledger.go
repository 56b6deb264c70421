// Package ledger keeps records in files that are the truth: appended in
// batches, durable when Append returns, never changed afterwards.
//
// FORMAT.md describes the files. Whoever opens a ledger for writing must hold
// a lock on it (package journal does); reading needs none.
package ledger

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/punchd/punchd/sync/ledger/disk"
)

// Config says where a ledger is and how it is opened.
type Config struct {
	Dir string
	// SegmentSize is that of new segments in bytes, a multiple of 4096; 0 is
	// DefaultSegmentSize.
	SegmentSize int64
	// Floor is how many records are known from elsewhere to be durable, in the
	// ledger FloorOf. What is missing below it is damage, however much it looks
	// like a batch that was never finished.
	Floor   uint64
	FloorOf Identity
	// Begun says that a ledger was begun in Dir before, even if it is not known
	// which (FloorOf) or how far it went (Floor).
	Begun bool
	// Room, if not nil, is asked before a file of that many bytes is written.
	// Its error is the answer to whoever needs the file.
	Room func(bytes int64) error
	FS   disk.FS      // nil is disk.OS
	Log  *slog.Logger // nil is silent
}

// Report is what opening a ledger found.
type Report struct {
	Torn    *Torn    // nil if the last batch was whole
	Damage  []Damage // found between the floor and the end; readers find what lies before
	Headers []string // segment headers that are damaged or don't belong here
}

// Written is a batch that is durable.
type Written struct {
	First  uint64        // sequence of its first record
	Frames []byte        // the frames as they stand in the ledger, one behind the other
	Sync   time.Duration // how long it took to write and to make durable
}

// ErrClosed says that the ledger was closed.
var ErrClosed = errors.New("ledger: closed")

// ErrTooLarge says that a batch is over the ledger's bounds.
var ErrTooLarge = errors.New("ledger: batch too large")

// Ledger is open for appending. Append is called by one goroutine at a time;
// everything else may be called from any.
type Ledger struct {
	fs     disk.FS
	dir    string
	size   int64 // of new segments
	id     Identity
	log    *slog.Logger
	room   func(int64) error
	report Report
	index  index

	write  sync.Mutex // held by Append and Close
	file   disk.File  // the segment at end
	failed *failed    // what a failed batch left behind, nil if nothing
	closed bool
	spare  spare

	mu       sync.RWMutex // guards what readers see
	segments []*segment
	end      position
}

// Open opens a ledger, or begins one where there is none. A batch that was
// never finished is wiped; damage is told in the [Report] and left as it is.
func Open(cfg Config) (*Ledger, error) {
	l := &Ledger{fs: cfg.FS, dir: cfg.Dir, size: cfg.SegmentSize, log: cfg.Log, room: cfg.Room}
	if l.fs == nil {
		l.fs = disk.OS
	}
	if l.size == 0 {
		l.size = DefaultSegmentSize
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.size < MinSegmentSize || l.size > MaxSegmentSize || l.size%headerBlock != 0 {
		return nil, fmt.Errorf("ledger: segment size %d is not a multiple of %d between %d and %d", l.size, headerBlock, MinSegmentSize, MaxSegmentSize)
	}
	made, err := l.makeDir()
	if err != nil {
		return nil, err
	}
	lay, err := readLayout(l.fs, l.dir, &cfg.FloorOf)
	if err != nil {
		return nil, err
	}
	for _, p := range lay.headers {
		l.report.Headers = append(l.report.Headers, p.String())
	}
	begin := len(lay.segments) == 0
	if begin && !made {
		if err := l.mayBegin(cfg); err != nil {
			return nil, err
		}
	}
	l.spare = spare{l: l}
	if err := l.spare.adopt(); err != nil {
		return nil, err
	}
	if begin {
		err = l.begin(cfg)
	} else {
		err = l.recover(lay, cfg)
	}
	if err != nil {
		if l.file != nil {
			err = errors.Join(err, l.file.Close())
		}
		return nil, err
	}
	return l, nil
}

// Identity tells this ledger from others.
func (l *Ledger) Identity() Identity { return l.id }

// Report is what Open found.
func (l *Ledger) Report() Report { return l.report }

// Next is the sequence of the next record: all below it are durable.
func (l *Ledger) Next() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.end.seq
}

// Size is what the segments take on disk, in bytes.
func (l *Ledger) Size() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var n int64
	for _, s := range l.segments {
		n += s.size
	}
	return n
}

// Reader gives a reader that begins at a sequence.
func (l *Ledger) Reader(from uint64) *Reader {
	return &Reader{fs: l.fs, dir: l.dir, index: &l.index, seq: from, refresh: func() (view, error) {
		l.mu.RLock()
		defer l.mu.RUnlock()
		return view{l.id, l.segments, l.end}, nil
	}}
}

// Close gives back what the ledger holds. Everything appended is durable
// already.
func (l *Ledger) Close() error {
	l.spare.quit.Store(true)
	l.write.Lock()
	defer l.write.Unlock()
	l.spare.run.Wait()
	if l.closed {
		return nil
	}
	l.closed = true
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}
