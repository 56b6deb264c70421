package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
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
employee it did not know, a closed period. If that changes anything, the ledger
keeps who asked.`,
		Args: oneArg("sink", false),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			s, err := gateway.FetchStatus(c.Context(), cfg.Gateway.DataDir)
			if err != nil {
				return unlessRunning(err, file)
			}
			k, err := sinkNamed(s, args[0])
			if err != nil {
				return err
			}
			sent, err := gateway.OrderRetry(c.Context(), cfg.Gateway.DataDir, k.Name)
			if err != nil {
				return unlessRunning(err, file)
			}
			return printSent(c.OutOrStdout(), sent, k, "parked", asJSON)
		},
	}
	configFlag(c, &file)
	jsonFlag(c, &asJSON, "print one JSON object")
	return c
}

// sinkNamed finds one of the daemon's sinks.
func sinkNamed(s *gateway.Status, name string) (*gateway.SinkStatus, error) {
	var known []string
	for i := range s.Sinks {
		if s.Sinks[i].Name == name {
			return &s.Sinks[i], nil
		}
		known = append(known, s.Sinks[i].Name)
	}
	if known == nil {
		return nil, &exitError{exitUsage, fmt.Errorf("there is no sink %q: none is configured", name)}
	}
	return nil, &exitError{exitUsage, fmt.Errorf("there is no sink %q; those that the daemon runs with: %s", name, strings.Join(known, ", "))}
}

// printSent says how many punches are sent again, and whether the sink, as it
// was when that was ordered, has to come back first.
func printSent(w io.Writer, s *gateway.Sent, k *gateway.SinkStatus, what string, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(s)
	}
	name, one := printable(s.Sink), s.Punches == 1
	text := fmt.Sprintf("%s: %s", name, count(s.Punches, what+" punch", what+" punches"))
	switch {
	case s.Punches == 0:
		text = fmt.Sprintf("%s: no punch was %s", name, what)
		if !k.Online {
			text += "; what waits goes out as soon as it answers" + whyNot(k)
		}
	case !k.Online && one:
		text += " goes out as soon as it answers" + whyNot(k)
	case !k.Online:
		text += " go out as soon as it answers" + whyNot(k)
	case one:
		text += " is sent again"
	default:
		text += " are sent again"
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// whyNot is in brackets why a sink does not answer.
func whyNot(k *gateway.SinkStatus) string {
	if k.Since == nil {
		return " (it has not been tried yet)"
	}
	return fmt.Sprintf(" (it is offline: %s)", printable(k.Error))
}
