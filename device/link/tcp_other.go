//go:build !linux

package link

import "syscall"

// setUserTimeout has no counterpart here; keepalive finds a dead peer on a
// quiet line, and the drivers' own deadlines on a busy one.
func setUserTimeout(_, _ string, _ syscall.RawConn) error { return nil }
