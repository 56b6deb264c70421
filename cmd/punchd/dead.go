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
	"github.com/punchd/punchd/cmd/internal/gateway"
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
			return errors.Join(printRefused(c.OutOrStdout(), cfg, items, asJSON), damage)
		},
	}
	configFlag(c, &file)
	c.Flags().StringVar(&sink, "sink", "", "of this sink alone")
	c.Flags().BoolVar(&parked, "parked", false, "list what is parked instead")
	jsonFlag(c, &asJSON, "print one JSON object a line")
	return c
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
		if !slices.Contains(names, sink) && !slices.ContainsFunc(cfg.Sinks, func(s config.Sink) bool { return s.Name == sink }) {
			return nil, nil, fmt.Errorf("there is no sink %q, neither in the configuration nor in the ledger", sink)
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

// replayFlags are those of dead replay.
type replayFlags struct {
	config, sink string
	all, json    bool
}

func newDeadReplay() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay [SEQ|KEY]...",
		Short: "Send dead punches again, once what the sink complained of is mended",
		Long: `replay has the running daemon send dead punches again: those named by sequence or
key, as punchd dead list tells them, or all. They are parked and due at once; the
sink takes them, or says again why not. What it parked itself goes along. The
ledger keeps who asked.`,
		RunE: func(c *cobra.Command, args []string) error {
			if f.all == (len(args) > 0) {
				return &exitError{exitUsage, fmt.Errorf("name the punches by sequence or key, or give --all; see: %s --help", c.CommandPath())}
			}
			return f.run(c, args)
		},
	}
	configFlag(c, &f.config)
	c.Flags().StringVar(&f.sink, "sink", "", "to this sink alone")
	c.Flags().BoolVar(&f.all, "all", false, "all that are dead")
	jsonFlag(c, &f.json, "print one JSON object a line")
	return c
}

func (f *replayFlags) run(c *cobra.Command, which []string) error {
	cfg, err := loadConfig(f.config)
	if err != nil {
		return err
	}
	names := []string{f.sink}
	if f.sink == "" {
		s, err := gateway.FetchStatus(c.Context(), cfg.Gateway.DataDir)
		if err != nil {
			return unlessRunning(err, f.config)
		}
		names = nil
		for _, k := range s.Sinks {
			names = append(names, k.Name)
		}
	}
	missing := map[string]int{} // for how many sinks each is not dead
	for _, name := range names {
		sent, err := f.replay(c.Context(), cfg.Gateway.DataDir, name, which)
		if err == nil {
			err = printSent(c.OutOrStdout(), sent, "dead", f.json)
		}
		if err != nil {
			return unlessRunning(err, f.config)
		}
		for _, x := range sent.NotDead {
			missing[x]++
		}
	}
	var wrong []string
	for _, x := range which {
		if missing[x] >= len(names) && !slices.Contains(wrong, x) {
			wrong = append(wrong, x)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("not dead, so not sent again: %s; those that are: punchd dead list", strings.Join(wrong, ", "))
	}
	return nil
}

// replay orders it of one sink, piece by piece.
func (f *replayFlags) replay(ctx context.Context, dataDir, sink string, which []string) (*gateway.Sent, error) {
	total := &gateway.Sent{Sink: sink}
	order := func(q gateway.Replay) (next uint64, err error) {
		sent, err := gateway.OrderReplay(ctx, dataDir, q)
		if err != nil {
			return 0, err
		}
		total.Punches += sent.Punches
		total.NotDead = append(total.NotDead, sent.NotDead...)
		return sent.Next, nil
	}
	if f.all {
		for from := uint64(0); ; {
			next, err := order(gateway.Replay{Sink: sink, All: true, From: from})
			if err != nil || next == 0 {
				return total, err
			}
			from = next
		}
	}
	for piece := range slices.Chunk(which, journal.MaxRevived) {
		if _, err := order(gateway.Replay{Sink: sink, Which: piece}); err != nil {
			return total, err
		}
	}
	return total, nil
}
