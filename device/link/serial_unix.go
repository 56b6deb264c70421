//go:build unix

package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"
)

// Dial opens the port, locks it and sets its line.
//
// The bytes go through a handle of our own, which the runtime polls as it does
// sockets, and not through the serial library's: see DESIGN.md. The library
// opens the port once more, makes it raw, sets speed and parity, and leaves;
// the settings stay as long as our handle is open.
func (d serialDialer) Dial(ctx context.Context) (Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("link: serial port %s: %w", d.path, err)
	}
	f, err := os.OpenFile(d.path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("link: serial port: %w%s", err, openHint(err))
	}
	if err := d.prepare(f); err != nil {
		return nil, fmt.Errorf("link: serial port %s: %w", d.path, errors.Join(err, f.Close()))
	}
	return &serialConn{f, d.path}, nil
}

func (d serialDialer) prepare(f *os.File) error {
	// An flock, because exclusive mode does not keep root out. It ends with
	// the process, however that ends.
	if err := control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return errors.New("another process holds it; stop that one or configure another port")
		}
		return fmt.Errorf("lock: %w", err)
	}
	mode := d.mode
	port, err := serial.Open(d.path, &mode)
	if err != nil {
		return err
	}
	if err := port.Close(); err != nil {
		return fmt.Errorf("close after setting the line: %w", err)
	}
	// Exclusive mode keeps out what knows no lock and is not root: a terminal
	// program started in passing would take bytes away from us.
	if err := control(f, func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCEXCL, 0) }); err != nil {
		return fmt.Errorf("exclusive mode: %w", err)
	}
	if err := f.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("the system can't wait for this port with a deadline: %w", err)
	}
	return nil
}

// control runs a system call on f's descriptor without taking it out of the
// runtime's poller, as f.Fd would.
func control(f *os.File, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = call(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// openHint says what to do about an error of opening.
func openHint(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return " (not plugged in, or under another name)"
	case errors.Is(err, fs.ErrPermission):
		return " (the user needs the group that owns the port, often dialout)"
	case errors.Is(err, syscall.EBUSY):
		return " (another process uses it exclusively)"
	}
	return ""
}

// serialConn is an open port. The runtime's poller gives it deadlines, and
// Close wakes both Read and Write.
type serialConn struct {
	*os.File
	path string
}

// Read reads what has arrived, at least one byte.
func (c *serialConn) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	return n, c.explain(err)
}

// Write hands all of p to the port's output buffer.
func (c *serialConn) Write(p []byte) (int, error) {
	n, err := c.File.Write(p)
	return n, c.explain(err)
}

// Close ends exclusive mode too: a pty that somebody else holds open would keep
// it, and shut out our own next Dial.
func (c *serialConn) Close() error {
	// It fails if the port is gone, and then there is nothing to end.
	_ = control(c.File, func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCNXCL, 0) })
	return c.File.Close()
}

// explain names the one thing that makes an open port fail: a USB adapter that
// is pulled out reads as an end of file, a pty without a far end as EIO.
func (c *serialConn) explain(err error) error {
	for _, gone := range []error{io.EOF, syscall.EIO, syscall.ENXIO, syscall.ENODEV} {
		if errors.Is(err, gone) {
			return fmt.Errorf("link: serial port %s is gone (unplugged?): %w", c.path, err)
		}
	}
	return err
}
