// Package journal makes records durable: it is the ledger, which is the truth,
// and the buffer, which knows what became of each record, as one thing.
//
// DESIGN.md says how the two go together and what happens when something fails.
package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/punchd/punchd/sync/buffer"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/ledger"
	"github.com/punchd/punchd/sync/ledger/disk"
)

// The names in a journal's directory.
const (
	LedgerDir = "ledger" // for ledger.Scan and ledger.Follow beside a running daemon
	bufferDir = "buffer"
	lockName  = "punchd.lock"
)

// Config says where a journal is.
type Config struct {
	Dir string
	// SegmentSize is that of new ledger segments in bytes; 0 is the ledger's
	// default.
	SegmentSize int64
	// Reserve is how much of the disk is kept free, in bytes; 0 is
	// DefaultReserve, or a quarter of a small disk. With less nothing new is
	// taken until there is room again, and with less than half of it the journal
	// is not opened.
	Reserve uint64
	FS      disk.FS                          // of the ledger; nil is disk.OS
	free    func() (free uint64, known bool) // asked in place of the system if not nil, by tests
	Log     *slog.Logger                     // nil is silent
}

// ErrClosed says that the journal was closed.
var ErrClosed = errors.New("journal: closed")

// ErrInUse says that another process has the journal open.
var ErrInUse = errors.New("in use")

// Journal is an open journal. Its methods may be called from any goroutine.
type Journal struct {
	dir    string
	log    *slog.Logger
	lock   *os.File
	gate   *gate
	ledger *ledger.Ledger
	buffer *buffer.Buffer

	// life is held for reading by whoever uses what Close takes away: the queue
	// and the buffer. It is not held while waiting for an answer.
	life     sync.RWMutex
	closed   bool
	queue    chan *request
	pipe     *pipe
	tickets  uint64         // given to work so far; the committer's
	running  sync.WaitGroup // committer and applier
	closing  sync.Once
	stopping chan struct{} // closed when Close is called
	closeErr error

	durable *progress // sequence of the next record: all below are durable
	applied *progress // tickets of the work that is in the buffer
	recent  recent
	failed  chan struct{} // closed when the buffer broke
	failure error         // why; set before failed is closed

	mu    sync.Mutex // guards sinks
	sinks map[string]*sink

	feeds  feeds
	timing timing
	counts struct{ duplicates, copies atomic.Uint64 }
	found  findings
	notary signing
	scrubs sync.Mutex // held for each step of a scrub: of two at once one finds it mended
}

var _ forward.Source = (*Journal)(nil)

// Open opens a journal, or begins one where there is none, and brings the
// buffer up to the ledger. Damage to either is not an error: see [Stats]. A
// second opener gets an error that wraps [ErrInUse]. Cancelling ctx ends the
// opening, not what was opened.
func Open(ctx context.Context, cfg Config) (*Journal, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := makeDir(filepath.Clean(cfg.Dir)); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	j := &Journal{
		dir: cfg.Dir, log: cfg.Log, lock: lock, gate: newGate(cfg.Dir, cfg.Reserve, cfg.Log), stopping: make(chan struct{}),
		queue: make(chan *request, 256), pipe: newPipe(), failed: make(chan struct{}),
		sinks: map[string]*sink{}, applied: newProgress(0),
	}
	if cfg.free != nil {
		j.gate.free = cfg.free
	}
	j.feeds.j = j
	if err := j.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, j.release())
	}
	j.running.Go(j.commitLoop)
	j.running.Go(j.applyLoop)
	return j, nil
}

// makeDir makes a directory and those above it, each durably: what is synced
// in a directory that a power cut takes away is gone with it.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	switch parent := filepath.Dir(dir); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist) && parent != dir:
		if err := makeDir(parent); err != nil {
			return err
		}
		return makeDir(dir)
	case err != nil:
		return err
	default:
		return disk.OS.SyncDir(parent)
	}
}

// open opens the two halves and makes them agree.
func (j *Journal) open(ctx context.Context, cfg Config) (err error) {
	j.found.checkModes(j.log, cfg.Dir)
	// Asked for the buffer first: it may not even be opened on a full disk.
	for _, step := range []func() error{
		func() (err error) {
			j.buffer, err = buffer.Open(buffer.Config{
				Dir: filepath.Join(cfg.Dir, bufferDir), Room: func() error { return j.gate.room(0) }, Log: cfg.Log,
			})
			return err
		},
		func() error { return j.openLedger(cfg) },
		j.agree,
		func() error { return j.replay(ctx) },
	} {
		if err := j.withRoom(ctx, cfg, step); err != nil {
			return err
		}
	}
	if err := j.recall(); err != nil {
		return err
	}
	if err := j.weighSuspects(); err != nil {
		return err
	}
	for name, s := range j.buffer.Sinks() {
		j.sinks[name] = newSink(name, s.Cursor)
	}
	j.durable = newProgress(j.ledger.Next())
	return nil
}

// weighSuspects tells what the buffers moved aside are worth, and removes old ones
// that are worth nothing. While the ledger is damaged one may be the only copy.
func (j *Journal) weighSuspects() error {
	id, m := j.ledger.Identity(), j.ledger.Matcher()
	defer m.Close()
	if err := j.buffer.TellSuspects(id); err != nil {
		return err
	}
	return j.buffer.WeighSuspects(id, m, j.found.whole())
}

// agree makes the buffer one of the ledger.
func (j *Journal) agree() (err error) {
	switch id, of := j.ledger.Identity(), j.buffer.Ledger(); {
	case j.buffer.Fresh():
	case id != of:
		err = j.buffer.Reset(fmt.Sprintf("it belongs to ledger %s, the ledger is %s", of, id))
	case j.buffer.Applied() > j.ledger.Next():
		err = j.buffer.Reset(fmt.Sprintf("it has %d records, the ledger %d", j.buffer.Applied(), j.ledger.Next()))
	}
	if err == nil && j.buffer.Fresh() {
		err = j.buffer.Begin(j.ledger.Identity())
	}
	return err
}

// Close takes no more, waits until all that was accepted is durable and
// applied, and gives the directory free.
func (j *Journal) Close() error {
	j.closing.Do(func() {
		close(j.stopping) // first: who waits for the applier holds life
		j.life.Lock()
		j.closed = true
		j.life.Unlock()
		close(j.queue)
		j.running.Wait()
		j.durable.fail(ErrClosed)
		j.applied.fail(ErrClosed)
		j.life.Lock() // whoever began before is through
		defer j.life.Unlock()
		j.feeds.close()
		j.closeErr = j.release()
	})
	return j.closeErr
}

// use begins to use the journal, unless it is closed; done ends it.
func (j *Journal) use() (done func(), err error) {
	j.life.RLock()
	if j.closed {
		j.life.RUnlock()
		return nil, ErrClosed
	}
	return j.life.RUnlock, nil
}

// release closes what is open.
func (j *Journal) release() error {
	var errs []error
	if j.buffer != nil {
		// To close it writes what is in memory, which a full disk makes fatal; left
		// open it is as after a kill, and the ledger has all.
		if err := j.gate.room(0); err != nil {
			j.buffer.Abandon()
		} else {
			errs = append(errs, j.buffer.Close())
		}
	}
	if j.ledger != nil {
		errs = append(errs, j.ledger.Close())
	}
	if err := unlockDir(j.lock); err != nil {
		errs = append(errs, fmt.Errorf("journal: %w", err))
	}
	return errors.Join(errs...)
}

// Failed is closed when the buffer can't be written any more. The journal then
// refuses everything; the ledger holds all that was acknowledged, and opening
// the journal again brings the buffer up to it or makes a new one.
func (j *Journal) Failed() <-chan struct{} { return j.failed }

// Err says why the journal has failed, nil while it has not.
func (j *Journal) Err() error {
	select {
	case <-j.failed:
		return j.failure
	default:
		return nil
	}
}
