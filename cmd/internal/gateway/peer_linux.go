package gateway

import (
	"errors"
	"net"
	"syscall"
)

// peerUID asks the kernel for the user at the other end.
func peerUID(c net.Conn) (uid int, err error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errNoPeer
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		if credErr = err; err == nil {
			uid = int(cred.Uid)
		}
	})
	return uid, errors.Join(err, credErr)
}
