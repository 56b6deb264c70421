package zk

import (
	"slices"

	"github.com/punchd/punchd/protocol/attendance"
	wire "github.com/punchd/punchd/protocol/zk"
)

// Entry is a fact: somebody was at the terminal, then.
type Entry struct {
	Seq    int    // its number from 0 in the terminal's whole life
	UID    uint16 // the slot he had
	PIN    string
	At     attendance.LocalTime // what the clock showed
	State  uint8                // the state key
	Verify uint8                // how he was recognised
}

// ledger is every entry ever made; what the log still has begins at first.
type ledger struct {
	entries []Entry
	first   int
	room    int
	jumbled bool // some entry is older than one before it
}

// add appends an entry, and lets the oldest go if the log is full.
func (l *ledger) add(e Entry) Entry {
	e.Seq = len(l.entries)
	if e.Seq > 0 && e.At < l.entries[e.Seq-1].At {
		l.jumbled = true
	}
	l.entries = append(l.entries, e)
	l.first = max(l.first, len(l.entries)-l.room)
	return e
}

// held is what the log has. Entries never change, so it stays good.
func (l *ledger) held() []Entry { return l.entries[l.first:len(l.entries):len(l.entries)] }

// clear empties the log. What happened has happened all the same.
func (l *ledger) clear() { l.first = len(l.entries) }

// has reports whether an entry like e was ever made: nobody could tell the two
// apart.
func (l *ledger) has(e Entry) bool {
	for _, old := range slices.Backward(l.entries) {
		if old.At == e.At && old.PIN == e.PIN && old.State == e.State && old.Verify == e.Verify {
			return true
		}
		if old.At < e.At && !l.jumbled {
			return false
		}
	}
	return false
}

// Log is every entry that was ever made, in order, also those that have gone
// from the terminal since: cleared by a host, or overwritten in a full log. See
// [Counts.First] for what a host can read.
func (t *Terminal) Log() []Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.ledger.entries)
}

// records is the log in the form in which it is given out. With the quirk dup
// about one entry in 16 comes twice, in every read the same.
func (t *Terminal) records(entries []Entry) ([]byte, error) {
	l := t.cfg.Quirks.layout()
	all := make([]byte, 0, len(entries)*l.Size()*9/8)
	var err error
	for _, e := range entries {
		times := 1
		if t.cfg.Quirks.Dup && (t.cfg.Seed^uint64(e.Seq))*0x9e3779b97f4a7c15>>60 == 0 {
			times = 2
		}
		for range times {
			if all, err = wire.AppendRecord(all, l, e.record(l != wire.Layout16, l.HasPIN())); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// record is the entry for a form that has the slot, the PIN, or both.
func (e Entry) record(slot, pin bool) wire.Record {
	r := wire.Record{Verify: e.Verify, State: e.State, At: e.At}
	if slot {
		r.UID = e.UID
	}
	if pin {
		r.PIN = e.PIN
	}
	return r
}
