package journal

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/punchd/punchd/sync/ledger"
)

// foreseen is what is known of the ledger before it is opened, from all there is
// beside it.
type foreseen struct {
	id    ledger.Identity // zero if it can't be told
	next  uint64          // so many records of it were durable
	begun bool            // that there was one
	aside string          // the buffer moved aside that alone says so, empty if others do
}

// openLedger opens the ledger.
func (j *Journal) openLedger(cfg Config) error {
	was, err := j.readIdentity()
	if err != nil {
		return err
	}
	lc := ledger.Config{
		Dir: filepath.Join(cfg.Dir, LedgerDir), SegmentSize: cfg.SegmentSize, FS: cfg.FS, Log: cfg.Log,
		Room: func(n int64) error { return j.gate.room(uint64(n)) },
	}
	k, err := j.foresee(lc, was)
	if err != nil {
		return fmt.Errorf("journal: what is known of the ledger: %w", err)
	}
	lc.Floor, lc.FloorOf, lc.Begun = k.next, k.id, k.begun
	if j.ledger, err = ledger.Open(lc); errors.Is(err, ledger.ErrEmpty) && k.aside != "" {
		return fmt.Errorf("%w; that there was a ledger is known only from %s, a buffer that was moved aside: "+
			"if this really is a first start, move that elsewhere and start again", err, k.aside)
	}
	if err != nil {
		return err
	}
	j.found.opened(j.log, j.ledger.Report())
	return j.keepIdentity(j.ledger.Identity(), was)
}

// foresee gathers what is known of the ledger: from the buffer, and where that
// is a new one or of another ledger, from the file and the buffers moved aside.
// They alone may know that the ledger has lost its end.
//
// Which ledger a buffer moved aside was of is not enough to go on with that one:
// it may have been moved for being of another. Where nothing else tells, a new
// ledger is begun, which gives no sequence twice either.
func (j *Journal) foresee(lc ledger.Config, was known) (foreseen, error) {
	k := foreseen{id: was.id, begun: was.begun}
	if !j.buffer.Fresh() {
		k = foreseen{id: j.buffer.Ledger(), next: j.buffer.Applied(), begun: true}
	}
	aside, err := j.buffer.Suspects()
	if err != nil || len(aside) == 0 {
		return k, err
	}
	for i := range aside { // an older program kept no file
		if !k.begun && aside[i].ShowsLedger() {
			k.begun, k.aside = true, aside[i].Path
		}
	}
	id, last, found, err := ledger.Which(lc.FS, lc.Dir, k.id)
	if err != nil {
		return k, err
	}
	if found && id != k.id {
		k.id, k.next = id, 0
	}
	if k.id == (ledger.Identity{}) {
		return k, nil
	}
	// A buffer that is being made anew may be behind those it replaces.
	all := j.buffer.Fresh() || j.buffer.Ledger() != k.id
	proved, err := j.buffer.Proved(k.id, max(last, k.next), all)
	k.next = max(k.next, proved)
	return k, err
}
