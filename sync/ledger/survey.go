package ledger

import (
	"errors"
	"fmt"

	"github.com/punchd/punchd/sync/ledger/disk"
)

// Survey is what a ledger's files said at one moment, seen without the lock.
type Survey struct {
	Identity Identity
	Next     uint64 // the sequence behind the last record that is whole and proved
	Segments int
	Size     int64 // of the segments' files, in bytes
	Headers  []HeaderProblem
	// Torn is what stands behind the end: a batch that was never finished, or is
	// being written just now. Nil if nothing does.
	Torn *Torn

	fs    disk.FS
	dir   string
	index index
	view  view
}

// HeaderProblem is what is wrong with a segment's header.
type HeaderProblem struct {
	Segment string // file
	First   uint64 // the sequence that the file's name tells
	Foreign bool   // it is not read at all: of another ledger, or a second one with the same start
	Problem string
}

func (p HeaderProblem) String() string { return p.Segment + ": " + p.Problem }

// errMoving says that the end of a ledger was not found, so often it moved.
var errMoving = errors.New("it is written to faster than its end can be found; try again")

// Look finds out what a ledger is and where it ends. A nil fs is disk.OS.
func Look(fs disk.FS, dir string) (*Survey, error) {
	if fs == nil {
		fs = disk.OS
	}
	f := &follower{fs: fs, dir: dir}
	v, err := f.look()
	switch {
	case err != nil:
		return nil, err
	case f.layout == nil:
		return nil, fmt.Errorf("ledger: %s: %w", dir, ErrEmpty)
	case v.end.segment == nil:
		return nil, fmt.Errorf("ledger: %s: %w", dir, errMoving)
	}
	s := &Survey{Identity: v.id, Next: v.end.seq, Segments: len(v.segments), Headers: f.layout.headers, Torn: behind(v, f.seen), fs: fs, dir: dir, view: v}
	for _, seg := range v.segments {
		s.Size += seg.length
	}
	return s, nil
}

// behind is what stands behind the end, if anything does.
func behind(v view, s *scan) *Torn {
	if s.torn != nil {
		return s.torn
	}
	if s.used[v.end.segment] > v.end.off {
		return &Torn{Segment: v.end.segment.name, Offset: v.end.off, First: v.end.seq}
	}
	if last := v.segments[len(v.segments)-1]; last.first > v.end.seq {
		return &Torn{Segment: last.name, Offset: headerBlock, First: v.end.seq}
	}
	return nil
}

// Reader gives a reader that begins at a sequence and ends where the ledger
// ended when it was looked at.
func (s *Survey) Reader(from uint64) *Reader {
	return &Reader{fs: s.fs, dir: s.dir, index: &s.index, seq: from, refresh: func() (view, error) { return s.view, nil }}
}

// Place is where the frame that Next has given last stands.
func (r *Reader) Place(f *Frame) (segment string, off int64) {
	if r.seg == nil {
		return "", 0
	}
	return r.seg.name, r.good - int64(frameSize(len(f.Payload)))
}

// Size is what the frame takes in a segment, in bytes.
func (f *Frame) Size() int64 { return int64(frameSize(len(f.Payload))) }
