package reader

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// PTY is a pair of ports in one machine: what is written to it is read from the
// serial port at Path.
type PTY struct {
	Path   string
	master *os.File
	// slave stays open, so that the port outlives the daemon at its other
	// end. Without it, writing would fail until somebody opens the port.
	slave *os.File
}

// OpenPTY makes a PTY in raw mode: every byte passes as it is, and nothing is
// echoed.
func OpenPTY() (*PTY, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("reader: open pty: %w", err)
	}
	p := &PTY{Path: slave.Name(), master: master, slave: slave}
	err = control(slave, makeRaw)
	if err == nil {
		// pty.Open leaves it blocking, and a blocked Write knows no deadline.
		err = control(master, func(fd int) error { return unix.SetNonblock(fd, true) })
	}
	if err != nil {
		return nil, fmt.Errorf("reader: prepare %s: %w", p.Path, errors.Join(err, p.Close()))
	}
	return p, nil
}

func makeRaw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// control runs a system call on f's descriptor.
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

// Write sends to the port. It blocks when nobody reads there and some
// kilobytes wait, until the write deadline.
func (p *PTY) Write(b []byte) (int, error) {
	// A daemon that was killed leaves its exclusive mode behind. A real port
	// forgets it on its last close; this one has none.
	if err := control(p.slave, func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCNXCL, 0) }); err != nil {
		return 0, fmt.Errorf("reader: %s: %w", p.Path, err)
	}
	return p.master.Write(b)
}

// SetWriteDeadline bounds Write, also one that waits already.
func (p *PTY) SetWriteDeadline(t time.Time) error { return p.master.SetWriteDeadline(t) }

// Close takes the port away, as pulling out an adapter does.
func (p *PTY) Close() error { return errors.Join(p.slave.Close(), p.master.Close()) }
