//go:build unix

package file

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lock keeps other processes that ask from writing the file: cutting what
// another is writing would lose its lines.
func lock(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%s is in use by another process: %w", f.Name(), err)
	}
	return nil
}
