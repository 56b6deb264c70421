package buffer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/punchd/punchd/sync/ledger"
)

// maxRecords is how many records a ledger may have when any frame of it is
// looked for. The search is quick because few bytes look like a sequence below.
const maxRecords = 1 << 40

// ledgerOf is the id of the ledger that a buffer moved aside belongs to, as far
// as it was noted: the empty string if it was not.
func ledgerOf(path string) string {
	b, _ := os.ReadFile(filepath.Join(path, ledgerName)) // what moved may be a file
	text := strings.TrimSpace(string(b))
	if id, err := hex.DecodeString(text); err != nil || len(id) != len(ledger.Identity{}.ID) {
		return ""
	}
	return text
}

// keepLedger notes which ledger a buffer moved aside belongs to. If that fails
// it is searched for again.
func (b *Buffer) keepLedger(path string, id ledger.Identity) {
	if err := os.WriteFile(filepath.Join(path, ledgerName), []byte(id.String()+"\n"), 0o600); err != nil {
		b.log.Warn("which ledger a buffer moved aside belongs to can't be noted", "path", path, "err", err)
	}
}

// TellSuspects finds out which of the buffers moved aside are of a ledger, and
// notes it in them. What can't be told stays unknown.
func (b *Buffer) TellSuspects(id ledger.Identity) error {
	paths, err := suspectPaths(b.dir)
	if err != nil {
		return err
	}
	for _, p := range paths {
		if ledgerOf(p) != "" {
			continue
		}
		of, err := isOf(p, id)
		if err != nil {
			b.log.Warn("which ledger a buffer moved aside belongs to can't be told", "path", p, "err", err)
		}
		if of {
			b.keepLedger(p, id)
		}
	}
	return nil
}

// isOf says whether a buffer moved aside is one of a ledger. Badger is not
// asked, as in Salvage: what proves it is the ledger's id and salt, which it
// keeps as they are, or a frame, whose check sum begins with the salt.
func isOf(path string, id ledger.Identity) (bool, error) {
	if of := ledgerOf(path); of != "" {
		return of == id.String(), nil
	}
	return anyFile(path, func(_ string, b []byte) bool {
		if bytes.Contains(b, encodeLedger(id)) {
			return true
		}
		for range frames(b, &id, 0, maxRecords) {
			return true
		}
		return false
	})
}

// anyFile says whether one of the files of a buffer moved aside holds something.
func anyFile(dir string, holds func(name string, b []byte) bool) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	var errs []error
	for _, e := range entries {
		b, err := readSuspect(filepath.Join(dir, e.Name()))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if holds(e.Name(), b) {
			return true, nil
		}
	}
	return false, errors.Join(errs...)
}

// Aside is a buffer moved aside that was not removed.
type Aside struct {
	Path  string
	Bytes int64 // on disk, as far as they can be counted
	Why   error // it was not
}

// FreeSuspects removes the buffers moved aside beside dir that are worth nothing
// to a ledger that can be read through, the newest too: a disk is full. A nil m
// removes none. It needs no open buffer.
func FreeSuspects(dir string, id ledger.Identity, m *ledger.Matcher) (removed []string, kept []Aside, err error) {
	paths, err := suspectPaths(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range paths {
		why := errors.New("the ledger can't be read through")
		if m != nil {
			if why = worthless(p, id, m); why == nil {
				why = os.RemoveAll(p)
			}
		}
		if why == nil {
			removed = append(removed, p)
			continue
		}
		kept = append(kept, Aside{p, sizeOf(p), why})
	}
	return removed, kept, nil
}

// sizeOf is how much a file or directory takes, in bytes.
func sizeOf(root string) (n int64) {
	filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // only what can be seen is counted
		}
		if size, err := allocated(path); err == nil && d.Type().IsRegular() {
			n += size
		}
		return nil
	})
	return n
}
