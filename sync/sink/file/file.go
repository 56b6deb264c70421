// Package file is the sink that appends punches to a file, one CloudEvent in
// JSON a line, for a site without a central service or beside one.
package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cloudevents"
	"github.com/punchd/punchd/sync/forward"
)

// remembered is how many of the newest punches at least are known by their
// keys, and tail how many bytes at the end of the file are read for them when
// it is opened. Both are far more than one batch, the most that a crash or a
// failed answer makes come again.
const (
	remembered = 10_000
	tail       = 8 << 20
)

// opening is how every line begins.
const opening = `{"specversion":"1.0","id":"`

// Config says where to.
type Config struct {
	Name string // of the sink
	Path string
	// Source is the source attribute of the events; see
	// [cloudevents.GatewaySource].
	Source string
}

// Sink appends to a file. Send returns nil only after the lines are synced to
// disk. A failed write is taken back, and a line that a crash cut short is
// removed when the file is opened again, so that every line it writes is whole.
//
// The file may be moved away at any time, as logrotate does: the next batch
// begins a new one. A punch is written again if it comes again after more than
// 10,000 others, or after a restart that follows a move; its id says so.
type Sink struct {
	name string
	path string
	meta cloudevents.Meta

	f     *os.File
	size  int64 // bytes of whole, synced lines
	dirty bool  // more stands behind size, and must be cut off before anything else

	newer, older map[attendance.Key]struct{} // what was written lately
	buf          []byte
}

// New makes the sink; the file is opened with the first batch.
func New(cfg Config) (*Sink, error) {
	if cfg.Name == "" || cfg.Path == "" || cfg.Source == "" {
		return nil, errors.New("file sink: a name, a path and a source are needed")
	}
	return &Sink{
		name: cfg.Name, path: cfg.Path, meta: cloudevents.Meta{Source: cfg.Source},
		newer: map[attendance.Key]struct{}{},
	}, nil
}

// Name implements [forward.Sink].
func (s *Sink) Name() string { return s.name }

// Close closes the file. It must not be called during Send.
func (s *Sink) Close() error {
	if s.f == nil {
		return nil
	}
	f := s.f
	s.f = nil
	return f.Close()
}

// Send implements [forward.Sink].
func (s *Sink) Send(ctx context.Context, items []forward.Item) (forward.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.ready(); err != nil {
		return nil, forward.Misconfigured{Err: fmt.Errorf("file sink: %w", err)}
	}
	receipt := forward.All(len(items), forward.Accepted)
	var fresh []attendance.Key
	s.buf = s.buf[:0]
	for i, it := range items {
		if it.Head != nil {
			continue // who reads the file expects a punch on each line
		}
		if s.knows(it.Punch.Key) {
			receipt[i].Outcome = forward.Duplicate
			continue
		}
		fresh = append(fresh, it.Punch.Key)
		s.newer[it.Punch.Key] = struct{}{}
		s.buf = append(cloudevents.AppendEvent(s.buf, s.meta, it.Seq, it.Punch), '\n')
	}
	if err := s.write(); err != nil {
		for _, k := range fresh {
			delete(s.newer, k)
		}
		return nil, fmt.Errorf("file sink: %w", err)
	}
	s.age()
	return receipt, nil
}

func (s *Sink) knows(k attendance.Key) bool {
	_, newer := s.newer[k]
	_, older := s.older[k]
	return newer || older
}

// age forgets the oldest keys once there are enough newer ones.
func (s *Sink) age() {
	if len(s.newer) >= remembered {
		s.older, s.newer = s.newer, map[attendance.Key]struct{}{}
	}
}

// write appends the buffer and syncs it, or takes back what it wrote: also
// after a failed sync, which leaves open whether anything is on the disk.
func (s *Sink) write() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.f.Write(s.buf)
	if err == nil {
		err = s.f.Sync()
	}
	if err != nil {
		s.dirty = true
		return errors.Join(err, s.cut())
	}
	s.size += int64(len(s.buf))
	return nil
}

// cut removes what stands behind the last whole line.
func (s *Sink) cut() error {
	if !s.dirty {
		return nil
	}
	if err := s.f.Truncate(s.size); err != nil {
		return err
	}
	s.dirty = false
	return nil
}

// ready makes sure that the open file is the one at the path, and is as it was
// left.
func (s *Sink) ready() error {
	if s.f != nil {
		if err := s.cut(); err != nil {
			return err
		}
		ours, err := s.f.Stat()
		if err != nil {
			return err
		}
		there, err := os.Stat(s.path)
		switch {
		case err == nil && os.SameFile(ours, there) && ours.Size() == s.size:
			return nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return s.open()
}

func (s *Sink) open() (err error) {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", s.path)
	}
	if err := lock(f); err != nil {
		return err
	}
	whole, ended, err := s.recover(f, info.Size())
	if err != nil {
		return err
	}
	if whole < info.Size() {
		if err := f.Truncate(whole); err != nil {
			return err
		}
	}
	if !ended {
		if _, err := f.Write([]byte{'\n'}); err != nil {
			return err
		}
		whole++
	}
	// What is found is believed to be on the disk from now on.
	if err := f.Sync(); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(s.path)); err != nil {
		return err
	}
	s.f, s.size, s.dirty = f, whole, false
	return nil
}

// recover reads the end of the file: it learns which punches were written last,
// and returns up to where the file is kept, and whether that is the end of a
// line. The file is ours if any whole line read is a punch, whatever stands
// behind it: a blank line, a damaged one, a note. Without such a line it must be
// empty, or the first line a crash cut short, or lines that a power cut damaged,
// of which the last may be cut short too; anything else is somebody else's file
// and is not touched.
func (s *Sink) recover(f *os.File, size int64) (keep int64, ended bool, err error) {
	from := max(0, size-tail)
	b := make([]byte, size-from)
	if _, err := f.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
		return 0, false, err
	}
	end := bytes.LastIndexByte(b, '\n') + 1
	ours := s.learn(b[:end])
	rest := bytes.TrimRight(b[end:], "\x00") // a power cut leaves zeros behind what was written
	n := min(len(rest), len(opening))
	begun := string(rest[:n]) == opening[:n]
	switch k, punch := punchOf(rest); {
	case from > 0 && end == 0:
		return 0, false, s.foreign()
	case punch: // only its end is missing, as an editor leaves it
		s.remember(k)
		return from + int64(end+len(rest)), false, nil
	case ours && !begun: // not ours to cut, and one line of rubbish harms nobody
		return from + int64(end+len(rest)), false, nil
	case !ours && end > 0 && !damaged(b[:end]):
		return 0, false, s.foreign()
	case begun:
		return from + int64(end), true, nil
	case torn(rest, from+int64(end)): // like a damaged line: it stays, and its punches come again
		return from + int64(end+len(rest)), false, nil
	}
	return 0, false, s.foreign()
}

// learn keeps which punches some lines hold, and reports whether there are any.
// What is cut at the front of the tail, or damaged, is not known by its key, so
// it is written again if it comes again.
func (s *Sink) learn(lines []byte) (found bool) {
	for line := range bytes.Lines(lines) {
		if k, ok := punchOf(line); ok {
			s.remember(k)
			found = true
		}
	}
	return found
}

func (s *Sink) remember(k attendance.Key) {
	s.newer[k] = struct{}{}
	s.age()
}

// damaged reports whether each line that is not blank has zeros in it, which no
// text has: such lines do not say whose they were.
func damaged(lines []byte) (found bool) {
	for line := range bytes.Lines(lines) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if bytes.IndexByte(line, 0) < 0 {
			return false
		}
		found = true
	}
	return found
}

// torn reports whether the beginning of a line that stands at some place in the
// file is text in which whole blocks are zero, as a power cut leaves it. What else
// has zeros in it is somebody's, a database or a picture.
func torn(rest []byte, at int64) (found bool) {
	const block = 512 // the smallest a disk has
	zero := false
	for i, c := range rest {
		if c != 0 && c < ' ' {
			return false
		}
		if (c == 0) != zero {
			if (at+int64(i))%block != 0 {
				return false
			}
			zero, found = !zero, true
		}
	}
	return found
}

func (s *Sink) foreign() error {
	return fmt.Errorf("%s holds something, and no punch among its last lines, so it is left as it is; move it away, or give the sink a file of its own", s.path)
}

// punchOf is the key of the punch that a line holds.
func punchOf(line []byte) (k attendance.Key, ok bool) {
	e, err := cloudevents.ParseEvent(line)
	if err != nil || e.Type != cloudevents.TypePunch {
		return k, false
	}
	k, err = attendance.ParseKey(e.ID)
	return k, err == nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
