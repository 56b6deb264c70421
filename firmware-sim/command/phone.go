package command

import (
	"encoding/json"
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
		f                 common
		cfg               phone.Config
		gatewayKey, write string
		behaviours        []string
	)
	c := &cobra.Command{
		Use:   "phone",
		Short: "Be a number of phones",
		Long: `phone is a number of phones that check in over MQTT, native ones (ES256 and
EdDSA by turns) and OwnTracks ones (Android and iOS by turns).

A gateway must know them first: --write DIR writes their roster entries and
passwords, and the lines for its configuration, and ends.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			zone, err := f.location()
			if err != nil {
				return err
			}
			cfg.Seed, cfg.Zone, cfg.Log = f.seed, zone, f.logger(c)
			for _, b := range behaviours {
				cfg.Behaviours = append(cfg.Behaviours, phone.Behaviour(b))
			}
			if cfg.Native > 0 {
				if cfg.Gateway, err = readKey(gatewayKey); err != nil {
					return err
				}
			}
			fleet, err := phone.New(cfg)
			if err != nil {
				return usageError{err}
			}
			if write != "" {
				return writePhones(c, fleet, write)
			}
			return runPhones(c, &f, fleet, cfg.Broker)
		},
	}
	f.add(c)
	fl := c.Flags()
	fl.StringVar(&cfg.Broker, "broker", "127.0.0.1:1883", "address of the MQTT broker")
	fl.StringVar(&cfg.Site, "site", "my-office", "the gateway's site")
	fl.IntVar(&cfg.Native, "native", 5, "native phones")
	fl.IntVar(&cfg.OwnTracks, "owntracks", 5, "OwnTracks phones")
	fl.StringVar(&gatewayKey, "gateway-key", "keys/gateway.pub", "file with the gateway's public key, which signs receipts; for native phones")
	fl.StringSliceVar(&behaviours, "behaviour", nil, "go round the phones: "+strings.Join(words(phone.Behaviours()), ", "))
	fl.DurationVar(&cfg.Pace, "pace", 10*time.Second, "mean time between two check-ins of one phone; 0 is as soon as the last is promised")
	fl.IntVar(&cfg.Each, "each", 0, "end after so many check-ins of each phone; 0 is never")
	fl.Uint64Var(&cfg.Counter, "counter", uint64(time.Now().Unix()), "counter to begin with; it must be higher than any used before")
	fl.Float64Var(&cfg.Office.Lat, "lat", 24.479834, "latitude of the office")
	fl.Float64Var(&cfg.Office.Lon, "lon", 118.089425, "longitude of the office")
	fl.StringVar(&cfg.Office.BSSID, "bssid", "a2:8b:7f:c0:27:4b", "access point of the office")
	fl.StringVar(&cfg.Office.SSID, "ssid", "Office", "its name")
	fl.StringVar(&write, "write", "", "write what the gateway must know into this directory, and end")
	return c
}

func words(bs []phone.Behaviour) []string {
	out := make([]string, len(bs))
	for i, b := range bs {
		out[i] = string(b)
	}
	return out
}

func readKey(file string) (protocolphone.Key, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return protocolphone.Key{}, fmt.Errorf("%w; native phones need the gateway's public key (--gateway-key), which punchd init writes; or use --native 0", err)
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

// writePhones writes what a gateway must know of the phones.
func writePhones(c *cobra.Command, fleet *phone.Fleet, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return err
	}
	roster, err := json.MarshalIndent(fleet.RosterEntries(), "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "employees.json"), append(roster, '\n'), 0o600); err != nil {
		return err
	}
	var users strings.Builder
	for _, user := range fleet.Users() {
		password, _ := fleet.Password(user) // it names its own users
		if err := os.WriteFile(filepath.Join(dir, "keys", "mqtt-"+user), []byte(password+"\n"), 0o600); err != nil {
			return err
		}
		fmt.Fprintf(&users, "        %s: {file: keys/mqtt-%[1]s}\n", user)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), `wrote %s (for employees: of the roster) and the passwords below %s;
for punchd.yaml:

phones:
  broker:
    embedded:
      listen: 127.0.0.1:1883
      users:
%s`, filepath.Join(dir, "employees.json"), filepath.Join(dir, "keys"), users.String())
	return err
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
