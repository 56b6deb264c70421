package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			newWriter, ok := exporters[format]
			if !ok {
				return &exitError{exitUsage, fmt.Errorf("--format %q is neither csv nor jsonl", format)}
			}
			if err := f.load(); err != nil {
				return err
			}
			if file == "" {
				return f.export(c.Context(), c.ErrOrStderr(), newWriter(c.OutOrStdout(), f.cfg.Site.Zone), func(int) {})
			}
			return f.exportFile(c, file, newWriter)
		},
	}
	f.add(c)
	c.Flags().StringVar(&format, "format", "csv", "csv or jsonl")
	c.Flags().StringVarP(&file, "output", "o", "", "file to write; one that exists is replaced when the export is whole")
	must(c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"csv", "jsonl"}, cobra.ShellCompDirectiveNoFileComp)))
	return c
}

// export writes every punch and tells after each thousand how many there were.
func (f *punchesFlags) export(ctx context.Context, errOut io.Writer, w exporter, progress func(n int)) error {
	n := 0
	if err := w.begin(); err != nil {
		return err
	}
	_, err := f.each(ctx, errOut, func(seq uint64, p *attendance.Punch) error {
		if n++; n%1000 == 0 {
			progress(n)
		}
		return w.punch(seq, p)
	})
	progress(n)
	return errors.Join(err, w.end())
}

// createBeside makes a file to be renamed to another. Its own name is of no use
// in an error.
func createBeside(file string) (*os.File, error) {
	dir := filepath.Dir(file)
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory; name a file in it", file)
	}
	tmp, err := os.CreateTemp(dir, ".punches-*")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s can't be written: there is no directory %s; make it first", file, dir)
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("%s can't be written: in the directory %s: %w", file, dir, pe.Err)
	}
	return tmp, err
}

// exportFile writes beside the file and renames, so that nobody reads half of
// it.
func (f *punchesFlags) exportFile(c *cobra.Command, file string, newWriter func(io.Writer, *time.Location) exporter) (err error) {
	tmp, err := createBeside(file)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	errOut := c.ErrOrStderr()
	show := isTerminal(errOut)
	total := 0
	err = f.export(c.Context(), errOut, newWriter(tmp, f.cfg.Site.Zone), func(n int) {
		if total = n; show {
			fmt.Fprintf(errOut, "\r%d punches", n) // of no worth if the terminal is gone
		}
	})
	if show {
		fmt.Fprint(errOut, "\r\x1b[K")
	}
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), file); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%d punches in %s\n", total, file)
	return err
}
