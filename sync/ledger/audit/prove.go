package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/sync/ledger"
)

var (
	// ErrNoRecord says that a ledger has no such record.
	ErrNoRecord = errors.New("no such record")
	// ErrNoHead says that no head covers a record that it can be proved under.
	ErrNoHead = errors.New("under no head that holds")
)

// Prove proves that a record is in a ledger, under the newest head that covers
// it and is right: that one says that the record is still as it was signed
// first, and it is the one a witness most likely can still be asked for.
func Prove(ctx context.Context, o Options, seq uint64) (*checkpoint.Proof, error) {
	return prove(ctx, o, func(*ledger.Frame) (uint64, bool) { return seq, true }, fmt.Sprintf("record %d", seq))
}

// ProveKey is [Prove] for the punch with a key.
func ProveKey(ctx context.Context, o Options, key attendance.Key) (*checkpoint.Proof, error) {
	return prove(ctx, o, func(f *ledger.Frame) (uint64, bool) {
		if f.Kind != attendance.RecordPunch || f.Flags != 0 || !bytes.Contains(f.Payload, key[:]) {
			return 0, false
		}
		r, err := attendance.DecodeRecord(f.Kind, f.Payload)
		return f.Seq, err == nil && r.(*attendance.Punch).Key == key
	}, "a punch with the key "+key.String())
}

// prove looks for a record and for the head, and then reads the ledger again
// for the path.
func prove(ctx context.Context, o Options, is func(*ledger.Frame) (uint64, bool), what string) (*checkpoint.Proof, error) {
	o.Witness = nil
	a, err := begin(o)
	if err != nil {
		return nil, err
	}
	var (
		seq   uint64
		found bool
		head  sighting
		lost  spans
	)
	a.scout.visit = func(f *ledger.Frame) {
		if !found {
			seq, found = is(f)
		}
	}
	a.counter.good = func(x sighting) {
		head = x
		lost = append(lost, x.head.Lost...)
	}
	if err := a.run(ctx); err != nil {
		return nil, err
	}
	if !found || seq >= a.survey.Next {
		return nil, fmt.Errorf("audit: %w: ledger %s has %d records, and not %s", ErrNoRecord, a.scout.id, a.survey.Next, what)
	}
	if seq >= head.head.Size {
		return nil, fmt.Errorf("audit: record %d is %w: %s", seq, ErrNoHead, a.why(seq, head.head.Size))
	}
	slices.SortFunc(lost, func(x, y checkpoint.Span) int { return cmp.Compare(x.First, y.First) })
	c := counter{r: a.survey.Reader(0)}
	defer c.r.Close()
	p := &checkpoint.Proof{Index: seq, Note: []byte(head.note)}
	if err := c.path(ctx, head.head.Size, &lost, p); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if _, err := p.Check(o.Keys...); err != nil {
		return nil, fmt.Errorf("audit: the ledger was changed while it was read; try again: %w", err)
	}
	return p, nil
}

// why says why no head covers a record.
func (a *auditor) why(seq, under uint64) string {
	switch {
	case a.scout.heads == 0:
		return "there is none that one of the keys has signed"
	case seq >= a.scout.last.Size:
		return fmt.Sprintf("the newest speaks of the first %d records; the gateway signs again within a minute, or when it ends", a.scout.last.Size)
	}
	return fmt.Sprintf("something behind record %d is not as it was signed; a check of the whole ledger says what", under)
}

// sibling is a stretch of records whose tree stands beside the way from a
// record up to the head.
type sibling struct {
	first, end uint64
	checkpoint.Tree
}

// siblings are those of a record in a tree of size records, from the head down
// (RFC 6962, section 2.1.1).
func siblings(size, index uint64) (all []*sibling) {
	for first, end := uint64(0), size; end-first > 1; {
		middle := first + 1<<(bits.Len64(end-first-1)-1)
		if index < middle {
			all = append(all, &sibling{first: middle, end: end})
			end = middle
		} else {
			all = append(all, &sibling{first: first, end: middle})
			first = middle
		}
	}
	return all
}

// path fills in the record and its path in the tree of size records.
func (c *counter) path(ctx context.Context, size uint64, lost *spans, p *checkpoint.Proof) error {
	all := siblings(size, p.Index)
	byPlace := slices.Clone(all)
	slices.SortFunc(byPlace, func(a, b *sibling) int { return cmp.Compare(a.first, b.first) })
	for seq := range size {
		if seq%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		leaf, there, err := c.next(seq)
		if err != nil {
			return err
		}
		if lost.has(seq) || !there {
			leaf, there = checkpoint.LostHash(seq), false
		}
		if seq == p.Index {
			if !there {
				return fmt.Errorf("record %d was lost, and nothing is left of it to prove: %w", seq, ErrNoRecord)
			}
			p.Leaf = slices.Clone(c.leaf)
			continue
		}
		if seq >= byPlace[0].end {
			byPlace = byPlace[1:]
		}
		byPlace[0].Add(leaf)
	}
	for _, s := range slices.Backward(all) {
		p.Path = append(p.Path, s.Root())
	}
	return nil
}
