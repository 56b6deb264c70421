package attendance

import (
	"fmt"
	"time"
)

// RecordKind is the kind byte of a ledger frame. The numbers are part of the
// ledger's format and are never reused.
type RecordKind uint8

// The kinds of record.
const (
	RecordPunch      RecordKind = 1
	RecordSettled    RecordKind = 2 // a sink's answer to a stretch of records
	RecordParked     RecordKind = 3 // a sink will not take this one yet
	RecordCheckpoint RecordKind = 4 // a signed head of the ledger's tree
	RecordOperator   RecordKind = 5 // something a person did to the gateway
	RecordClock      RecordKind = 6 // a measured clock
	RecordDevice     RecordKind = 7 // a device event
)

// Record is what one ledger frame means. The set of implementations is closed.
type Record interface{ RecordKind() RecordKind }

// Settled says that a sink has answered for every record from First to Last
// that concerns it, in ledger order, but for those named in Dead and those
// parked by a Parked record of its own.
type Settled struct {
	Sink        string
	First, Last uint64 // ledger sequences, inclusive
	Dead        []Dead
}

// Dead is a record that a sink never will take.
type Dead struct {
	Seq    uint64
	Reason string
}

// Parked says that a sink will not take a record yet. A later Settled of that
// sink with First = Last = Seq ends it. Of a record that is dead for the sink
// it says that this is over: an operator has it sent again.
type Parked struct {
	Sink       string
	Seq        uint64
	Reason     string
	RetryAfter time.Duration // zero: when the cause changes
}

// Checkpoint is a signed head of the tree over the records before it (package
// checkpoint).
type Checkpoint struct {
	Note string
	// Edge is the tree under that head, as far as it is needed to go on with it:
	// the hashes of its whole subtrees, the largest first. Its root is the head.
	Edge [][32]byte
}

// Operator is something a person did to the gateway.
type Operator struct {
	At     time.Time
	Who    string
	Action string // a verb of the command line: "dead replay", "phone enroll"
	Detail string
}

// ClockReading is a measurement of one clock against the gateway's.
type ClockReading struct {
	At     time.Time // gateway
	Device string    // empty: the gateway's own clock against a time source
	Skew   time.Duration
}

// DeviceEvent is something a device did or suffered.
type DeviceEvent struct {
	At     time.Time
	Device Device
	Event  string // online, offline, clock-set, log-cleared, tamper
	Detail string
}

// RecordKind implements [Record].
func (*Punch) RecordKind() RecordKind { return RecordPunch }

// RecordKind implements [Record].
func (*Settled) RecordKind() RecordKind { return RecordSettled }

// RecordKind implements [Record].
func (*Parked) RecordKind() RecordKind { return RecordParked }

// RecordKind implements [Record].
func (*Checkpoint) RecordKind() RecordKind { return RecordCheckpoint }

// RecordKind implements [Record].
func (*Operator) RecordKind() RecordKind { return RecordOperator }

// RecordKind implements [Record].
func (*ClockReading) RecordKind() RecordKind { return RecordClock }

// RecordKind implements [Record].
func (*DeviceEvent) RecordKind() RecordKind { return RecordDevice }

// String names the kind as the commands print it.
func (k RecordKind) String() string {
	names := [...]string{"", "punch", "settled", "parked", "checkpoint", "operator", "clock", "device"}
	if k > 0 && int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}
