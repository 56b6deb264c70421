package command

import (
	"github.com/spf13/cobra"

	"github.com/punchd/punchd/firmware-sim/rig"
)

func newRigClock() *cobra.Command {
	var (
		f      = rigFlags{build: rig.Build}
		cfg    rig.ClockConfig
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "clock",
		Short: "Set the gateway's clock under load, again and again, and count both sides",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if cfg.Jumps < 1 {
				return usagef("--jumps %d: at least 1 is needed", cfg.Jumps)
			}
			if cfg.Boot < 1970 || cfg.Boot > 2020 {
				return usagef("--boot-year %d: a year from 1970 to 2020 is needed", cfg.Boot)
			}
			return f.with(c.Context(), func(dir, daemon string) error {
				cfg.Seed, cfg.Daemon, cfg.Dir, cfg.Out = f.seed, daemon, dir, c.OutOrStdout()
				if asJSON {
					cfg.Out = c.ErrOrStderr()
				}
				figures, err := rig.Clock(c.Context(), cfg)
				return printJSON(c.OutOrStdout(), asJSON && figures != nil, figures, err)
			})
		},
	}
	f.add(c)
	c.Flags().IntVar(&cfg.Jumps, "jumps", 40, "how often")
	c.Flags().IntVar(&cfg.Boot, "boot-year", 1970, "what the clock of a gateway without a battery begins with")
	c.Flags().BoolVar(&asJSON, "json", false, "print what came of it as JSON on standard output, and progress on standard error")
	return c
}
