//go:build planted

package journal

import "os"

// A daemon that is built with this tag has a bug that the rig of full disks must
// find, named by an environment variable. A rig that stays green with it is of no
// worth.
var (
	// plantedGate takes the gate on free space away.
	plantedGate = os.Getenv("PUNCHD_PLANTED") == "gate"
	// plantedAck says of what is refused for want of space that it is durable.
	plantedAck = os.Getenv("PUNCHD_PLANTED") == "ack"
)
