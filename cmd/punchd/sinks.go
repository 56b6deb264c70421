package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/punchd/punchd/cmd/internal/gateway"
)

func newSinks() *cobra.Command {
	c := &cobra.Command{
		Use:   "sinks",
		Short: "Look at the sinks, and send again what one has parked",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSinksList(), newSinksRetry())
	return c
}

// unlessRunning adds to an error of asking the daemon how to start it.
func unlessRunning(err error, file string) error {
	if errors.Is(err, gateway.ErrNotRunning) {
		return fmt.Errorf("%w; start it with: punchd run -c %s", err, file)
	}
	return err
}

func newSinksList() *cobra.Command {
	var (
		file   string
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "list",
		Short: "Ask the running daemon for each sink's state and what waits for it",
		Long: `list asks the running daemon for each sink's state and what waits for it.
CURSOR is the first record of the ledger that the sink has not answered for,
WAITING the punches from there on. PARKED are those it does not take yet, DEAD
those it never will; which and why: punchd dead list.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			s, err := gateway.FetchStatus(c.Context(), cfg.Gateway.DataDir)
			if err != nil {
				return unlessRunning(err, file)
			}
			if asJSON {
				out := json.NewEncoder(c.OutOrStdout())
				for _, k := range s.Sinks {
					if err := out.Encode(k); err != nil {
						return err
					}
				}
				return nil
			}
			return printSinks(c.OutOrStdout(), s, cfg.Site.Zone)
		},
	}
	configFlag(c, &file)
	jsonFlag(c, &asJSON, "print one JSON object a line")
	return c
}

func printSinks(w io.Writer, s *gateway.Status, zone *time.Location) error {
	p := &page{w: w}
	rows := make([]table.Row, len(s.Sinks))
	var more []string
	for i, k := range s.Sinks {
		rows[i] = table.Row{printable(k.Name), sinkState(&k, s.At, zone), k.Cursor, k.Settled, k.Pending, k.Parked, k.Dead}
		if k.Alarm != "" && k.Alarm != k.Error {
			more = append(more, k.Name+": "+k.Alarm)
		} else if detail := sinkDetail(&k, &gateway.Status{At: s.At}); detail != "" {
			more = append(more, k.Name+": "+detail)
		}
	}
	p.table(table.Row{"SINK", "STATE", "CURSOR", "SETTLED", "WAITING", "PARKED", "DEAD"}, rows, more)
	return p.err
}

func newSinksRetry() *cobra.Command {
	var (
		file   string
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "retry NAME",
		Short: "Send again at once what a sink has parked, and what waits for it",
		Long: `retry makes every punch due that the sink has parked, and ends its pause if the
last try has failed. Do so when you have mended what it complained of: an
employee it did not know, a closed period. The ledger keeps who asked.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			sent, err := gateway.OrderRetry(c.Context(), cfg.Gateway.DataDir, args[0])
			if err != nil {
				return unlessRunning(err, file)
			}
			return printSent(c.OutOrStdout(), sent, "parked", asJSON)
		},
	}
	configFlag(c, &file)
	jsonFlag(c, &asJSON, "print one JSON object")
	return c
}

// printSent says how many punches are sent again.
func printSent(w io.Writer, s *gateway.Sent, what string, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(s)
	}
	format := "%s: %d %s punches are sent again\n"
	if s.Punches == 1 {
		format = "%s: %d %s punch is sent again\n"
	}
	_, err := fmt.Fprintf(w, format, printable(s.Sink), s.Punches, what)
	return err
}
