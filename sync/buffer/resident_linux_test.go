package buffer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// residentValueLog is what of the value log is in the process's memory, in kB.
func residentValueLog(t *testing.T, prefix string) (kb int) {
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip("no /proc/self/smaps here: ", err)
	}
	ours := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, prefix) {
			ours = strings.HasSuffix(line, ".vlog")
		}
		if value, found := strings.CutPrefix(line, "Rss:"); found && ours {
			var n int
			if _, err := fmt.Sscanf(value, "%d kB", &n); err != nil {
				t.Fatal(err)
			}
			kb += n
			ours = false
		}
	}
	return kb
}

// TestValueLogIsNotKeptInMemory: what was written to the value log is given up
// by and by, and is there when it is asked for.
func TestValueLogIsNotKeptInMemory(t *testing.T) {
	b := begun(t, filepath.Join(t.TempDir(), "buffer"))
	defer mustClose(t, b)
	const blocks, size = 80, 1 << 20
	for i := range uint64(blocks) {
		commit(t, b, i+1, func(u *Update) { u.Block(i, 1, bytes.Repeat([]byte{byte(i), 1}, size/2)) })
	}
	if kb := residentValueLog(t, b.trim.prefix); kb > 40<<10 {
		t.Errorf("%d kB of a value log of %d kB are resident", kb, blocks*size>>10)
	}
	for i := range uint64(blocks) {
		blk, found, err := b.Block(i)
		if err != nil || !found || !bytes.Equal(blk.Frames, bytes.Repeat([]byte{byte(i), 1}, size/2)) {
			t.Fatalf("block %d: %v %v", i, found, err)
		}
	}
}
