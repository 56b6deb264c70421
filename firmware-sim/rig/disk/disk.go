// Package disk is a disk whose power can be cut: what is written to it is lost,
// torn or put out of order unless it was flushed, as on a drive with a cache.
package disk

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
)

// SectorSize is what survives a power cut as a whole or not at all.
const SectorSize = 512

// maxVersions bounds what is remembered of a sector that is written again and
// again without a flush; the oldest of more are forgotten.
const maxVersions = 8

// Disk is a disk with a volatile cache. Its methods may be called at the same
// time.
type Disk struct {
	mu       sync.Mutex
	durable  []byte
	cache    map[int64][]version // by sector, the oldest first
	requests uint64              // writes so far, which number the versions
	deaf     bool
	left     int           // writes until the disk falls silent; negative: it never does
	silent   chan struct{} // closed when it does
	stats    Stats
}

// version is what one write put into a sector.
type version struct {
	request uint64
	data    []byte
}

// Stats counts what was asked of a disk.
type Stats struct {
	Reads, Writes, Flushes uint64
	Forced                 uint64 // those writes that were to be durable at once
}

// New makes a disk of an image, which it takes over.
func New(image []byte) (*Disk, error) {
	if len(image) == 0 || len(image)%SectorSize != 0 {
		return nil, fmt.Errorf("disk: an image of %d bytes is not made of sectors of %d", len(image), SectorSize)
	}
	return &Disk{durable: image, cache: map[int64][]version{}, left: -1, silent: make(chan struct{})}, nil
}

// IgnoreFlushes has the disk answer flushes and forced writes as if they were
// durable, and not make them so: the lie that a cheap drive tells.
func (d *Disk) IgnoreFlushes() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deaf = true
}

// SilentAfter has the disk carry out a number of further writes and then nothing
// any more, not even answer the last of them. The channel is closed when that is
// so. So the power can be cut between a write and its flush, where a moment
// chosen by the clock seldom falls. A Cut ends the silence.
func (d *Disk) SilentAfter(writes int) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = max(writes, 1)
	return d.silent
}

// gone reports whether the disk has fallen silent.
func (d *Disk) gone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.left == 0
}

// Size is that of the disk in bytes.
func (d *Disk) Size() int64 { return int64(len(d.durable)) }

// Stats is what was asked so far.
func (d *Disk) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// check says whether bytes at an offset are whole sectors of the disk.
func (d *Disk) check(n int, off int64) error {
	if off < 0 || off > d.Size() || int64(n) > d.Size()-off {
		return fmt.Errorf("disk: %d bytes at %d do not lie within the %d of the disk", n, off, d.Size())
	}
	if n%SectorSize != 0 || off%SectorSize != 0 {
		return fmt.Errorf("disk: %d bytes at %d are not whole sectors of %d", n, off, SectorSize)
	}
	return nil
}

// Read fills b with what was last written, durable or not.
func (d *Disk) Read(b []byte, off int64) error {
	if err := d.check(len(b), off); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.Reads++
	copy(b, d.durable[off:])
	for at := 0; at < len(b); at += SectorSize {
		if v := d.cache[(off+int64(at))/SectorSize]; len(v) > 0 {
			copy(b[at:], v[len(v)-1].data)
		}
	}
	return nil
}

// Write takes b over and holds it in the cache; if it is forced, it is durable
// when Write returns.
func (d *Disk) Write(b []byte, off int64, forced bool) error {
	if err := d.check(len(b), off); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		return nil
	}
	if d.left > 0 {
		if d.left--; d.left == 0 {
			close(d.silent)
		}
	}
	d.stats.Writes++
	d.requests++
	if forced {
		d.stats.Forced++
	}
	for at := 0; at < len(b); at += SectorSize {
		s := (off + int64(at)) / SectorSize
		v := d.cache[s]
		if len(v) == maxVersions {
			v = slices.Delete(v, 0, 1)
		}
		d.cache[s] = append(v, version{d.requests, b[at : at+SectorSize]})
		if forced && !d.deaf {
			d.settle(s, len(d.cache[s])-1)
		}
	}
	return nil
}

// Flush makes everything durable that was written before.
func (d *Disk) Flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		return
	}
	d.stats.Flushes++
	if d.deaf {
		return
	}
	for s, v := range d.cache {
		d.settle(s, len(v)-1)
	}
}

// settle makes one version of a sector durable and forgets the others.
func (d *Disk) settle(sector int64, version int) {
	copy(d.durable[sector*SectorSize:], d.cache[sector][version].data)
	delete(d.cache, sector)
}

// Manner is how a drive comes to lose what it has in its cache.
type Manner int

// The manners. A drive writes its cache out in an order of its own, so any part
// of it may have been written when the power went.
const (
	BySector  Manner = iota // each sector by itself: writes are torn
	ByRequest               // each write as a whole: they are put out of order
	InOrder                 // the first ones survive, the others do not
	Manners                 // how many there are
)

// String names the manner.
func (m Manner) String() string {
	switch m {
	case BySector:
		return "by sector"
	case ByRequest:
		return "by request"
	}
	return "in order"
}

// Loss is what a power cut did.
type Loss struct {
	Kept int // unflushed sectors of which some version survived
	Lost int // those of which the last durable version came back
	Torn int // writes of which a part survived
}

// Cut is the loss of power: about a share of what was not flushed survives.
// What remains is the disk as it is found when the power is back.
func (d *Disk) Cut(random *rand.Rand, share float64, how Manner) Loss {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		d.silent = make(chan struct{})
	}
	d.left = -1
	survives := d.lottery(random, share, how)
	parts := map[uint64][2]bool{} // by write: some sector of it is lost, some survives
	var loss Loss
	for _, s := range slices.Sorted(maps.Keys(d.cache)) { // so that a seed decides all
		latest := -1
		for i, v := range d.cache[s] {
			won := survives(v.request)
			if won {
				latest = i
			}
			p := parts[v.request]
			p[0], p[1] = p[0] || !won, p[1] || won
			parts[v.request] = p
		}
		if latest < 0 {
			loss.Lost++
			delete(d.cache, s)
			continue
		}
		loss.Kept++
		d.settle(s, latest)
	}
	for _, p := range parts {
		if p[0] && p[1] {
			loss.Torn++
		}
	}
	return loss
}

// lottery says of each sector of a write whether it survives.
func (d *Disk) lottery(random *rand.Rand, share float64, how Manner) func(request uint64) bool {
	if how == BySector {
		return func(uint64) bool { return random.Float64() < share }
	}
	requests := map[uint64]bool{}
	for _, versions := range d.cache {
		for _, v := range versions {
			requests[v.request] = true
		}
	}
	sorted := slices.Sorted(maps.Keys(requests))
	for i, r := range sorted {
		if how == InOrder {
			requests[r] = float64(i) < share*float64(len(sorted))
		} else {
			requests[r] = random.Float64() < share
		}
	}
	return func(r uint64) bool { return requests[r] }
}
