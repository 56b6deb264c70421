package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/cmd/internal/gateway"
	"github.com/punchd/punchd/sync/journal"
)

// defaultConfig is the configuration that a command reads if it is told none.
const defaultConfig = "punchd.yaml"

// configFlag adds -c to a command.
func configFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "config", "c", defaultConfig, "configuration file")
	must(c.MarkFlagFilename("config", "yaml", "yml", "json"))
}

// jsonFlag adds --json to a command.
func jsonFlag(c *cobra.Command, asJSON *bool, what string) {
	c.Flags().BoolVar(asJSON, "json", false, what)
}

// must is for what only a mistake in this program can make fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// loadConfig reads a configuration; what is wrong with it ends a command with
// exitConfig.
func loadConfig(file string) (*config.Config, error) {
	return readConfig(file, config.Load)
}

// readConfig reads a configuration in one of the ways there are.
func readConfig(file string, read func(string) (*config.Config, error)) (*config.Config, error) {
	cfg, err := read(file)
	if errors.Is(err, os.ErrNotExist) && file == defaultConfig {
		err = fmt.Errorf("there is no %s here; make one with: punchd init, or name yours with -c", defaultConfig)
	}
	if err != nil {
		return cfg, &exitError{exitConfig, err}
	}
	return cfg, nil
}

// coded gives an error of the daemon its exit code.
func coded(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, journal.ErrInUse), errors.Is(err, syscall.EADDRINUSE):
		return &exitError{exitInUse, err}
	case errors.Is(err, gateway.ErrRoster), errors.Is(err, syscall.EADDRNOTAVAIL):
		return &exitError{exitConfig, err}
	}
	return err
}
