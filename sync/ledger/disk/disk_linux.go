package disk

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Datasync writes the data and no more of the inode than reading it back
// takes: a segment's size and blocks never change, so this is one flush.
func (f osFile) Datasync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			if err != nil {
				return fmt.Errorf("fdatasync %s: %w", f.Name(), err)
			}
			return nil
		}
	}
}

func syncDirectory(d *os.File) error { return d.Sync() }

// renameNew renames in one step, where the file system can.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS): // as NFS and old kernels do
		return renameFree(from, to)
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}
