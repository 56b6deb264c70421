package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/cmd/internal/gateway"
)

func newInit() *cobra.Command {
	var site, zone string
	c := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a configuration to begin with, with a comment at every key",
		Long: `init writes punchd.yaml, roster.yaml and the keys into a directory (the present
one if none is named): one that signs what the gateway says, and a secret to
share with the service that punches go to. It changes no file that is there
already.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return initDir(c.OutOrStdout(), dir, site, zone)
		},
	}
	c.Flags().StringVar(&site, "site", "", "id of the office, as it will stand in every record")
	c.Flags().StringVar(&zone, "timezone", "", "the office's time zone, like Asia/Shanghai or +08:00")
	return c
}

// newFile is a file that init writes.
type newFile struct {
	path string // below the directory
	mode os.FileMode
	text []byte
}

func initDir(out io.Writer, dir, site, zone string) error {
	files, err := newFiles(site, zone)
	if err != nil {
		return err
	}
	for _, f := range files { // all or nothing
		path := filepath.Join(dir, f.path)
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			if err == nil {
				err = errors.New("exists already")
			}
			return fmt.Errorf("nothing was written: %s: %w", path, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return err
	}
	for _, f := range files {
		if err := writeNew(filepath.Join(dir, f.path), f); err != nil {
			return err
		}
	}
	if _, err := config.Load(filepath.Join(dir, defaultConfig)); err != nil {
		return &exitError{exitConfig, fmt.Errorf("the files are written, and what you gave is wrong:\n%w", err)}
	}
	for _, f := range files {
		if _, err := fmt.Fprintln(out, "wrote", filepath.Join(dir, f.path)); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, `
Next:
  1. put your terminals and readers into %s
  2. put your people into %s
  3. punchd check -c %[1]s
  4. punchd run -c %[1]s
`, filepath.Join(dir, defaultConfig), filepath.Join(dir, "roster.yaml"))
	return err
}

func newFiles(site, zone string) ([]newFile, error) {
	key, public, err := gateway.NewKey()
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	punchd, roster := config.Example()
	if punchd, err = set(punchd, "id: my-office", "id: ", site); err != nil {
		return nil, err
	}
	if punchd, err = set(punchd, "timezone: Asia/Shanghai", "timezone: ", zone); err != nil {
		return nil, err
	}
	return []newFile{
		{defaultConfig, 0o644, []byte(punchd)},
		{"roster.yaml", 0o600, []byte(roster)}, // names, cards and keys of people
		{filepath.Join("keys", "gateway"), 0o600, key},
		{filepath.Join("keys", "gateway.pub"), 0o644, public}, // for phones, and for whoever verifies
		{filepath.Join("keys", "webhook"), 0o600, []byte("whsec_" + base64.StdEncoding.EncodeToString(secret) + "\n")},
	}, nil
}

// set puts a value in the place of the example's, if there is one. It stands in
// quotes, since +08:00 alone could be read as something else.
func set(text, old, key, value string) (string, error) {
	switch {
	case value == "":
		return text, nil
	case strings.ContainsAny(value, "\"\\\n\r"):
		return "", &exitError{exitUsage, fmt.Errorf("%q can't be a value of %s", value, strings.TrimSuffix(key, ": "))}
	case !strings.Contains(text, old):
		return "", fmt.Errorf("the built-in example has no %q", old)
	}
	return strings.Replace(text, old, key+`"`+value+`"`, 1), nil
}

// writeNew writes a file that must not exist.
func writeNew(path string, f newFile) (err error) {
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if _, err = w.Write(f.text); err != nil {
		return err
	}
	return w.Sync()
}
