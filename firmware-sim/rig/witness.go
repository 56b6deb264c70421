package rig

import (
	"crypto/ed25519"
	"fmt"

	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/protocol/cloudevents"
)

// Witness holds the signed heads of the gateway's ledger that central got to
// what such heads must be: signed by the gateway, of one ledger, and no two that
// contradict each other. It says how many there are.
func (w *World) Witness() (heads int, err error) {
	events, err := w.central.Held()
	if err != nil {
		return 0, err
	}
	roots := map[uint64]checkpoint.Hash{}
	ledger := ""
	for i := range events {
		e := &events[i]
		if e.Type != cloudevents.TypeCheckpoint {
			continue
		}
		note, err := e.Checkpoint()
		if err != nil {
			return heads, fmt.Errorf("rig: event %s at central: %w", e.ID, err)
		}
		h, err := checkpoint.Open([]byte(note), w.key.Public().(ed25519.PublicKey))
		if err != nil {
			return heads, fmt.Errorf("rig: event %s at central: %w", e.ID, err)
		}
		if ledger == "" {
			ledger = h.Ledger
		}
		before, known := roots[h.Size]
		switch {
		case h.Ledger != ledger:
			return heads, fmt.Errorf("rig: central has heads of the ledgers %s and %s", ledger, h.Ledger)
		case h.Size > e.Seq:
			return heads, fmt.Errorf("rig: record %d of the ledger is the head of %d records", e.Seq, h.Size)
		case known && before != h.Root:
			return heads, fmt.Errorf("rig: central has two heads of %d records", h.Size)
		}
		roots[h.Size] = h.Root
		heads++
	}
	return heads, nil
}
