package ledger

import (
	"fmt"
	"math"
	"path/filepath"

	"github.com/punchd/punchd/sync/ledger/disk"
)

// Damage is a stretch of records that was durable once and can't be read.
type Damage struct {
	Segment     string // file in which the reading stopped
	Offset      int64  // where in it, in bytes
	First, Last uint64 // the sequences lost, both inclusive
}

// Error says where the damage is.
func (d *Damage) Error() string {
	which := fmt.Sprintf("records %d to %d", d.First, d.Last)
	if d.First == d.Last {
		which = fmt.Sprintf("record %d", d.First)
	}
	return fmt.Sprintf("ledger: %s can't be read: %s is damaged from byte %d on", which, d.Segment, d.Offset)
}

// Torn is the batch that was being written when the power went or the process
// ended. Nobody was ever told that it is durable.
type Torn struct {
	Segment string
	Offset  int64  // where the batch begins, in bytes
	First   uint64 // sequence of its first record; it is given again
	Frames  int    // how many of its frames are whole
	Count   int    // how many it would have had, 0 if no frame of it tells
}

// position is a place between two frames.
type position struct {
	segment *segment
	off     int64  // in it, in bytes
	seq     uint64 // of the frame that stands there or will
}

// tail finds where the durable part of a ledger ends. It is fed with segments
// and their frames in order, from the start of a batch on.
//
// The reasoning is that of the committer turned round: a batch is written only
// after the one before it has been made durable, so any frame is proof of every
// batch before its own, whatever has become of that since.
type tail struct {
	// next is the first sequence that nothing proves to be durable.
	next uint64
	// behind is where the frames proved to be durable end. If its sequence is
	// not next, some between the two are missing.
	behind position
	proved position // just behind the last frame proved, whatever is missing before
	last   position // where the last whole batch begins
	open   *openBatch
	damage []Damage
	torn   *Torn
}

// openBatch is the batch that begins at next, while it is not whole.
type openBatch struct {
	count  int // 0 if no frame has told it yet
	frames int
	start  position // of the first frame seen
	behind position // just behind the last one seen
	gaps   []Damage // frames passed over between them
	gap    position // where the first of them would be
}

// segment goes on to the next segment.
func (t *tail) segment(s *segment) {
	t.prove(s.durable)
	if t.open == nil && t.next == s.first {
		t.behind = position{s, headerBlock, s.first}
		t.proved = t.behind
	}
}

// frame takes in the frame of size bytes at a place.
func (t *tail) frame(s *segment, at int64, size int, f *Frame) {
	if f.batch() < t.next {
		return // left over from an attempt that failed, before what took its place
	}
	t.prove(f.batch())
	if t.open == nil {
		start := t.behind // where the batch's first frame is missed
		start.seq = f.batch()
		t.open = &openBatch{count: int(f.Count), start: position{s, at, f.Seq}, behind: start}
	}
	b := t.open
	if b.count == 0 {
		b.count = int(f.Count)
	}
	if int(f.Count) != b.count || f.Seq < b.behind.seq {
		return // of another attempt at the same batch
	}
	if f.Seq > b.behind.seq {
		if len(b.gaps) == 0 {
			b.gap = b.behind
		}
		b.gaps = append(b.gaps, b.behind.lost(f.Seq))
	}
	b.frames++
	b.behind = position{s, at + int64(size), f.Seq + 1}
	if b.frames == b.count {
		t.last, t.behind, t.proved, t.next, t.open = b.start, b.behind, b.behind, b.behind.seq, nil
	}
}

// lost is the damage from p up to, not including, a sequence.
func (p position) lost(until uint64) Damage {
	d := Damage{Offset: p.off, First: p.seq, Last: until - 1}
	if p.segment != nil {
		d.Segment = p.segment.name
	}
	return d
}

// prove takes in that every record before a sequence was durable once.
func (t *tail) prove(seq uint64) {
	if b := t.open; b != nil && t.next < seq {
		if b.count > 0 {
			t.close(min(seq, t.next+uint64(b.count)))
		} else {
			t.close(max(seq, b.behind.seq))
		}
	}
	if t.next < seq {
		p := t.behind
		p.seq = t.next
		t.damage = append(t.damage, p.lost(seq))
		t.next = seq
	}
}

// close ends the open batch before a sequence: it was durable, and what is
// missing of it is damage.
func (t *tail) close(until uint64) {
	b := t.open
	t.damage = append(t.damage, b.gaps...)
	if b.behind.seq < until {
		t.damage = append(t.damage, b.behind.lost(until))
	}
	t.behind, t.proved, t.next, t.open = b.behind, b.behind, until, nil
	if len(b.gaps) > 0 {
		t.behind = b.gap // the last batch is its own only proof, and not whole
	}
}

// finish says that nothing follows. Records before the floor are known to be
// durable from elsewhere; what is left of an open batch never was.
func (t *tail) finish(floor uint64) {
	if b := t.open; b != nil && t.next < floor {
		t.close(max(t.next+uint64(b.count), b.behind.seq))
	}
	t.prove(floor)
	if b := t.open; b != nil {
		t.torn = &Torn{Segment: b.start.segment.name, Offset: b.start.off, First: t.next, Frames: b.frames, Count: b.count}
	}
}

// scan is what reading the end of a ledger gives.
type scan struct {
	tail
	used map[*segment]int64 // just behind the last byte that is not zero
}

// scanTail reads a ledger to its end. What the disk can't read is an error:
// nothing may be concluded from it.
func scanTail(fs disk.FS, dir string, lay *layout, from start, floor uint64) (*scan, error) {
	s := &scan{tail: tail{next: from.seq, behind: from.position, proved: from.position}, used: map[*segment]int64{}}
	if from.within {
		before := from.segment.first - from.seq // frames of the batch that stand in the segments before
		s.open = &openBatch{frames: int(before), start: from.position, behind: position{from.segment, from.off, from.segment.first}}
	}
	for i, seg := range lay.segments {
		if seg.first < from.segment.first {
			continue
		}
		w := walker{id: lay.id, first: seg.first, lo: seg.first, hi: math.MaxUint64, off: headerBlock, end: seg.size}
		if i+1 < len(lay.segments) {
			w.hi = lay.segments[i+1].first
		}
		if seg == from.segment {
			w.off = from.off
		} else {
			s.segment(seg)
		}
		if err := s.walk(fs, dir, seg, &w); err != nil {
			return nil, fmt.Errorf("ledger: segment %s: %w", seg.name, err)
		}
	}
	s.finish(floor)
	return s, nil
}

// walk feeds the tail with one segment.
func (s *scan) walk(fs disk.FS, dir string, seg *segment, w *walker) error {
	f, err := fs.Open(filepath.Join(dir, seg.name), false)
	if err != nil {
		return err
	}
	defer f.Close()
	w.win.f = f
	for {
		frame, at, ok, err := w.next()
		if err != nil {
			return err
		}
		if !ok {
			s.used[seg] = w.used
			return nil
		}
		s.frame(seg, at, frameSize(len(frame.Payload)), &frame)
	}
}

// start is where a scan may begin: at a place between two batches, or at a
// segment that begins within a batch known to be durable.
type start struct {
	position
	within bool // the batch begins before the segment, at seq
}

// start gives the last place where a scan may begin that finds every batch
// behind the floor, or if the floor is 0, behind the last segment's start.
func (lay *layout) start(floor uint64, at int) start {
	proof := floor
	for ; at > 0; at-- {
		s := lay.segments[at]
		if s.durable == s.first {
			return start{position{s, headerBlock, s.first}, false}
		}
		// A segment whose header is lost has a durable of 0, and proves nothing.
		if s.durable > 0 && s.durable < proof {
			return start{position{s, headerBlock, s.durable}, true}
		}
		proof = max(proof, s.durable)
	}
	s := lay.segments[0]
	return start{position{s, headerBlock, s.durable}, false}
}

// holding gives the index of the segment that holds a sequence.
func (lay *layout) holding(seq uint64) int {
	at := 0
	for i, s := range lay.segments {
		if s.first <= seq {
			at = i
		}
	}
	return at
}
