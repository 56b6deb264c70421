package forward

import (
	"strings"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// What the tests of the outside know of the inside.
const (
	MaxDelay    = maxDelay
	DeniedDelay = deniedDelay
	MaxRejected = maxRejected
	MaxUnnamed  = maxUnnamed
	GatherTime  = gather
)

// EstimateOf is how many bytes a punch is believed to take.
func EstimateOf(p *attendance.Punch) int { return estimate(Item{Punch: p}) }

// punchOf makes a punch with a badge of n bytes.
func punchOf(n int) *attendance.Punch { return &attendance.Punch{Badge: strings.Repeat("x", n)} }

// Gather sets how long a punch waits for company.
func (f *Forwarder) Gather(d time.Duration) { f.gather = d }

// Remembered is how many parked punches' tries are counted. Run must have ended.
func (f *Forwarder) Remembered() int { return len(f.tries) }
