package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/firmware-sim/phone"
	protocolphone "github.com/punchd/punchd/protocol/phone"
)

func newPhone() *cobra.Command {
	var (
		f          common
		z          clockZone
		cfg        phone.Config
		key, write string
		behaviours []string
	)
	c := &cobra.Command{
		Use:   "phone",
		Short: "Be a number of phones",
		Long: `phone is a number of phones that check in over MQTT, native ones (ES256 and
EdDSA by turns) and OwnTracks ones (Android and iOS by turns).

A gateway must know them first: --write DIR writes what is to be pasted into its
roster and its configuration, and the passwords, and ends.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			zone, err := z.location()
			if err != nil {
				return err
			}
			cfg.Seed, cfg.Zone, cfg.Log = f.seed, zone, f.logger(c)
			for _, b := range behaviours {
				cfg.Behaviours = append(cfg.Behaviours, phone.Behaviour(b))
			}
			if cfg.Native > 0 && write == "" {
				if cfg.Gateway, err = gatewayKey(key, cfg.Site); err != nil {
					return err
				}
			}
			fleet, err := phone.New(cfg)
			if err != nil {
				return usageError{err}
			}
			if write != "" {
				return writePhones(c.OutOrStdout(), fleet, write, cfg.Broker)
			}
			return runPhones(c, &f, fleet, cfg.Broker)
		},
	}
	f.add(c, "the check-ins made")
	z.add(c)
	fl := c.Flags()
	fl.StringVar(&cfg.Broker, "broker", "127.0.0.1:1883", "address of the MQTT broker")
	fl.StringVar(&cfg.Site, "site", "my-office", "the gateway's site")
	fl.IntVar(&cfg.Native, "native", 5, "native phones")
	fl.IntVar(&cfg.OwnTracks, "owntracks", 5, "OwnTracks phones")
	fl.StringVar(&key, "gateway-key", "", "`file` with the gateway's public key, by which native phones know its receipts (default "+defaultKey+" here or in the directory SITE)")
	fl.StringSliceVar(&behaviours, "behaviour", nil, "go round the phones: "+strings.Join(words(phone.Behaviours()), ", "))
	fl.DurationVar(&cfg.Pace, "pace", 10*time.Second, "mean time between two check-ins of one phone; 0 is as soon as the last is promised")
	fl.IntVar(&cfg.Each, "each", 0, "end after so many check-ins of each phone; 0 is never")
	fl.Uint64Var(&cfg.Counter, "counter", uint64(time.Now().Unix()), "counter to begin with; it must be higher than any used before")
	fl.Lookup("counter").DefValue = timeDefault
	addOffice(c, &cfg.Office)
	fl.StringVar(&write, "write", "", "write what the gateway must know into this `directory`, and end")
	return c
}

// addOffice adds the flags for where honest phones are.
func addOffice(c *cobra.Command, o *phone.Office) {
	fl := c.Flags()
	fl.Float64Var(&o.Lat, "lat", 24.479834, "latitude of the office")
	fl.Float64Var(&o.Lon, "lon", 118.089425, "longitude of the office")
	fl.StringVar(&o.BSSID, "bssid", "a2:8b:7f:c0:27:4b", "access point of the office")
	fl.StringVar(&o.SSID, "ssid", "Office", "its name")
}

// defaultKey is where punchd init puts the gateway's public key, below its
// directory.
var defaultKey = filepath.Join("keys", "gateway.pub")

func words(bs []phone.Behaviour) []string {
	out := make([]string, len(bs))
	for i, b := range bs {
		out[i] = string(b)
	}
	return out
}

// gatewayKey reads the key that receipts are signed with: from the file that
// was named, or from where punchd init puts it, seen from the gateway's
// directory or from the one above it.
func gatewayKey(file, site string) (protocolphone.Key, error) {
	files := []string{file}
	if file == "" {
		files = []string{defaultKey, filepath.Join(site, defaultKey)}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return protocolphone.Key{}, err
		}
		key, err := protocolphone.ParseKey(string(text))
		if err != nil {
			return key, fmt.Errorf("%s: %w", file, err)
		}
		return key, nil
	}
	return protocolphone.Key{}, fmt.Errorf("%s: no such file; native phones need the gateway's public key, which punchd init writes: "+
		"name it with --gateway-key, or use --native 0", strings.Join(files, ", "))
}

func runPhones(c *cobra.Command, f *common, fleet *phone.Fleet, broker string) error {
	ctx, cancel := f.context(c.Context())
	defer cancel()
	if err := f.say(c, "%d phones, broker %s, seed %d", len(fleet.Users()), broker, f.seed); err != nil {
		return err
	}
	if err := fleet.Run(ctx); err != nil {
		return err
	}
	made := fleet.Made()
	promised := 0
	for _, m := range made {
		if m.Promised {
			promised++
		}
	}
	return f.end(c.OutOrStdout(), struct {
		Made     int          `json:"made"`
		Promised int          `json:"promised"`
		Facts    []phone.Made `json:"checkins"`
	}{len(made), promised, made}, "%d check-ins made, %d promised", len(made), promised)
}
