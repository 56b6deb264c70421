package buffer

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// trimEvery is how many bytes of blocks are written or read between two trims.
const trimEvery = 8 << 20

// trimmer keeps the second copies out of the process's memory. Badger maps its
// value log and never lets go of it, so that every block ever written would
// count as resident, though none is read unless the ledger is damaged.
type trimmer struct {
	prefix string // of the paths of the value log

	mu      sync.Mutex
	pending int64 // bytes written or read since the last trim
}

// trimPrefix is what the paths of a buffer's value log begin with.
func trimPrefix(dir string) string {
	path, err := filepath.Abs(dir)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "" // it finds nothing then
	}
	return path + "/"
}

// touched counts what was written or read, and trims when it is enough.
func (t *trimmer) touched(n int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending += n; t.pending < trimEvery {
		return nil
	}
	t.pending = 0
	return t.trim()
}

// trim asks the kernel to give up the mapped pages of the value log. Unlike
// other advice this one changes no content whatever stands at the address, so
// that it is safe beside a Badger that maps and unmaps. A kernel before 5.4
// does not know it, and then all stays as it was.
func (t *trimmer) trim() error {
	if t.prefix == "" {
		return nil
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil // no /proc, no figures in it to keep small
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		_, path, found := strings.Cut(lines.Text(), t.prefix)
		if !found || !strings.HasSuffix(path, ".vlog") {
			continue
		}
		var from, to uintptr
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x ", &from, &to); err != nil {
			return fmt.Errorf("buffer: /proc/self/maps: %w", err)
		}
		syscall.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_PAGEOUT) // advice: it may be refused
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("buffer: /proc/self/maps: %w", err)
	}
	return nil
}

// allocated is what a file takes on disk in bytes: Badger's have holes.
func allocated(path string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Blocks * 512, nil
}
