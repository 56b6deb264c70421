package rig

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestBallast fills a disk of this test's own to the last block and gives it
// back, in a process that may mount one.
func TestBallast(t *testing.T) {
	if !HasOwnMounts() {
		err := InOwnMounts(t.Context(), []string{"-test.run=^TestBallast$"})
		if errors.Is(err, ErrNoDisk) && os.Getenv("CI") != "true" {
			t.Skip("no disk can be mounted here: ", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, kind := range []string{DiskTmpfs, DiskExt4} {
		dir := t.TempDir()
		data := filepath.Join(dir, "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		err := mountDisk(kind, data, filepath.Join(dir, "image"), 16<<20)
		if errors.Is(err, ErrNoDisk) && os.Getenv("CI") != "true" {
			t.Log("a user namespace is not enough: ", err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		before := mustFree(t, data)
		for _, during := range []time.Duration{0, 64 * time.Millisecond} {
			b, err := newBallast(data)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.fill(t.Context(), during); err != nil {
				t.Fatal(err)
			}
			b.hold(context.Background())
			if left := mustFree(t, data); left != 0 {
				t.Errorf("%s, in %v: %d bytes are left", kind, during, left)
			}
			if err := os.WriteFile(filepath.Join(data, "more"), make([]byte, 8192), 0o600); err == nil {
				t.Errorf("%s, in %v: more was written", kind, during)
			}
			if err := errors.Join(b.free(), os.Remove(filepath.Join(data, "more"))); err != nil {
				t.Error(err)
			}
		}
		if after := mustFree(t, data); before < 8<<20 || after < before-64<<10 {
			t.Errorf("%s: %d bytes were free, and are %d", kind, before, after)
		}
		if err := unmountDisk(data); err != nil {
			t.Error(err)
		}
	}
}

func mustFree(t *testing.T, dir string) uint64 {
	t.Helper()
	free, err := freeOn(dir)
	if err != nil {
		t.Fatal(err)
	}
	return free
}
