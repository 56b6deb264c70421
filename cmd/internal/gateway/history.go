package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/geofence"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/journal"
)

// remembered is how many of the newest records are read at the start for what
// employees did before it: more than a working day of a large office.
const remembered = 5000

// history holds what the judge must know of each employee's earlier check-ins.
// It has one entry for each employee with a phone, and no more.
type history struct {
	mu   sync.Mutex
	past map[string]geofence.Past // by employee id

	// cards are the badges that each reader read in the newest records, and
	// when. It is filled by load and only read after.
	cards map[string]map[string]time.Time
}

func newHistory() *history {
	return &history{past: map[string]geofence.Past{}, cards: map[string]map[string]time.Time{}}
}

// of is the past of an employee, the empty one for nobody.
func (h *history) of(e *attendance.Employee) geofence.Past {
	if e == nil {
		return geofence.Past{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.past[e.ID]
}

// saw adds a check-in of a proven sender to the past of an employee.
func (h *history) saw(employee string, c *attendance.CheckIn) {
	if c.Evidence.Fix == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.past[employee] = h.past[employee].After(c)
}

// forget drops those who are not in the roster any more.
func (h *history) forget(ix *attendance.Index) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.past {
		if _, ok := ix.ByID(id); !ok {
			delete(h.past, id)
		}
	}
}

// card keeps when a reader read a badge last.
func (h *history) card(p *attendance.Punch) {
	badges := h.cards[p.Device.ID]
	if badges == nil {
		badges = map[string]time.Time{}
		h.cards[p.Device.ID] = badges
	}
	badges[p.Badge] = p.At
}

// load reads the newest records back from the journal, so that a restart does
// not make a journey believable, or two facts of one card. A record that can't be
// decoded is passed over.
func (h *history) load(ctx context.Context, j *journal.Journal, log *slog.Logger) error {
	stats, err := j.Stats()
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	head := stats.Next
	for from := head - min(head, remembered); from < head; {
		items, next, err := j.Pending(ctx, from, 1000)
		if u, ok := errors.AsType[*journal.Undecodable](err); ok {
			// It is kept and told in the status; nothing but one employee's past
			// is judged without it.
			log.Warn("one of the newest records can't be decoded; check-ins are judged without it", "seq", u.Seq, "err", u.Err)
			from = u.Seq + 1
			continue
		}
		if err != nil {
			return fmt.Errorf("gateway: read the newest records: %w", err)
		}
		for _, it := range items {
			p := it.Punch
			if p == nil {
				continue
			}
			if p.Device.Driver == config.DriverCardline {
				h.card(p)
			}
			if p.Employee == "" || p.Method != attendance.MethodPhone || slices.Contains(p.Reasons, attendance.ReasonReplayed) {
				continue
			}
			h.saw(p.Employee, &attendance.CheckIn{At: p.At, Evidence: p.Evidence})
		}
		if next <= from {
			return nil
		}
		from = next
	}
	return nil
}
