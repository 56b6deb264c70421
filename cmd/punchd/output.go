package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// output is where an export goes. A regular file is replaced when all is
// written, so that nobody reads half of it; what is none (a device, a pipe) is
// written to as it stands.
type output struct {
	*os.File
	name     string // as the user has it
	replaces string // the file that this one takes the place of; empty if none
}

func openOutput(ctx context.Context, name string) (*output, error) {
	there, err := os.Stat(name)
	if err == nil && there.IsDir() {
		return nil, fmt.Errorf("%s is a directory; name a file in it", name)
	}
	target, terr := behindLinks(name)
	if terr != nil {
		return nil, terr
	}
	// What lies in /proc is somebody's open file, such as /dev/stdout.
	if err == nil && (!there.Mode().IsRegular() || strings.HasPrefix(target, "/proc/")) {
		f, err := openAsIs(ctx, name)
		return &output{f, name, ""}, err
	}
	tmp, terr := createBeside(name, target)
	if terr != nil {
		return nil, terr
	}
	o := &output{tmp, name, target}
	if err == nil {
		if err := tmp.Chmod(there.Mode().Perm()); err != nil {
			return nil, o.finish(err)
		}
	}
	return o, nil
}

// behindLinks is the file that a name leads to, whether it is there or not.
func behindLinks(name string) (string, error) {
	target := name
	for range 40 { // as many as Linux follows
		link, err := os.Readlink(target)
		if err != nil || strings.HasPrefix(target, "/proc/") { // no link, or not there; else it is told where it is opened
			return target, nil
		}
		if !filepath.IsAbs(link) {
			// Not by Join: what .. means is known only where the links end.
			link = filepath.Dir(target) + string(filepath.Separator) + link
		}
		target = link
	}
	return "", fmt.Errorf("%s can't be written: its symbolic links lead round in a circle", name)
}

// openAsIs opens what is no regular file. Opening a pipe waits for a reader,
// which an interruption must end.
func openAsIs(ctx context.Context, name string) (*os.File, error) {
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		if pe, ok := errors.AsType[*fs.PathError](o.err); ok {
			o.err = fmt.Errorf("%s can't be written: %w", name, pe.Err)
		}
		return o.f, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%s was not opened: %w", name, ctx.Err())
	}
}

// createBeside makes a file to be renamed to another. Its own name is of no use
// in an error.
func createBeside(name, target string) (*os.File, error) {
	dir := filepath.Dir(target)
	tmp, err := os.CreateTemp(dir, ".punches-*")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s can't be written: there is no directory %s; make it first", name, dir)
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("%s can't be written: in the directory %s: %w", name, dir, pe.Err)
	}
	return tmp, err
}

// finish puts the file in its place, or takes it away if there was an error.
func (o *output) finish(err error) error {
	if err == nil && o.replaces != "" {
		err = o.Sync()
	}
	err = o.named(also(err, o.Close()))
	if o.replaces == "" {
		return err
	}
	if err == nil {
		if err = os.Rename(o.File.Name(), o.replaces); err == nil {
			return nil
		}
		if le, ok := errors.AsType[*os.LinkError](err); ok {
			err = fmt.Errorf("%s can't be written: %w", o.name, le.Err)
		}
	}
	return errors.Join(err, os.Remove(o.File.Name()))
}

// named tells an error of writing with the name that the user knows the file
// by.
func (o *output) named(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok && pe.Path == o.File.Name() {
		return fmt.Errorf("%s can't be written: %w", o.name, pe.Err)
	}
	return err
}
