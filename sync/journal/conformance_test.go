package journal

import (
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/forward/sourcetest"
)

// The journal keeps what every source of a forwarder promises, over restarts too.
func TestConformance(t *testing.T) {
	sourcetest.TestSource(t, func(t *testing.T) sourcetest.World {
		dir := t.TempDir()
		j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		t.Cleanup(func() { closeJournal(t, j) })
		return sourcetest.World{
			Source: j,
			Append: func(t testing.TB, punches ...*attendance.Punch) {
				recs := make([]attendance.Record, len(punches))
				for i, p := range punches {
					if recs[i] = p; p == nil {
						recs[i] = &attendance.DeviceEvent{}
					}
				}
				mustAppend(t, j, recs...)
			},
			AppendHead: func(t testing.TB, c *attendance.Checkpoint) { mustAppend(t, j, c) },
			Reopen: func(t testing.TB) forward.Source {
				closeJournal(t, j)
				j = mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
				return j
			},
		}
	})
}
