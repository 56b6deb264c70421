package main

import (
	"context"
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

// moment reads a day or a moment. The end of a day is the beginning of the
// next one, in the site's zone.
func moment(flag, text string, zone *time.Location, end bool) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		d := day.Day()
		if end {
			d++
		}
		return time.Date(day.Year(), day.Month(), d, 0, 0, 0, 0, zone), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, &exitError{exitUsage, fmt.Errorf("--%s %q is neither a day like 2026-11-04 nor a moment like 2026-11-04T08:00:00+08:00", flag, text)}
	}
	return at, nil
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

// each calls visit with every punch that the flags ask for, and says where to
// go on. What is damaged is told on errOut and makes the error at the end.
func (f *punchesFlags) each(ctx context.Context, errOut io.Writer, visit func(seq uint64, p *attendance.Punch) error) (next uint64, err error) {
	dir, err := f.ledgerDir()
	if err != nil {
		return 0, err
	}
	damaged := false
	next, err = ledger.Scan(ctx, dir, 0, f.visitor(visit), func(d *ledger.Damage) error {
		damaged = true
		_, err := fmt.Fprintln(errOut, d)
		return err
	})
	if err == nil && damaged {
		err = errors.New("the ledger is damaged: what is shown is not everything")
	}
	return next, err
}

// visitor turns frames into the punches asked for.
func (f *punchesFlags) visitor(visit func(seq uint64, p *attendance.Punch) error) func(ledger.Frame) error {
	return func(fr ledger.Frame) error {
		if fr.Kind != attendance.RecordPunch {
			return nil
		}
		r, err := attendance.DecodeRecord(fr.Kind, fr.Payload)
		if err != nil {
			return fmt.Errorf("record %d: %w", fr.Seq, err)
		}
		if p := r.(*attendance.Punch); f.matches(p) {
			return visit(fr.Seq, p)
		}
		return nil
	}
}

// newest keeps the last n of what it is given, all of them if n is 0.
type newest struct {
	n     int
	items []numbered
	at    int // the oldest, once there are n
}

type numbered struct {
	seq uint64
	p   *attendance.Punch
}

func (w *newest) add(seq uint64, p *attendance.Punch) error {
	if w.n == 0 || len(w.items) < w.n {
		w.items = append(w.items, numbered{seq, p})
		return nil
	}
	w.items[w.at] = numbered{seq, p}
	w.at = (w.at + 1) % w.n
	return nil
}

func (w *newest) all() []numbered {
	return append(w.items[w.at:len(w.items):len(w.items)], w.items[:w.at]...)
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
			w := newest{n: last}
			_, scanErr := f.each(c.Context(), c.ErrOrStderr(), w.add)
			if items := w.all(); len(items) > 0 {
				return errors.Join(printPunches(c.OutOrStdout(), f.cfg.Site.Zone, items, asJSON), scanErr)
			}
			if scanErr != nil {
				return scanErr
			}
			return f.nothing(c.ErrOrStderr())
		},
	}
	f.add(c)
	c.Flags().IntVarP(&last, "last", "n", 50, "how many; 0 is all")
	jsonFlag(c, &asJSON, "print one JSON object a line")
	return c
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
			w := newest{n: max(last, 1)}
			next, err := f.each(c.Context(), c.ErrOrStderr(), w.add)
			items := w.all()
			if last == 0 {
				items = nil
			}
			out := lines{w: c.OutOrStdout(), zone: f.cfg.Site.Zone, json: asJSON}
			if err := errors.Join(out.all(items), err); err != nil {
				return err
			}
			if !follow && len(w.items) == 0 {
				return f.nothing(c.ErrOrStderr())
			}
			if !follow {
				return nil
			}
			dir, err := f.ledgerDir()
			if err != nil {
				return err
			}
			return ledger.Follow(c.Context(), dir, next, followEvery, f.visitor(out.one), func(d *ledger.Damage) error {
				_, err := fmt.Fprintln(c.ErrOrStderr(), d)
				return err
			})
		},
	}
	f.add(c)
	c.Flags().IntVarP(&last, "last", "n", 10, "how many to begin with")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes, until Ctrl-C")
	jsonFlag(c, &asJSON, "print one JSON object a line")
	return c
}
