package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

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
			f := check(c, file)
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
	all := make([]found, len(ps))
	for i, p := range ps {
		all[i] = found{p.File, p.Line, p.Column, p.Path, p.Message, p.Hint, p.Error()}
	}
	return all
}

func check(c *cobra.Command, file string) *findings {
	f := &findings{Config: file, Errors: []found{}, Warnings: []found{}}
	cfg, err := loadConfig(file)
	if err != nil {
		f.fail(err)
		return f
	}
	f.Terminals, f.Phones, f.Sinks, f.Roster = len(cfg.Terminals), cfg.Phones != nil, len(cfg.Sinks), cfg.Roster.File
	if ws := cfg.Warnings(); len(ws) > 0 {
		f.Warnings = append(f.Warnings, list(ws)...)
	}
	if err := checkKey(cfg); err != nil {
		f.fail(err)
	}
	keeper, err := roster.Open(c.Context(), roster.Config{File: cfg.Roster.File, Accept: gateway.CheckRoster(cfg)})
	if err != nil {
		f.fail(err)
	} else {
		r := keeper.Current().Roster
		f.Employees, f.Places = len(r.Employees), len(r.Places)
	}
	f.OK = len(f.Errors) == 0
	return f
}

// checkKey looks at the gateway's key if one is there or needed.
func checkKey(cfg *config.Config) error {
	if !cfg.Gateway.Key.IsSet() {
		return nil
	}
	text, err := cfg.Gateway.Key.Read()
	if err != nil {
		return fmt.Errorf("gateway key: %w", err)
	}
	if _, err := gateway.ParseKey(text); err != nil {
		return fmt.Errorf("gateway key %s: %w", cfg.Gateway.Key.Path(), err)
	}
	return nil
}

func (f *findings) print(out, errOut io.Writer) error {
	for _, w := range f.Warnings {
		if _, err := fmt.Fprintln(errOut, "warning:", w.text); err != nil {
			return err
		}
	}
	for _, e := range f.Errors {
		if _, err := fmt.Fprintln(errOut, e.text); err != nil {
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
	_, err := fmt.Fprintf(out, "%s is right: %d terminals and readers, %s, %d sinks; %s: %d employees, %d places\n",
		f.Config, f.Terminals, phones, f.Sinks, f.Roster, f.Employees, f.Places)
	return err
}
