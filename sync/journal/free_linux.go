package journal

import "golang.org/x/sys/unix"

// space is that of a disk, in bytes.
type space struct {
	free  uint64 // that an ordinary user may still write
	total uint64
}

// diskSpace asks the system; known is false where it does not tell.
func diskSpace(dir string) (d space, known bool, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return space{}, false, err
	}
	return spaceOf(&st), true, nil
}

// spaceOf counts in fragments, as the system does: what it calls the size of a
// block is how much is best read at once, which on a network disk is far more.
func spaceOf(st *unix.Statfs_t) space {
	unit := uint64(st.Frsize)
	if unit == 0 { // a file system that does not tell has one size
		unit = uint64(st.Bsize)
	}
	return space{uint64(st.Bavail) * unit, uint64(st.Blocks) * unit}
}
