package journal

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/buffer"
	"github.com/punchd/punchd/sync/ledger"
)

// feed reads frames in order: from the ledger, and where that is damaged, from
// the second copy in the buffer.
type feed struct {
	j *Journal
	r *ledger.Reader
	// From gap up to, not including, end the ledger is damaged, as damage
	// says. These records are looked for in the copies.
	gap, end uint64
	damage   ledger.Damage
	copy     buffer.Block // the one that is being read, as far as it is left
	at       uint64       // sequence of the next frame in copy
}

func (j *Journal) feed(from uint64) *feed { return &feed{j: j, r: j.ledger.Reader(from)} }

// pos is the sequence that the next call of next begins to look for.
func (f *feed) pos() uint64 {
	if f.gap < f.end {
		return f.gap
	}
	return f.r.Seq()
}

// next gives the next frame; its payload is valid until the call after. It
// returns [io.EOF] at the end, from where it can go on later, and once a
// [*ledger.Damage] for a stretch of which there is no readable copy at all.
func (f *feed) next() (ledger.Frame, error) {
	for {
		if f.gap < f.end {
			return f.fromCopy()
		}
		frame, err := f.r.Next()
		d, damaged := errors.AsType[*ledger.Damage](err)
		if !damaged {
			return frame, err
		}
		f.j.found.damaged(f.j.log, d)
		f.gap, f.end, f.damage, f.copy = d.First, d.Last+1, *d, buffer.Block{}
	}
}

// fromCopy gives the frame that the gap begins with.
func (f *feed) fromCopy() (ledger.Frame, error) {
	seq := f.gap
	if len(f.copy.Frames) == 0 || f.at > seq {
		blk, found, err := f.j.buffer.Block(seq)
		if err != nil {
			f.j.log.Warn("the second copy can't be read either", "seq", seq, "err", err)
		}
		switch {
		case err != nil:
			return f.lost(seq + 1)
		case !found || blk.First >= f.end:
			return f.lost(f.end)
		case blk.First > seq:
			return f.lost(blk.First)
		case len(blk.Frames) == 0:
			return f.lost(min(blk.First+uint64(blk.Count), f.end))
		}
		f.copy, f.at = blk, blk.First
	}
	id := f.j.ledger.Identity()
	for {
		frame, n, err := id.ParseFrame(f.copy.Frames)
		if err != nil || frame.Seq != f.at {
			behind := f.copy.First + uint64(f.copy.Count)
			f.copy = buffer.Block{}
			return f.lost(min(behind, f.end))
		}
		f.copy.Frames = f.copy.Frames[n:]
		f.at++
		if frame.Seq == seq {
			f.gap++
			f.j.counts.copies.Add(1)
			return frame, nil
		}
	}
}

// lost passes over the records of the gap before one: no copy can be read.
func (f *feed) lost(before uint64) (ledger.Frame, error) {
	d := f.damage
	d.First, d.Last = f.gap, before-1
	f.gap = before
	f.j.found.lost(f.j.log, &d)
	return ledger.Frame{}, &d
}

// maxFeeds is how many feeds are kept for going on where they stand.
const maxFeeds = 8

// feeds keeps feeds that are not in use. Each reader of the ledger goes on
// where it stopped, so that finding its feed again spares it the search.
type feeds struct {
	j    *Journal
	mu   sync.Mutex
	idle []*feed // that used last behind
}

// take gives a feed that begins at a sequence.
func (fs *feeds) take(from uint64) *feed {
	fs.mu.Lock()
	i := slices.IndexFunc(fs.idle, func(f *feed) bool { return f.pos() == from })
	if i >= 0 {
		f := fs.idle[i]
		fs.idle = slices.Delete(fs.idle, i, i+1)
		fs.mu.Unlock()
		return f
	}
	fs.mu.Unlock()
	return fs.j.feed(from)
}

// give takes a feed back.
func (fs *feeds) give(f *feed) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.idle = append(fs.idle, f)
	if len(fs.idle) > maxFeeds {
		fs.idle[0].r.Close()
		fs.idle = slices.Delete(fs.idle, 0, 1)
	}
}

func (fs *feeds) close() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.idle {
		f.r.Close()
	}
	fs.idle = nil
}

// frame gives one frame, with a payload of its own.
func (j *Journal) frame(seq uint64) (ledger.Frame, error) {
	f := j.feed(seq)
	defer f.r.Close()
	frame, err := f.next()
	if err == io.EOF || err == nil && frame.Seq != seq {
		return frame, fmt.Errorf("journal: there is no record %d", seq)
	}
	return frame, err
}

// punch gives a punch by its sequence.
func (j *Journal) punch(seq uint64) (*attendance.Punch, error) {
	f, err := j.frame(seq)
	if err != nil {
		return nil, err
	}
	rec, err := record(&f)
	if err != nil {
		return nil, err
	}
	p, ok := rec.(*attendance.Punch)
	if !ok {
		return nil, fmt.Errorf("journal: record %d is a %v, not a punch", seq, f.Kind)
	}
	return p, nil
}

// Lookup finds a punch by its key.
func (j *Journal) Lookup(k attendance.Key) (seq uint64, p *attendance.Punch, found bool, err error) {
	done, err := j.use()
	if err != nil {
		return 0, nil, false, err
	}
	defer done()
	seq, found = j.recent.seq(k)
	if !found {
		look := j.buffer.Look()
		seq, found, err = look.Seq(k)
		look.Close()
	}
	if err != nil || !found {
		return 0, nil, false, err
	}
	if p, err = j.punch(seq); err != nil {
		return seq, nil, true, err
	}
	return seq, p, true, nil
}

// Counter is the highest counter of a native phone that is durable, 0 if there
// is none.
func (j *Journal) Counter(phone string) (uint64, error) {
	done, err := j.use()
	if err != nil {
		return 0, err
	}
	defer done()
	n := j.recent.counter(phone)
	look := j.buffer.Look() // begun after the look at what is recent
	defer look.Close()
	applied, err := look.Counter(phone)
	return max(n, applied), err
}
