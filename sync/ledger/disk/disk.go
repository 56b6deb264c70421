// Package disk is what a ledger needs of a file system, and the machine's own.
package disk

import (
	"errors"
	"io"
	"os"
)

// FS is a file system. [OS] is the real one; package disktest has one that
// fails and loses power on demand.
type FS interface {
	// Open opens a file for reading, and for writing if asked.
	Open(path string, write bool) (File, error)
	// Create makes an empty file, or empties one that is there.
	Create(path string) (File, error)
	Rename(from, to string) error
	// RenameNew is Rename for a name that is not taken: otherwise its error
	// wraps fs.ErrExist, and nothing is changed.
	RenameNew(from, to string) error
	Remove(path string) error
	// ReadDir gives the names in a directory, sorted.
	ReadDir(dir string) ([]string, error)
	// SyncDir makes creations, renames and removals in a directory durable.
	SyncDir(dir string) error
	MkdirAll(dir string) error
}

// File is an open file of an [FS].
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Datasync returns nil when what was written is durable.
	Datasync() error
	Size() (int64, error)
}

// OS is the file system of the machine.
var OS FS = osFS{}

type osFS struct{}

func (osFS) Open(path string, write bool) (File, error) {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	return osOpen(path, flag)
}

func (osFS) Create(path string) (File, error) {
	return osOpen(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func osOpen(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err // a nil *os.File in the interface would not be nil
	}
	return osFile{f}, nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) RenameNew(from, to string) error { return renameNew(from, to) }

// renameFree looks whether the name is taken and renames: two steps, for systems
// that can't do it in one. A ledger has one writer, so nobody comes between.
func renameFree(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: os.ErrExist}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(from, to)
}

func (osFS) Remove(path string) error { return os.Remove(path) }

func (osFS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

func (osFS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(syncDirectory(d), d.Close())
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}
