package audit

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/sync/ledger"
)

// counter follows the scout with the tree of the records up to each head, and
// up to each head that somebody kept elsewhere.
type counter struct {
	r       *ledger.Reader
	records uint64 // in the ledger
	kept    []kept // what others say and was not looked at yet, by size
	good    func(sighting)

	tree    checkpoint.Tree
	hole    uint64 // records before this one can't be read, as far as the reader is
	missing bool   // one since base can't be read, and no head says that it was lost
	base    uint64 // how many records are under the last head that was right
	change  int    // the finding about the records from base on; -1 if there is none
	whole   bool   // the tree was counted from record 0 on, and not taken from an edge
	leaf    []byte

	found  findings
	agreed int    // heads kept elsewhere that are right
	until  uint64 // how many records the last of these speaks of
	odd    bool   // one after that is not right
}

// kept is a head that somebody kept elsewhere.
type kept struct {
	checkpoint.Head
	n int // its place in the options
}

// witness reads what others kept.
func (c *counter) witness(notes [][]byte, id string, keys []ed25519.PublicKey) {
	for i, note := range notes {
		h, err := checkpoint.Open(note, keys...)
		if err == nil && h.Ledger != id {
			err = fmt.Errorf("it is of ledger %s", h.Ledger)
		}
		if err != nil {
			c.found.add(Finding{Kind: BadWitness, First: uint64(i), Last: uint64(i), At: h.At, Detail: err.Error()})
			continue
		}
		h.Ledger = "" // it is known, and there may be many
		c.kept = append(c.kept, kept{h, i})
	}
	slices.SortStableFunc(c.kept, func(a, b kept) int { return cmp.Compare(a.Size, b.Size) })
}

func (c *counter) run(ctx context.Context, heads <-chan sighting) error {
	for x := range heads {
		if err := c.head(ctx, x); err != nil {
			return err
		}
	}
	if ctx.Err() != nil { // the channel is closed after an error too
		return ctx.Err()
	}
	there := len(c.kept)
	for there > 0 && c.kept[there-1].Size > c.records {
		there--
	}
	beyond := c.kept[there:]
	lost := c.lost(c.records+1, nil)
	if err := c.ask(ctx, c.records+1, &lost); err != nil {
		return err
	}
	if n := len(beyond); n > 0 {
		h := beyond[n-1]
		c.found.add(Finding{Kind: RolledBack, First: c.records, Last: h.Size - 1, At: h.At})
	}
	return nil
}

// head holds the tree to a head of the ledger.
func (c *counter) head(ctx context.Context, x sighting) error {
	h := x.head
	lost := c.lost(h.Size+1, h.Lost)
	if err := c.ask(ctx, h.Size, &lost); err != nil {
		return err
	}
	if err := c.advance(ctx, h.Size, &lost); err != nil {
		return err
	}
	edge, err := checkpoint.Resume(h.Size, hashes(x.edge))
	fits := err == nil && edge.Root() == h.Root
	if !fits {
		c.found.add(Finding{Kind: Edge, First: x.seq, Last: x.seq, Segment: x.segment, Offset: x.off, At: h.At})
	}
	for _, s := range h.Lost {
		c.found.add(Finding{Kind: Lost, First: s.First, Last: s.Last, At: h.At})
	}
	for len(c.kept) > 0 && c.kept[0].Size == h.Size {
		// What this head says is signed as well: if the records are not as it
		// says, that is told, and does not make the other wrong.
		c.judge(h.Root)
	}
	right := c.tree.Root() == h.Root
	if !right {
		c.changed(h)
	}
	switch {
	case right && c.whole && c.good != nil:
		c.good(x)
	case !right && fits:
		c.tree, c.whole = edge, false
	case !right:
		return nil
	}
	c.base, c.missing, c.change = h.Size, false, -1
	return nil
}

// changed notes that a head is not right. Of several behind each other without
// a right one between them, all that they speak of is one finding.
func (c *counter) changed(h checkpoint.Head) {
	if c.change >= 0 {
		c.found.list[c.change].Last = h.Size - 1
		return
	}
	kind := Changed
	if c.missing {
		kind = Incomplete
	}
	if c.found.add(Finding{Kind: kind, First: c.base, Last: h.Size - 1, At: h.At}) {
		c.change = len(c.found.list) - 1
	}
}

// ask holds the tree to what others kept of fewer than so many records.
func (c *counter) ask(ctx context.Context, below uint64, lost *spans) error {
	for len(c.kept) > 0 && c.kept[0].Size < below {
		if err := c.advance(ctx, c.kept[0].Size, lost); err != nil {
			return err
		}
		c.judge(c.tree.Root())
	}
	return nil
}

// judge takes in the next head that somebody kept. After one that is wrong the
// others say nothing new.
func (c *counter) judge(root checkpoint.Hash) {
	h := c.kept[0]
	c.kept = c.kept[1:]
	switch {
	case h.Root == root:
		c.agreed++
		c.until, c.odd = h.Size, false
	case !c.odd:
		c.odd = true
		last := max(h.Size, 1) - 1
		c.found.add(Finding{Kind: Contradicted, First: min(c.until, last), Last: last, At: h.At, Detail: fmt.Sprintf("head no. %d of those kept elsewhere", h.n+1)})
	}
}

// lost are the stretches that a head says to be lost, and those that others say
// who are to be asked before so many records.
func (c *counter) lost(below uint64, own []checkpoint.Span) spans {
	all := spans(slices.Clone(own))
	for _, k := range c.kept {
		if k.Size >= below {
			break
		}
		all = append(all, k.Lost...)
	}
	slices.SortFunc(all, func(a, b checkpoint.Span) int { return cmp.Compare(a.First, b.First) })
	return all
}

// advance counts records until there are so many under the tree.
func (c *counter) advance(ctx context.Context, size uint64, lost *spans) error {
	for c.tree.Size() < size {
		seq := c.tree.Size()
		if seq%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		leaf, there, err := c.next(seq)
		if err != nil {
			return err
		}
		said := lost.has(seq)
		if !there || said {
			leaf = checkpoint.LostHash(seq)
			c.missing = c.missing || !said
		}
		c.tree.Add(leaf)
	}
	return nil
}

// next gives the hash of the next record, if it can be read.
func (c *counter) next(seq uint64) (leaf checkpoint.Hash, there bool, err error) {
	if seq < c.hole {
		return leaf, false, nil
	}
	f, err := c.r.Next()
	if d, ok := errors.AsType[*ledger.Damage](err); ok {
		c.hole = d.Last + 1
		return leaf, false, nil
	}
	if err == nil && f.Seq != seq || err == io.EOF {
		return leaf, false, fmt.Errorf("record %d was there a moment ago and is not any more; is somebody changing the files? Check a copy", seq)
	}
	if err != nil {
		return leaf, false, err
	}
	c.leaf = f.AppendLeaf(c.leaf[:0])
	return checkpoint.LeafHash(c.leaf), true, nil
}

func hashes(edge [][32]byte) []checkpoint.Hash {
	out := make([]checkpoint.Hash, len(edge))
	for i, h := range edge {
		out[i] = h
	}
	return out
}
