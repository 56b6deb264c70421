package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/sync/roster/strict"
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
		Args: oneArg("directory", true),
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
	if err := rightValues(filepath.Join(dir, defaultConfig), files[0].text); err != nil {
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
	for _, f := range files {
		if _, err := fmt.Fprintln(out, "wrote", filepath.Join(dir, f.path)); err != nil {
			return err
		}
	}
	conf := filepath.Join(dir, defaultConfig)
	self := self(os.Args[0])
	_, err = fmt.Fprintf(out, `
Next:
  1. put your terminals and readers into %[1]s
  2. put your people into %[2]s
  3. %[3]s check -c %[4]s
  4. %[3]s run -c %[4]s
`, conf, filepath.Join(dir, "roster.yaml"), self, shell(conf))
	return err
}

// rightValues sees that what the flags put into the configuration is right,
// before anything is written.
func rightValues(file string, text []byte) error {
	err := config.Validate(file, text)
	found, ok := errors.AsType[strict.Problems](err)
	if !ok {
		return err
	}
	told := []string{"nothing was written"}
	for _, p := range found {
		flag, known := map[string]string{"site.id": "--site", "site.timezone": "--timezone"}[p.Path]
		if !known {
			return err
		}
		line := flag + ": " + p.Message
		if p.Hint != "" {
			line += " (" + p.Hint + ")"
		}
		told = append(told, line)
	}
	return &exitError{exitUsage, errors.New(strings.Join(told, "; "))}
}

// self is how this program can be called again from the same directory. What
// `go run` has built is gone by then.
func self(arg0 string) string {
	if !strings.Contains(filepath.ToSlash(arg0), "/go-build") {
		return shell(arg0)
	}
	if _, err := os.Stat(filepath.Join("cmd", "punchd")); err == nil {
		return "go run ./cmd/punchd"
	}
	return "punchd"
}

var bare = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=\\-]+$`)

// shell puts a word in quotes if a shell would take it for several.
func shell(word string) string {
	if bare.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func newFiles(site, zone string) ([]newFile, error) {
	key, public, err := config.NewKey()
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
