//go:build !unix

package journal

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockDir takes no lock of its own where there is no flock: the buffer's Badger
// locks its directory on every system, and is opened first.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return f, nil
}

func unlockDir(f *os.File) error { return f.Close() }
