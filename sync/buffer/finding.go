package buffer

import (
	"encoding/binary"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/punchd/punchd/protocol"
)

// FindingKind says what is wrong with records.
type FindingKind byte

// The kinds of finding. The letters stand in keys.
const (
	FoundDamage      FindingKind = 'd' // the ledger can't be read there
	FoundLost        FindingKind = 'l' // nor can the second copy
	FoundUndecodable FindingKind = 'u' // whole, but not to be decoded by this program
)

// Finding is a stretch of records with which something is wrong. It is kept so
// that a restart does not forget it.
type Finding struct {
	Kind        FindingKind
	First, Last uint64 // both inclusive
}

func (f Finding) key() []byte {
	k := append([]byte(prefixFinding), byte(f.Kind))
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(k, f.First), f.Last)
}

func parseFinding(k []byte) (f Finding, err error) {
	if len(k) != len(prefixFinding)+17 {
		return f, fmt.Errorf("buffer: finding key %x: %w", k, protocol.ErrMalformed)
	}
	k = k[len(prefixFinding):]
	return Finding{FindingKind(k[0]), binary.BigEndian.Uint64(k[1:]), binary.BigEndian.Uint64(k[9:])}, nil
}

// maxFindings bounds how many findings are read.
const maxFindings = 10_000

// Findings are those noted and not forgotten, by kind and sequence.
func (b *Buffer) Findings() (all []Finding, err error) {
	err = b.db.View(func(txn *badger.Txn) error {
		return each(txn, []byte(prefixFinding), nil, false, func(key, _ []byte) (bool, error) {
			f, err := parseFinding(key)
			all = append(all, f)
			return len(all) < maxFindings, err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("buffer: findings: %w", err)
	}
	return all, nil
}

// Note keeps a finding, and Forget ends that. Unlike an Update both may be
// called from any goroutine: nothing else touches these keys.
func (b *Buffer) Note(f Finding) error {
	return b.change(func(txn *badger.Txn) error { return txn.Set(f.key(), []byte{}) })
}

// Forget ends that findings are kept.
func (b *Buffer) Forget(fs ...Finding) error {
	return b.change(func(txn *badger.Txn) error {
		for _, f := range fs {
			if err := txn.Delete(f.key()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *Buffer) change(do func(*badger.Txn) error) error {
	if err := b.db.Update(do); err != nil {
		return fmt.Errorf("buffer: findings: %w", err)
	}
	return nil
}
