package gateway

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// owner finds the process that holds a data directory's lock. It only looks:
// trying the lock would keep a daemon that starts at this moment from it.
func owner(dataDir string) (pid int, found bool) {
	file := filepath.Join(dataDir, lockName)
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	var info syscall.Stat_t
	if err := syscall.Stat(file, &info); err != nil {
		return 0, false
	}
	if pid, err = strconv.Atoi(string(bytes.TrimSpace(text))); err != nil {
		return 0, false
	}
	// The kernel gives the list in pieces, and passes over a line when others come
	// and go between two of them.
	for range 3 {
		if locked(pid, info.Ino) {
			return pid, true
		}
	}
	return 0, false
}

// locked reports whether a process holds a lock on a file. The number stays in
// the file when its process is gone, and another one may have it by now. The
// device is left out: some file systems tell two of it.
func locked(pid int, inode uint64) bool {
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(locks)) {
		f := strings.Fields(line) // 1: FLOCK ADVISORY WRITE 3775 fe:00:9978084 0 EOF
		if len(f) > 5 && f[1] == "FLOCK" && f[4] == strconv.Itoa(pid) && strings.HasSuffix(f[5], fmt.Sprintf(":%d", inode)) {
			return true
		}
	}
	return false
}

// deaf reports whether a process listens on the control socket of a data
// directory that nobody can find there any more.
func deaf(pid int, dataDir string) bool {
	proc := fmt.Sprintf("/proc/%d", pid)
	if _, err := os.Lstat(filepath.Join(dataDir, SocketName)); !os.IsNotExist(err) {
		return false
	}
	bound, err := os.ReadFile(proc + "/net/unix")
	if err != nil {
		return false
	}
	ours, err := os.Stat(dataDir)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(bound)) {
		// Num RefCount Protocol Flags Type St Inode Path, which may hold blanks.
		f := strings.SplitN(strings.Join(strings.Fields(line), " "), " ", 8)
		if len(f) < 8 || filepath.Base(f[7]) != SocketName || !holds(proc, "socket:["+f[6]+"]") {
			continue
		}
		dir := filepath.Dir(f[7])
		if strings.HasPrefix(dir, "/dev/fd/") { // a directory with a long name, see socketPath
			return true
		}
		if !filepath.IsAbs(dir) {
			dir = proc + "/cwd/" + dir
		}
		if info, err := os.Stat(dir); err == nil && os.SameFile(info, ours) {
			return true
		}
	}
	return false
}

// holds reports whether a process has something open.
func holds(proc, what string) bool {
	open, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return false
	}
	for _, fd := range open {
		if link, err := os.Readlink(proc + "/fd/" + fd.Name()); err == nil && link == what {
			return true
		}
	}
	return false
}
