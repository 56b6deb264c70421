package journal

import "golang.org/x/sys/unix"

// space is that of a disk, in bytes.
type space struct {
	free  uint64 // that an ordinary user may still write
	total uint64
}

// diskSpace asks the system; known is false where it does not tell. Here the
// blocks that are counted have the size of a block.
func diskSpace(dir string) (d space, known bool, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return space{}, false, err
	}
	return space{st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize)}, true, nil
}
