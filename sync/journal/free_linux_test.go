package journal

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestFreeIsCountedInFragments: a disk over the network says that a megabyte is
// best read at once, and counts its blocks by less.
func TestFreeIsCountedInFragments(t *testing.T) {
	st := unix.Statfs_t{Bsize: 1 << 20, Frsize: 4096, Blocks: 1000, Bavail: 10}
	if d := spaceOf(&st); d != (space{10 * 4096, 1000 * 4096}) {
		t.Errorf("%+v", d)
	}
	st.Frsize = 0
	if d := spaceOf(&st); d.free != 10<<20 {
		t.Errorf("without a fragment's size: %+v", d)
	}
}
