package ledger

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/punchd/punchd/sync/ledger/disk"
)

// recover finds the end of a ledger, wipes what was never finished, and takes
// up writing there.
func (l *Ledger) recover(lay *layout, cfg Config) error {
	l.id = lay.id
	floor := cfg.Floor
	if cfg.FloorOf != l.id {
		floor = 0
	}
	s, err := scanTail(l.fs, l.dir, lay, lay.start(floor, lay.holding(floor)), floor)
	if err != nil {
		return err
	}
	if first := lay.segments[0]; first.durable > 0 {
		l.report.add(Damage{Segment: first.name, Last: first.durable - 1})
	}
	for _, d := range s.damage {
		l.report.add(d)
	}
	l.report.Torn = s.torn
	if err := l.removeAfter(lay, s); err != nil {
		return err
	}
	l.segments = lay.segments
	at := s.behind
	if n := len(l.segments); n > 0 && l.segments[n-1].first == s.next {
		at = position{l.segments[n-1], headerBlock, s.next}
	}
	if at.seq != s.next || len(l.segments) == 0 {
		// Damage touches the end. It is left as it is, to be repaired from a
		// second copy: writing goes on in a segment of its own.
		err = l.startSegment(s.next)
	} else {
		err = l.resume(s, at)
	}
	if err != nil {
		return err
	}
	if s.last.segment != nil && s.behind.seq > floor {
		return l.rewrite(s.last, s.behind)
	}
	return nil
}

// add notes damage, joining what touches.
func (r *Report) add(d Damage) {
	if n := len(r.Damage); n > 0 && r.Damage[n-1].Last+1 == d.First {
		r.Damage[n-1].Last = d.Last
		return
	}
	r.Damage = append(r.Damage, d)
}

// removeAfter removes the segments behind the end. All they can hold is the
// end of a batch that was never finished.
func (l *Ledger) removeAfter(lay *layout, s *scan) error {
	n := len(lay.segments)
	for n > 0 && lay.segments[n-1].first > s.next {
		n--
		if err := l.fs.Remove(filepath.Join(l.dir, lay.segments[n].name)); err != nil {
			return fmt.Errorf("ledger: remove a segment that was never finished: %w", err)
		}
		if l.report.Torn == nil {
			l.report.Torn = &Torn{Segment: lay.segments[n].name, Offset: headerBlock, First: s.next}
		}
	}
	if n == len(lay.segments) {
		return nil
	}
	lay.segments = lay.segments[:n]
	if err := l.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

// resume goes on writing at a place in the last segment, after making sure
// that nothing but zeros stands behind it.
func (l *Ledger) resume(s *scan, at position) error {
	seg := at.segment
	f, err := l.fs.Open(filepath.Join(l.dir, seg.name), true)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	l.file, l.end = f, at
	if used := s.used[seg]; used > at.off {
		if l.report.Torn == nil {
			l.report.Torn = &Torn{Segment: seg.name, Offset: at.off, First: at.seq}
		}
		err = zero(f, at.off, used)
	}
	if err == nil && seg.length < seg.size {
		err = zero(f, seg.length, seg.size)
	}
	if err == nil {
		err = f.Datasync()
	}
	if err != nil {
		return fmt.Errorf("ledger: segment %s: wipe behind %d: %w", seg.name, at.off, err)
	}
	seg.length = max(seg.length, seg.size)
	return nil
}

// rewrite writes the last batch over itself. It may be in the page cache and
// not on the disk: if the fdatasync for it failed and the process then ended,
// the pages count as clean, and no later fdatasync would write them. Written
// again they are dirty again, and a success is one that can be believed.
func (l *Ledger) rewrite(from, to position) error {
	for _, seg := range l.segments {
		if seg.first < from.segment.first || seg.first > to.segment.first {
			continue
		}
		begin, end := int64(headerBlock), min(seg.size, seg.length)
		if seg == from.segment {
			begin = from.off
		}
		if seg == to.segment {
			end = to.off
		}
		if err := rewriteRange(l.fs, filepath.Join(l.dir, seg.name), begin, end); err != nil {
			return fmt.Errorf("ledger: segment %s: make the last batch durable: %w", seg.name, err)
		}
	}
	return nil
}

func rewriteRange(fs disk.FS, path string, from, to int64) error {
	f, err := fs.Open(path, true)
	if err != nil {
		return err
	}
	b := make([]byte, to-from)
	n, err := f.ReadAt(b, from)
	if err == nil || errors.Is(err, io.EOF) {
		_, err = f.WriteAt(b[:n], from)
	}
	if err == nil {
		err = f.Datasync()
	}
	return errors.Join(err, f.Close())
}

// zero writes zeros from one offset to another.
func zero(f disk.File, from, to int64) error {
	for from < to {
		n := min(to-from, int64(len(zeroChunk)))
		if _, err := f.WriteAt(zeroChunk[:n], from); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// zeroChunk is never written to.
var zeroChunk = make([]byte, 1<<20)
