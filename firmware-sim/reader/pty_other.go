//go:build !linux

package reader

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// PTY is not to be had on this system.
type PTY struct{ Path string }

// OpenPTY fails on this system.
func OpenPTY() (*PTY, error) {
	return nil, fmt.Errorf("reader: pty: not supported on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// Write fails on this system.
func (p *PTY) Write([]byte) (int, error) { return 0, errors.ErrUnsupported }

// SetWriteDeadline fails on this system.
func (p *PTY) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// Close does nothing on this system.
func (p *PTY) Close() error { return nil }
