package rig

import (
	"fmt"
	"slices"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cloudevents"
)

// Made are the facts of all devices, each device's in its own order. What the
// reader shows is a promise only if somebody always listened.
func (w *World) Made(listened bool) []Fact {
	var facts []Fact
	who := w.people()
	for _, t := range w.terminals {
		for _, e := range t.Log() {
			facts = append(facts, Fact{t.id, terminalID(e.PIN, e.At, int(e.State), int(e.Verify)), true, who.atTerminal(e, t.skew)})
		}
	}
	if w.reader != nil {
		for _, m := range w.reader.Made() {
			facts = append(facts, Fact{ReaderID, m.Badge, m.Promised && listened, who.atReader(m)})
		}
	}
	if w.fleet != nil {
		for _, m := range w.fleet.Made() {
			facts = append(facts, Fact{m.Phone, phoneID(m.At, m.Native), m.Promised, who.byPhone(m)})
		}
	}
	return facts
}

// terminalID identifies an entry of a terminal's log by what it says.
func terminalID(pin string, at attendance.LocalTime, state, verify int) string {
	return fmt.Sprintf("%s at %s state %d verify %d", pin, at, state, verify)
}

// phoneID identifies a check-in by the moment at which it was made: to the
// millisecond, or for OwnTracks to the second.
func phoneID(at time.Time, native bool) string {
	return at.UTC().Truncate(precision(native)).Format(time.RFC3339Nano)
}

// precision is that of a phone's times.
func precision(native bool) time.Duration {
	if native {
		return time.Millisecond
	}
	return time.Second
}

// Held is what central holds, in order of first arrival. It is read from the
// events' own words, not from the ids that the gateway gave them.
func (w *World) Held() ([]Seen, []*attendance.Punch, error) {
	seen, punches, _, err := w.heldFrom(0)
	return seen, punches, err
}

// heldFrom leaves out the first n events, and says how many there are.
func (w *World) heldFrom(n int) (seen []Seen, punches []*attendance.Punch, next int, err error) {
	events, err := w.central.HeldFrom(n)
	if err != nil {
		return nil, nil, n, err
	}
	seen, punches = make([]Seen, 0, len(events)), make([]*attendance.Punch, 0, len(events))
	for i := range events {
		if events[i].Type == cloudevents.TypeCheckpoint {
			continue
		}
		p, err := events[i].Punch()
		if err != nil {
			return nil, nil, n, fmt.Errorf("rig: event %s at central: %w", events[i].ID, err)
		}
		seen = append(seen, Seen{Line: p.Device.ID, ID: seenID(p), Event: events[i].ID, Sequence: events[i].Seq, Says: told(p)})
		punches = append(punches, p)
	}
	return seen, punches, n + len(events), nil
}

// seenID identifies what central was told of by what the device put into it.
func seenID(p *attendance.Punch) string {
	switch p.Device.Driver {
	case "zk":
		return terminalID(p.Badge, p.DeviceTime, p.State, p.Verify)
	case "cardline":
		return p.Badge
	}
	return phoneID(p.At, p.Device.Driver == "phone")
}

// Summary is a run counted on both sides. Its JSON is what `punchd demo --json`
// ends with.
type Summary struct {
	TerminalPunches int          `json:"terminal_punches"`
	ReaderPunches   int          `json:"reader_punches"`
	CheckIns        CheckIns     `json:"checkins"`
	LedgerRecords   uint64       `json:"ledger_records"`
	Central         CentralCount `json:"central"`

	Lost       int `json:"lost"`
	Doubled    int `json:"doubled"`
	Invented   int `json:"invented"`
	OutOfOrder int `json:"out_of_order"`
	Altered    int `json:"altered"` // told with another employee, time, verdict, direction or method

	OutageSeconds float64  `json:"outage_seconds"`
	DrainSeconds  float64  `json:"drain_seconds"`
	Examples      []string `json:"examples,omitempty"`
}

// CheckIns counts the phones' check-ins; the verdicts are those that central
// was told.
type CheckIns struct {
	Sent     int `json:"sent"`
	Accepted int `json:"accepted"`
	Flagged  int `json:"flagged"`
	Refused  int `json:"refused"`
}

// CentralCount is what central counted.
type CentralCount struct {
	Requests uint64 `json:"requests"`
	Received uint64 `json:"received"` // events, repetitions included
	Distinct uint64 `json:"distinct"`
}

// Summarize counts what the devices made against what central holds.
func (w *World) Summarize(listened bool) (*Summary, error) {
	seen, punches, err := w.Held()
	if err != nil {
		return nil, err
	}
	t := Check(w.Made(listened), seen)
	stats := w.central.Stats()
	s := &Summary{
		Central: CentralCount{stats.Requests, stats.Received, stats.Distinct},
		Lost:    t.Lost, Doubled: t.Doubled, Invented: t.Invented, OutOfOrder: t.OutOfOrder, Altered: t.Altered, Examples: t.Examples(),
	}
	for _, term := range w.terminals {
		s.TerminalPunches += len(term.Log())
	}
	if w.reader != nil {
		s.ReaderPunches = len(w.reader.Made())
	}
	if w.fleet != nil {
		s.CheckIns.Sent = len(w.fleet.Made())
	}
	for _, p := range punches {
		if p.Method != attendance.MethodPhone {
			continue
		}
		switch p.Verdict {
		case attendance.Accepted:
			s.CheckIns.Accepted++
		case attendance.Flagged:
			s.CheckIns.Flagged++
		case attendance.Refused:
			s.CheckIns.Refused++
		}
	}
	for _, o := range w.central.Outages() {
		to := o.To
		if to.IsZero() { // still down
			to = time.Now()
		}
		s.OutageSeconds += to.Sub(o.From).Seconds()
	}
	return s, nil
}

// Clean reports whether nothing went wrong.
func (s *Summary) Clean() bool { return s.Lost+s.Doubled+s.Invented+s.OutOfOrder+s.Altered == 0 }

// ReceiptsDiffer compares the receipts that phones hold with what they made and
// with the events that central holds, and describes each difference.
func (w *World) ReceiptsDiffer() ([]string, error) {
	_, punches, err := w.Held()
	if err != nil {
		return nil, err
	}
	byKey := make(map[attendance.Key]*attendance.Punch, len(punches))
	for _, p := range punches {
		byKey[p.Key] = p
	}
	var out []string
	for _, m := range w.fleet.Made() {
		if m.Receipt == nil {
			continue
		}
		p := byKey[m.Receipt.Key]
		switch {
		case !m.Promised:
			out = append(out, fmt.Sprintf("%s %d: a %s phone made %s and was told %v %v of %s", m.Phone, m.Counter, m.Behaviour, m.Key, m.Receipt.Verdict, m.Receipt.Reasons, m.Receipt.Key))
		case p == nil:
			out = append(out, fmt.Sprintf("%s %d: a receipt for %s, which central does not hold", m.Phone, m.Counter, m.Receipt.Key))
		case p.Verdict != m.Receipt.Verdict || !slices.Equal(p.Reasons, m.Receipt.Reasons):
			out = append(out, fmt.Sprintf("%s %d: told %v %v, central %v %v", m.Phone, m.Counter, m.Receipt.Verdict, m.Receipt.Reasons, p.Verdict, p.Reasons))
		}
	}
	return out, nil
}
