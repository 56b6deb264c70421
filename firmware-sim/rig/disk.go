package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// The kinds of small disk.
const (
	DiskExt4  = "ext4"  // on a file, through a loop device: what most gateways have
	DiskTmpfs = "tmpfs" // needs no root, and fills up within milliseconds
)

// ErrNoDisk says that no disk can be mounted here, and why.
var ErrNoDisk = errors.New("rig: a small disk of its own can't be mounted here (this needs Linux and root, or for a tmpfs a user namespace)")

// ballast is a file that takes what is free on a disk. One goroutine uses it at
// a time, but for hold.
type ballast struct {
	path string
	file *os.File
	held sync.WaitGroup
	stop context.CancelFunc // of hold, nil while it does not run
}

// newBallast puts an empty file into a directory of the disk.
func newBallast(dir string) (*ballast, error) {
	path := filepath.Join(dir, "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("rig: fill the disk: %w", err)
	}
	return &ballast{path: path, file: f}, nil
}

// fill takes all that is free, to the last block. With a time it takes it in
// equal parts all along that time.
func (b *ballast) fill(ctx context.Context, during time.Duration) error {
	if during > 0 {
		free, err := freeOn(filepath.Dir(b.path))
		if err != nil {
			return err
		}
		const steps = 64
		for range steps {
			if err := b.write(free / steps); err != nil || ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
			wait(ctx, during/steps)
		}
	}
	return b.write(1 << 62)
}

// write takes so many bytes, or what is left.
func (b *ballast) write(bytes uint64) error {
	var chunk [1 << 20]byte
	for size := len(chunk); size >= 512; size /= 2 { // down to the last page of the smallest disk
		for bytes > 0 {
			n, err := b.file.Write(chunk[:min(uint64(size), bytes)])
			bytes -= uint64(n)
			if errors.Is(err, syscall.ENOSPC) || err == nil && n == 0 {
				break
			}
			if err != nil && !errors.Is(err, io.ErrShortWrite) {
				return fmt.Errorf("rig: fill the disk: %w", err)
			}
		}
	}
	return nil
}

// refillEvery is how often what came free meanwhile is taken too.
const refillEvery = 20 * time.Millisecond

// hold keeps the disk full until free is called.
func (b *ballast) hold(ctx context.Context) {
	ctx, b.stop = context.WithCancel(ctx)
	b.held.Go(func() {
		for wait(ctx, refillEvery) {
			if b.write(1<<62) != nil {
				return // what it could not take shows in the count of what is free
			}
		}
	})
}

// free gives everything back.
func (b *ballast) free() error {
	if b.stop != nil {
		b.stop()
		b.held.Wait()
	}
	return errors.Join(os.Remove(b.path), b.file.Close())
}

// wait waits and reports whether ctx let it.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
