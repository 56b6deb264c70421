// Package command is the command line of firmware-sim.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // a small box may have no zone files

	"github.com/spf13/cobra"
)

// Exit codes, as those of punchd.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a mistake in the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errSilent ends with exitFailed and no further word: the command has said it.
var errSilent = errors.New("silent")

// Main runs the program and gives its exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errSilent) {
		fmt.Fprintf(os.Stderr, "firmware-sim: %v\n", err)
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "firmware-sim",
		Short: "Simulated terminals, card readers, phones and central service",
		Long: `firmware-sim is the other side of a gateway: run any device alone, with a seed
and with the faults of real ones, or let the rig put a gateway to the test.`,
		SilenceUsage: true, SilenceErrors: true,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w; see: %s --help", err, c.CommandPath())
	})
	root.AddCommand(newZK(), newPhone(), newCardline(), newCentral(), newRig())
	usageErrors(root)
	return root
}

// usageErrors makes wrong arguments end like wrong flags do.
func usageErrors(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usagef("%w; see: %s --help", err, c.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

// common are the flags of every simulator.
type common struct {
	seed   uint64
	length time.Duration
	json   bool
	quiet  bool
}

// timeDefault is what the help says of a number that differs at every start.
const timeDefault = "the time in seconds"

// add adds them. What --json prints at the end differs.
func (f *common) add(c *cobra.Command, end string) {
	c.Flags().Uint64Var(&f.seed, "seed", 1, "decides everything that is left to chance")
	c.Flags().DurationVar(&f.length, "for", 0, "end after this time; 0 is never")
	c.Flags().BoolVar(&f.json, "json", false, "print "+end+" as JSON at the end, and nothing else on standard output")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but the end")
}

// clockZone is the flag of the simulators that have a clock.
type clockZone string

func (z *clockZone) add(c *cobra.Command) {
	c.Flags().StringVar((*string)(z), "timezone", "Asia/Shanghai", "of the simulated clocks, a name like Europe/Berlin")
}

func (z clockZone) location() (*time.Location, error) {
	zone, err := time.LoadLocation(string(z))
	if err != nil || z == "" || z == "Local" {
		return nil, usagef("--timezone %q is no name like Asia/Shanghai", string(z))
	}
	return zone, nil
}

// context ends after the time asked for.
func (f *common) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.length > 0 {
		return context.WithTimeout(ctx, f.length)
	}
	return context.WithCancel(ctx)
}

// logger tells of what happens on standard error.
func (f *common) logger(c *cobra.Command) *slog.Logger {
	if f.quiet {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
}

// say prints a line for a person, unless quiet. With JSON it goes to standard
// error, since it may tell what nobody knew before: a pty, a port.
func (f *common) say(c *cobra.Command, format string, args ...any) error {
	if f.quiet {
		return nil
	}
	out := c.OutOrStdout()
	if f.json {
		out = c.ErrOrStderr()
	}
	_, err := fmt.Fprintf(out, format+"\n", args...)
	return err
}

// end prints the end: v as JSON or the text.
func (f *common) end(w io.Writer, v any, format string, args ...any) error {
	if f.json {
		return json.NewEncoder(w).Encode(v)
	}
	_, err := fmt.Fprintf(w, format+"\n", args...)
	return err
}
