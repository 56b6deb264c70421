package journal

import (
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

// DefaultReserve is how much of the disk is kept free, in bytes, unless
// [Config.Reserve] says otherwise.
//
// Badger writes through mapped files with holes, and where the disk has no block
// for a page the kernel ends the process. At the worst there are four memory
// tables of 5 MiB with what was written of them, four tables of 4 MiB that they
// are being flushed to, 16 MiB of the value log up to its next file, and two
// compactions that write some 5 tables of 2 MiB each before they remove the old
// ones: 72 MiB, of which one half is on the disk already when the other is
// begun. Half the reserve covers that. The other half is for a spare ledger
// segment of 16 MiB and for answers of sinks, which go on when new records do not.
const DefaultReserve = 64 << 20

// Bounds of the gate.
const (
	// smallDisk is what part of a disk the default reserve may be: a quarter.
	smallDisk = 4
	// gateFresh is how long an answer of the system is believed by the committer.
	// What it writes stands in segments that have their blocks.
	gateFresh = 250 * time.Millisecond
	// gatePause is how long the applier waits before it looks again.
	gatePause = 250 * time.Millisecond
)

// gate keeps records out before the disk is so full that Badger can't be written.
type gate struct {
	dir     string
	log     *slog.Logger
	reserve uint64
	free    func() (free uint64, known bool) // asks the system

	mu       sync.Mutex
	at       time.Time // of the last answer
	last     uint64
	known    bool
	refusing bool // new records, as of the last time one came or the state was asked
}

func newGate(dir string, reserve uint64, log *slog.Logger) *gate {
	g := &gate{dir: dir, log: log, reserve: reserve}
	g.free = func() (uint64, bool) {
		d, known, err := diskSpace(dir)
		if err != nil {
			log.Warn("the system does not tell how much of the disk is free", "dir", dir, "err", err)
		}
		return d.free, known && err == nil && !plantedGate
	}
	if reserve == 0 {
		g.reserve = DefaultReserve
		if d, known, err := diskSpace(dir); err == nil && known {
			g.reserve = min(g.reserve, d.total/smallDisk)
		}
	}
	return g
}

// floor is what must be free for Badger to be written.
func (g *gate) floor() uint64 { return g.reserve / 2 }

// diskFull is the error of all that is refused for want of space.
type diskFull struct {
	dir        string
	free, need uint64
}

func (e *diskFull) Error() string {
	return fmt.Sprintf("disk full: %s are free where %s is, and %s must be: make room there", mebi(e.free), e.dir, mebi(e.need))
}

// Unwrap lets it be known as any other full disk.
func (e *diskFull) Unwrap() error { return syscall.ENOSPC }

// mebi is a number of bytes for people.
func mebi(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// look gives what is free. An answer of the system may be as old as given.
func (g *gate) look(old time.Duration) (free uint64, known bool) {
	now := time.Now()
	if g.at.IsZero() || old == 0 || now.Sub(g.at) >= old {
		g.last, g.known = g.free()
		g.at = now
	}
	return g.last, g.known
}

// room says whether so many bytes can be written beside what must be free for
// Badger. Where the system does not tell, it can.
func (g *gate) room(bytes uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if free, known := g.look(0); known && free < g.floor()+bytes {
		return &diskFull{g.dir, free, g.floor() + bytes}
	}
	return nil
}

// intake says whether new records are taken.
func (g *gate) intake(old time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	need := g.reserve
	if g.refusing { // a little more, so as not to go to and fro
		need += g.reserve / 8
	}
	free, known := g.look(old)
	full := known && free < need
	if full != g.refusing {
		g.refusing = full
		if full {
			g.log.Error("the disk is full: new records are refused until there is room", "dir", g.dir, "free", mebi(free), "needed", mebi(need))
		} else {
			g.log.Info("there is room on the disk again: new records are taken", "dir", g.dir, "free", mebi(free))
		}
	}
	if full {
		return &diskFull{g.dir, free, need}
	}
	return nil
}

// answers says whether answers of sinks are taken: they go on while the buffer
// can be written.
func (g *gate) answers(old time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if free, known := g.look(old); known && free < g.floor() {
		return &diskFull{g.dir, free, g.floor()}
	}
	return nil
}

// admit takes requests for which there is room, and answers the others.
func (j *Journal) admit(requests []*request) []*request {
	intake := j.gate.intake(gateFresh)
	if intake == nil {
		return requests
	}
	answers := j.gate.answers(gateFresh)
	var taken []*request
	for _, r := range requests {
		err := intake
		if r.sink != nil || r.run != nil {
			err = answers
		}
		if err == nil {
			taken = append(taken, r)
			continue
		}
		if r.sink != nil {
			r.sink.unlock()
		}
		err = fmt.Errorf("journal: nothing is written: %w", err)
		if plantedAck && r.sink == nil && r.run == nil {
			err = nil
		}
		r.done <- err
	}
	return taken
}

// waitForRoom returns nil when the disk has room for the applier's work, and an
// error when the journal is being closed before that.
func (j *Journal) waitForRoom() error {
	err := j.gate.room(0)
	if err == nil {
		return nil
	}
	j.log.Warn("the disk is full: what is durable is not applied to the buffer until there is room", "err", err)
	for {
		select {
		case <-j.stopping:
			return fmt.Errorf("journal: closed before it was applied to the buffer: %w", err)
		case <-time.After(gatePause):
		}
		if err = j.gate.room(0); err == nil {
			return nil
		}
	}
}
