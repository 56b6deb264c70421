package rig

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"testing"

	"github.com/punchd/punchd/firmware-sim/rig/machine"
)

// TestPowerCut cuts the power a few times above a disk that keeps what was
// flushed, where nothing may be lost, and above one that does not, where it must
// be: a rig that can't find that finds nothing.
func TestPowerCut(t *testing.T) {
	kernel := cmp.Or(os.Getenv("PUNCHD_KERNEL"), "/")
	if err := machine.Look(kernel); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if testing.Short() {
		t.Skip("starting virtual machines takes a minute")
	}
	daemon, err := BuildStatic(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const seed = 1
	for name, cfg := range map[string]PowerConfig{"the disk flushes": {Cuts: 2}, "the disk lies": {Cuts: 5, NoFsync: true}} {
		t.Run(name, func(t *testing.T) {
			var progress bytes.Buffer
			cfg.Seed, cfg.Kernel, cfg.Daemon, cfg.Dir, cfg.Out = seed, kernel, daemon, t.TempDir(), &progress
			o, err := PowerCut(t.Context(), cfg)
			switch {
			case o == nil:
				t.Fatalf("seed %d: %v\n%s", seed, err, &progress)
			case cfg.NoFsync && (!errors.Is(err, ErrFailed) || o.Lost == 0):
				t.Errorf("seed %d: nothing is lost above a disk that keeps nothing: %v\n%s", seed, err, &progress)
			case !cfg.NoFsync && (err != nil || o.Passed != cfg.Cuts || o.Held < o.Promised || o.Power.Flushes == 0):
				t.Errorf("seed %d: %v\n%s", seed, err, &progress)
			}
		})
	}
}
