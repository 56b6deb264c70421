package config

import (
	"reflect"
	"strings"
	"time"

	"github.com/punchd/punchd/sync/roster/strict"
)

// The raw structs mirror the file. A pointer tells a key that is absent from
// one with a zero value. The tag for says to which driver or kind a key
// belongs; a key without it belongs to all.

type rawConfig struct {
	Site      *rawSite      `yaml:"site"`
	Gateway   *rawGateway   `yaml:"gateway"`
	Terminals []rawTerminal `yaml:"terminals"`
	Phones    *rawPhones    `yaml:"phones"`
	Roster    *rawRoster    `yaml:"roster"`
	Sinks     []rawSink     `yaml:"sinks"`
}

type rawSite struct {
	ID       string `yaml:"id"`
	Timezone string `yaml:"timezone"`
}

type rawGateway struct {
	ID      string     `yaml:"id"`
	DataDir string     `yaml:"data_dir"`
	Key     *rawSecret `yaml:"key"`
}

type rawSecret struct {
	File       string `yaml:"file"`
	Credential string `yaml:"credential"`
}

type rawTerminal struct {
	ID       string `yaml:"id"`
	Driver   string `yaml:"driver"`
	Link     string `yaml:"link"`
	Timezone string `yaml:"timezone"`

	Poll    *time.Duration `yaml:"poll" for:"zk"`
	Live    *bool          `yaml:"live" for:"zk"`
	CommKey *rawSecret     `yaml:"comm_key" for:"zk"`

	Format        *string        `yaml:"format" for:"cardline"`
	Form          *string        `yaml:"form" for:"cardline"`
	Method        *string        `yaml:"method" for:"cardline"`
	Direction     *string        `yaml:"direction" for:"cardline"`
	Confirm       *int           `yaml:"confirm" for:"cardline"`
	ConfirmWithin *time.Duration `yaml:"confirm_within" for:"cardline"`
	Absent        *time.Duration `yaml:"absent" for:"cardline"`
	Lockout       *time.Duration `yaml:"lockout" for:"cardline"`
	IdleGap       *time.Duration `yaml:"idle_gap" for:"cardline"`

	Prefix     *string `yaml:"prefix" for:"cardline"`
	Suffix     *string `yaml:"suffix" for:"cardline"`
	Terminator *string `yaml:"terminator" for:"cardline"`
	SevenBit   *bool   `yaml:"seven_bit" for:"cardline"`
	Pattern    *string `yaml:"pattern" for:"cardline"`
	Base       *string `yaml:"base" for:"cardline"`
	Bits       *int    `yaml:"bits" for:"cardline"`
	Layout     *string `yaml:"layout"` // of both drivers, each with words of its own
	Reverse    *bool   `yaml:"reverse" for:"cardline"`
	StripZeros *bool   `yaml:"strip_zeros" for:"cardline"`
}

type rawPhones struct {
	Broker  *rawBroker `yaml:"broker"`
	Formats []string   `yaml:"formats"`
}

type rawBroker struct {
	Embedded *rawEmbedded `yaml:"embedded"`

	URL      string     `yaml:"url"`
	ClientID string     `yaml:"client_id"`
	Username string     `yaml:"username"`
	Password *rawSecret `yaml:"password"`
	CA       string     `yaml:"ca"`
}

type rawEmbedded struct {
	Listen     string                `yaml:"listen"`
	Users      map[string]*rawSecret `yaml:"users"`
	MaxClients *int                  `yaml:"max_clients"`
	TLS        *rawTLS               `yaml:"tls"`
}

type rawTLS struct {
	Cert string     `yaml:"cert"`
	Key  *rawSecret `yaml:"key"`
}

type rawRoster struct {
	File string `yaml:"file"`
}

type rawSink struct {
	Name string `yaml:"name"`
	Kind string `yaml:"kind"`

	URL    *string    `yaml:"url" for:"cloudevents"`
	Secret *rawSecret `yaml:"secret" for:"cloudevents"`
	CA     *string    `yaml:"ca" for:"cloudevents"`
	Cert   *string    `yaml:"cert" for:"cloudevents"`
	Key    *rawSecret `yaml:"key" for:"cloudevents"`
	Gzip   *bool      `yaml:"gzip" for:"cloudevents"`
	Batch  *int       `yaml:"batch" for:"cloudevents"`

	RetryMax *time.Duration `yaml:"retry_max"`

	Path *string `yaml:"path" for:"file"`
}

// keysFor lists the keys of a raw struct that belong to a driver or kind, and
// those among the others that are set.
func keysFor(raw any, owner string) (known, foreign []string) {
	v := reflect.ValueOf(raw)
	for i := range v.NumField() {
		field := v.Type().Field(i)
		key := field.Tag.Get("yaml")
		switch whose := field.Tag.Get("for"); {
		case whose == "" || whose == owner:
			known = append(known, key)
		case !v.Field(i).IsNil():
			foreign = append(foreign, key)
		}
	}
	return known, foreign
}

// hideSecrets takes the text out of the mistake of one who has written a
// secret into the file, so that it is not told to everybody.
func hideSecrets(found strict.Problems) strict.Problems {
	for _, p := range found {
		if typeAt(reflect.TypeFor[rawConfig](), p.Path) == reflect.TypeFor[rawSecret]() {
			p.Message = "is a secret, and is not written here; put it alone into a file that only you can read, and name that: {file: keys/name}"
		}
	}
	return found
}

// typeAt is the type behind a path like sinks[0].secret, nil if there is none.
func typeAt(t reflect.Type, path string) reflect.Type {
	for path != "" {
		switch t.Kind() {
		case reflect.Pointer:
			t = t.Elem()
		case reflect.Map: // its key may be any text
			t, path = t.Elem(), ""
		case reflect.Slice:
			_, rest, found := strings.Cut(path, "]")
			if !found {
				return nil
			}
			t, path = t.Elem(), strings.TrimPrefix(rest, ".")
		case reflect.Struct:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			key := path[:end]
			path = strings.TrimPrefix(path[end:], ".")
			found := false
			for f := range t.Fields() {
				if f.Tag.Get("yaml") == key {
					t, found = f.Type, true
					break
				}
			}
			if !found {
				return nil
			}
		default:
			return nil
		}
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}
