package buffer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/punchd/punchd/sync/ledger"
)

// checkedName is a file in a buffer moved aside: the id of a ledger that was
// seen to have every record in it. What was moved aside changes no more, so it
// need not be searched at every start.
const checkedName = "checked.txt"

func checked(path string, id ledger.Identity) bool {
	b, _ := os.ReadFile(filepath.Join(path, checkedName)) // what moved may be a file
	return string(b) == id.String()+"\n"
}

// Proved says how many records of a ledger the buffers moved aside prove to have
// been durable: one comes into a buffer only when it is so in the ledger. Those
// already seen to have nothing that the ledger has not are asked only if all are.
// What can't be read proves nothing.
//
// A buffer has a frame or more bytes for each record before its newest, so that
// no sequence further behind seen than its files are long is believed: it would
// be chance that made bytes look like a frame. Seen is how many are known from
// elsewhere, which may be lost and have no frame.
func (b *Buffer) Proved(id ledger.Identity, seen uint64, all bool) (next uint64, err error) {
	paths, err := suspectPaths(b.dir)
	if err != nil {
		return 0, err
	}
	for _, p := range paths {
		if of := ledgerOf(p); of != "" && of != id.String() || !all && checked(p, id) {
			continue
		}
		last := max(seen, next) + uint64(lengthOf(p))/minFrame
		_, err := anyFile(p, func(_ string, b []byte) bool {
			for seq := range frames(b, &id, 0, last) {
				next = max(next, seq+1)
			}
			return false
		})
		if err != nil {
			b.log.Warn("a buffer moved aside can't be searched for the end of the ledger", "path", p, "err", err)
		}
	}
	return next, nil
}

// lengthOf is how long the files of a buffer moved aside are, in bytes.
func lengthOf(dir string) (n int64) {
	entries, _ := os.ReadDir(dir) // what can't be read has no frames either
	for _, e := range entries {
		if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() {
			n += fi.Size()
		}
	}
	return n
}

// worthless says that a buffer moved aside is of a ledger that has every record
// in it. If that ledger can be read, nothing is lost with it. Why not is an error.
func worthless(path string, id ledger.Identity, m *ledger.Matcher) error {
	of, err := isOf(path, id)
	if err != nil {
		return err
	}
	if !of {
		return fmt.Errorf("it is not known to be of ledger %s", id)
	}
	var differs error
	_, err = anyFile(path, func(_ string, b []byte) bool {
		for _, at := range frames(b, &id, 0, maxRecords) {
			f, _, err := id.ParseFrame(b[at.off : at.off+at.size])
			if err == nil {
				err = m.Match(&f)
			}
			if err != nil {
				differs = err
				return true
			}
		}
		return false
	})
	if differs != nil {
		return differs
	}
	return err
}

// WeighSuspects finds out which of the buffers moved aside that are of a ledger
// have records that it has not: see [Suspect.Needed]. Of the others all but the
// newest are removed if prune says so, which it may only when the whole ledger
// can be read. What is of another ledger, or can't be told, stays.
func (b *Buffer) WeighSuspects(id ledger.Identity, m *ledger.Matcher, prune bool) error {
	paths, err := suspectPaths(b.dir)
	if err != nil {
		return err
	}
	var own []string
	for _, p := range paths {
		if ledgerOf(p) == id.String() {
			own = append(own, p)
		}
	}
	for i, p := range own {
		remove := prune && i < len(own)-1
		if !remove && checked(p, id) {
			continue
		}
		if why := worthless(p, id, m); why != nil {
			b.log.Error("a buffer moved aside is kept: it may hold the only copy of records", "path", p, "why", why)
			b.needed[p] = why.Error()
			continue
		}
		if remove {
			if err := os.RemoveAll(p); err != nil {
				return fmt.Errorf("buffer: remove an old suspect buffer: %w", err)
			}
			continue
		}
		b.keepChecked(p, id)
	}
	return nil
}

// keepChecked notes that a ledger has all that a buffer moved aside has. What is
// applied to this buffer must not be forgotten when that is remembered: until
// then the one moved aside tells how far the ledger went.
func (b *Buffer) keepChecked(path string, id ledger.Identity) {
	err := b.Sync()
	if err == nil {
		err = os.WriteFile(filepath.Join(path, checkedName), []byte(id.String()+"\n"), 0o600)
	}
	if err != nil { // it is searched again
		b.log.Warn("that the ledger has all of a buffer moved aside can't be noted", "path", path, "err", err)
	}
}

// logHeader is how long the header of Badger's logs is, in bytes.
const logHeader = 20

// ShowsLedger says whether a ledger was begun before the buffer was moved aside.
//
// The first that is ever written to a buffer is the identity of its ledger, when
// that has a segment. So one that only was opened shows none: a start was cut
// short. Any entry is proof: in a log it stands behind the header, where there
// are zeros else, and a table is made of nothing but entries. That it can still
// be read is not asked, since a buffer is moved aside for being damaged. What
// can't be read may be proof.
func (x *Suspect) ShowsLedger() bool {
	if x.Ledger != "" {
		return true
	}
	if fi, err := os.Lstat(x.Path); err == nil && !fi.IsDir() {
		return false
	}
	shows, err := anyFile(x.Path, func(name string, b []byte) bool {
		switch filepath.Ext(name) {
		case ".sst":
			return true
		case ".mem", ".vlog":
			return len(bytes.TrimLeft(b[min(len(b), logHeader):], "\x00")) > 0
		}
		return false
	})
	return shows || err != nil
}
