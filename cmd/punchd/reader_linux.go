package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// abandoned reports whether a file leads to a pipe or socket whose other end is
// closed. If that can't be found out, it says no.
func abandoned(f *os.File) bool {
	conn, err := f.SyscallConn() // not Fd, which may change how the file is written to
	if err != nil {
		return false
	}
	closed := false
	err = conn.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}} // these two events are always told
		n, err := unix.Poll(fds, 0)
		closed = err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
	})
	return err == nil && closed
}
