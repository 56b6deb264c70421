package gateway

import (
	"os/user"
	"path/filepath"
	"testing"
	"time"

	"github.com/punchd/punchd/firmware-sim/central"
	"github.com/punchd/punchd/firmware-sim/rig"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward/sourcetest"
	"github.com/punchd/punchd/sync/journal"
	"github.com/punchd/punchd/sync/ledger"
)

// operators are the orders that stand in the ledger.
func (s *site) operators() (all []*attendance.Operator) {
	s.t.Helper()
	_, err := ledger.Scan(s.t.Context(), filepath.Join(s.config().Gateway.DataDir, journal.LedgerDir), 0, func(f ledger.Frame) error {
		r, err := attendance.DecodeRecord(f.Kind, f.Payload)
		if o, ok := r.(*attendance.Operator); ok {
			all = append(all, o)
		}
		return err
	}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// A retry stands in the ledger, with the name that the kernel knows, if it can
// change anything: if punches are parked, or the sink does not answer.
func TestRetryOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t, rig.Scene{Seed: 1, Native: 1})
	p := sourcetest.Punch(1)
	if err := s.world.Central().SetFaults(central.Faults{Park: []string{p.Employee}}); err != nil {
		t.Fatal(err)
	}
	s.start()
	dir, g, sink := s.config().Gateway.DataDir, s.gateway, s.config().Sinks[0].Name
	retry := func(punches uint64, records int) {
		t.Helper()
		if sent, err := OrderRetry(t.Context(), dir, sink); err != nil || sent.Punches != punches || sent.Sink != sink {
			t.Errorf("retry: %+v, %v", sent, err)
		}
		if all := s.operators(); len(all) != records {
			t.Errorf("%d orders stand in the ledger, want %d", len(all), records)
		}
	}
	add := func(p *attendance.Punch) {
		t.Helper()
		if _, err := g.journal.Append(t.Context(), []attendance.Record{p}); err != nil {
			t.Fatal(err)
		}
	}
	retry(0, 0)
	add(p)
	s.until(10*time.Second, func() bool {
		parked, err := g.journal.ListParked(t.Context(), sink, 0, 1)
		return err == nil && len(parked) == 1
	})
	retry(1, 1)
	if err := s.world.Central().SetFaults(central.Faults{}); err != nil {
		t.Fatal(err)
	}
	if _, err := OrderRetry(t.Context(), dir, sink); err != nil {
		t.Fatal(err)
	}
	s.until(10*time.Second, func() bool {
		parked, err := g.journal.ListParked(t.Context(), sink, 0, 1)
		return err == nil && len(parked) == 0
	})
	before := len(s.operators())
	retry(0, before)
	s.world.Central().SetDown(true)
	add(sourcetest.Punch(2))
	s.until(10*time.Second, func() bool { return g.forwarders[0].State().LastError != "" })
	retry(0, before+1)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range s.operators() {
		if o.Who != me.Username || o.Action != "sinks retry" || o.Detail != sink || time.Since(o.At) > time.Minute {
			t.Errorf("record %+v", o)
		}
	}
}
