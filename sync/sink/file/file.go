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
// removed when the file is opened again, so that every line is whole.
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
	whole, err := s.recover(f, info.Size())
	if err != nil {
		return err
	}
	if whole < info.Size() {
		if err := f.Truncate(whole); err != nil {
			return err
		}
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

// recover reads the end of the file: it learns which punches were written last
// and returns where the last whole line ends. That line must be a punch, and
// what follows it must look like the beginning of one, or be the zeros that a
// power cut leaves; anything else is somebody else's file and is not touched.
func (s *Sink) recover(f *os.File, size int64) (whole int64, err error) {
	from := max(0, size-tail)
	b := make([]byte, size-from)
	if _, err := f.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	end := bytes.LastIndexByte(b, '\n') + 1
	rest := bytes.TrimRight(b[end:], "\x00")
	n := min(len(rest), len(opening))
	if from > 0 && end == 0 || string(rest[:n]) != opening[:n] {
		return 0, s.foreign()
	}
	ours := true // as the last line says that can say it
	for line := range bytes.Lines(b[:end]) {
		k, ok := punchOf(line)
		if ok {
			s.newer[k] = struct{}{}
			s.age()
		}
		// What is cut at the front of the tail, or damaged, is not known by its
		// key, so it is written again if it comes again. A power cut damages a line
		// by zeros, which no text has: such a line does not say whose file it is.
		ours = ok || ours && bytes.IndexByte(line, 0) >= 0
	}
	if !ours {
		return 0, s.foreign()
	}
	return from + int64(end), nil
}

func (s *Sink) foreign() error {
	return fmt.Errorf("%s ends in something that is no punch, so it is left as it is; move it away, or give the sink a file of its own", s.path)
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
