// Package config reads punchd's configuration file, and says of every mistake
// in it where it stands.
//
// A file is read in two layers: structs that mirror its keys exactly, and the
// typed, checked values that the rest of the program sees. FORMAT.md describes
// every key.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cardline"
	protozk "github.com/punchd/punchd/protocol/zk"
	"github.com/punchd/punchd/sync/roster/strict"
)

// Config is a configuration that is right as far as one file can show. Paths
// are absolute, or begin at the working directory if the file's own did.
type Config struct {
	File      string // the file itself, as it was named
	Site      Site
	Gateway   Gateway
	Terminals []Terminal
	Phones    *Phones // nil: phones are not served
	Roster    Roster
	Sinks     []Sink

	doc      *strict.Document
	warnings strict.Problems
}

// Site is the office that the gateway stands in.
type Site struct {
	ID   string
	Zone *time.Location
}

// Gateway is this daemon.
type Gateway struct {
	ID      string
	DataDir string
	Key     Secret // signs receipts and the ledger; not set: there is none, and no need
}

// Terminal is a terminal or reader. One of ZK and Cardline is set, by Driver.
type Terminal struct {
	ID       string
	Driver   string
	Link     link.Dialer
	Zone     *time.Location // of its clock, or of the wall it hangs on
	ZK       *ZK
	Cardline *Cardline
}

// The drivers.
const (
	DriverZK       = "zk"
	DriverCardline = "cardline"
)

// ZK is a ZKTeco terminal.
type ZK struct {
	Poll    time.Duration
	Live    bool
	CommKey Secret         // none: the terminal's is 0
	Layout  protozk.Layout // 0: it is found by what the records say
}

// Cardline is a reader that only talks. What is zero has the driver's default.
type Cardline struct {
	Format                                  string
	Form                                    cardline.Form
	Line                                    cardline.Line
	Confirm                                 int
	ConfirmWithin, Absent, Lockout, IdleGap time.Duration
	Method                                  attendance.Method
	Direction                               attendance.Direction
}

// Phones says how phones reach the gateway. One of Embedded and External is
// set.
type Phones struct {
	Formats  []string
	Embedded *Embedded
	External *External
}

// The formats of check-ins.
const (
	FormatNative    = "native"
	FormatOwnTracks = "owntracks"
)

// Embedded is the gateway's own MQTT broker.
type Embedded struct {
	Listen     string
	Users      map[string]Secret // passwords
	MaxClients int
	TLS        *TLS // nil: none
}

// TLS is a certificate and its key, both PEM.
type TLS struct {
	Cert string // path
	Key  Secret
}

// External is somebody else's MQTT broker.
type External struct {
	URL      string // mqtt:// or mqtts://
	ClientID string
	Username string
	Password Secret
	CA       string // path; empty: the system's
}

// Roster says where the roster is.
type Roster struct {
	File string
}

// Sink is where punches are forwarded to. One of CloudEvents and JSONLines is
// set, by Kind.
type Sink struct {
	Name        string
	Kind        string
	RetryMax    time.Duration // the longest wait after a failure
	CloudEvents *CloudEvents
	JSONLines   *JSONLines
}

// The kinds of sink.
const (
	SinkCloudEvents = "cloudevents"
	SinkFile        = "file"
)

// CloudEvents is a service that takes batches over HTTP.
type CloudEvents struct {
	URL    string
	Secret Secret // of the signatures
	CA     string // path; empty: the system's
	Client *TLS   // the certificate the gateway shows; nil: none
	Gzip   bool
	Batch  int // events at most
}

// JSONLines is a file that takes one event a line.
type JSONLines struct {
	Path string
}

// maxFile bounds a configuration, in bytes.
const maxFile = 1 << 20

// Load reads a configuration. The error is a [strict.Problems] if the file can
// be read: every mistake, with its line. Secrets and certificates are looked
// at, and nothing else is opened.
func Load(file string) (*Config, error) {
	cfg, err := Inspect(file)
	if err != nil {
		return nil, err
	}
	return cfg, nil
}

// Inspect is [Load] for whoever looks for more mistakes: beside the error it
// gives what could be made of the file, which may be half of everything, or nil.
func Inspect(file string) (*Config, error) {
	text, err := readBounded(file)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return inspect(file, text)
}

// Validate says what is wrong with a text that is not yet in its file.
func Validate(file string, text []byte) error {
	_, err := inspect(file, text)
	return err
}

func inspect(file string, text []byte) (*Config, error) {
	var raw rawConfig
	_, err := strict.Decode(file, text, &raw)
	found, _ := errors.AsType[strict.Problems](err)
	for _, p := range found {
		if p.Path == "" {
			return nil, found // no YAML at all
		}
	}
	doc, err := strict.Open(file, text)
	if err != nil {
		return nil, err
	}
	c := &checker{doc: doc, dir: filepath.Dir(file), read: hideSecrets(found)}
	cfg := c.config(&raw)
	doc.Place(c.found)
	doc.Place(c.warned)
	cfg.File, cfg.doc, cfg.warnings = file, doc, sorted(c.warned)
	if all := append(c.read, c.found...); len(all) > 0 {
		return cfg, sorted(all)
	}
	return cfg, nil
}

// Problem makes a mistake of what a key names, with the line of the key, for
// those who look at more than the file itself. It is not for use by several
// goroutines at once.
func (c *Config) Problem(path, format string, args ...any) *strict.Problem {
	return c.doc.Problem(path, format, args...)
}

// Warnings are what is allowed and better otherwise: punches that travel in
// clear text, or that go nowhere. Each has its line.
func (c *Config) Warnings() strict.Problems { return c.warnings }

// readBounded reads a regular file: to open a pipe, or to read a terminal, is to
// wait for whoever writes, and no signal ends that.
func readBounded(file string) (text []byte, err error) {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file; put its content into one and name that", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if text, err = io.ReadAll(io.LimitReader(f, maxFile+1)); err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", file, maxFile)
	}
	return text, nil
}
