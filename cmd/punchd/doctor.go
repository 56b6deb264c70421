package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/cmd/internal/gateway"
)

func newDoctor() *cobra.Command {
	var (
		file            string
		storage, asJSON bool
	)
	c := &cobra.Command{
		Use:   "doctor --storage",
		Short: "Read everything that is kept, and repair what can be",
		Long: `doctor --storage reads both copies of every record, in the ledger and in the
buffer, and rebuilds what can't be read of one from the other. A running daemon
does that beside its work; without one the command does it itself. The daemon
also does it when it starts, and once a day.

Exit status 1 says that something is wrong that could not be repaired.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !storage {
				return &exitError{exitUsage, errors.New("say what to look at: punchd doctor --storage")}
			}
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			e, err := gateway.Examine(c.Context(), cfg.Gateway.DataDir, log)
			if errors.Is(err, gateway.ErrNoStorage) {
				return fmt.Errorf("%w in %s yet; the first start makes it: punchd run -c %s", err, cfg.Gateway.DataDir, file)
			}
			if err != nil {
				return coded(err)
			}
			if asJSON {
				err = json.NewEncoder(c.OutOrStdout()).Encode(e)
			} else {
				err = printExamined(c.OutOrStdout(), e)
			}
			if err == nil && len(e.Problems) > 0 {
				err = errSilent
			}
			return err
		},
	}
	c.Flags().BoolVar(&storage, "storage", false, "look at the ledger and the buffer")
	configFlag(c, &file)
	jsonFlag(c, &asJSON, "print one JSON object")
	return c
}

func printExamined(w io.Writer, e *gateway.Examined) error {
	p := &page{w: w}
	p.line("ledger %s: %s read in both copies in %s", e.Ledger, count(e.Records, "record", "records"), e.Took.Round(10*time.Millisecond))
	for _, x := range []struct {
		n    uint64
		what string
	}{
		{e.Repaired, "written back into the ledger from their second copy"},
		{e.Copied, "written into the second copy again from the ledger"},
	} {
		if x.n > 0 {
			p.line("repaired: %s, %s", count(x.n, "record", "records"), x.what)
		}
	}
	if e.Headers > 0 {
		p.line("repaired: %s", count(uint64(e.Headers), "header of a segment", "headers of segments"))
	}
	for _, x := range e.Problems {
		p.line("! %s", printable(x))
	}
	if len(e.Problems) == 0 {
		p.line("nothing is wrong")
	}
	return p.err
}
