// Package device says what a driver is: the live half of a dialect, which owns
// one connection to one terminal, reader or broker.
package device

import (
	"context"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// Emit hands punches over, in the order of the device's own log. It returns
// nil only when every one of them is durable (or was already), and only then
// may the driver acknowledge, erase or move on. After an error nothing is
// known: the driver keeps its place and hands the same punches over again.
// Emit may be called from any goroutine; it keeps nothing of the slice.
//
// The driver fills in what the device said (Badge, Device, DeviceTime, Zone,
// At, ReceivedAt, Skew, State, Verify, Method, Direction, Key, Evidence.Raw);
// who it was and what it is worth is decided behind Emit. Only what it could not
// read of a log has the reason malformed already, and stays as it is.
type Emit func(ctx context.Context, punches []attendance.Punch) error

// Driver runs one device until its context ends.
type Driver interface {
	// Run owns the device: it dials, talks, and emits. It returns nil when
	// ctx ends and an error only if trying again is pointless (a wrong
	// configuration); a lost connection is the link's affair.
	Run(ctx context.Context) error
}

// State is what a driver knows of its device, for status pages.
type State struct {
	ID        string
	Driver    string
	Address   string // link, without secrets
	Serial    string
	Model     string
	Firmware  string
	Online    bool
	Since     time.Time // of Online's last change
	LastError string    // the newest, kept while it holds
	LastRead  time.Time // last complete read of the log, or last frame of a reader
	LastHeard time.Time // when a terminal last said anything that could be read; zero of others, whose LastRead says it
	LogCount  int       // records in the terminal's log at the last read
	Emitted   uint64    // punches handed over and made durable, repetitions included
	BadFrames uint64    // frames given up as malformed or with a wrong check sum
	Skew      *time.Duration
	Notes     []string // quirks found: lying count, record layout, ...
}

// Reporter is an optional ability of a Driver: it tells its state at any time,
// from any goroutine.
type Reporter interface {
	State() State
}
