//go:build unix

package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lockDir takes the directory's lock, which ends with the process whatever
// becomes of it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		owner, rerr := io.ReadAll(io.LimitReader(f, 32))
		err = fmt.Errorf("%s is %w by process %s; only one may have it open", dir, ErrInUse, strings.TrimSpace(string(owner)))
		err = errors.Join(err, rerr)
	}
	if err == nil {
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal: lock: %w", err), f.Close())
	}
	return f, nil
}

// unlockDir gives the lock free. Closing alone would not: a child process that
// is just being started holds the file too, until it executes its program.
func unlockDir(f *os.File) error {
	return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
}
