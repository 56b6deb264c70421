package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/ledger"
)

// gaps tells what of a ledger can't be read, once for each place, and keeps
// nobody from reading on.
type gaps struct {
	out     io.Writer // nil: silent
	damage  bool
	records int // whole, and yet not to be understood
}

// maxTold bounds how many records are told of one by one: a newer version may
// have written thousands.
const maxTold = 10

func (g *gaps) damaged(d *ledger.Damage) error {
	g.damage = true
	return g.tell("%v", d)
}

// unread takes in a record that this program does not understand.
func (g *gaps) unread(seq uint64, why error) error {
	switch g.records++; {
	case g.records < maxTold:
		return g.tell("record %d can't be read: %v", seq, why)
	case g.records == maxTold:
		return g.tell("record %d can't be read: %v; further ones are only counted", seq, why)
	}
	return nil
}

func (g *gaps) tell(format string, args ...any) error {
	if g.out == nil {
		return nil
	}
	_, err := fmt.Fprintf(g.out, format+"\n", args...)
	return err
}

// err is for the end, when everything else has been shown.
func (g *gaps) err() error {
	what := "the ledger is damaged"
	switch {
	case g.damage && g.records > 0:
		what += fmt.Sprintf(", and %s can't be read by this version", count(g.records, "record", "records"))
	case g.records > 0:
		what = count(g.records, "record", "records") + " of the ledger can't be read by this version; is there a newer one?"
	case !g.damage:
		return nil
	}
	return fmt.Errorf("%s: what is shown is not everything. A daemon forwards what is damaged from its second copy, as far as it has one; what is lost is told by: punchd status", what)
}

// decode reads a record of a punch.
func decode(f *ledger.Frame) (*attendance.Punch, error) {
	switch {
	case f.Flags&ledger.FlagSealed != 0:
		return nil, errors.New("it is sealed, by a newer version of punchd")
	case f.Flags != 0:
		return nil, fmt.Errorf("it has the flags %#x, of a newer version of punchd", f.Flags)
	}
	r, err := attendance.DecodeRecord(f.Kind, f.Payload)
	if err != nil {
		return nil, err
	}
	p, ok := r.(*attendance.Punch)
	if !ok {
		return nil, fmt.Errorf("it is a %v", f.Kind)
	}
	return p, nil
}

// visitor turns frames into the punches asked for.
func (f *punchesFlags) visitor(g *gaps, visit func(seq uint64, p *attendance.Punch) error) func(ledger.Frame) error {
	return func(fr ledger.Frame) error {
		if fr.Kind != attendance.RecordPunch {
			return nil
		}
		p, err := decode(&fr)
		if err != nil {
			return g.unread(fr.Seq, err)
		}
		if f.matches(p) {
			return visit(fr.Seq, p)
		}
		return nil
	}
}

// scan calls visit with every punch that the flags ask for, and says where to
// go on. What can't be read goes to g.
func (f *punchesFlags) scan(ctx context.Context, from uint64, g *gaps, visit func(seq uint64, p *attendance.Punch) error) (next uint64, err error) {
	dir, err := f.ledgerDir()
	if err != nil {
		return 0, err
	}
	return ledger.Scan(ctx, dir, from, f.visitor(g, visit), g.damaged)
}

// inMemory is how many punches are kept while the ledger is read. Of more than
// that the sequences alone are kept, and the ledger is read twice.
const inMemory = 1000

// newest visits the last n of the punches asked for, says how many of them
// there are, or might be if n were higher, and where to go on.
func (f *punchesFlags) newest(ctx context.Context, g *gaps, n int, visit func(seq uint64, p *attendance.Punch) error) (found int, next uint64, err error) {
	punches, seqs := ring[numbered]{n: min(n, inMemory)}, ring[uint64]{n: n}
	next, err = f.scan(ctx, 0, g, func(seq uint64, p *attendance.Punch) error {
		found++
		seqs.add(seq)
		p.Evidence = attendance.Evidence{} // it may be large, and is not shown
		punches.add(numbered{seq, p})
		return nil
	})
	if n <= inMemory || found <= inMemory { // after an error too: what was read is worth seeing
		for _, it := range punches.all() {
			if err := visit(it.seq, it.p); err != nil {
				return found, next, err
			}
		}
		return found, next, err
	}
	if err != nil {
		return found, next, err
	}
	all := seqs.all()
	last := all[len(all)-1]
	_, err = f.scan(ctx, all[0], &gaps{}, func(seq uint64, p *attendance.Punch) error {
		if seq > last { // come in the meantime
			return errEnough
		}
		return visit(seq, p)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return found, next, err
}

type numbered struct {
	seq uint64
	p   *attendance.Punch
}

// ring keeps the last n of what it is given.
type ring[T any] struct {
	n     int
	items []T
	at    int // the oldest, once there are n
}

func (r *ring[T]) add(x T) {
	switch {
	case r.n == 0:
	case len(r.items) < r.n:
		r.items = append(r.items, x)
	default:
		r.items[r.at] = x
		r.at = (r.at + 1) % r.n
	}
}

func (r *ring[T]) all() []T {
	return append(r.items[r.at:len(r.items):len(r.items)], r.items[:r.at]...)
}

// also adds the error of ending a thing to that of using it, unless it is the
// same one again: a buffer that can't be written says so at each call.
func also(err, end error) error {
	if end == nil || errors.Is(err, end) {
		return err
	}
	return errors.Join(err, end)
}
