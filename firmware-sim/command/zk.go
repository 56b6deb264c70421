package command

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/punchd/punchd/firmware-sim/terminal/zk"
)

func newZK() *cobra.Command {
	var (
		f                        common
		z                        clockZone
		listen, serial           string
		users, logs, limit       int
		commKey                  uint32
		pace                     time.Duration
		quirks                   []string
		name, platform, firmware string
	)
	c := &cobra.Command{
		Use:   "zk",
		Short: "Be a ZKTeco terminal",
		Long: `zk is a ZKTeco terminal on a TCP port: it keeps a log, people punch at it, and
hosts read it by the standalone protocol. Quirks make it one of the many that
differ, as in --quirk att_size=49 --quirk count_lies=zero; "firmware-sim zk
quirks" lists them.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			zone, err := z.location()
			if err != nil {
				return err
			}
			if pace < 0 || limit < 0 {
				return usagef("--pace %s, --punches %d: neither can be negative", pace, limit)
			}
			cfg := zk.Config{Serial: serial, Users: users, Logs: logs, Seed: f.seed, CommKey: commKey, Zone: zone,
				Name: name, Platform: platform, Firmware: firmware, Log: f.logger(c)}
			for _, q := range quirks {
				if err := zk.ParseQuirk(&cfg.Quirks, q); err != nil {
					return usageError{err}
				}
			}
			t, err := zk.New(cfg)
			if err != nil {
				return usageError{err}
			}
			return serveZK(c, &f, t, listen, pace, limit)
		},
	}
	f.add(c, "its counts and its log")
	z.add(c)
	fl := c.Flags()
	fl.StringVar(&listen, "listen", "127.0.0.1:4370", "address to listen on")
	fl.StringVar(&serial, "serial", "", "serial number; made of the seed if empty")
	fl.IntVar(&users, "users", 50, "people")
	fl.IntVar(&logs, "logs", 200, "entries in its log at the start")
	fl.IntVar(&limit, "punches", 0, "end punching after so many; 0 is never")
	fl.DurationVar(&pace, "pace", 5*time.Second, "mean time between two punches; 0 is none at all")
	fl.Uint32Var(&commKey, "comm-key", 0, "the Comm Key of its menu")
	fl.StringArrayVar(&quirks, "quirk", nil, "NAME or NAME=VALUE; may be repeated")
	fl.StringVar(&name, "name", "", "device name as it tells hosts")
	fl.StringVar(&platform, "platform", "", "platform as it tells hosts")
	fl.StringVar(&firmware, "firmware", "", "firmware version as it tells hosts")
	c.AddCommand(newZKQuirks())
	return c
}

func newZKQuirks() *cobra.Command {
	return &cobra.Command{
		Use:   "quirks",
		Short: "List the quirks a terminal can have",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, q := range zk.KnownQuirks() {
				form := q.Name
				if q.Value != "" {
					form += "=" + q.Value
				}
				if _, err := fmt.Fprintf(c.OutOrStdout(), "%-36s %s\n%36s   met on: %s\n", form, q.Means, "", q.Seen); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func serveZK(c *cobra.Command, f *common, t *zk.Terminal, listen string, pace time.Duration, limit int) error {
	ctx, cancel := f.context(c.Context())
	defer cancel()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	if err := f.say(c, "%s on %s", t, l.Addr()); err != nil {
		return err
	}
	if drawn := t.Drawn(); len(drawn) > 0 {
		if err := f.say(c, "drawn from the seed: %s", strings.Join(drawn, ", ")); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return t.Serve(ctx, l) })
	if pace > 0 {
		group.Go(func() error { return t.Run(ctx, pace, limit) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	counts := t.Counts()
	return f.end(c.OutOrStdout(), struct {
		Serial string     `json:"serial"`
		Log    int        `json:"log"`
		Counts zk.Counts  `json:"counts"`
		Facts  []zk.Entry `json:"entries"`
	}{t.Serial(), len(t.Log()), counts, t.Log()}, "%d people; %d log entries made, the oldest %d of them gone\n"+
		"%d connections accepted, %d refused; %d requests, %d bad frames\n%d events sent, %d acknowledged, %d dropped",
		counts.Users, counts.Made, counts.First, counts.Accepted, counts.Refused, counts.Requests, counts.BadFrames,
		counts.EventsSent, counts.EventsAcked, counts.EventsDropped)
}
