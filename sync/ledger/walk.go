package ledger

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/punchd/punchd/sync/ledger/disk"
)

// How much of a file is read at once, in bytes: little at first, since a
// look-up wants one frame, then more, since a reader that goes on will go on.
const (
	chunkMin  = 16 << 10
	chunkMax  = 256 << 10
	diskBlock = 4096 // what is passed over where the disk can't read
)

// window is the part of a file that was read last.
type window struct {
	f     disk.File
	buf   []byte
	off   int64
	chunk int
}

// view gives what the file holds from off on and before end: n bytes at
// least, unless the file or end comes first.
func (w *window) view(off int64, n int, end int64) ([]byte, error) {
	n = int(min(int64(n), end-off))
	if n <= 0 {
		return nil, nil
	}
	if off >= w.off && off+int64(n) <= w.off+int64(len(w.buf)) {
		have := w.buf[off-w.off:]
		return have[:min(int64(len(have)), end-off)], nil
	}
	w.chunk = min(max(2*w.chunk, chunkMin), chunkMax)
	return w.fill(off, int(min(int64(max(n, w.chunk)), end-off)))
}

// fill reads n bytes from the file, fewer at its end.
func (w *window) fill(off int64, n int) ([]byte, error) {
	if cap(w.buf) < n {
		w.buf = make([]byte, n)
	}
	w.buf, w.off = w.buf[:n], off
	got, err := w.f.ReadAt(w.buf, off)
	if err != nil && !errors.Is(err, io.EOF) {
		w.buf = w.buf[:0]
		return nil, err
	}
	w.buf = w.buf[:got]
	return w.buf, nil
}

// walker finds the frames of one segment in the order they stand there. Bytes
// that are no frame are passed over, eight at a time.
type walker struct {
	id     Identity
	win    window
	first  uint64 // of the segment
	lo, hi uint64 // the sequences wanted: lo <= seq < hi
	off    int64  // where to go on
	end    int64  // where to stop
	// tolerant: what the disk can't read is passed over like other bytes that
	// are no frame, instead of being an error.
	tolerant bool

	used int64 // just behind the last byte seen that is not zero
}

var errUnreadable = errors.New("unreadable block")

// look gives the bytes at off, n of them if the segment has so many.
func (w *walker) look(n int) ([]byte, error) {
	b, err := w.win.view(w.off, n, w.end)
	if err == nil || !w.tolerant {
		return b, err
	}
	// One bad sector fails a large read as a whole: read up to the next block.
	stop := min(w.end, (w.off/diskBlock+1)*diskBlock)
	if b, err = w.win.fill(w.off, int(stop-w.off)); err != nil {
		return nil, errUnreadable
	}
	return b, nil
}

// next gives the next frame and where it stands. Its payload is valid until
// the call after. ok is false when there is none before the end.
func (w *walker) next() (f Frame, at int64, ok bool, err error) {
	for w.off < w.end {
		b, err := w.look(frameHeader)
		if err == errUnreadable {
			w.off = min(w.end, (w.off/diskBlock+1)*diskBlock)
			w.used = w.off
			continue
		}
		if err != nil {
			return f, 0, false, err
		}
		if len(b) < frameAlign { // the file was cut, or is at its end
			for i, c := range b {
				if c != 0 {
					w.used = w.off + int64(i) + 1
				}
			}
			return f, 0, false, nil
		}
		if n := zeros(b); n > 0 {
			w.off += int64(n)
			continue
		}
		f, size, err := w.frame(b)
		if err != nil {
			return f, 0, false, err
		}
		at := w.off
		w.off += int64(max(size, frameAlign))
		w.used = w.off
		if size > 0 && f.Seq >= w.lo && f.Seq < w.hi {
			return f, at, true, nil
		}
	}
	return f, 0, false, nil
}

// zeros counts the zero bytes that b begins with, in whole words.
func zeros(b []byte) int {
	n := 0
	for len(b)-n >= frameAlign && binary.LittleEndian.Uint64(b[n:]) == 0 {
		n += frameAlign
	}
	return n
}

// frame reads the frame that b, the bytes at off, begins with. A size of 0
// says that there is none; an error is one of reading.
func (w *walker) frame(b []byte) (f Frame, size int, err error) {
	if len(b) < frameHeader {
		return f, 0, nil
	}
	n := binary.LittleEndian.Uint32(b)
	seq := binary.LittleEndian.Uint64(b[8:])
	// The cheap checks come first: behind a damaged place every word is tried.
	// A frame cannot say a sequence that would not have fitted before it.
	if n < frameHeader || n > frameHeader+MaxPayload || seq < w.first || seq-w.first > uint64(w.off-headerBlock)/frameHeader {
		return f, 0, nil
	}
	if need := frameSize(int(n) - frameHeader); need > len(b) {
		b, err = w.look(need)
		if err != nil && err != errUnreadable {
			return f, 0, err
		}
	}
	f, size, err = w.id.ParseFrame(b)
	if err != nil {
		return Frame{}, 0, nil
	}
	return f, size, nil
}
