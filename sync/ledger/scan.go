package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"slices"
	"time"

	"github.com/punchd/punchd/sync/ledger/disk"
)

// OpenReader reads a ledger without its lock, beside the process that writes
// it. It changes nothing. Since it sees what is in memory, the last batch it
// shows may not be durable yet.
func OpenReader(dir string, from uint64) *Reader {
	return openReader(disk.OS, dir, from)
}

func openReader(fs disk.FS, dir string, from uint64) *Reader {
	f := &follower{fs: fs, dir: dir}
	return &Reader{fs: fs, dir: dir, index: &index{}, seq: from, refresh: f.look}
}

// follower finds the end of a ledger that somebody else is writing.
type follower struct {
	fs  disk.FS
	dir string
	end position // as of the last look; a nil segment before the first

	layout *layout // and what it saw; nil where there is no ledger yet
	seen   *scan
}

// look finds the end, and says only how far a reader may go: the reader then
// reads these bytes again, and what is missing of them is damage.
//
// A file is read in pieces, so that a batch that is being written may be missed
// in one piece and be proved to be durable by a later batch in the next. What is
// seen for the first time as missing is therefore looked for again: whatever a
// look proves was written whole before the look after it began.
func (f *follower) look() (view, error) {
	for sure, tries := f.end.seq, 0; ; tries++ {
		lay, s, err := f.scan()
		if err != nil || s == nil {
			return view{}, err
		}
		f.layout, f.seen = lay, s
		i := slices.IndexFunc(s.damage, func(d Damage) bool { return d.Last >= sure })
		if i < 0 {
			f.end = s.proved
			f.end.seq = s.next
			return view{lay.id, lay.segments, f.end}, nil
		}
		if tries == maxLooks { // the next call looks on
			return view{lay.id, lay.segments, f.end}, nil
		}
		sure = s.next
	}
}

// maxLooks bounds how often the end is looked for while it moves. Each further
// one is needed only if all before it fell on a batch being written.
const maxLooks = 20

// scan reads from the last end on; it gives nil where there is no ledger yet.
func (f *follower) scan() (*layout, *scan, error) {
	lay, err := readLayout(f.fs, f.dir, nil)
	if err != nil || len(lay.segments) == 0 {
		return nil, nil, err
	}
	from := lay.start(0, len(lay.segments)-1)
	i := slices.IndexFunc(lay.segments, func(s *segment) bool { return f.end.segment != nil && s.first == f.end.segment.first })
	if i >= 0 && f.end.seq >= from.seq {
		from = start{position{lay.segments[i], f.end.off, f.end.seq}, false}
	}
	s, err := scanTail(f.fs, f.dir, lay, from, 0)
	return lay, s, err
}

// Scan calls visit for every frame of a ledger from a sequence on, without the
// lock. The frame's payload is valid until visit returns. For a stretch that
// can't be read it calls damaged, if that is not nil. An error of either ends
// the scan and is returned. Next is the sequence at which to go on.
func Scan(ctx context.Context, dir string, from uint64, visit func(Frame) error, damaged func(*Damage) error) (next uint64, err error) {
	r := OpenReader(dir, from)
	defer r.Close()
	err = r.each(ctx, visit, damaged)
	return r.Seq(), err
}

// Follow is [Scan] without an end: it goes on with what is appended later,
// looking for it at an interval, until its context ends. Then it returns nil.
func Follow(ctx context.Context, dir string, from uint64, every time.Duration, visit func(Frame) error, damaged func(*Damage) error) error {
	r := OpenReader(dir, from)
	defer r.Close()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := r.each(ctx, visit, damaged); err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sound reads a ledger through, without the lock, and tells which it is and how
// many records it has. The error says what is wrong with it, if anything is: it
// is nil only if every header and every record can be read. That the end is
// missing can't be seen here. A nil fs is disk.OS.
func Sound(ctx context.Context, fs disk.FS, dir string) (id Identity, next uint64, err error) {
	if fs == nil {
		fs = disk.OS
	}
	lay, err := readLayout(fs, dir, nil)
	switch {
	case err != nil:
		return id, 0, err
	case len(lay.headers) > 0:
		return id, 0, fmt.Errorf("ledger: segment %v", lay.headers[0])
	case len(lay.segments) == 0:
		return id, 0, fmt.Errorf("ledger: %s: %w", dir, ErrEmpty)
	}
	r := openReader(fs, dir, 0)
	defer r.Close()
	err = r.each(ctx, func(Frame) error { return nil }, func(d *Damage) error { return d })
	return lay.id, r.Seq(), err
}

// Which tells which ledger Open would take up in a directory, if it is one that
// is expected or there is no other, and where its last segment begins. There is
// none to take up if found is false. A nil fs is disk.OS.
func Which(fs disk.FS, dir string, expected Identity) (id Identity, last uint64, found bool, err error) {
	if fs == nil {
		fs = disk.OS
	}
	lay, err := readLayout(fs, dir, &expected)
	if errors.Is(err, iofs.ErrNotExist) {
		return id, 0, false, nil
	}
	if err != nil || len(lay.segments) == 0 {
		return id, 0, false, err
	}
	return lay.id, lay.segments[len(lay.segments)-1].first, true, nil
}

// each visits what there is.
func (r *Reader) each(ctx context.Context, visit func(Frame) error, damaged func(*Damage) error) error {
	for n := 0; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		f, err := r.Next()
		d, isDamage := errors.AsType[*Damage](err)
		switch {
		case err == io.EOF:
			return nil
		case isDamage && damaged == nil:
			continue
		case isDamage:
			err = damaged(d)
		case err == nil:
			err = visit(f)
		}
		if err != nil {
			return err
		}
	}
}
