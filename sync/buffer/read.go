package buffer

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

// read gives a key's value to parse; found is false if there is none.
func read(txn *badger.Txn, key []byte, parse func([]byte) error) (found bool, err error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	}
	if err == nil {
		err = item.Value(parse)
	}
	if err != nil {
		return false, fmt.Errorf("buffer: %q: %w", key, err)
	}
	return true, nil
}

// each visits the keys with a prefix, from a key on if that is not nil, until
// visit returns false. Values are given only if asked for.
func each(txn *badger.Txn, prefix, from []byte, values bool, visit func(key, val []byte) (bool, error)) error {
	opt := badger.DefaultIteratorOptions
	opt.Prefix, opt.PrefetchValues = prefix, false
	it := txn.NewIterator(opt)
	defer it.Close()
	for it.Seek(slices.MaxFunc([][]byte{prefix, from}, bytes.Compare)); it.Valid(); it.Next() {
		more := false
		var err error
		if values {
			err = it.Item().Value(func(val []byte) (err error) {
				more, err = visit(it.Item().Key(), val)
				return err
			})
		} else {
			more, err = visit(it.Item().Key(), nil)
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// Applied is how many records of the ledger are in the buffer.
func (b *Buffer) Applied() uint64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.state.applied
}

// Counts are the totals over all records applied.
func (b *Buffer) Counts() Counts {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.state.counts
}

// Sinks gives what is known of each sink, by name.
func (b *Buffer) Sinks() map[string]Sink {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return maps.Clone(b.state.sinks)
}

// Touched counts bytes of blocks that were written or read: now and then the
// process gives up the memory that Badger maps for them.
func (b *Buffer) Touched(bytes int64) {
	if err := b.trim.touched(bytes); err != nil {
		b.log.Debug("the value log stays in memory", "err", err)
	}
}

// Look is a consistent view for look-ups, of all that was committed before it.
type Look struct{ txn *badger.Txn }

// Look begins a view. It must be closed.
func (b *Buffer) Look() Look { return Look{b.db.NewTransaction(false)} }

// Close ends the view.
func (l Look) Close() { l.txn.Discard() }

// Seq finds the record of a key.
func (l Look) Seq(k attendance.Key) (seq uint64, found bool, err error) {
	key := punchKey(k)
	found, err = read(l.txn, key, func(val []byte) error { return parseNumbers(key, val, &seq) })
	return seq, found, err
}

// Head finds the newest checkpoint.
func (l Look) Head() (seq uint64, found bool, err error) {
	found, err = read(l.txn, keyHead, func(val []byte) error { return parseNumbers(keyHead, val, &seq) })
	return seq, found, err
}

// Counter is the highest counter of a phone, 0 if there is none.
func (l Look) Counter(phone string) (n uint64, err error) {
	key := phoneKey(phone)
	_, err = read(l.txn, key, func(val []byte) error { return parseNumbers(key, val, &n) })
	return n, err
}

// Parked gives a parked record of a sink.
func (l Look) Parked(sink string, seq uint64) (p Parked, found bool, err error) {
	key := recordKey(prefixParked, sink, seq)
	found, err = read(l.txn, key, func(val []byte) error { return p.decode(key, val) })
	return p, found, err
}

// Dead gives a dead record of a sink.
func (l Look) Dead(sink string, seq uint64) (d Dead, found bool, err error) {
	key := recordKey(prefixDead, sink, seq)
	d.Seq = seq
	found, err = read(l.txn, key, func(val []byte) error { return parseNumbers(key, val, &d.At) })
	return d, found, err
}

// AllParked gives up to max parked records of a sink with sequences from from
// on, in order.
func (l Look) AllParked(sink string, from uint64, max int) (all []Parked, err error) {
	prefix := sinkPrefix(prefixParked, sink)
	err = each(l.txn, prefix, recordKey(prefixParked, sink, from), true, func(key, val []byte) (bool, error) {
		if len(all) >= max {
			return false, nil
		}
		var p Parked
		err := p.decode(key, val)
		all = append(all, p)
		return true, err
	})
	return all, err
}

// AllDead gives up to max dead records of a sink with sequences from from on,
// in order.
func (l Look) AllDead(sink string, from uint64, max int) (all []Dead, err error) {
	prefix := sinkPrefix(prefixDead, sink)
	err = each(l.txn, prefix, recordKey(prefixDead, sink, from), true, func(key, val []byte) (bool, error) {
		if len(all) >= max {
			return false, nil
		}
		d := Dead{Seq: parseRecordKey(key)}
		err := parseNumbers(key, val, &d.At)
		all = append(all, d)
		return true, err
	})
	return all, err
}

// Due gives up to max parked records of a sink whose time has come, those whose
// time came first in front.
func (l Look) Due(sink string, now time.Time, max int) (seqs []uint64, err error) {
	err = each(l.txn, sinkPrefix(prefixDue, sink), nil, false, func(key, _ []byte) (bool, error) {
		until, seq := parseDueKey(key)
		if len(seqs) >= max || until.After(now) {
			return false, nil
		}
		seqs = append(seqs, seq)
		return true, nil
	})
	return seqs, err
}

// Block is a stretch of records as the ledger held them.
type Block struct {
	First  uint64
	Count  uint32
	Frames []byte // nil if the ledger had lost them before they were copied
}

// Block gives the second copy of the stretch that holds a record, or if none
// does, the next one behind it. found is false if there is neither. That a copy
// is there does not say that it can be read: its frames have check sums.
func (b *Buffer) Block(seq uint64) (blk Block, found bool, err error) {
	defer func() { // Badger trusts what it reads of its value log
		if p := recover(); p != nil {
			err = fmt.Errorf("buffer: read the copy of record %d: %v: %w", seq, p, protocol.ErrMalformed)
		}
	}()
	err = b.db.View(func(txn *badger.Txn) error {
		from := blockKey(seq, 0)
		first, count, before, err := lastBlock(txn, seq)
		if err != nil {
			return err
		}
		if before && seq-first < uint64(count) {
			from = blockKey(first, count)
		}
		// The key first: it tells which records the block has, even if its value
		// can't be read.
		err = each(txn, []byte(prefixBlock), from, false, func(key, _ []byte) (bool, error) {
			blk.First, blk.Count, err = parseBlockKey(key)
			found = err == nil
			return false, err
		})
		if err != nil || !found {
			return err
		}
		_, err = read(txn, blockKey(blk.First, blk.Count), func(val []byte) error {
			if !bytes.Equal(val, lost) {
				blk.Frames = slices.Clone(val)
			}
			return nil
		})
		return err
	})
	return blk, found, err
}

// lastBlock finds the last block that begins at or before a sequence.
func lastBlock(txn *badger.Txn, seq uint64) (first uint64, count uint32, found bool, err error) {
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues, opt.Reverse = false, true
	it := txn.NewIterator(opt)
	defer it.Close()
	it.Seek(blockKey(seq, math.MaxUint32))
	if !it.ValidForPrefix([]byte(prefixBlock)) {
		return 0, 0, false, nil
	}
	first, count, err = parseBlockKey(it.Item().Key())
	return first, count, err == nil, err
}

// checkedTail is how many of the newest records are held to be without a hole
// when a buffer was not closed in order. What Badger may have lost then was in
// its memory tables: one being filled, two waiting, one being written out. A
// record's entries take over 64 bytes there.
const checkedTail = 4 * memTable / 64

// checkBlocks holds that the blocks end where the buffer says it stands, and if
// it was not closed in order, that none is missing shortly before. Badger's
// memory tables are files of their own that the kernel writes back in any
// order: a power cut can lose the end of one and keep the next.
func (b *Buffer) checkBlocks(clean bool) error {
	end := b.state.applied
	err := b.db.View(func(txn *badger.Txn) error {
		opt := badger.DefaultIteratorOptions
		opt.PrefetchValues, opt.Reverse = false, true
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Seek(blockKey(math.MaxUint64, math.MaxUint32)); it.ValidForPrefix([]byte(prefixBlock)) && end > 0; it.Next() {
			first, count, err := parseBlockKey(it.Item().Key())
			if err != nil {
				return err
			}
			if first+uint64(count) != end {
				break
			}
			end = first
			if clean || b.state.applied-end > checkedTail {
				return nil
			}
		}
		if end > 0 || it.ValidForPrefix([]byte(prefixBlock)) {
			return fmt.Errorf("buffer: it says it has %d records, but the one before %d is missing: %w", b.state.applied, end, protocol.ErrMalformed)
		}
		return nil
	})
	return err
}

// Size is what the buffer takes on disk, in bytes.
func (b *Buffer) Size() (n int64, err error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return 0, fmt.Errorf("buffer: %w", err)
	}
	for _, e := range entries {
		size, err := allocated(filepath.Join(b.dir, e.Name()))
		if err != nil && !errors.Is(err, os.ErrNotExist) { // removed by a compaction meanwhile
			return 0, fmt.Errorf("buffer: %w", err)
		}
		n += size
	}
	return n, nil
}
