package buffer

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"github.com/punchd/punchd/sync/ledger"
)

// Salvage is what the buffers moved aside still hold of some records.
type Salvage struct {
	id     ledger.Identity
	paths  []string
	places []place // by sequence
	file   *os.File
	open   uint16 // index in paths of file
}

// place says where a frame stands.
type place struct {
	seq  uint64
	off  int64
	size uint32
	file uint16 // index in paths
}

// maxSalvage bounds the files that are searched, in bytes each: Badger's have
// 32 MiB at most.
const maxSalvage = 256 << 20

// Salvage searches the buffers moved aside for records of a ledger from first to
// last. Badger is not asked: a buffer it stumbled over may end the process. A
// frame is found by its sequence and the check sum that begins with the ledger's
// salt, wherever it stands in a file.
func (b *Buffer) Salvage(id ledger.Identity, first, last uint64) (*Salvage, error) {
	s := &Salvage{id: id}
	dirs, err := suspectPaths(b.dir)
	if err != nil {
		return nil, err
	}
	for _, dir := range slices.Backward(dirs) { // what the newest says goes
		entries, err := os.ReadDir(dir)
		if err != nil { // a file, or not readable: then nothing is to be had there
			b.log.Warn("a buffer moved aside can't be searched", "path", dir, "err", err)
			continue
		}
		for _, e := range entries {
			if err := s.search(filepath.Join(dir, e.Name()), first, last); err != nil {
				b.log.Warn("a file of a buffer moved aside can't be searched", "path", dir, "file", e.Name(), "err", err)
			}
		}
	}
	slices.SortStableFunc(s.places, func(a, b place) int { return cmp.Compare(a.seq, b.seq) })
	s.places = slices.CompactFunc(s.places, func(a, b place) bool { return a.seq == b.seq })
	return s, nil
}

// search notes the frames in a file.
func (s *Salvage) search(path string, first, last uint64) error {
	if len(s.paths) > 1<<15 {
		return nil
	}
	b, err := readSuspect(path)
	if err != nil {
		return err
	}
	found := len(s.places)
	for seq, at := range frames(b, &s.id, first, last) {
		s.places = append(s.places, place{seq, int64(at.off), uint32(at.size), uint16(len(s.paths))})
	}
	if len(s.places) > found {
		s.paths = append(s.paths, path)
	}
	return nil
}

// readSuspect reads a file of a buffer moved aside, nothing if it is none of
// Badger's.
func readSuspect(path string) ([]byte, error) {
	fi, err := os.Lstat(path)
	if err != nil || !fi.Mode().IsRegular() || fi.Size() > maxSalvage {
		return nil, err
	}
	return os.ReadFile(path)
}

// span is where a frame stands.
type span struct{ off, size int }

// frames finds the frames of a ledger from first to last, wherever they stand.
func frames(b []byte, id *ledger.Identity, first, last uint64) iter.Seq2[uint64, span] {
	return func(yield func(uint64, span) bool) {
		for off := 0; off+minFrame <= len(b); {
			// The cheap checks first: nearly no place is that of a frame.
			seq, n := binary.LittleEndian.Uint64(b[off+8:]), binary.LittleEndian.Uint32(b[off:])
			if seq < first || seq > last || b[off+16] == 0 || n < minFrame || n > minFrame+ledger.MaxPayload {
				off++
				continue
			}
			f, size, err := id.ParseFrame(b[off:])
			if err != nil {
				off++
				continue
			}
			if !yield(f.Seq, span{off, size}) {
				return
			}
			off += size
		}
	}
}

// minFrame is the size of a frame without a payload.
const minFrame = 24

// Next gives the first sequence at or behind one of which there is a frame.
func (s *Salvage) Next(seq uint64) (found uint64, ok bool) {
	i, _ := slices.BinarySearchFunc(s.places, seq, func(p place, seq uint64) int { return cmp.Compare(p.seq, seq) })
	if i == len(s.places) {
		return 0, false
	}
	return s.places[i].seq, true
}

// Frame reads the frame of a record, whose payload is the caller's.
func (s *Salvage) Frame(seq uint64) (f ledger.Frame, err error) {
	i, found := slices.BinarySearchFunc(s.places, seq, func(p place, seq uint64) int { return cmp.Compare(p.seq, seq) })
	if !found {
		return f, fmt.Errorf("buffer: no copy of record %d was found: %w", seq, fs.ErrNotExist)
	}
	p := s.places[i]
	if s.file == nil || s.open != p.file {
		s.Close()
		if s.file, err = os.Open(s.paths[p.file]); err != nil {
			s.file = nil
			return f, fmt.Errorf("buffer: %w", err)
		}
		s.open = p.file
	}
	b := make([]byte, p.size)
	if _, err := s.file.ReadAt(b, p.off); err != nil {
		return f, fmt.Errorf("buffer: %w", err)
	}
	if f, _, err = s.id.ParseFrame(b); err == nil && f.Seq != seq {
		err = errors.New("another frame than before")
	}
	if err != nil {
		return f, fmt.Errorf("buffer: %s: %w", s.paths[p.file], err)
	}
	return f, nil
}

// Close gives back what the search holds.
func (s *Salvage) Close() {
	if s.file != nil {
		s.file.Close() // opened for reading
	}
	s.file = nil
}
