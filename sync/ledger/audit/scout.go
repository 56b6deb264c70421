package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/sync/ledger"
)

// scout reads all records of a ledger once, and finds the heads among them.
type scout struct {
	id       string // of the ledger
	keys     []ed25519.PublicKey
	progress func(uint64, int64)
	visit    func(*ledger.Frame) // nil, or called with every frame
	r        *ledger.Reader

	found  findings
	bytes  int64
	heads  int
	first  time.Time
	last   checkpoint.Head
	behind []uint64 // heads that the last one does not speak of, itself included
}

// sighting is a signed head that may be true.
type sighting struct {
	seq     uint64
	segment string
	off     int64
	head    checkpoint.Head
	note    string
	edge    [][32]byte
}

// tellEvery is after how many records the progress is told.
const tellEvery = 4096

func (s *scout) run(ctx context.Context, heads chan<- sighting) error {
	for n := uint64(0); ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if s.progress != nil && n%tellEvery == 0 {
			s.progress(n, s.bytes)
		}
		f, err := s.r.Next()
		if err == io.EOF {
			return nil
		}
		if d, ok := errors.AsType[*ledger.Damage](err); ok {
			s.damaged(d)
			continue
		}
		if err != nil {
			return err
		}
		s.bytes += f.Size()
		if s.visit != nil {
			s.visit(&f)
		}
		if f.Kind != attendance.RecordCheckpoint {
			continue
		}
		if x, ok := s.look(&f); ok {
			select {
			case heads <- x:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// damaged notes records that can't be read; those that touch are one finding.
func (s *scout) damaged(d *ledger.Damage) {
	if n := len(s.found.list); n > 0 && s.found.list[n-1].Kind == Damaged && s.found.list[n-1].Last+1 == d.First {
		s.found.list[n-1].Last = d.Last
		return
	}
	s.found.add(Finding{Kind: Damaged, First: d.First, Last: d.Last, Segment: d.Segment, Offset: d.Offset})
}

// look says whether a record of kind 4 is a head that may be true: whether the
// root is right, the counter finds out.
func (s *scout) look(f *ledger.Frame) (x sighting, ok bool) {
	x.seq = f.Seq
	x.segment, x.off = s.r.Place(f)
	bad := func(kind Kind, at time.Time, detail string) (sighting, bool) {
		s.found.add(Finding{Kind: kind, First: f.Seq, Last: f.Seq, Segment: x.segment, Offset: x.off, At: at, Detail: detail})
		return sighting{}, false
	}
	if f.Flags != 0 {
		return bad(BadHead, time.Time{}, fmt.Sprintf("it has the flags %#x", f.Flags))
	}
	r, err := attendance.DecodeRecord(f.Kind, f.Payload)
	if err != nil {
		return bad(BadHead, time.Time{}, err.Error())
	}
	c := r.(*attendance.Checkpoint)
	h, err := checkpoint.Open([]byte(c.Note), s.keys...)
	switch {
	case errors.Is(err, checkpoint.ErrSignature):
		return bad(Signature, time.Time{}, "")
	case err != nil:
		return bad(BadHead, time.Time{}, err.Error())
	case h.Ledger != s.id:
		return bad(OtherLedger, h.At, h.Ledger)
	case h.Size > f.Seq:
		return bad(Order, h.At, fmt.Sprintf("it speaks of %d records, more than stand before it", h.Size))
	case h.Size <= s.last.Size:
		return bad(Order, h.At, fmt.Sprintf("it speaks of %d records, and one before it of %d", h.Size, s.last.Size))
	}
	s.take(h, f.Seq)
	x.head, x.note, x.edge = h, c.Note, c.Edge
	return x, true
}

// take counts a head that is signed and in order.
func (s *scout) take(h checkpoint.Head, seq uint64) {
	if s.heads++; s.heads == 1 {
		s.first = h.At
	}
	s.last = h
	i := 0
	for i < len(s.behind) && s.behind[i] < h.Size {
		i++
	}
	s.behind = append(s.behind[i:], seq)
}
