package journal

import (
	"cmp"
	"context"
	"maps"
	"path/filepath"
	"slices"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/buffer"
	"github.com/punchd/punchd/sync/ledger"
)

// Refusals is what each sink would not take, as the ledger's records say. It
// needs no buffer, so that a command can tell it beside a running daemon, and
// without one.
type Refusals struct {
	// Undecodable counts records of sinks' answers that this program can't
	// decode. They are passed over, as the buffer does: what they say is missing.
	Undecodable int
	sinks       map[string]*refusals
}

type refusals struct {
	cursor uint64
	parked map[uint64]string // reasons
	dead   map[uint64]string
}

// Refusal is a punch that a sink would not take.
type Refusal struct {
	Seq    uint64
	Reason string
	Dead   bool // it never will; else it is parked
}

// ReadRefusals reads the ledger of a data directory, as [ledger.Scan] does.
func ReadRefusals(ctx context.Context, dataDir string, damaged func(*ledger.Damage) error) (*Refusals, error) {
	r := &Refusals{}
	_, err := ledger.Scan(ctx, filepath.Join(dataDir, LedgerDir), 0, r.take, damaged)
	return r, err
}

// Sinks are the names of all that have ever answered.
func (r *Refusals) Sinks() []string { return slices.Sorted(maps.Keys(r.sinks)) }

// Of gives what a sink would not take, in the ledger's order.
func (r *Refusals) Of(sink string) []Refusal {
	k := r.sinks[sink]
	if k == nil {
		return nil
	}
	all := make([]Refusal, 0, len(k.parked)+len(k.dead))
	for seq, why := range k.parked {
		all = append(all, Refusal{seq, why, false})
	}
	for seq, why := range k.dead {
		all = append(all, Refusal{seq, why, true})
	}
	slices.SortFunc(all, func(a, b Refusal) int { return cmp.Compare(a.Seq, b.Seq) })
	return all
}

// take follows one record, by the same rules as the buffer (see index).
func (r *Refusals) take(f ledger.Frame) error {
	if f.Kind != attendance.RecordSettled && f.Kind != attendance.RecordParked {
		return nil
	}
	rec, err := record(&f)
	if err != nil {
		r.Undecodable++
		return nil
	}
	switch rec := rec.(type) {
	case *attendance.Settled:
		if k := r.of(rec.Sink); k != nil {
			k.settled(rec)
		}
	case *attendance.Parked:
		if k := r.of(rec.Sink); k != nil {
			k.parked[rec.Seq] = rec.Reason
			delete(k.dead, rec.Seq)
		}
	}
	return nil
}

func (k *refusals) settled(s *attendance.Settled) {
	if s.First < k.cursor {
		delete(k.parked, s.First)
	} else {
		k.cursor = s.Last + 1
	}
	for _, d := range s.Dead {
		k.dead[d.Seq] = d.Reason
	}
}

// of gives a sink's state, nil if the name can't be one.
func (r *Refusals) of(sink string) *refusals {
	if buffer.CheckSinkName(sink) != nil {
		return nil
	}
	if r.sinks == nil {
		r.sinks = map[string]*refusals{}
	}
	k := r.sinks[sink]
	if k == nil {
		k = &refusals{parked: map[uint64]string{}, dead: map[uint64]string{}}
		r.sinks[sink] = k
	}
	return k
}
