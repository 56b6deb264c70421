package machine

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestModuleFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "modules.dep"), "a/blk.ko: v/ring.ko v/virtio-core.ko\nv/virtio-core.ko:\nv/ring.ko: v/virtio-core.ko\nn/net-card.ko.xz: v/ring.ko v/virtio-core.ko\n")
	write(t, filepath.Join(dir, "modules.builtin"), "kernel/fs/ext4/ext4.ko\n")
	early, err := moduleFiles(dir, []string{"net_card", "ext4"}, nil)
	if want := []string{"v/virtio-core.ko", "v/ring.ko", "n/net-card.ko.xz"}; err != nil || !slices.Equal(early, want) {
		t.Errorf("%v, want %v: %v", early, want, err)
	}
	late, err := moduleFiles(dir, []string{"blk"}, early)
	if want := []string{"a/blk.ko"}; err != nil || !slices.Equal(late, want) {
		t.Errorf("%v, want %v: %v", late, want, err)
	}
	if _, err := moduleFiles(dir, []string{"xfs"}, nil); err == nil || !strings.Contains(err.Error(), "has no xfs") {
		t.Error(err)
	}
}

// Whoever lacks something is told what, all of it at once.
func TestLookTellsWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	err := Look(dir)
	if !errors.Is(err, ErrMissing) {
		t.Fatal(err)
	}
	for _, want := range []string{"qemu-system-x86_64 is not installed: install it (Debian's package qemu-system-x86)", "a Linux kernel with its modules is not installed in " + dir, "--kernel"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	// A kernel without modules is none; of several the last one is taken.
	for _, version := range []string{"5.10", "6.1", "6.6"} {
		write(t, filepath.Join(dir, "boot", "vmlinuz-"+version), "")
		if version != "6.6" {
			write(t, filepath.Join(dir, "lib", "modules", version, "modules.dep"), "")
		}
	}
	if p, _ := find(dir); filepath.Base(p.kernel) != "vmlinuz-6.1" || filepath.Base(p.modules) != "6.1" {
		t.Errorf("%+v", p)
	}
}

func TestStatic(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	write(t, script, "#!/bin/sh\n")
	if static(script) == nil {
		t.Error("a script is a static program")
	}
}
