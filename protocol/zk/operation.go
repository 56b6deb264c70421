package zk

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

// Op is what was done at a terminal.
type Op uint8

// Operations that bear on what the attendance log is worth.
const (
	OpPowerOn       Op = 0
	OpPowerOff      Op = 1
	OpAlarm         Op = 3
	OpDataCleared   Op = 13
	OpTimeSet       Op = 21
	OpFactoryReset  Op = 22
	OpLogsDeleted   Op = 23
	OpAdminsCleared Op = 24
)

var opNames = map[Op]string{
	OpPowerOn: "power on", OpPowerOff: "power off", 2: "verification failed", OpAlarm: "alarm", 4: "menu entered", 5: "setting changed",
	6: "finger enrolled", 7: "password enrolled", 8: "card enrolled", 9: "user deleted", 10: "finger deleted", 11: "password deleted",
	12: "card deleted", OpDataCleared: "data cleared", OpTimeSet: "time set", OpFactoryReset: "factory reset", OpLogsDeleted: "logs deleted",
	OpAdminsCleared: "admins cleared", 29: "door opened", 30: "user enrolled", 31: "finger changed", 32: "duress", 35: "photos deleted",
	36: "user changed", 101: "face enrolled", 106: "face deleted", 113: "password changed",
}

// String is the operation in words with the code, or the code alone.
func (o Op) String() string {
	if name := opNames[o]; name != "" {
		return fmt.Sprintf("%s (%d)", name, uint8(o))
	}
	return fmt.Sprintf("operation %d", uint8(o))
}

// operationSize is the length of a record of the operation log.
const operationSize = 16

// Operation is an entry of a terminal's operation log.
type Operation struct {
	Op     Op
	At     attendance.LocalTime
	Params [4]uint16 // of the operation: for an enrolment PIN, finger, size
	// Head and Mark are the words at bytes 0 and 3, whose meaning is not known.
	Head uint16
	Mark uint8
}

// ParseOperations reads the records of a dataset, and keeps apart those with an
// impossible date and what is left at the end. The error wraps
// [protocol.ErrTooLarge].
func ParseOperations(b []byte) (ops []Operation, bad []Bad, err error) {
	if len(b) > MaxDataset {
		return nil, nil, fmt.Errorf("zk: operation log of %d bytes, at most %d: %w", len(b), MaxDataset, protocol.ErrTooLarge)
	}
	ops = make([]Operation, 0, len(b)/operationSize)
	le := binary.LittleEndian
	i := 0
	for raw := range slices.Chunk(b, operationSize) {
		if len(raw) < operationSize {
			bad = append(bad, partial(i, raw, operationSize))
			break
		}
		op := Operation{Op: Op(raw[2]), Head: le.Uint16(raw), Mark: raw[3]}
		for k := range op.Params {
			op.Params[k] = le.Uint16(raw[8+2*k:])
		}
		if op.At, err = DecodeTime(le.Uint32(raw[4:])); err != nil {
			bad = append(bad, Bad{i, raw, err})
		} else {
			ops = append(ops, op)
		}
		i++
	}
	return ops, bad, nil
}

// AppendOperation appends the record of o.
func AppendOperation(dst []byte, o Operation) ([]byte, error) {
	t, err := EncodeTime(o.At)
	if err != nil {
		return dst, err
	}
	le := binary.LittleEndian
	dst = le.AppendUint32(append(le.AppendUint16(dst, o.Head), byte(o.Op), o.Mark), t)
	for _, p := range o.Params {
		dst = le.AppendUint16(dst, p)
	}
	return dst, nil
}
