// Package roster keeps the newest good roster: it reads the file, notices when
// it changes, and holds the last good one on disk for a start without it.
package roster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/roster/strict"
)

// Snapshot is one version of the roster. It is never changed.
type Snapshot struct {
	Roster    *attendance.Roster
	Index     *attendance.Index
	Version   string // as the file tells it, else the first 12 digits of Digest
	Digest    string // SHA-256 of the file, in hex
	LoadedAt  time.Time
	Source    string // the file it was read from
	FromCache bool   // it is the last good one, since the file could not be used
}

// Config says where the roster is.
type Config struct {
	// File is YAML or JSON. A program that writes it should write another file
	// and rename it; one that does not is waited for until the file has been
	// still for one Every.
	File string
	// Cache is where the last good roster is kept, in a directory that exists;
	// empty: nowhere.
	Cache string
	// Every is how often the file is looked at; 2 s if zero.
	Every time.Duration
	// Accept is asked before a roster is taken, and may refuse it; nil accepts
	// all. An [attendance.EntryError] in its error is told with its line. It is
	// called by one goroutine at a time, from Open, Run and Reload, and must not
	// call the Keeper.
	Accept func(*Snapshot) error
	// Log is where changes and refusals are told; nil: nowhere.
	Log *slog.Logger
}

// Keeper holds the newest good roster.
type Keeper struct {
	cfg     Config
	log     *slog.Logger
	current atomic.Pointer[Snapshot]
	wrong   atomic.Pointer[error] // see Err

	busy chan struct{} // held while the fields below are used
	seen os.FileInfo   // the file when it was last looked at; nil: it could not be
	// still says that the file was read when it looked like seen, and that it
	// had looked so for a while: it need not be read again.
	still bool
	told  string // what was told last of the file, so that each thing is told once
}

// Open reads the roster. If the file is missing or wrong it takes the last
// good one and warns; the error, if there is none either, says what is wrong
// with the file, as [strict.Problems] where it is the content.
func Open(ctx context.Context, cfg Config) (*Keeper, error) {
	k := &Keeper{cfg: cfg, log: cfg.Log, busy: make(chan struct{}, 1)}
	k.cfg.Every = cmp.Or(cfg.Every, 2*time.Second)
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	err := k.Reload(ctx)
	switch {
	case err == nil:
		return k, nil
	case cfg.Cache == "" || ctx.Err() != nil:
		return nil, err
	}
	text, info, cacheErr := readFile(cfg.Cache)
	if errors.Is(cacheErr, os.ErrNotExist) {
		return nil, fmt.Errorf("%w\nroster: and there is no earlier one in %s", err, cfg.Cache)
	}
	if cacheErr == nil {
		cacheErr = k.take(text, cfg.Cache, true)
	}
	if cacheErr != nil {
		return nil, fmt.Errorf("%w\nroster: and the earlier one can't be used: %w", err, cacheErr)
	}
	k.told = err.Error()
	k.log.Warn("the roster file can't be used; going on with the last good roster",
		"file", cfg.File, "version", k.Current().Version, "kept_since", info.ModTime().UTC().Format(time.RFC3339), "err", err)
	return k, nil
}

// Current is the newest good roster. It may be called from any goroutine.
func (k *Keeper) Current() *Snapshot { return k.current.Load() }

// Err says why the file could not be used when it was read last, nil if it was.
// The roster is the last good one meanwhile. It may be called from any goroutine.
func (k *Keeper) Err() error {
	if err := k.wrong.Load(); err != nil {
		return *err
	}
	return nil
}

// Reload reads the file now. After an error the roster is as it was before.
func (k *Keeper) Reload(ctx context.Context) error {
	if err := k.lock(ctx); err != nil {
		return err
	}
	defer k.unlock()
	return k.read()
}

// Run looks at the file until ctx ends, and returns nil then. A file that is
// wrong changes nothing; it is told once, and looked at again when it changes.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(k.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if k.lock(ctx) != nil {
			return nil
		}
		k.look()
		k.unlock()
	}
}

func (k *Keeper) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case k.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *Keeper) unlock() { <-k.busy }

// look reads the file if it has changed and is still since the last look.
func (k *Keeper) look() {
	info, err := os.Stat(k.cfg.File)
	if err != nil {
		k.seen, k.still = nil, false
		err = fmt.Errorf("roster: %w", err)
		k.wrong.Store(&err)
		k.tell(err)
		return
	}
	if k.seen == nil || !same(k.seen, info) {
		k.seen, k.still = info, false
		return // it may be half written
	}
	if k.still {
		return
	}
	err = k.read()
	k.still = k.seen != nil && same(k.seen, info)
	if err != nil {
		k.tell(err)
	}
}

func (k *Keeper) tell(err error) {
	if err.Error() != k.told {
		k.told = err.Error()
		k.log.Warn("the roster file can't be used; the roster stays as it was", "file", k.cfg.File, "version", k.Current().Version, "err", err)
	}
}

// read takes the file as it is now.
func (k *Keeper) read() (err error) {
	defer func() {
		if err != nil {
			k.wrong.Store(&err)
		} else {
			k.wrong.Store(nil)
		}
	}()
	text, info, err := readFile(k.cfg.File)
	k.seen, k.still = info, false
	if err != nil {
		return fmt.Errorf("roster: %w", err)
	}
	if err := k.take(text, k.cfg.File, false); err != nil {
		return err
	}
	k.told = ""
	return nil
}

// take makes the text of a file the roster, if it is a good one and another
// than before.
func (k *Keeper) take(text []byte, source string, fromCache bool) error {
	sum := sha256.Sum256(text)
	s := &Snapshot{Digest: hex.EncodeToString(sum[:]), LoadedAt: time.Now(), Source: source, FromCache: fromCache}
	before := k.Current()
	if before != nil && before.Digest == s.Digest && before.FromCache == fromCache {
		return nil
	}
	accept := func(doc *strict.Document) error {
		if err := k.cutOff(s, doc); err != nil {
			return err
		}
		if k.cfg.Accept == nil {
			return nil
		}
		return k.cfg.Accept(s)
	}
	if err := s.parse(text, accept); err != nil {
		return err
	}
	k.current.Store(s)
	if fromCache {
		return nil
	}
	k.log.Info("took the roster", "file", source, "version", s.Version, "employees", len(s.Roster.Employees), "places", len(s.Roster.Places))
	if k.cfg.Cache != "" {
		if err := writeFile(k.cfg.Cache, text); err != nil {
			k.log.Warn("can't keep the roster for the next start", "err", err)
		}
	}
	return nil
}

// parse reads a roster and has it accepted.
func (s *Snapshot) parse(text []byte, accept func(*strict.Document) error) error {
	s.Roster = &attendance.Roster{}
	doc, err := strict.Decode(s.Source, text, s.Roster)
	if err != nil {
		return err // each of its lines begins with the file's name
	}
	if s.Index, err = attendance.NewIndex(s.Roster); err != nil {
		return located(doc, err)
	}
	s.Version = cmp.Or(s.Roster.Version, s.Digest[:12])
	err = accept(doc)
	if _, placed := err.(strict.Problems); placed || err == nil {
		return err
	}
	return located(doc, err)
}

// fewest is how many employees there must have been for a loss of more than
// half of them to look like a mistake.
const fewest = 4

// cutOff refuses a roster that has lost all or most of its people: a file that
// ends too early, or an export that failed, is often a right roster of too few,
// and whoever is not in it is refused for good. A start is held to it too, by
// the kept roster: what cuts a file off often restarts the machine as well. A
// person who means it removes the kept one before the start.
func (k *Keeper) cutOff(s *Snapshot, doc *strict.Document) error {
	had, has := k.had(), len(s.Roster.Employees)
	if had == 0 || has > 0 && (had < fewest || 2*has >= had) {
		return nil
	}
	p := doc.Problem("employees", "%d in place of %d: this may be a part of the file, so it is not taken", has, had)
	p.Hint = "complete the file; or, if it is right, stop punchd, remove " + k.cfg.Cache + " and start it again"
	if k.cfg.Cache == "" {
		p.Hint = "complete the file; or restart the daemon, which takes it as it is"
	}
	return strict.Problems{p}
}

// had is how many employees there were in the roster before, or in the kept one
// at the start; 0 if nothing tells.
func (k *Keeper) had() int {
	if before := k.Current(); before != nil {
		return len(before.Roster.Employees)
	}
	if k.cfg.Cache == "" {
		return 0
	}
	text, _, err := readFile(k.cfg.Cache)
	if err != nil {
		return 0
	}
	var kept attendance.Roster
	if _, err := strict.Decode(k.cfg.Cache, text, &kept); err != nil {
		return 0 // it could not stand in for the file either
	}
	return len(kept.Employees)
}
