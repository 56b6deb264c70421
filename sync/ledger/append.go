package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/punchd/punchd/sync/ledger/disk"
)

// failed is what a batch that failed may have left on the disk.
type failed struct {
	end    int64    // bytes of the segment at l.end that may be other than zero
	rolled []string // segments begun for it
}

// part is the stretch of a batch that stands in one segment.
type part struct {
	segment *segment
	file    disk.File
	off     int64
	first   uint64 // sequence of its first frame
	from    int    // where in the batch's frames it begins, in bytes
	to      int
}

// Append writes entries as one batch and returns when it is durable. After an
// error none of them counts: the place is wiped before the next batch takes it.
// A full disk is an ordinary error; the ledger goes on when there is room.
func (l *Ledger) Append(entries []Entry) (Written, error) {
	l.write.Lock()
	defer l.write.Unlock()
	if l.closed {
		return Written{}, ErrClosed
	}
	if err := l.check(entries); err != nil {
		return Written{}, err
	}
	if err := l.wipe(); err != nil {
		return Written{}, err
	}
	begin := time.Now()
	frames, parts := l.lay(entries)
	err := l.put(frames, parts)
	took := time.Since(begin)
	if err != nil {
		return Written{}, err
	}
	first := l.end.seq
	l.advance(parts, first+uint64(len(entries)))
	if used := l.end.off; used > l.end.segment.size/2 {
		l.spare.prepare()
	}
	return Written{First: first, Frames: frames, Sync: took}, nil
}

// check holds a batch to the bounds of the format.
func (l *Ledger) check(entries []Entry) error {
	if len(entries) == 0 || len(entries) > MaxBatch {
		return fmt.Errorf("%w: %d entries, 1 to %d go together", ErrTooLarge, len(entries), MaxBatch)
	}
	total := 0
	largest := min(MaxPayload, int(l.size)-headerBlock-frameHeader)
	for i := range entries {
		if n := len(entries[i].Payload); n > largest {
			return fmt.Errorf("%w: a payload of %d bytes, at most %d fit", ErrTooLarge, n, largest)
		}
		if entries[i].Kind == 0 {
			return errors.New("ledger: entry without a kind")
		}
		total += frameSize(len(entries[i].Payload))
	}
	if total > maxBatchBytes {
		return fmt.Errorf("%w: %d bytes, at most %d go together", ErrTooLarge, total, maxBatchBytes)
	}
	return nil
}

// lay encodes a batch and says where its frames go.
func (l *Ledger) lay(entries []Entry) ([]byte, []part) {
	size := 0
	for i := range entries {
		size += frameSize(len(entries[i].Payload))
	}
	frames := make([]byte, 0, size)
	parts := []part{{segment: l.end.segment, file: l.file, off: l.end.off, first: l.end.seq}}
	for i, e := range entries {
		f := Frame{Seq: l.end.seq + uint64(i), Entry: e, Index: uint16(i), Count: uint16(len(entries))}
		at := len(frames)
		frames = l.id.AppendFrame(frames, f)
		p := &parts[len(parts)-1]
		room := l.size
		if p.segment != nil {
			room = p.segment.size
		}
		if p.off+int64(len(frames)-p.from) > room {
			p.to = at
			parts = append(parts, part{off: headerBlock, first: f.Seq, from: at})
		}
	}
	parts[len(parts)-1].to = len(frames)
	return frames, parts
}

// put writes a batch and makes it durable. If that fails, l.failed says what
// must be wiped.
func (l *Ledger) put(frames []byte, parts []part) (err error) {
	left := &failed{end: l.end.off + int64(parts[0].to-parts[0].from)}
	defer func() {
		if err == nil {
			return
		}
		for _, p := range parts[1:] {
			if p.file != nil {
				err = errors.Join(err, p.file.Close())
			}
		}
		l.failed = left
	}()
	for i := range parts {
		p := &parts[i]
		if p.segment == nil {
			p.segment, p.file, err = l.roll(p.first, l.end.seq)
			if p.segment != nil {
				left.rolled = append(left.rolled, p.segment.name)
			}
			if err != nil {
				return err
			}
		}
		if p.from == p.to { // the segment that was full took nothing
			continue
		}
		if _, err = p.file.WriteAt(frames[p.from:p.to], p.off); err != nil {
			return fmt.Errorf("ledger: segment %s: write %d bytes at %d: %w", p.segment.name, p.to-p.from, p.off, err)
		}
	}
	for _, p := range parts {
		if p.from == p.to {
			continue
		}
		if err = p.file.Datasync(); err != nil {
			return fmt.Errorf("ledger: segment %s: %w", p.segment.name, err)
		}
	}
	return nil
}

// advance publishes a batch that is durable.
func (l *Ledger) advance(parts []part, next uint64) {
	last := parts[len(parts)-1]
	for _, p := range parts[:len(parts)-1] {
		if err := p.file.Close(); err != nil { // all it held is durable
			l.log.Warn("closing a full ledger segment failed", "segment", p.segment.name, "err", err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range parts[1:] {
		// Readers hold the old slice: it is never written to.
		l.segments = append(slices.Clip(l.segments), p.segment)
	}
	l.file = last.file
	l.end = position{last.segment, last.off + int64(last.to-last.from), next}
	for _, p := range parts {
		if p.from < p.to {
			l.index.note(p.segment.first, mark{p.first, p.off})
		}
	}
}

// wipe removes what a failed batch left, durably, before anything is written
// over it: no crash may find frames of two attempts side by side. Zeros are
// written even where the failed write never got to, so that every page of the
// place is dirty again and this fdatasync's success can be believed, whatever
// the kernel made of the failed one.
func (l *Ledger) wipe() error {
	if l.failed == nil {
		return nil
	}
	for _, name := range l.failed.rolled {
		if err := l.fs.Remove(filepath.Join(l.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("ledger: remove the segment of a batch that failed: %w", err)
		}
	}
	if len(l.failed.rolled) > 0 {
		if err := l.fs.SyncDir(l.dir); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
	}
	err := zero(l.file, l.end.off, l.failed.end)
	if err == nil {
		err = l.file.Datasync()
	}
	if err != nil {
		return fmt.Errorf("ledger: segment %s: wipe a batch that failed: %w", l.end.segment.name, err)
	}
	l.failed = nil
	return nil
}
