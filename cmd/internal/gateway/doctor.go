package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/punchd/punchd/sync/journal"
)

const (
	// besidePace is how many bytes are read in a second when a running gateway is
	// told to examine its storage: somebody waits for it, and devices are to
	// notice nothing.
	besidePace = 100 << 20
	// examineLimit bounds how long that is waited for.
	examineLimit = 12 * time.Hour
)

// Examined is what examining the storage came to. Its JSON names are part of the
// command's interface.
type Examined struct {
	Ledger string `json:"ledger"`
	journal.Scrubbed
	Problems []string `json:"problems"` // what is still wrong
}

// ErrNoStorage says that there is no ledger in a data directory.
var ErrNoStorage = errors.New("there is no ledger")

// Examine reads both copies of every record in a data directory and rebuilds
// what can't be read of one from the other: by the daemon that uses it, or if
// there is none, by itself.
func Examine(ctx context.Context, dataDir string, log *slog.Logger) (_ *Examined, err error) {
	e := &Examined{}
	err = ask(ctx, examineLimit, dataDir, http.MethodPost, "/doctor/storage", struct{}{}, e)
	if !errors.Is(err, ErrNotRunning) {
		return e, err
	}
	if _, err := os.Stat(filepath.Join(dataDir, journal.LedgerDir)); errors.Is(err, os.ErrNotExist) {
		return nil, ErrNoStorage // to open it would begin one
	}
	j, err := journal.Open(ctx, journal.Config{Dir: dataDir, Log: log})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	return examine(ctx, j, 0)
}

func examine(ctx context.Context, j *journal.Journal, pace int64) (*Examined, error) {
	found, err := j.Scrub(ctx, pace)
	if err != nil {
		return nil, err
	}
	stats, err := j.Stats()
	if err != nil {
		return nil, err
	}
	e := &Examined{Ledger: stats.Ledger, Scrubbed: found, Problems: []string{}}
	e.Problems = append(e.Problems, stats.Problems...)
	return e, nil
}
