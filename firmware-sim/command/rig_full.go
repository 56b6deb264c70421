package command

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/firmware-sim/rig"
)

func newRigFull() *cobra.Command {
	var (
		f      = rigFlags{build: rig.Build}
		cfg    rig.FullConfig
		asJSON bool
		bug    string
	)
	c := &cobra.Command{
		Use:   "full",
		Short: "Fill the gateway's disk under load, again and again, and count both sides",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if cfg.Cycles < 1 {
				return usagef("--cycles %d: at least 1 is needed", cfg.Cycles)
			}
			if cfg.Disk != rig.DiskExt4 && cfg.Disk != rig.DiskTmpfs {
				return usagef("--disk %q: %s or %s", cfg.Disk, rig.DiskExt4, rig.DiskTmpfs)
			}
			if bug != "" {
				f.flags, cfg.Env = []string{"-tags", "planted"}, []string{"PUNCHD_PLANTED=" + bug}
			}
			if !rig.HasOwnMounts() {
				// There everybody is root, so the disk is told.
				return onceMore(c, "--disk="+cfg.Disk)
			}
			return f.with(c.Context(), func(dir, daemon string) error {
				cfg.Seed, cfg.Daemon, cfg.Dir, cfg.Out = f.seed, daemon, dir, c.OutOrStdout()
				if asJSON {
					cfg.Out = c.ErrOrStderr()
				}
				figures, err := rig.Full(c.Context(), cfg)
				return printJSON(c.OutOrStdout(), asJSON && figures != nil, figures, err)
			})
		},
	}
	f.add(c)
	disk := rig.DiskExt4
	if os.Geteuid() != 0 {
		disk = rig.DiskTmpfs
	}
	c.Flags().IntVar(&cfg.Cycles, "cycles", 20, "how often")
	c.Flags().StringVar(&cfg.Disk, "disk", disk, "ext4 (on a file; needs root) or tmpfs")
	c.Flags().StringVar(&bug, "planted", "",
		"build the program with a bug that the rig must find: gate (nothing keeps writes off a full disk) or ack (what is refused is acknowledged)")
	c.Flags().BoolVar(&asJSON, "json", false, "print what came of it as JSON on standard output, and progress on standard error")
	return c
}

// onceMore runs the command where it may mount a disk that nobody else sees.
func onceMore(c *cobra.Command, more ...string) error {
	err := rig.InOwnMounts(c.Context(), append(os.Args[1:], more...))
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return errSilent // it has said why
	}
	return err
}

// printJSON prints what came of a test if it is to be printed, and passes its
// error on.
func printJSON(w io.Writer, wanted bool, v any, err error) error {
	if !wanted {
		return err
	}
	return errors.Join(json.NewEncoder(w).Encode(v), err)
}
