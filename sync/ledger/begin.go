package ledger

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/punchd/punchd/sync/ledger/disk"
)

// ErrEmpty says that a ledger's directory is there and holds no segment, although
// a ledger is known to have been begun.
var ErrEmpty = errors.New("the ledger's directory holds nothing of a ledger")

// makeDir makes the ledger's directory durably. made says that it was not there.
func (l *Ledger) makeDir() (made bool, err error) {
	_, err = l.fs.ReadDir(l.dir)
	made = errors.Is(err, fs.ErrNotExist)
	if err := l.fs.MkdirAll(l.dir); err != nil {
		return made, fmt.Errorf("ledger: %w", err)
	}
	if err := l.fs.SyncDir(filepath.Dir(filepath.Clean(l.dir))); err != nil {
		return made, fmt.Errorf("ledger: %w", err)
	}
	return made, nil
}

// mayBegin says whether a first segment may be made in a directory without one.
//
// If a ledger is known from elsewhere, its segments are lost or not mounted. A
// directory that is there and empty may be a place where a disk is missing:
// going on in it would give sequences again that the disk has, so nothing is
// done until it is there, or the directory is removed, which a place where a
// disk is mounted does not allow. A spare in it proves nothing: a start that
// was cut short before the disk was first mounted may have left it there.
func (l *Ledger) mayBegin(cfg Config) error {
	if !cfg.Begun && !cfg.floored() {
		return nil
	}
	names, err := l.fs.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	remove := "the empty directory"
	if len(names) > 0 {
		remove = "what is in it and then the directory (rmdir)"
	}
	if !cfg.floored() {
		return fmt.Errorf("ledger: %s: %w, but a ledger%s was begun here: mount its disk or put its files back, and start again; "+
			"if they are lost for good, remove %s, and a new ledger is begun", l.dir, ErrEmpty, named(cfg.FloorOf), remove)
	}
	return fmt.Errorf("ledger: %s: %w, but it must hold %d records of ledger %s: mount its disk or put its files back, and start again; "+
		"if they are lost for good, remove %s, and the ledger goes on at record %d", l.dir, ErrEmpty, cfg.Floor, cfg.FloorOf, remove, cfg.Floor)
}

// floored says whether it is known which ledger it is and that it has records.
func (cfg *Config) floored() bool { return cfg.Floor > 0 && cfg.FloorOf != (Identity{}) }

// begin makes the first segment where there is none and may be one. Without the
// directory the segments of a ledger that is known are gone: the same ledger
// goes on behind what is known, and all before is damage. If it is not known how
// many records there were, only a new ledger gives none twice.
func (l *Ledger) begin(cfg Config) error {
	if !cfg.floored() {
		if cfg.Begun {
			l.log.Error("the ledger's directory was gone, and how many records it had is not known; a new ledger is begun", "dir", l.dir)
		}
		rand.Read(l.id.ID[:])
		rand.Read(l.id.Salt[:])
		return l.orUnmade(cfg, l.startSegment(0))
	}
	l.id = cfg.FloorOf
	l.report.add(Damage{Segment: segmentName(0), Last: cfg.Floor - 1})
	l.log.Error("the ledger's directory was gone; all its records but those with a second copy are lost; it goes on behind them",
		"dir", l.dir, "ledger", l.id.String(), "at", cfg.Floor)
	return l.orUnmade(cfg, l.startSegment(cfg.Floor))
}

// orUnmade removes the directory again if a known ledger could not be begun in
// it: left there, it would be taken for one whose disk is not mounted.
func (l *Ledger) orUnmade(cfg Config, err error) error {
	if err == nil || !cfg.Begun && !cfg.floored() {
		return err
	}
	if rerr := l.fs.Remove(filepath.Join(l.dir, spareName)); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return errors.Join(err, l.fs.Remove(l.dir))
}

// named is a ledger's id as it goes into a sentence, nothing if it is not known.
func named(id Identity) string {
	if id == (Identity{}) {
		return ""
	}
	return " " + id.String()
}

// startSegment goes on in a new segment, at a place between two batches.
func (l *Ledger) startSegment(seq uint64) error {
	s, f, err := l.roll(seq, seq)
	if err != nil {
		return err
	}
	l.file = f
	l.segments = append(l.segments, s)
	l.end = position{s, headerBlock, seq}
	return nil
}

// roll makes the spare the segment that begins at a sequence. If it fails, a
// segment that is not nil says that its name may be on the disk.
func (l *Ledger) roll(first, durable uint64) (s *segment, f disk.File, err error) {
	name := segmentName(first)
	from, to := filepath.Join(l.dir, spareName), filepath.Join(l.dir, name)
	// Asked first, since a spare is much to write in vain; RenameNew holds it.
	if f, err := l.fs.Open(to, false); err == nil {
		f.Close() // opened for reading
		return nil, nil, inTheWay(l.dir, name, fs.ErrExist)
	}
	if err := l.spare.take(); err != nil {
		return nil, nil, err
	}
	next := &segment{name: name, header: header{l.id, first, durable, l.size}, length: l.size}
	if err := writeHeader(l.fs, from, next); err != nil {
		return nil, nil, fmt.Errorf("ledger: begin segment %s: %w", name, err)
	}
	if err := l.fs.RenameNew(from, to); errors.Is(err, fs.ErrExist) {
		return nil, nil, inTheWay(l.dir, name, err)
	} else if err != nil {
		return next, nil, fmt.Errorf("ledger: begin segment %s: %w", name, err)
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return next, nil, fmt.Errorf("ledger: begin segment %s: %w", name, err)
	}
	// Opened under its own name: errors of the file tell the name it has.
	if f, err = l.fs.Open(to, true); err != nil {
		return next, nil, fmt.Errorf("ledger: begin segment %s: %w", name, err)
	}
	return next, f, nil
}

// inTheWay is the error for a file that has the name of the next segment and
// is none of this ledger's.
func inTheWay(dir, name string, err error) error {
	return fmt.Errorf("ledger: %s holds a file %s that does not belong to this ledger and is where the next segment goes; move it elsewhere: %w", dir, name, err)
}

// writeHeader makes a spare's header that of a segment, durably.
func writeHeader(fs disk.FS, path string, s *segment) error {
	f, err := fs.Open(path, true)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(s.block(), 0); err == nil {
		err = f.Datasync()
	}
	return errors.Join(err, f.Close())
}
