package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/journal"
	"github.com/punchd/punchd/sync/ledger"
)

func newDead() *cobra.Command {
	c := &cobra.Command{
		Use:   "dead",
		Short: "Look at the punches that a sink would not take, and send them again",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newDeadList(), newDeadReplay())
	return c
}

// refusedPunch is a punch that a sink would not take.
type refusedPunch struct {
	sink string
	journal.Refusal
	p *attendance.Punch // nil if the ledger's record of it can't be read
}

// refusedJSON is how list prints one.
type refusedJSON struct {
	Sink   string `json:"sink"`
	State  string `json:"state"`  // dead or parked
	Reason string `json:"reason"` // the sink's
	*punchJSON
}

func newDeadList() *cobra.Command {
	var (
		file, sink     string
		parked, asJSON bool
	)
	c := &cobra.Command{
		Use:   "list",
		Short: "List the punches that a sink will never take, with its reason",
		Long: `list reads in the ledger which punches a sink will never take and why, with or
without a running daemon. With --parked it lists those that a sink does not take
yet, which are sent again when the sink's time has come, with a new roster, or by
punchd sinks retry.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			items, damage, err := readRefused(c.Context(), c.ErrOrStderr(), cfg, sink, !parked)
			if err != nil {
				return err
			}
			if len(items) == 0 && damage == nil {
				return noRefused(c.ErrOrStderr(), sink, parked)
			}
			return errors.Join(printRefused(c.OutOrStdout(), cfg, items, asJSON), damage)
		},
	}
	configFlag(c, &file)
	c.Flags().StringVar(&sink, "sink", "", "of this sink alone")
	c.Flags().BoolVar(&parked, "parked", false, "list what is parked instead")
	jsonFlag(c, &asJSON, "print one JSON object a line")
	return c
}

// noRefused tells a person that there is nothing to list; to a program the empty
// output says it.
func noRefused(errOut io.Writer, sink string, parked bool) error {
	text := "no punch is dead"
	if parked {
		text = "no punch is parked"
	}
	if sink != "" {
		text += " for " + printable(sink)
	}
	_, err := fmt.Fprintln(errOut, text)
	return err
}

// knownSink fails for a sink that is neither configured nor in the ledger. One
// that is no longer configured may have punches there.
func knownSink(cfg *config.Config, inLedger []string, sink string) error {
	known := slices.Clone(inLedger)
	for _, s := range cfg.Sinks {
		known = append(known, s.Name)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	if slices.Contains(known, sink) {
		return nil
	}
	hint := "there is none at all"
	if len(known) > 0 {
		hint = "those that are: " + printable(strings.Join(known, ", "))
	}
	return &exitError{exitUsage, fmt.Errorf("there is no sink %q, neither in the configuration nor in the ledger; %s", sink, hint)}
}

// readRefused finds what one sink, or every one, would not take. The damage is
// an error for the end: what is not damaged is told all the same.
func readRefused(ctx context.Context, errOut io.Writer, cfg *config.Config, sink string, dead bool) (items []refusedPunch, damage, err error) {
	dir, err := (&punchesFlags{cfg: cfg}).ledgerDir()
	if err != nil {
		return nil, nil, err
	}
	g := &gaps{out: errOut}
	all, err := journal.ReadRefusals(ctx, cfg.Gateway.DataDir, g.damaged)
	if err != nil {
		return nil, nil, err
	}
	names := all.Sinks()
	if sink != "" {
		if err := knownSink(cfg, names, sink); err != nil {
			return nil, nil, err
		}
		names = []string{sink}
	}
	for _, name := range names {
		for _, r := range all.Of(name) {
			if r.Dead == dead {
				items = append(items, refusedPunch{name, r, nil})
			}
		}
	}
	err = readPunches(ctx, dir, g, items)
	return items, g.err(), err
}

var errEnough = errors.New("read far enough")

// readPunches reads the punches in question from the ledger. Its damage is told
// already; what can't be understood goes to g.
func readPunches(ctx context.Context, dir string, g *gaps, items []refusedPunch) error {
	wanted := map[uint64]*attendance.Punch{}
	first, last := ^uint64(0), uint64(0)
	for _, it := range items {
		wanted[it.Seq] = nil
		first, last = min(first, it.Seq), max(last, it.Seq)
	}
	if len(items) == 0 {
		return nil
	}
	_, err := ledger.Scan(ctx, dir, first, func(f ledger.Frame) error {
		if f.Seq > last {
			return errEnough
		}
		if _, ok := wanted[f.Seq]; !ok || f.Kind != attendance.RecordPunch {
			return nil
		}
		p, err := decode(&f)
		if err != nil {
			return g.unread(f.Seq, err)
		}
		wanted[f.Seq] = p
		return nil
	}, nil)
	for i := range items {
		items[i].p = wanted[items[i].Seq]
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func printRefused(w io.Writer, cfg *config.Config, items []refusedPunch, asJSON bool) error {
	zone := cfg.Site.Zone
	if asJSON {
		out := json.NewEncoder(w)
		for _, it := range items {
			j := refusedJSON{Sink: it.sink, State: "parked", Reason: it.Reason, punchJSON: &punchJSON{Seq: it.Seq}}
			if it.Dead {
				j.State = "dead"
			}
			if it.p != nil {
				*j.punchJSON = toJSON(it.Seq, it.p, zone)
			}
			if err := out.Encode(j); err != nil {
				return err
			}
		}
		return nil
	}
	p := &page{w: w}
	rows := make([]table.Row, len(items))
	for i, it := range items {
		key, at, name := "(can't be read)", "", ""
		if it.p != nil {
			key, at, name = it.p.Key.String(), it.p.At.In(zone).Format(tableTime), who(it.p)
		}
		rows[i] = table.Row{printable(it.sink), it.Seq, key, at, printable(name), printable(it.Reason)}
	}
	p.table(table.Row{"SINK", "SEQ", "KEY", "TIME", "EMPLOYEE", "REASON"}, rows, nil)
	return p.err
}
