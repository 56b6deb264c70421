package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/cmd/internal/gateway"
	"github.com/punchd/punchd/sync/journal"
)

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
			switch {
			case f.all && len(args) > 0:
				return &exitError{exitUsage, fmt.Errorf("name punches or give --all, not both; see: %s --help", c.CommandPath())}
			case !f.all && len(args) == 0:
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
	s, err := gateway.FetchStatus(c.Context(), cfg.Gateway.DataDir)
	if err != nil {
		return unlessRunning(err, f.config)
	}
	to := s.Sinks
	if f.sink != "" {
		k, err := sinkNamed(s, f.sink)
		if err != nil {
			return err
		}
		to = []gateway.SinkStatus{*k}
	}
	missing := map[string]int{} // for how many sinks each is not dead
	revived := uint64(0)
	for i := range to {
		sent, err := f.replay(c.Context(), cfg.Gateway.DataDir, to[i].Name, which)
		// What an order before the one that failed has set going is told too.
		if sent.Punches > 0 || f.json && err == nil {
			err = errors.Join(printSent(c.OutOrStdout(), sent, &to[i], "dead", f.json), err)
		}
		if err != nil {
			return unlessRunning(err, f.config)
		}
		revived += sent.Punches
		for _, x := range sent.NotDead {
			missing[x]++
		}
	}
	if f.all && revived == 0 {
		return noRefused(c.ErrOrStderr(), f.sink, false)
	}
	return notDead(which, missing, len(to))
}

// notDead is an error if there are punches that are dead for none of the sinks.
func notDead(which []string, missing map[string]int, sinks int) error {
	var wrong []string
	for _, x := range which {
		if missing[x] >= sinks && !slices.Contains(wrong, x) {
			wrong = append(wrong, x)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("not dead, so not sent again: %s; those that are: punchd dead list", strings.Join(wrong, ", "))
	}
	return nil
}

// replay orders it of one sink, piece by piece. What it gives is right after an
// error too: the pieces before.
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
