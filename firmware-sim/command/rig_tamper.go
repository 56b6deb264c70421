package command

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/firmware-sim/rig"
)

// secondVerifier stands in the source tree. It is of another language and was
// written from the format documents alone.
var secondVerifier = filepath.Join("sync", "ledger", "audit", "testdata", "verify.py")

func newRigTamper() *cobra.Command {
	var (
		f   = rigFlags{build: rig.Build}
		cfg rig.TamperConfig
	)
	c := &cobra.Command{
		Use:   "tamper",
		Short: "Change a ledger's past in every way, and see that the verifiers find it",
		Long: `tamper lets a gateway take in punches and sign, and then changes its ledger as
somebody can who has the machine and not the key: with right check sums. punchd
verify must find each change, and so must the verifier in Python that the source
tree has, if there is a python3. Where no ledger can show it by itself, as when
all of it is put back to what it was, they are given the heads that central got.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			second, err := second()
			if err != nil {
				fmt.Fprintln(c.ErrOrStderr(), "without the second verifier:", err) // of no worth if standard error is gone
			}
			return f.with(c.Context(), func(dir, daemon string) error {
				cfg.Seed, cfg.Daemon, cfg.Dir, cfg.Out, cfg.Second = f.seed, daemon, dir, c.OutOrStdout(), second
				return rig.Tamper(c.Context(), cfg)
			})
		},
	}
	f.add(c)
	c.Flags().BoolVar(&cfg.Blind, "blind", false, "change nothing: the rig must then fail, or it could not")
	return c
}

// second is the command of the second verifier.
func second() ([]string, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return nil, err
	}
	script, err := filepath.Abs(secondVerifier)
	if err == nil {
		_, err = os.Stat(script)
	}
	return []string{python, script}, err
}
