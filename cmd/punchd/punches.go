package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/journal"
	"github.com/punchd/punchd/sync/ledger"
	"github.com/punchd/punchd/sync/roster/strict"
)

func newPunches() *cobra.Command {
	c := &cobra.Command{
		Use:   "punches",
		Short: "Look at the punches in the ledger, with or without a running daemon",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newPunchesList(), newPunchesTail(), newPunchesShow(), newPunchesExport())
	return c
}

// punchesFlags are those that all three have.
type punchesFlags struct {
	config                           string
	from, to                         string
	employee, device, verdict, badge string
	cfg                              *config.Config
	since, until                     time.Time
	want                             *attendance.Verdict
}

func (f *punchesFlags) add(c *cobra.Command) {
	configFlag(c, &f.config)
	c.Flags().StringVar(&f.from, "from", "", "first day, or the first moment (2026-11-04 or 2026-11-04T08:00:00+08:00)")
	c.Flags().StringVar(&f.to, "to", "", "last day, or the moment before which to end")
	c.Flags().StringVar(&f.employee, "employee", "", "of this employee alone")
	c.Flags().StringVar(&f.badge, "badge", "", "of this card or PIN alone")
	c.Flags().StringVar(&f.device, "device", "", "from this terminal, reader or phone alone")
	c.Flags().StringVar(&f.verdict, "verdict", "", "with this verdict alone: unverified, accepted, flagged or refused")
	must(c.RegisterFlagCompletionFunc("verdict", cobra.FixedCompletions([]string{"unverified", "accepted", "flagged", "refused"}, cobra.ShellCompDirectiveNoFileComp)))
}

// load reads the configuration and the flags' values.
func (f *punchesFlags) load() (err error) {
	if f.verdict != "" {
		v, err := attendance.ParseVerdict(f.verdict)
		if err != nil {
			return &exitError{exitUsage, fmt.Errorf("--verdict: %w", err)}
		}
		f.want = &v
	}
	if f.cfg, err = loadConfig(f.config); err != nil {
		return err
	}
	if f.since, err = moment("from", f.from, f.cfg.Site.Zone, false); err != nil {
		return err
	}
	if f.until, err = moment("to", f.to, f.cfg.Site.Zone, true); err != nil {
		return err
	}
	if !f.since.IsZero() && !f.until.IsZero() && !f.since.Before(f.until) {
		return &exitError{exitUsage, fmt.Errorf("--from %s is not before the end of --to %s", f.from, f.to)}
	}
	return nil
}

// nothing tells a person that no punch is what was asked for; to a program the
// empty output says it.
func (f *punchesFlags) nothing(errOut io.Writer) error {
	hint := ""
	if f.device == "phones" && f.cfg.Phones != nil { // so punchd status calls them all
		hint = " (each phone stands under its own id, none under \"phones\"; the ids: punchd punches list)"
	}
	var ids []string
	for _, t := range f.cfg.Terminals {
		ids = append(ids, t.ID)
	}
	if near := strict.Nearest(f.device, ids); f.device != "" && near != "" && near != f.device {
		hint = fmt.Sprintf(" (of the device %q; do you mean %q?)", f.device, near)
	}
	_, err := fmt.Fprintf(errOut, "no punch matches%s\n", hint)
	return err
}

func (f *punchesFlags) matches(p *attendance.Punch) bool {
	return (f.since.IsZero() || !p.At.Before(f.since)) && (f.until.IsZero() || p.At.Before(f.until)) &&
		(f.employee == "" || p.Employee == f.employee) && (f.badge == "" || p.Badge == f.badge) &&
		(f.device == "" || p.Device.ID == f.device) && (f.want == nil || p.Verdict == *f.want)
}

// ledgerDir is where the ledger is, or an error if there is none yet.
func (f *punchesFlags) ledgerDir() (string, error) {
	dir := filepath.Join(f.cfg.Gateway.DataDir, journal.LedgerDir)
	if _, err := os.Stat(dir); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("there is no ledger in %s yet; the daemon makes it: punchd run", f.cfg.Gateway.DataDir)
		}
		return "", err
	}
	return dir, nil
}

func newPunchesList() *cobra.Command {
	var (
		f      punchesFlags
		last   int
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "list",
		Short: "List the newest punches, the oldest of them first",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if last < 0 {
				return &exitError{exitUsage, errors.New("--last can't be negative")}
			}
			if err := f.load(); err != nil {
				return err
			}
			return f.list(c, last, asJSON)
		},
	}
	f.add(c)
	c.Flags().IntVarP(&last, "last", "n", 50, "how many; 0 is all")
	jsonFlag(c, &asJSON, "print one JSON object a line")
	return c
}

// list prints one punch after the other, so that a long list takes no memory.
func (f *punchesFlags) list(c *cobra.Command, last int, asJSON bool) error {
	g := &gaps{out: c.ErrOrStderr()}
	var w exporter = newColumns(c.OutOrStdout(), f.cfg.Site.Zone)
	if asJSON {
		w = newJSONExporter(c.OutOrStdout(), f.cfg.Site.Zone)
	}
	found := 0
	var err error
	if last == 0 {
		_, err = f.scan(c.Context(), 0, g, func(seq uint64, p *attendance.Punch) error {
			found++
			return w.punch(seq, p)
		})
	} else {
		found, _, err = f.newest(c.Context(), g, last, w.punch)
	}
	if err = also(err, w.end()); err == nil {
		err = g.err()
	}
	if err != nil || found > 0 {
		return err
	}
	return f.nothing(c.ErrOrStderr())
}

// followEvery is how often tail looks for new punches.
const followEvery = 200 * time.Millisecond

func newPunchesTail() *cobra.Command {
	var (
		f              punchesFlags
		last           int
		asJSON, follow bool
	)
	c := &cobra.Command{
		Use:   "tail",
		Short: "Print the newest punches, and with -f go on with what comes",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if last < 0 {
				return &exitError{exitUsage, errors.New("-n can't be negative")}
			}
			if err := f.load(); err != nil {
				return err
			}
			if follow && !f.until.IsZero() && f.until.Before(time.Now()) {
				return &exitError{exitUsage, fmt.Errorf("-f waits for what comes, and --to %s is over; leave one of them out", f.to)}
			}
			return f.tail(c, last, follow, asJSON)
		},
	}
	f.add(c)
	c.Flags().IntVarP(&last, "last", "n", 10, "how many to begin with")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes, until Ctrl-C")
	jsonFlag(c, &asJSON, "print one JSON object a line")
	return c
}

func (f *punchesFlags) tail(c *cobra.Command, last int, follow, asJSON bool) error {
	g := &gaps{out: c.ErrOrStderr()}
	out := lines{w: c.OutOrStdout(), zone: f.cfg.Site.Zone, json: asJSON}
	found, next, err := f.newest(c.Context(), g, last, out.one)
	switch partial := g.err(); {
	case err != nil:
		return err
	case !follow && partial != nil:
		return partial
	case !follow && found == 0:
		return f.nothing(c.ErrOrStderr())
	case !follow:
		return nil
	case partial != nil: // no reason not to see what comes
		if _, err := fmt.Fprintln(c.ErrOrStderr(), "warning:", partial); err != nil {
			return err
		}
	}
	dir, err := f.ledgerDir()
	if err != nil {
		return err
	}
	ctx, stop := whileRead(c.Context(), c.OutOrStdout(), followEvery)
	defer stop()
	return ledger.Follow(ctx, dir, next, followEvery, f.visitor(g, out.one), g.damaged)
}
