package gateway

import (
	"context"
	"slices"

	"github.com/punchd/punchd/protocol/attendance"
)

// accept takes punches from terminals and readers: it says who each was, and
// makes all of them durable in the device's own order. It is the Emit of every
// driver but the phones'.
//
// A punch is never turned away: what nobody in the roster matches is stored
// and forwarded as unverified, so that central can tell who it was later.
func (g *Gateway) accept(ctx context.Context, punches []attendance.Punch) error {
	now := g.judgement.Load()
	records := make([]attendance.Record, len(punches))
	for i := range punches {
		p := punches[i] // the driver keeps its slice
		if slices.Contains(p.Reasons, attendance.ReasonMalformed) {
			// What the driver could not read names nobody for sure, and is nobody's
			// to judge but a person's.
			p.Site = now.site
		} else {
			now.identify(&p)
		}
		records[i] = &p
	}
	results, err := g.journal.Append(ctx, records)
	if err != nil {
		return err
	}
	for i, r := range results {
		if r.Duplicate {
			g.counts.duplicates.Add(1)
			continue
		}
		p := records[i].(*attendance.Punch)
		g.counts.punch(p)
		g.counts.device(p.Device.ID)
	}
	return nil
}
