package gateway

import (
	"sync"
	"sync/atomic"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/protocol/attendance"
)

// counts are what this process has seen since it started; what is on disk is
// counted by the journal.
type counts struct {
	terminal, reader, checkins atomic.Uint64
	duplicates                 atomic.Uint64
	verdicts                   [verdicts]atomic.Uint64 // by attendance.Verdict

	mu      sync.Mutex
	devices map[string]uint64 // new punches of each terminal and reader
}

// verdicts is how many there are.
const verdicts = int(attendance.Refused) + 1

// punch counts a punch that has just become durable.
func (c *counts) punch(p *attendance.Punch) {
	switch p.Device.Driver {
	case driverPhone, driverOwnTracks:
		c.checkins.Add(1)
	case config.DriverCardline:
		c.reader.Add(1)
	default:
		c.terminal.Add(1)
	}
	if int(p.Verdict) < verdicts {
		c.verdicts[p.Verdict].Add(1)
	}
}

// device counts a new punch of a terminal or reader. Phones are too many to be
// counted one by one.
func (c *counts) device(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.devices == nil {
		c.devices = map[string]uint64{}
	}
	c.devices[id]++
}

// of is how many new punches a terminal or reader has brought.
func (c *counts) of(id string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.devices[id]
}

func (c *counts) status() CountStatus {
	return CountStatus{
		Terminal: c.terminal.Load(), Reader: c.reader.Load(), CheckIns: c.checkins.Load(), Duplicates: c.duplicates.Load(),
		Verdicts: byVerdict(func(i int) uint64 { return c.verdicts[i].Load() }),
	}
}

// byVerdict names numbers by the words of the verdicts.
func byVerdict(n func(int) uint64) map[string]uint64 {
	m := make(map[string]uint64, verdicts)
	for i := range verdicts {
		m[attendance.Verdict(i).String()] = n(i)
	}
	return m
}
