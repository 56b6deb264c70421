//go:build !linux

package disk

import (
	"os"
	"runtime"
)

// Datasync makes the file durable, by the stronger call where there is no
// fdatasync.
func (f osFile) Datasync() error { return f.Sync() }

// syncDirectory does nothing on Windows, where a directory cannot be flushed.
func syncDirectory(d *os.File) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	return d.Sync()
}

func renameNew(from, to string) error { return renameFree(from, to) }
