package journal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/punchd/punchd/sync/buffer"
	"github.com/punchd/punchd/sync/ledger"
)

// withRoom does a step of opening, and does it again if it ran out of room and
// buffers that were moved aside could be removed. A ledger, a broken buffer and
// the one made anew may not fit together: without this one broken buffer would
// keep the gateway down at every start.
func (j *Journal) withRoom(ctx context.Context, cfg Config, step func() error) error {
	err := step()
	full, ok := errors.AsType[*diskFull](err) // nothing else is known to have changed nothing
	if !ok {
		return err
	}
	removed, more := j.freeSuspects(ctx, cfg, full)
	if removed {
		err = step()
		if _, ok = errors.AsType[*diskFull](err); !ok {
			return err
		}
	}
	if more != "" {
		err = fmt.Errorf("%w; %s", err, more)
	}
	return err
}

// freeSuspects removes the buffers moved aside that are worth nothing, which are
// those of this ledger if all of it can be read. What is left of them is for the
// error: a person who has to make room must know of them.
func (j *Journal) freeSuspects(ctx context.Context, cfg Config, full *diskFull) (removed bool, more string) {
	dir := filepath.Join(cfg.Dir, bufferDir)
	_, aside, err := buffer.FreeSuspects(dir, ledger.Identity{}, nil) // looks only
	if err != nil || len(aside) == 0 {
		return false, ""
	}
	j.log.Warn("the disk is full; the ledger is read through to learn whether the buffers moved aside can be removed", "err", full, "buffers", len(aside))
	var m *ledger.Matcher
	at := filepath.Join(cfg.Dir, LedgerDir)
	id, _, unsound := ledger.Sound(ctx, cfg.FS, at)
	if unsound == nil {
		m = ledger.OpenMatcher(cfg.FS, at)
		defer m.Close()
	}
	gone, aside, err := buffer.FreeSuspects(dir, id, m)
	if err != nil {
		j.log.Warn("the buffers moved aside can't be removed", "err", err)
	}
	for _, path := range gone {
		j.log.Warn("a buffer that was moved aside is removed: the disk is full, and the ledger has all its records", "path", path)
	}
	if len(aside) == 0 {
		return len(gone) > 0, ""
	}
	var paths []string
	for _, a := range aside {
		why := a.Why
		if unsound != nil {
			why = unsound
		}
		paths = append(paths, fmt.Sprintf("%s (%s, kept because: %v)", a.Path, mebi(uint64(a.Bytes)), why))
	}
	return len(gone) > 0, "buffers that were moved aside take room too, but may hold the only copy of some records: " + strings.Join(paths, ", ") +
		": make room elsewhere on the disk, or copy them to another one and then remove them here, and start again"
}
