package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/sync/journal"
)

// searched is how many records are looked at in one go, from the newest back.
const searched = 4000

// lastSerial is the serial number in the newest punch of a terminal, empty if it
// has none in the ledger. The terminal's keys hold it, so a driver must know it
// before it hands over anything.
//
// However long ago that punch was, it is found: what is searched is the ledger
// itself, and nothing beside it can be older, newer or lost. Only for a terminal
// that never was read all of the ledger is looked at, once, when it is first
// reached.
func (g *Gateway) lastSerial(ctx context.Context, terminal string) (string, error) {
	stats, err := g.journal.Stats()
	if err != nil {
		return "", fmt.Errorf("gateway: %w", err)
	}
	for to := stats.Next; to > 0; {
		from := to - min(to, searched)
		serial := ""
		for at := from; at < to; {
			items, next, err := g.journal.Pending(ctx, at, int(to-at))
			if u, ok := errors.AsType[*journal.Undecodable](err); ok {
				// Of a newer program, say. The terminals must not wait for it; at
				// worst one takes the serial number of the punch before.
				items, next, err = nil, u.Seq+1, nil
			}
			if err != nil {
				return "", fmt.Errorf("gateway: look for the last punch of %s: %w", terminal, err)
			}
			for _, it := range items {
				if p := it.Punch; p != nil && it.Seq < to && p.Device.ID == terminal && p.Device.Driver == config.DriverZK && p.Device.Serial != "" {
					serial = p.Device.Serial
				}
			}
			if next <= at {
				break
			}
			at = next
		}
		if serial != "" {
			return serial, nil
		}
		to = from
	}
	return "", nil
}
