// Command punchd is an attendance gateway: it takes punches from terminals,
// readers and phones, keeps them through any outage, and forwards them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // a small box may have no zone files

	"github.com/spf13/cobra"
)

// Exit codes. They are part of the command's interface (README.md).
const (
	exitOK     = 0
	exitFailed = 1 // it ran and did not succeed, or found something wrong
	exitUsage  = 2 // the command line is wrong
	exitConfig = 3 // the configuration or roster is wrong
	exitInUse  = 4 // another daemon has the data directory, or a port is taken
)

// exitError carries an exit code with its cause.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// errSilent ends a command without a further word: the command has said it.
var errSilent = errors.New("silent")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errSilent) {
		fmt.Fprintf(os.Stderr, "punchd: %v\n", err)
	}
	if coded, ok := errors.AsType[*exitError](err); ok {
		return coded.code
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "punchd",
		Short: "Attendance gateway for punch terminals, card readers and phones",
		Long: `punchd takes punches from terminals and card readers and check-ins from phones,
makes each durable before it acknowledges it, and forwards all of them to the
central attendance service, through any outage, each exactly once.

New here? Try:  punchd demo`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &exitError{exitUsage, fmt.Errorf("%w; see: %s --help", err, c.CommandPath())}
	})
	root.AddCommand(newInit(), newCheck(), newRun(), newDemo(), newStatus(), newPunches(), newVersion())
	usageErrors(root)
	return root
}

// usageErrors makes wrong arguments end with exitUsage, like wrong flags do.
func usageErrors(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return &exitError{exitUsage, fmt.Errorf("%w; see: %s --help", err, c.CommandPath())}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}
