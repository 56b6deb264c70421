package ledger

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"

	"github.com/punchd/punchd/sync/ledger/disk"
)

// Reader reads frames in order. It is used by one goroutine at a time.
type Reader struct {
	fs      disk.FS
	dir     string
	id      Identity
	index   *index
	refresh func() (view, error)

	view view
	seq  uint64   // the frame wanted
	seg  *segment // the one that is open, nil if none is
	file disk.File
	w    walker
	good int64 // in seg, just behind the last frame that was readable
	note int64 // in seg, where the index was told of last
}

// view is how far a reader may read: all below end is known to be durable, so
// that what is missing there is damage.
type view struct {
	id       Identity
	segments []*segment
	end      position
}

// Seq is the sequence that the next call of Next begins to look for.
func (r *Reader) Seq() uint64 { return r.seq }

// Next gives the next frame; its payload is valid until the call after. At the
// end it returns [io.EOF], and goes on when it is called after more has been
// appended. A stretch that can't be read is returned once as a [*Damage], after
// which Next goes on behind it. Any other error is one of the file system.
func (r *Reader) Next() (Frame, error) {
	for {
		if r.seq >= r.view.end.seq {
			if err := r.look(); err != nil {
				return Frame{}, err
			}
		}
		if r.seg == nil {
			if err := r.enter(); err != nil {
				return Frame{}, err
			}
		}
		f, at, ok, err := r.w.next()
		if err != nil {
			return Frame{}, fmt.Errorf("ledger: segment %s: %w", r.seg.name, err)
		}
		if !ok {
			if err := r.leave(); err != nil {
				return Frame{}, err
			}
			continue
		}
		if f.Seq < r.seq {
			continue
		}
		if f.Seq > r.seq {
			r.w.off = at // for the next call
			return Frame{}, r.lost(f.Seq)
		}
		if at-r.note >= markEvery {
			r.index.note(r.seg.first, mark{f.Seq, at})
			r.note = at
		}
		r.seq, r.good = r.seq+1, r.w.off
		return f, nil
	}
}

// look finds out whether there is more than at the last look.
func (r *Reader) look() error {
	v, err := r.refresh()
	if err != nil {
		return err
	}
	r.view, r.id = v, v.id
	if r.seq >= v.end.seq {
		return io.EOF
	}
	if r.seg != nil {
		r.bound()
	}
	return nil
}

// lost passes over the records before a sequence.
func (r *Reader) lost(until uint64) error {
	d := &Damage{First: r.seq, Last: until - 1}
	if r.seg != nil {
		d.Segment, d.Offset = r.seg.name, r.good
	}
	r.seq = until
	return d
}

// enter opens the segment that holds the frame wanted.
func (r *Reader) enter() error {
	i, found := slices.BinarySearchFunc(r.view.segments, r.seq, func(s *segment, seq uint64) int { return cmp.Compare(s.first, seq) })
	if !found {
		i--
	}
	if i < 0 {
		return r.lost(min(r.view.segments[0].first, r.view.end.seq))
	}
	seg := r.view.segments[i]
	f, err := r.fs.Open(filepath.Join(r.dir, seg.name), false)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	at := max(r.index.find(seg.first, r.seq).off, headerBlock)
	r.seg, r.file, r.good, r.note = seg, f, at, at
	r.w = walker{id: r.id, win: window{f: f, buf: r.w.win.buf[:0]}, first: seg.first, lo: seg.first, off: at, tolerant: true}
	r.bound()
	return nil
}

// bound says how far the open segment may be read.
func (r *Reader) bound() {
	r.w.end, r.w.hi = r.seg.size, r.view.end.seq
	if r.seg.first == r.view.end.segment.first {
		r.w.end = r.view.end.off
	}
	for _, s := range r.view.segments {
		if s.first > r.seg.first {
			r.w.hi = min(r.w.hi, s.first)
			break
		}
	}
}

// leave closes a segment that holds no more. If it ought to, that is damage.
func (r *Reader) leave() error {
	until := r.w.hi
	if until >= r.view.end.seq && r.seq >= until {
		return nil // the end; the file stays open, since it may grow
	}
	var err error
	if until > r.seq {
		err = r.lost(until)
	}
	r.closeFile()
	return err
}

func (r *Reader) closeFile() {
	if r.file != nil {
		r.file.Close() // opened for reading: nothing can be lost by it
	}
	r.file, r.seg = nil, nil
}

// Close gives back what the reader holds.
func (r *Reader) Close() error {
	r.closeFile()
	return nil
}

// mark says where a frame stands in a segment.
type mark struct {
	seq uint64
	off int64 // in bytes
}

// The index holds a mark every markEvery bytes, for so many segments.
const (
	markEvery    = 64 << 10
	markSegments = 64
)

// index remembers where some frames stand, so that a reader need not begin at
// the start of their segment. It forgets freely. A nil index remembers nothing.
type index struct {
	mu    sync.Mutex
	marks map[uint64][]mark // by first sequence of the segment, in order
}

// note remembers a place if none is known shortly before it.
func (x *index) note(segment uint64, m mark) {
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	marks, known := x.marks[segment]
	if !known && len(x.marks) >= markSegments {
		for other := range x.marks {
			delete(x.marks, other)
			break
		}
	}
	i, found := slices.BinarySearchFunc(marks, m.off, func(m mark, off int64) int { return cmp.Compare(m.off, off) })
	if found || i > 0 && m.off-marks[i-1].off < markEvery || i == 0 && m.off-headerBlock < markEvery {
		return
	}
	if x.marks == nil {
		x.marks = map[uint64][]mark{}
	}
	x.marks[segment] = slices.Insert(marks, i, m)
}

// find gives the last place known at or before a frame.
func (x *index) find(segment, seq uint64) mark {
	if x == nil {
		return mark{}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	marks := x.marks[segment]
	i, found := slices.BinarySearchFunc(marks, seq, func(m mark, seq uint64) int { return cmp.Compare(m.seq, seq) })
	if found {
		return marks[i]
	}
	if i == 0 {
		return mark{}
	}
	return marks[i-1]
}
