package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/punchd/punchd/sync/ledger"
)

// Suspect is a buffer that could not be used and was moved aside.
type Suspect struct {
	Path   string
	Reason string // empty if it was not kept
	Ledger string // id of the ledger it belongs to, empty if it is not known
	Needed string // what it has that the ledger has not, empty if there is nothing
}

const (
	suspectMark = ".suspect-"
	reasonName  = "reason.txt" // in the directory moved aside
	ledgerName  = "ledger.txt" // there too: the ledger's id in hex
)

// Reset moves the buffer aside for a reason and begins a new one.
func (b *Buffer) Reset(reason string) error {
	if err := b.room(); err != nil { // else the next start would find no buffer at all
		return fmt.Errorf("buffer: it must be made anew, since %s: %w", reason, err)
	}
	if b.db != nil {
		if err := b.db.Close(); err != nil {
			b.log.Warn("closing a suspect buffer failed", "err", err)
		}
		b.db = nil
	}
	of := b.Ledger()
	path := b.dir + suspectMark + time.Now().UTC().Format("20060102T150405.000000000Z")
	b.log.Error("the buffer can't be used; it is moved aside and made anew from the ledger", "reason", reason, "moved", path)
	if err := os.Rename(b.dir, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("buffer: move a suspect buffer aside: %w", err)
	}
	b.reasons[path] = reason
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		if err := os.WriteFile(filepath.Join(path, reasonName), []byte(reason), 0o600); err != nil {
			b.log.Warn("why the buffer was moved aside can't be kept", "err", err)
		}
		if of != (ledger.Identity{}) {
			b.keepLedger(path, of)
		}
	}
	return b.open()
}

// Suspects are the buffers moved aside, now or earlier, that are still there.
func (b *Buffer) Suspects() ([]Suspect, error) {
	paths, err := suspectPaths(b.dir)
	if err != nil {
		return nil, err
	}
	var all []Suspect
	for _, p := range paths {
		reason, known := b.reasons[p]
		if !known {
			// It is worth telling without: an old one has none, and what was moved
			// may be a file.
			text, _ := os.ReadFile(filepath.Join(p, reasonName))
			reason = string(text)
		}
		all = append(all, Suspect{p, reason, ledgerOf(p), b.needed[p]})
	}
	return all, nil
}

// suspectPaths are what was moved aside, the oldest first.
func suspectPaths(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil {
		return nil, fmt.Errorf("buffer: %w", err)
	}
	var paths []string
	mark := filepath.Base(dir) + suspectMark
	for _, e := range entries { // sorted by name, and so by time
		if strings.HasPrefix(e.Name(), mark) {
			paths = append(paths, filepath.Join(filepath.Dir(dir), e.Name()))
		}
	}
	return paths, nil
}
