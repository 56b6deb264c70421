package roster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/punchd/punchd/sync/roster/strict"
)

// errWriting says that a file changed while it was read.
var errWriting = errors.New("is being written just now; try again")

// same reports whether a file looks unchanged. What it holds is not compared:
// the caller reads it once more when it has been still for a while.
func same(a, b os.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// readFile reads a file of a bounded size, and what it looked like meanwhile;
// info is nil if it can't be read.
func readFile(name string) (text []byte, info os.FileInfo, err error) {
	before, err := os.Stat(name) // before opening: a pipe would wait for its writer
	if err != nil {
		return nil, nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, before, fmt.Errorf("%s is no regular file", name)
	}
	if before.Size() > strict.MaxJSON {
		return nil, before, fmt.Errorf("%s has %d bytes, the limit is %d", name, before.Size(), strict.MaxJSON)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if text, err = io.ReadAll(io.LimitReader(f, strict.MaxJSON+1)); err != nil {
		return nil, nil, err
	}
	after, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !same(before, after) || int64(len(text)) != after.Size() {
		return nil, nil, fmt.Errorf("%s %w", name, errWriting)
	}
	return text, after, nil
}

// writeFile replaces a file at once and for good: whoever reads it, even after
// a power cut, finds the old content or the new. Only its owner may read it.
func writeFile(name string, text []byte) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".roster-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

// syncDir makes a rename in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
