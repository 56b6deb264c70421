package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/protocol/attendance"
)

func newPunchesExport() *cobra.Command {
	var (
		f            punchesFlags
		format, file string
	)
	c := &cobra.Command{
		Use:   "export",
		Short: "Write punches as CSV or JSON lines, to standard output or a file",
		Long: `export writes punches as CSV or as lines of JSON. With -o a file is replaced when
the export is done, and keeps its permissions; a device or a pipe is written to
as it stands. What of the ledger can't be read is told on standard error; the
rest is written, and the exit status is 1.

In CSV a text of a device that a spreadsheet would take for a formula (it begins
with = + - @, a tab or a line's end) has a ' before it. A zone like +08:00 stays
as it is. Lines of JSON have every text as it came.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			newWriter, ok := exporters[format]
			if !ok {
				return &exitError{exitUsage, fmt.Errorf("--format %q is neither csv nor jsonl", format)}
			}
			if err := f.load(); err != nil {
				return err
			}
			if file == "" {
				g := &gaps{out: c.ErrOrStderr()}
				if err := f.export(c.Context(), g, newWriter(c.OutOrStdout(), f.cfg.Site.Zone), func(int) {}); err != nil {
					return err
				}
				return g.err()
			}
			return f.exportFile(c, file, newWriter)
		},
	}
	f.add(c)
	c.Flags().StringVar(&format, "format", "csv", "csv or jsonl")
	c.Flags().StringVarP(&file, "output", "o", "", "file to write; one that exists is replaced when the export is done")
	must(c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"csv", "jsonl"}, cobra.ShellCompDirectiveNoFileComp)))
	return c
}

// export writes every punch and tells after each thousand how many there were.
func (f *punchesFlags) export(ctx context.Context, g *gaps, w exporter, progress func(n int)) error {
	n := 0
	if err := w.begin(); err != nil {
		return err
	}
	_, err := f.scan(ctx, 0, g, func(seq uint64, p *attendance.Punch) error {
		if n++; n%1000 == 0 {
			progress(n)
		}
		return w.punch(seq, p)
	})
	progress(n)
	return also(err, w.end())
}

func (f *punchesFlags) exportFile(c *cobra.Command, file string, newWriter func(io.Writer, *time.Location) exporter) error {
	out, err := openOutput(c.Context(), file)
	if err != nil {
		return err
	}
	errOut := c.ErrOrStderr()
	show := isTerminal(errOut)
	total, g := 0, &gaps{out: errOut}
	err = f.export(c.Context(), g, newWriter(out, f.cfg.Site.Zone), func(n int) {
		if total = n; show {
			fmt.Fprintf(errOut, "\r%s", count(n, "punch", "punches")) // of no worth if the terminal is gone
		}
	})
	if show {
		fmt.Fprint(errOut, "\r\x1b[K")
	}
	if err := out.finish(err); err != nil {
		return err
	}
	told := c.OutOrStdout()
	if out.replaces == "" { // which may be what the punches went to
		told = errOut
	}
	if _, err = fmt.Fprintf(told, "%s in %s\n", count(total, "punch", "punches"), file); err != nil {
		return err
	}
	return g.err() // what can be read is worth having
}
