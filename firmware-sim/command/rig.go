package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/firmware-sim/rig"
	"github.com/punchd/punchd/firmware-sim/rig/machine"
)

func newRig() *cobra.Command {
	c := &cobra.Command{
		Use:   "rig",
		Short: "Put a gateway to the test",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRigKill(), newRigPowerCut(), newRigBitflip(), newRigTamper(), newRigFull(), newRigClock(), newRigBench())
	return c
}

// rigFlags are those of every test.
type rigFlags struct {
	seed   uint64
	daemon string
	keep   string
	build  func(ctx context.Context, dir string, flags ...string) (string, error) // makes the program
	flags  []string                                                               // of the compiler
}

func (f *rigFlags) add(c *cobra.Command) {
	c.Flags().Uint64Var(&f.seed, "seed", uint64(time.Now().Unix()), "decides everything that is left to chance")
	c.Flags().Lookup("seed").DefValue = timeDefault
	c.Flags().StringVar(&f.daemon, "punchd", "", "the program under test; without it the source tree's is built")
	c.Flags().StringVar(&f.keep, "keep", "", "directory to work in, and to leave as it is at the end; it must not exist")
}

// with makes the directory and the program, and runs a test in them. What a
// failed test leaves is kept.
func (f *rigFlags) with(ctx context.Context, run func(dir, daemon string) error) (err error) {
	dir := f.keep
	if dir == "" {
		dir, err = os.MkdirTemp("", "punchd-rig-")
	} else {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return err
	}
	daemon := f.daemon
	if daemon == "" {
		if daemon, err = f.build(ctx, dir, f.flags...); err != nil {
			return errors.Join(err, os.RemoveAll(dir))
		}
	}
	err = run(dir, daemon)
	if err == nil && f.keep == "" {
		return os.RemoveAll(dir)
	}
	fmt.Fprintln(os.Stderr, "what happened is in", dir) // of no worth if standard error is gone
	if errors.Is(err, rig.ErrFailed) {
		return errSilent
	}
	return err
}

// outcome runs a test that has one: with --json that is all there is on
// standard output, and the progress is told beside it.
func (f *rigFlags) outcome(c *cobra.Command, asJSON bool, run func(dir, daemon string, out io.Writer) (*rig.Outcome, error)) error {
	return f.with(c.Context(), func(dir, daemon string) error {
		if !asJSON {
			_, err := run(dir, daemon, c.OutOrStdout())
			return err
		}
		o, err := run(dir, daemon, c.ErrOrStderr())
		if o == nil {
			return err
		}
		return errors.Join(json.NewEncoder(c.OutOrStdout()).Encode(o), err)
	})
}

func newRigKill() *cobra.Command {
	var (
		f      = rigFlags{build: rig.Build}
		rounds int
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "kill",
		Short: "Kill the gateway under load, again and again, and count both sides",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if rounds < 1 {
				return usagef("--rounds %d: at least 1 is needed", rounds)
			}
			return f.outcome(c, asJSON, func(dir, daemon string, out io.Writer) (*rig.Outcome, error) {
				return rig.Kill(c.Context(), rig.KillConfig{Rounds: rounds, Seed: f.seed, Daemon: daemon, Dir: dir, Out: out})
			})
		},
	}
	f.add(c)
	c.Flags().IntVar(&rounds, "rounds", 100, "how often")
	c.Flags().BoolVar(&asJSON, "json", false, "print the outcome as one line of JSON")
	return c
}

func newRigPowerCut() *cobra.Command {
	var (
		f      = rigFlags{build: rig.BuildStatic}
		cfg    rig.PowerConfig
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "powercut",
		Short: "Cut the power of a virtual machine with the gateway, again and again, and count both sides",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if cfg.Cuts < 1 || cfg.Cuts > maxCuts {
				return usagef("--cuts %d: between 1 and %d are possible", cfg.Cuts, maxCuts)
			}
			if err := machine.Look(cfg.Kernel); err != nil {
				return err
			}
			return f.outcome(c, asJSON, func(dir, daemon string, out io.Writer) (*rig.Outcome, error) {
				cfg.Seed, cfg.Daemon, cfg.Dir, cfg.Out = f.seed, daemon, dir, out
				return rig.PowerCut(c.Context(), cfg)
			})
		},
	}
	f.add(c)
	c.Flags().IntVar(&cfg.Cuts, "cuts", 20, "how often")
	c.Flags().BoolVar(&cfg.NoFsync, "no-fsync", false, "have the disk answer flushes and drop them; the gateway then loses, and the rig must say so")
	c.Flags().StringVar(&cfg.Kernel, "kernel", cmp.Or(os.Getenv("PUNCHD_KERNEL"), "/"), "directory with boot/vmlinuz-* and lib/modules/ of a Linux kernel for amd64")
	c.Flags().Lookup("kernel").DefValue = "$PUNCHD_KERNEL, or else /"
	c.Flags().BoolVar(&asJSON, "json", false, "print the outcome as one line of JSON")
	return c
}

// maxCuts bounds a run; it would take days.
const maxCuts = 100_000

func newRigBitflip() *cobra.Command {
	var (
		f   = rigFlags{build: rig.Build}
		cfg rig.BitflipConfig
	)
	c := &cobra.Command{
		Use:   "bitflip",
		Short: "Flip bits of what the gateway keeps, and see that it is repaired",
		Long: `bitflip lets a gateway take in punches, stops it, flips bits of its ledger and of
its buffer, has punchd doctor repair that, and compares. In a round for the
ledger one bit of every record and of a copy of each header is flipped: with
--all every bit has its turn, which takes most of an hour.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if cfg.Records < 1 || cfg.Random < 0 || cfg.Buffer < 0 {
				return usagef("--records must be at least 1, --random and --buffer at least 0")
			}
			return f.with(c.Context(), func(dir, daemon string) error {
				cfg.Seed, cfg.Daemon, cfg.Dir, cfg.Out = f.seed, daemon, dir, c.OutOrStdout()
				return rig.Bitflip(c.Context(), cfg)
			})
		},
	}
	f.add(c)
	c.Flags().IntVar(&cfg.Records, "records", 1000, "punches in the ledger")
	c.Flags().BoolVar(&cfg.All, "all", false, "every bit of the ledger")
	c.Flags().IntVar(&cfg.Random, "random", 40, "so many bits of each record of the ledger")
	c.Flags().IntVar(&cfg.Buffer, "buffer", 20, "so many bits of the buffer, in a round each")
	c.Flags().BoolVar(&cfg.Blind, "blind", false, "repair nothing: the rig must then fail, or it could not")
	return c
}

func newRigBench() *cobra.Command {
	var (
		f      = rigFlags{build: rig.Build}
		cfg    rig.BenchConfig
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the gateway: check-ins a second, latency, drain, memory, start",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c.Context(), func(dir, daemon string) error {
				cfg.Seed, cfg.Daemon, cfg.Dir, cfg.Out = f.seed, daemon, dir, c.ErrOrStderr()
				figures, err := rig.Bench(c.Context(), cfg)
				if figures == nil {
					return err
				}
				enc := json.NewEncoder(c.OutOrStdout())
				if !asJSON {
					enc.SetIndent("", "  ")
				}
				return errors.Join(enc.Encode(figures), err)
			})
		},
	}
	f.add(c)
	c.Flags().IntVar(&cfg.Each, "each", 0, "check-ins of each of 64 phones in a run (default 500)")
	c.Flags().IntVar(&cfg.Backlog, "backlog", 0, "punches buffered for start and drain (default 200000)")
	c.Flags().BoolVar(&asJSON, "json", false, "print the figures on one line")
	return c
}
