// Package checkpoint is how a gateway vouches for its ledger: a Merkle tree over
// the records (RFC 6962), signed statements of its head, and proofs that a
// record is under one. FORMAT.md has the bytes.
package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/punchd/punchd/protocol"
)

// Hash is a hash of the tree: SHA-256.
type Hash = tlog.Hash

// MaxSize bounds how many records a tree may claim.
const MaxSize = 1 << 48

// LeafHash is the hash of a record that says leaf (RFC 6962, section 2.1).
func LeafHash(leaf []byte) Hash { return tlog.RecordHash(leaf) }

// LostHash stands in the tree for a record of which the gateway had no readable
// copy left when it signed, as the statement then says. No record's leaf begins
// with these bytes: they would be a length that is not allowed.
func LostHash(seq uint64) Hash {
	return tlog.RecordHash(binary.LittleEndian.AppendUint64([]byte("punchd lost record\n"), seq))
}

// Tree is the tree of the first so many records, of which it keeps the hashes
// that are needed to go on: those of the whole subtrees that it is made of. The
// zero value is the tree of no record.
type Tree struct {
	size uint64
	edge []Hash // from left to right: one for each bit of size that is set
}

// Size is the number of records.
func (t *Tree) Size() uint64 { return t.size }

// Add adds the next record by its hash.
func (t *Tree) Add(leaf Hash) {
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.edge) - 1
		leaf = tlog.NodeHash(t.edge[last], leaf)
		t.edge = t.edge[:last]
	}
	t.edge = append(t.edge, leaf)
	t.size++
}

// Root is the tree's head (RFC 6962, section 2.1).
func (t *Tree) Root() Hash {
	if t.size == 0 {
		root, _ := tlog.TreeHash(0, nil) // reads nothing
		return root
	}
	root := t.edge[len(t.edge)-1]
	for _, left := range slices.Backward(t.edge[:len(t.edge)-1]) {
		root = tlog.NodeHash(left, root)
	}
	return root
}

// Edge is a copy of the hashes from which [Resume] makes the tree again: those
// of its whole subtrees, the largest first.
func (t *Tree) Edge() []Hash { return slices.Clone(t.edge) }

// Resume is the tree of size records with this edge. Whether it is the right one
// its root tells.
func Resume(size uint64, edge []Hash) (Tree, error) {
	if size > MaxSize {
		return Tree{}, fmt.Errorf("checkpoint: a tree of %d records: %w", size, protocol.ErrTooLarge)
	}
	if n := bits.OnesCount64(size); n != len(edge) {
		return Tree{}, fmt.Errorf("checkpoint: %d hashes are no edge of a tree of %d records, which has %d: %w", len(edge), size, n, protocol.ErrMalformed)
	}
	return Tree{size, slices.Clone(edge)}, nil
}
