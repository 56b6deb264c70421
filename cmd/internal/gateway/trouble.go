package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/punchd/punchd/device"
)

// A device that is online and yet has an error needs a person if that lasts
// longer than a disturbance that passes.
const (
	longTrouble = time.Minute
	lookEvery   = 15 * time.Second
)

// troubles remembers since when each device has had an error: its own state
// has the newest one, which a device that is tried again and again renews.
type troubles struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// see takes in a device's error, which is empty if there is none, and says
// since when it has had one.
func (t *troubles) see(id, err string, now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == "" {
		delete(t.since, id)
		return time.Time{}
	}
	if t.since == nil {
		t.since = map[string]time.Time{}
	}
	since, known := t.since[id]
	if !known {
		since = now
		t.since[id] = now
	}
	return since
}

// watchDevices looks at the devices until ctx ends, so that the age of an error
// does not depend on who asks for the status and when.
func (g *Gateway) watchDevices(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.deviceStates(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// deviceStates is the state of every terminal and reader.
func (g *Gateway) deviceStates(now time.Time) []DeviceStatus {
	all := []DeviceStatus{}
	for _, d := range g.drivers {
		r, ok := d.Driver.(device.Reporter)
		if !ok {
			continue
		}
		s := deviceStatus(r.State())
		s.New = g.counts.of(s.ID)
		s.ErrorSince = moment(g.troubles.see(s.ID, s.Error, now))
		all = append(all, s)
	}
	return all
}
