package ledger

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/punchd/punchd/sync/ledger/disk"
)

// ErrEmpty says that a ledger's directory is there and holds nothing of the
// ledger, although records of it are known to be durable.
var ErrEmpty = errors.New("the ledger's directory is empty")

// makeDir makes the ledger's directory durably. made says that it was not there,
// or that an earlier start made it and got no further than a spare: a place
// where a disk is missing holds nothing.
func (l *Ledger) makeDir() (made bool, err error) {
	names, err := l.fs.ReadDir(l.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		made = true
	case err == nil:
		other := func(name string) bool { return name != spareName && name != spareTemp }
		made = len(names) > 0 && !slices.ContainsFunc(names, other)
	}
	if err := l.fs.MkdirAll(l.dir); err != nil {
		return made, fmt.Errorf("ledger: %w", err)
	}
	if err := l.fs.SyncDir(filepath.Dir(filepath.Clean(l.dir))); err != nil {
		return made, fmt.Errorf("ledger: %w", err)
	}
	return made, nil
}

// begin makes the first segment where there is none.
//
// If a ledger is known from elsewhere, its segments are lost or not mounted. A
// directory that is there and empty may be a place where a disk is missing:
// going on in it would give sequences again that the disk has, so nothing is
// done until it is there, or the directory is removed, which a place where a
// disk is mounted does not allow. Without the directory the segments are gone:
// the same ledger goes on behind what is known, and all before is damage. If it
// is not known how many records there were, only a new ledger gives none twice.
func (l *Ledger) begin(cfg Config, made bool) error {
	if cfg.Floor == 0 || cfg.FloorOf == (Identity{}) {
		if cfg.Begun && !made {
			return fmt.Errorf("ledger: %s: %w, but a ledger%s was begun here: mount its disk or put its files back, and start again; "+
				"if they are lost for good, remove the empty directory, and a new ledger is begun", l.dir, ErrEmpty, named(cfg.FloorOf))
		}
		if cfg.Begun {
			l.log.Error("the ledger's directory was gone, and how many records it had is not known; a new ledger is begun", "dir", l.dir)
		}
		rand.Read(l.id.ID[:])
		rand.Read(l.id.Salt[:])
		return l.startSegment(0)
	}
	if !made {
		return fmt.Errorf("ledger: %s: %w, but it must hold %d records of ledger %s: mount its disk or put its files back, and start again; "+
			"if they are lost for good, remove the empty directory, and the ledger goes on at record %d", l.dir, ErrEmpty, cfg.Floor, cfg.FloorOf, cfg.Floor)
	}
	l.id = cfg.FloorOf
	l.report.add(Damage{Segment: segmentName(0), Last: cfg.Floor - 1})
	l.log.Error("the ledger's directory was gone; all its records but those with a second copy are lost; it goes on behind them",
		"dir", l.dir, "ledger", l.id.String(), "at", cfg.Floor)
	if err := l.startSegment(cfg.Floor); err != nil {
		// Left empty, the directory would be taken for one that is not mounted.
		return errors.Join(err, l.fs.Remove(l.dir))
	}
	return nil
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
