package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/device"
)

func TestTroubles(t *testing.T) {
	var x troubles
	t0 := time.Date(2026, 11, 4, 8, 0, 0, 0, time.UTC)
	for i, c := range []struct {
		err  string
		want time.Time
	}{
		{"", time.Time{}},
		{"no answer", t0.Add(time.Second)},
		{"another", t0.Add(time.Second)}, // tried again, and wrong again
		{"", time.Time{}},
		{"no answer", t0.Add(4 * time.Second)},
	} {
		if got := x.see("lobby", c.err, t0.Add(time.Duration(i)*time.Second)); !got.Equal(c.want) {
			t.Errorf("look %d: %v, want %v", i, got, c.want)
		}
	}
}

// told is a device that says what a test gives it.
type told struct {
	device.Driver
	state device.State
}

func (d *told) State() device.State { return d.state }

func TestDeviceProblems(t *testing.T) {
	lost := "3 punches LOST: they could not be made durable"
	for _, c := range []struct {
		name  string
		state device.State
		age   time.Duration // of the error
		want  string
	}{
		{"well", device.State{ID: "lobby", Online: true, Notes: []string{"its log was cleared 2 times"}}, 0, ""},
		{"away", device.State{ID: "lobby", LastError: "refused"}, 0, "lobby: refused"},
		{"not tried yet", device.State{ID: "lobby"}, 0, ""},
		{"a disturbance", device.State{ID: "lobby", Online: true, LastError: "layout"}, longTrouble - time.Second, ""},
		{"can't be understood", device.State{ID: "lobby", Online: true, LastError: "layout"}, longTrouble, "lobby: online, but: layout"},
		{"lost", device.State{ID: "gate", Online: true, Notes: []string{lost}}, 0, "gate: " + lost},
	} {
		g := &Gateway{drivers: []driver{{&told{state: c.state}, c.state.ID}}}
		now := time.Now()
		g.deviceStates(now.Add(-c.age))
		s := &Status{At: now, Devices: g.deviceStates(now)}
		s.otherProblems()
		if got := strings.Join(s.Problems, "\n"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	s := &Status{Phones: &PhoneStatus{DeviceStatus: DeviceStatus{Online: true, Notes: []string{"7 phones connected", lost}}}}
	s.otherProblems()
	if len(s.Problems) != 1 || s.Problems[0] != "phones: "+lost {
		t.Errorf("phones: %q", s.Problems)
	}
}
