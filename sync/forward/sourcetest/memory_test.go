package sourcetest

import (
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
)

func TestMemory(t *testing.T) {
	TestSource(t, func(*testing.T) World {
		m := NewMemory()
		return World{
			Source:     m,
			Append:     func(_ testing.TB, punches ...*attendance.Punch) { m.Append(punches...) },
			AppendHead: func(_ testing.TB, c *attendance.Checkpoint) { m.AppendHead(c) },
		}
	})
}
