package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownMounts tells a process that it is one of [InOwnMounts].
const ownMounts = "PUNCHD_RIG_OWN_MOUNTS"

// HasOwnMounts reports whether this process may mount what nobody else sees.
func HasOwnMounts() bool { return os.Getenv(ownMounts) == "yes" }

// InOwnMounts runs this program once more with arguments, in mount and process
// namespaces of its own: what it mounts, and every process that it starts, is
// gone with it, however it ends. The error is [ErrNoDisk] where that can't be.
func InOwnMounts(ctx context.Context, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("rig: find this program to start it again: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), ownMounts+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	// The signal at the parent's death is that at the death of its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoDisk, err)
	}
	return cmd.Wait()
}

// mountDisk mounts a disk of so many bytes on a directory. The file of an ext4
// lies at image, and stays.
func mountDisk(kind, dir, image string, bytes int64) error {
	if !HasOwnMounts() {
		return fmt.Errorf("%w: not in a mount namespace of its own", ErrNoDisk)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%w: make mounts private: %w", ErrNoDisk, err)
	}
	switch kind {
	case DiskTmpfs:
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes)); err != nil {
			return fmt.Errorf("%w: tmpfs on %s: %w", ErrNoDisk, dir, err)
		}
		return nil
	case DiskExt4:
		return mountExt4(dir, image, bytes)
	}
	return fmt.Errorf("rig: a disk of kind %q is not known (known: %s, %s)", kind, DiskExt4, DiskTmpfs)
}

func mountExt4(dir, image string, bytes int64) error {
	f, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("rig: make the small disk: %w", err)
	}
	if err := errors.Join(f.Truncate(bytes), f.Close()); err != nil {
		return fmt.Errorf("rig: make the small disk: %w", err)
	}
	for _, args := range [][]string{
		// No blocks for root alone: the disk is to be full for everybody at once.
		{"mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image},
		{"mount", "-t", "ext4", "-o", "loop", image, dir}, // the loop device goes with the mount
	} {
		if text, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s (try the disk tmpfs): %w\n%s", ErrNoDisk, args[0], err, text)
		}
	}
	return os.Chmod(dir, 0o700)
}

// unmountDisk takes the disk away again, so that the next can be mounted.
func unmountDisk(dir string) error {
	if err := unix.Unmount(dir, 0); err != nil {
		return fmt.Errorf("rig: unmount %s: %w", dir, err)
	}
	return nil
}

// freeOn is how much of a directory's disk is free, in bytes.
func freeOn(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("rig: ask how much of the disk is free: %w", err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}
