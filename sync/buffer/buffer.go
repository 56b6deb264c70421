// Package buffer is the working state beside the ledger, kept in Badger: which
// keys are known, what each sink has answered for, what is parked or dead, and
// a second copy of every record.
//
// All of it can be made anew from the ledger, so nothing here is synced: after
// a power cut the newest transactions may be missing, and the ledger is applied
// again from where the buffer stands. FORMAT.md describes keys and values.
package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/sync/ledger"
)

// Config says where a buffer is.
type Config struct {
	Dir string
	// Room, if not nil, says whether the disk has room for Badger to be opened
	// and written: it writes through memory, and where the disk has no block for
	// a page the process ends by SIGBUS. The error wraps syscall.ENOSPC.
	Room func() error
	Log  *slog.Logger // nil is silent
}

// Buffer is an open buffer. One goroutine updates it; any may read.
type Buffer struct {
	dir   string
	log   *slog.Logger
	room  func() error
	db    *badger.DB
	fresh bool
	trim  trimmer
	// reasons says why buffers were moved aside, and needed why they must be kept,
	// by path. Only Open and what follows it before the buffer is used changes them.
	reasons, needed map[string]string
	// counters remembers the highest counters of some phones, for updates.
	counters map[string]uint64

	mu     sync.RWMutex // guards what is applied, as Commit publishes it
	ledger ledger.Identity
	state  state
}

// state is what all transactions so far add up to.
type state struct {
	applied uint64
	counts  Counts
	sinks   map[string]Sink
}

// Open opens the buffer. One that can't be opened, or contradicts itself, is
// moved aside under another name and a new one begun: see [Buffer.Fresh] and
// [Buffer.Suspects]. An error is one that a new buffer would not cure either.
func Open(cfg Config) (*Buffer, error) {
	b := &Buffer{dir: cfg.Dir, log: cfg.Log, room: cfg.Room, reasons: map[string]string{}, needed: map[string]string{}}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.room == nil {
		b.room = func() error { return nil }
	}
	err := b.open()
	if err == nil {
		return b, nil
	}
	if incurable(err) {
		return nil, err
	}
	if err := b.Reset(err.Error()); err != nil {
		return nil, err
	}
	return b, nil
}

// incurable says whether an error would meet a new buffer just the same. The
// text is looked at too, since Badger does not always wrap.
func incurable(err error) bool {
	for _, e := range []error{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EIO, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, fs.ErrPermission,
	} {
		if errors.Is(err, e) || strings.Contains(err.Error(), e.Error()) {
			return true
		}
	}
	return strings.Contains(err.Error(), "Another process is using this Badger database")
}

// open opens what is there, or begins a new buffer, and reads its state.
func (b *Buffer) open() (err error) {
	b.state, b.counters = state{sinks: map[string]Sink{}}, map[string]uint64{}
	b.ledger, b.fresh = ledger.Identity{}, false
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("buffer: opening panicked: %v", p)
		}
	}()
	if err := b.room(); err != nil {
		return fmt.Errorf("buffer: %w", err)
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return fmt.Errorf("buffer: %w", err)
	}
	if b.db, err = badger.Open(badgerOptions(b.dir, b.log)); err != nil {
		b.db = nil
		return fmt.Errorf("buffer: %w", err)
	}
	b.trim.prefix = trimPrefix(b.dir)
	if err := b.load(); err != nil {
		err = errors.Join(err, b.db.Close())
		b.db = nil
		return err
	}
	return nil
}

// memTable is the size of Badger's memory tables in bytes. A transaction may
// take 15 % of one.
const memTable = 4 << 20

// badgerOptions are for a small box; each figure is from a measurement named
// in package journal's DESIGN.md.
func badgerOptions(dir string, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(badgerLog{log}).
		WithMetricsEnabled(false).
		WithSyncWrites(false). // the ledger is the truth
		WithDetectConflicts(false).
		WithNumVersionsToKeep(1).
		WithMemTableSize(memTable).
		WithNumMemtables(2).
		WithNumCompactors(2).
		// Blocks of frames go to the value log: there they are written once,
		// in the tables every compaction would write them again. They carry
		// check sums of their own, and nothing depends on them but a repair.
		WithValueThreshold(maxInline + 1).
		WithValueLogFileSize(16 << 20).
		WithVerifyValueChecksum(true).
		// No compression: blocks are apart, keys are random. Without it, tables
		// are read from the page cache and no cache of ours is needed.
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		// The only mode in which a damaged table never goes unnoticed.
		WithChecksumVerificationMode(options.OnTableRead)
}

// load reads the state, and holds that it fits together.
func (b *Buffer) load() error {
	clean := false
	err := b.db.View(func(txn *badger.Txn) error {
		var v uint64
		found, err := read(txn, keyVersion, func(val []byte) error { return parseNumbers(keyVersion, val, &v) })
		switch {
		case err != nil:
			return err
		case !found:
			b.fresh = true
			return b.checkEmpty(txn)
		case v != version:
			return fmt.Errorf("buffer: version %d, this program writes %d: %w", v, version, protocol.ErrUnsupported)
		}
		if clean, err = read(txn, keyClean, func([]byte) error { return nil }); err != nil {
			return err
		}
		return b.loadState(txn)
	})
	if err != nil || b.fresh {
		return err
	}
	if err := b.checkBlocks(clean); err != nil {
		return err
	}
	if !clean {
		return nil
	}
	// From here on the buffer is not clean, and no power cut may say it is.
	err = b.db.Update(func(txn *badger.Txn) error { return txn.Delete(keyClean) })
	if err == nil {
		err = b.db.Sync()
	}
	if err != nil {
		return fmt.Errorf("buffer: %w", err)
	}
	return nil
}

func (b *Buffer) loadState(txn *badger.Txn) error {
	must := func(key []byte, parse func([]byte) error) error {
		found, err := read(txn, key, parse)
		if err == nil && !found {
			err = fmt.Errorf("buffer: %q is missing: %w", key, protocol.ErrMalformed)
		}
		return err
	}
	s := &b.state
	return errors.Join(
		must(keyLedger, func(val []byte) (err error) { b.ledger, err = decodeLedger(val); return err }),
		must(keyApplied, func(val []byte) error { return parseNumbers(keyApplied, val, &s.applied) }),
		must(keyCounts, func(val []byte) error { return parseNumbers(keyCounts, val, s.counts.fields()...) }),
		each(txn, []byte(prefixSink), nil, true, func(key, val []byte) (bool, error) {
			var k Sink
			err := k.decode(key, val)
			s.sinks[string(key[len(prefixSink):])] = k
			return true, err
		}),
	)
}

// checkEmpty holds that a buffer without a version is a new one.
func (b *Buffer) checkEmpty(txn *badger.Txn) error {
	return each(txn, nil, nil, false, func(key, _ []byte) (bool, error) {
		return false, fmt.Errorf("buffer: no version, but a key %.40q: %w", key, protocol.ErrMalformed)
	})
}

// Begin makes a fresh buffer that of a ledger.
func (b *Buffer) Begin(id ledger.Identity) error {
	err := b.db.Update(func(txn *badger.Txn) error {
		return errors.Join(
			txn.Set(keyVersion, numbers(version)),
			txn.Set(keyLedger, encodeLedger(id)),
			txn.Set(keyApplied, numbers(0)),
			txn.Set(keyCounts, new(Counts).encode()),
		)
	})
	if err == nil {
		err = b.db.Sync()
	}
	if err != nil {
		return fmt.Errorf("buffer: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ledger, b.fresh = id, false
	return nil
}

// Fresh says whether the buffer is a new one that belongs to no ledger yet.
func (b *Buffer) Fresh() bool { return b.fresh }

// Ledger is the ledger whose records the buffer holds.
func (b *Buffer) Ledger() ledger.Identity {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.ledger
}

// Sync makes what is applied durable. Nothing depends on it.
func (b *Buffer) Sync() error {
	if err := b.db.Sync(); err != nil {
		return fmt.Errorf("buffer: %w", err)
	}
	return nil
}

// Close closes the buffer in order, so that the next Open need not doubt it.
func (b *Buffer) Close() error {
	if b.db == nil { // it could not be begun anew
		return nil
	}
	var err error
	if !b.fresh {
		err = b.db.Update(func(txn *badger.Txn) error { return txn.Set(keyClean, numbers()) })
	}
	if err = errors.Join(err, b.db.Close()); err != nil {
		return fmt.Errorf("buffer: close: %w", err)
	}
	return nil
}

// Abandon leaves the buffer as a process that ends leaves it, for a disk too
// full to close it in order. The next Open, in another process, doubts it.
func (b *Buffer) Abandon() {
	b.log.Warn("the buffer is not closed in order: the disk is too full for it")
}
