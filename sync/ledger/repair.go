package ledger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// ErrNoPlace says that frames can't be written back: what stands around them
// does not tell where they stood, or leaves another room than they need.
var ErrNoPlace = errors.New("there is no place for them")

// Repair writes frames back that can't be read any more, from a copy of them:
// whole frames of this ledger, in order and without a gap, as they stood in it.
// It returns nil when they are durable and read back as they should. What can be
// read is never written over by anything but itself.
//
// The format leaves each frame one place: right behind the one before, or at the
// start of its segment. So the record on one side of a damaged stretch tells
// where it begins or ends, and those on both sides must leave exactly the room.
func (l *Ledger) Repair(frames []byte) error {
	all, err := l.parse(frames)
	if err != nil {
		return err
	}
	l.write.Lock()
	defer l.write.Unlock()
	if l.closed {
		return ErrClosed
	}
	if last := all[len(all)-1].seq; last >= l.end.seq {
		return fmt.Errorf("ledger: repair: there is no record %d: %w", last, ErrNoPlace)
	}
	for len(all) > 0 {
		seg, end := l.holding(all[0].seq)
		n := 0
		for n < len(all) && all[n].seq < end {
			n++
		}
		if err := l.mend(seg, end, all[:n]); err != nil {
			return fmt.Errorf("ledger: repair records %d to %d: %w", all[0].seq, all[n-1].seq, err)
		}
		all = all[n:]
	}
	return nil
}

// wholeFrame is a frame with its bytes.
type wholeFrame struct {
	seq, batch uint64
	bytes      []byte
}

func (l *Ledger) parse(frames []byte) (all []wholeFrame, err error) {
	for len(frames) > 0 {
		f, size, err := l.id.ParseFrame(frames)
		if err != nil {
			return nil, fmt.Errorf("ledger: repair: %w", err)
		}
		if len(all) > 0 && f.Seq != all[len(all)-1].seq+1 {
			return nil, fmt.Errorf("ledger: repair: record %d behind %d", f.Seq, all[len(all)-1].seq)
		}
		all = append(all, wholeFrame{f.Seq, f.batch(), frames[:size]})
		frames = frames[size:]
	}
	if len(all) == 0 {
		return nil, errors.New("ledger: repair: no frames")
	}
	return all, nil
}

// holding gives the segment whose place a record has, nil if that is gone, and
// the sequence at which its place ends.
func (l *Ledger) holding(seq uint64) (s *segment, end uint64) {
	end = l.end.seq
	for _, next := range l.segments {
		if next.first > seq {
			return s, min(end, next.first)
		}
		s = next
	}
	return s, end
}

// mend writes frames back into their segment. Those that don't fit there, or
// have none, get one of their own: theirs is gone.
func (l *Ledger) mend(seg *segment, end uint64, all []wholeFrame) error {
	if seg == nil {
		return l.insert(all)
	}
	at, room, err := l.place(seg, end, all)
	if err != nil {
		return err
	}
	n, used := 0, int64(0)
	for n < len(all) && used+int64(len(all[n].bytes)) <= room {
		used += int64(len(all[n].bytes))
		n++
	}
	if n < len(all) && all[len(all)-1].seq+1 != end {
		return ErrNoPlace // a segment can't begin where the next record stands in this one
	}
	if n > 0 {
		if err := l.writeBack(seg, at, all[:n]); err != nil {
			return err
		}
	}
	if n < len(all) {
		return l.insert(all[n:])
	}
	return nil
}

// place finds where frames stood in a segment, and how much room there is.
func (l *Ledger) place(seg *segment, end uint64, all []wholeFrame) (at, room int64, err error) {
	f, err := l.fs.Open(filepath.Join(l.dir, seg.name), false)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	first, last := all[0].seq, all[len(all)-1].seq
	begin, behind := int64(-1), int64(-1)
	if first == seg.first {
		begin = headerBlock
	}
	limit := seg.size
	if seg == l.end.segment {
		limit = l.end.off
		if last+1 == l.end.seq {
			behind = limit
		}
	}
	w := walker{id: l.id, win: window{f: f}, first: seg.first, lo: seg.first, hi: end, off: headerBlock, end: limit, tolerant: true}
	for {
		f, off, ok, err := w.next()
		if err != nil {
			return 0, 0, err
		}
		if !ok {
			break
		}
		switch {
		case f.Seq+1 == first:
			begin = w.off
		case f.Seq > last:
			limit = off
			if f.Seq == last+1 {
				behind = off
			}
		}
		if f.Seq > last {
			break
		}
	}
	return between(begin, behind, limit, all)
}

// between gives the place of frames that begin behind one offset, and end before
// another; -1 is for one that is not known.
func between(begin, behind, limit int64, all []wholeFrame) (at, room int64, err error) {
	size := int64(0)
	for _, f := range all {
		size += int64(len(f.bytes))
	}
	switch {
	case begin < 0 && behind < 0:
		return 0, 0, fmt.Errorf("neither the record before nor the one behind can be read: %w", ErrNoPlace)
	case begin >= 0 && behind >= 0 && behind-begin != size, behind >= 0 && behind-size < headerBlock:
		return 0, 0, fmt.Errorf("they have %d bytes, and %d are between the records around them: %w", size, behind-max(begin, headerBlock), ErrNoPlace)
	case begin < 0:
		begin = behind - size
	}
	return begin, limit - begin, nil
}

// writeBack writes frames at their place, durably, and reads them.
func (l *Ledger) writeBack(seg *segment, at int64, all []wholeFrame) error {
	var b []byte
	for _, f := range all {
		b = append(b, f.bytes...)
	}
	path := filepath.Join(l.dir, seg.name)
	f, err := l.fs.Open(path, true)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	if err == nil {
		err = f.Datasync()
	}
	if err == nil {
		got := make([]byte, len(b))
		if _, err = f.ReadAt(got, at); err == nil && !bytes.Equal(got, b) {
			err = errors.New("what was written is not what is read")
		}
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("segment %s: %w", seg.name, err)
	}
	return nil
}

// insert makes segments for frames whose own is gone.
func (l *Ledger) insert(all []wholeFrame) error {
	for len(all) > 0 {
		n, used := 0, int64(headerBlock)
		for n < len(all) && used+int64(len(all[n].bytes)) <= l.size {
			used += int64(len(all[n].bytes))
			n++
		}
		if n == 0 {
			return fmt.Errorf("a frame of %d bytes: %w", len(all[0].bytes), ErrNoPlace)
		}
		// Before it has its frames it is damaged like its place without it.
		seg, f, err := l.roll(all[0].seq, all[0].batch)
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return err
		}
		l.mu.Lock()
		i, _ := slices.BinarySearchFunc(l.segments, seg.first, func(s *segment, seq uint64) int { return cmp.Compare(s.first, seq) })
		l.segments = slices.Insert(slices.Clone(l.segments), i, seg) // readers hold the old slice
		l.mu.Unlock()
		if err := l.writeBack(seg, headerBlock, all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// RepairHeaders writes the headers of segments anew of which a copy is damaged,
// and says which. What a header told that is lost with both copies is read from
// the segment's name, its length, and its first record.
func (l *Ledger) RepairHeaders() (names []string, err error) {
	l.write.Lock()
	defer l.write.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	var errs []error
	for _, s := range l.segments {
		if !s.hurt {
			continue
		}
		if err := l.repairHeader(s); err != nil {
			errs = append(errs, fmt.Errorf("ledger: segment %s: repair its header: %w", s.name, err))
			continue
		}
		s.hurt = false
		names = append(names, s.name)
	}
	return names, errors.Join(errs...)
}

func (l *Ledger) repairHeader(s *segment) error {
	path := filepath.Join(l.dir, s.name)
	whole := *s
	if s.id != l.id {
		f, err := l.fs.Open(path, false)
		if err != nil {
			return err
		}
		defer f.Close()
		w := walker{id: l.id, win: window{f: f}, first: s.first, lo: s.first, hi: s.first + 1, off: headerBlock, end: s.size, tolerant: true}
		frame, at, ok, err := w.next()
		if err != nil || !ok || at != headerBlock {
			return errors.Join(err, errors.New("its first record can't be read"))
		}
		whole.header = header{l.id, s.first, frame.batch(), s.size}
	}
	if err := writeHeader(l.fs, path, &whole); err != nil {
		return err
	}
	back, problem, err := readHeader(l.fs, path)
	if err == nil && (problem != "" || back.header != whole.header) {
		err = errors.New("what was written is not what is read")
	}
	return err
}
