package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/cmd/internal/gateway"
	"github.com/punchd/punchd/sync/roster"
	"github.com/punchd/punchd/sync/roster/strict"
)

func newCheck() *cobra.Command {
	var (
		file   string
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "check",
		Short: "Read the configuration and the roster, start nothing, explain each mistake",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f := check(file)
			if asJSON {
				if err := json.NewEncoder(c.OutOrStdout()).Encode(f); err != nil {
					return err
				}
			} else if err := f.print(c.OutOrStdout(), c.ErrOrStderr()); err != nil {
				return err
			}
			if !f.OK {
				return &exitError{exitConfig, errSilent}
			}
			return nil
		},
	}
	configFlag(c, &file)
	jsonFlag(c, &asJSON, "print one JSON object")
	return c
}

// findings are what check tells.
type findings struct {
	OK        bool    `json:"ok"`
	Config    string  `json:"config"`
	Terminals int     `json:"terminals"`
	Phones    bool    `json:"phones"`
	Sinks     int     `json:"sinks"`
	Roster    string  `json:"roster,omitempty"`
	Employees int     `json:"employees"`
	Places    int     `json:"places"`
	Errors    []found `json:"errors"`
	Warnings  []found `json:"warnings"`
}

// found is one mistake or warning. What has no place in a file has no line.
type found struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`

	text string
}

func (f *findings) fail(err error) { f.Errors = append(f.Errors, list(err)...) }

// list takes an error apart into what it tells of single places.
func list(err error) []found {
	ps, ok := errors.AsType[strict.Problems](err)
	if !ok {
		return []found{{Message: err.Error(), text: err.Error()}}
	}
	return problems(ps)
}

func problems(ps strict.Problems) []found {
	all := make([]found, len(ps))
	for i, p := range ps {
		all[i] = found{p.File, p.Line, p.Column, p.Path, p.Message, p.Hint, p.Error()}
	}
	return all
}

// check goes on as far as it can: what is wrong with one file keeps nobody from
// hearing of the other.
func check(file string) *findings {
	f := &findings{Config: file, Errors: []found{}, Warnings: []found{}}
	cfg, err := readConfig(file, config.Inspect)
	if err != nil {
		f.fail(err)
	}
	if cfg == nil {
		return f
	}
	f.Terminals, f.Phones, f.Sinks, f.Roster = len(cfg.Terminals), cfg.Phones != nil, len(cfg.Sinks), cfg.Roster.File
	if err == nil { // else they may come of the mistakes
		f.Warnings = append(f.Warnings, problems(cfg.Warnings())...)
	}
	f.Errors = append(f.Errors, problems(checkOutputs(cfg))...)
	x := f.examineRoster(cfg)
	slices.SortStableFunc(f.Errors, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if x != nil { // another file, so it comes behind
		f.Errors = append(f.Errors, problems(x.Mistakes)...)
		f.Warnings = append(f.Warnings, problems(x.Warnings)...)
	}
	f.OK = len(f.Errors) == 0
	return f
}

// examineRoster reads the roster, and tells of a missing one where it is named.
func (f *findings) examineRoster(cfg *config.Config) *roster.Examined {
	if cfg.Roster.File == "" {
		return nil // told already
	}
	x, err := roster.Examine(cfg.Roster.File, gateway.ExamineRoster(cfg))
	if err != nil {
		f.Errors = append(f.Errors, problems(strict.Problems{cfg.Problem("roster.file", "%v", err)})...)
		return nil
	}
	r := x.Snapshot.Roster
	f.Employees, f.Places = len(r.Employees), len(r.Places)
	if len(x.Mistakes) == 0 && len(r.Employees) > 0 { // else they may come of the mistakes
		f.Warnings = append(f.Warnings, problems(unusedUsers(cfg, r))...)
	}
	return x
}

func (f *findings) print(out, errOut io.Writer) error {
	for _, w := range f.Warnings {
		if _, err := fmt.Fprintln(errOut, "warning:", w.text); err != nil {
			return err
		}
	}
	for _, e := range f.Errors {
		text := e.text
		if e.File == "" { // else the place in the file leads the line
			text = "punchd: " + text
		}
		if _, err := fmt.Fprintln(errOut, text); err != nil {
			return err
		}
	}
	if !f.OK {
		return nil
	}
	phones := "no phones"
	if f.Phones {
		phones = "phones"
	}
	_, err := fmt.Fprintf(out, "%s is right: %s, %s, %s; %s: %s, %s\n", f.Config, count(f.Terminals, "terminal or reader", "terminals and readers"), phones,
		count(f.Sinks, "sink", "sinks"), f.Roster, count(f.Employees, "employee", "employees"), count(f.Places, "place", "places"))
	return err
}

// count says how many of a thing there are.
func count[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
