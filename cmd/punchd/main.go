// Command punchd is an attendance gateway: it takes punches from terminals,
// readers and phones, keeps them through any outage, and forwards them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // a small box may have no zone files

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/sync/roster/strict"
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
		return &exitError{exitUsage, fmt.Errorf("%w; see: %s --help", plain(err), c.CommandPath())}
	})
	root.AddCommand(newInit(), newCheck(), newRun(), newDemo(), newStatus(), newPunches(), newSinks(), newDead(), newDoctor(), newVerify(), newVersion())
	root.SetHelpCommand(newHelp())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	usageErrors(root)
	return root
}

// plain puts what a flag takes in the place of the words of package strconv.
func plain(err error) error {
	for words, want := range map[string]string{
		": strconv.ParseInt:":  "it takes a whole number",
		": strconv.ParseUint:": "it takes a whole number",
		": strconv.ParseBool:": "it takes true or false",
		": time: ":             "it takes a time like 30s or 5m",
	} {
		if before, _, found := strings.Cut(err.Error(), words); found {
			return fmt.Errorf("%s: %s", before, want)
		}
	}
	return err
}

// newHelp is cobra's help command, but for a topic that is none: that is a
// mistake of the command line, and no success.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about a command",
		RunE: func(c *cobra.Command, args []string) error {
			about := c.Root()
			for _, word := range args {
				next := subcommand(about, word)
				if next == nil {
					return noCommand(about, word)
				}
				about = next
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

func subcommand(of *cobra.Command, word string) *cobra.Command {
	for _, sub := range of.Commands() {
		if sub.Name() == word || sub.HasAlias(word) {
			return sub
		}
	}
	return nil
}

// noCommand says that a command is none, and which one may be meant.
func noCommand(of *cobra.Command, word string) error {
	var known []string
	for _, sub := range of.Commands() {
		if sub.IsAvailableCommand() {
			known = append(known, sub.Name())
		}
	}
	meant := ""
	if near := strict.Nearest(word, known); near != "" {
		meant = fmt.Sprintf(" (do you mean %q?)", near)
	}
	return &exitError{exitUsage, fmt.Errorf("unknown command %q for %q%s; see: %s --help", word, of.CommandPath(), meant, of.CommandPath())}
}

// usageErrors makes wrong arguments end with exitUsage, like wrong flags do.
func usageErrors(c *cobra.Command) {
	if c.HasSubCommands() {
		c.Args = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return noCommand(c, args[0])
			}
			return nil
		}
		if c.RunE == nil { // or its arguments would not be looked at
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	} else if c.Use == c.Name() { // its usage line names none
		c.Args = noArg
	} else if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return wrongArgs(c, err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

func wrongArgs(c *cobra.Command, err error) error {
	return &exitError{exitUsage, fmt.Errorf("%w; see: %s --help", err, c.CommandPath())}
}

func noArg(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongArgs(c, fmt.Errorf("%s takes no argument, and %q is one", c.CommandPath(), args[0]))
	}
	return nil
}

// oneArg wants the name of one thing, or lets it be left out.
func oneArg(thing string, optional bool) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 && !optional:
			return fmt.Errorf("name the %s", thing)
		case len(args) > 1:
			return fmt.Errorf("name one %s, not %d", thing, len(args))
		}
		return nil
	}
}
