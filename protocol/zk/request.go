package zk

import (
	"slices"

	"github.com/punchd/punchd/protocol/attendance"
)

// Request is what a host asks. The set is closed; [Other] holds what has no
// form of its own here.
type Request interface {
	// Command is the command of the packet that carries the request.
	Command() Command
	// appendData appends the data of that packet.
	appendData(dst []byte) ([]byte, error)
}

// Bare is a request without data: one of CONNECT, EXIT, ENABLEDEVICE, RESTART,
// POWEROFF, SLEEP, RESUME, REFRESHDATA, REFRESHOPTION, GET_VERSION, GET_TIME,
// GET_FREE_SIZES, FREE_DATA, STATE_RRQ, DOORSTATE_RRQ, STARTVERIFY,
// CANCELCAPTURE, CLEAR_LCD, CLEAR_ATTLOG, CLEAR_OPLOG, CLEAR_ADMIN, and the
// classic bulk reads ATTLOG_RRQ and OPLOG_RRQ.
type Bare Command

// bare lists the commands of [Bare]. CLEAR_DATA is not among them: without
// data it wipes the terminal, which must be said in words; see [Clear].
var bare = []Command{
	CmdConnect, CmdExit, CmdEnableDevice, CmdRestart, CmdPowerOff, CmdSleep, CmdResume, CmdRefreshData, CmdRefreshOption,
	CmdGetVersion, CmdGetTime, CmdGetFreeSizes, CmdFreeData, CmdStateRead, CmdDoorStateRead, CmdStartVerify, CmdCancelCapture,
	CmdClearLCD, CmdClearAttLog, CmdClearOpLog, CmdClearAdmin, CmdAttLogRead, CmdOpLogRead,
}

func isBare(c Command) bool { return slices.Contains(bare, c) }

// Auth answers ACK_UNAUTH with the scrambled comm key; see [Scramble].
type Auth struct{ Key [4]byte }

// OptionRead asks for the value of an option, such as ~SerialNumber.
type OptionRead struct{ Name string }

// OptionWrite sets an option. REFRESHOPTION makes the terminal heed it.
type OptionWrite struct{ Name, Value string }

// SetTime sets the clock, to the second.
type SetTime struct{ At attendance.LocalTime }

// DisableDevice locks the terminal's keys and sensor. A terminal that honours
// the timeout unlocks itself when the host is gone.
type DisableDevice struct{ Timeout uint32 } // seconds; 0 sends none

// BulkRead asks for a dataset, which is then fetched in chunks if it does not
// come at once: see [ParseBulk].
type BulkRead struct {
	Of    Command // the classic command for it
	FCT   uint32  // which table
	Extra uint32  // 0
}

// The tables of [BulkRead], as hosts ask for them. The FCT of attendance is 0,
// though its number is 1.

// BulkUsers asks for all users.
func BulkUsers() BulkRead { return BulkRead{Of: CmdUserTempRead, FCT: 5} }

// BulkAttendance asks for the whole attendance log.
func BulkAttendance() BulkRead { return BulkRead{Of: CmdAttLogRead} }

// BulkOperations asks for the operation log.
func BulkOperations() BulkRead { return BulkRead{Of: CmdOpLogRead} }

// UsersRead is the classic way to ask for all users. That for attendance is
// [Bare] ATTLOG_RRQ.
type UsersRead struct{}

// Chunk asks for a part of the dataset that the terminal holds ready.
type Chunk struct{ Offset, Size uint32 } // bytes

// UserWrite writes a user into the slot of its UID, and so replaces, without a
// word, whoever has that slot.
type UserWrite struct {
	Layout UserLayout
	User   User
}

// UserDelete deletes the user in a slot, with templates.
type UserDelete struct{ UID uint16 }

// RegisterEvents asks for the events in the mask, 0 for none. A terminal that
// is disabled sends nothing.
type RegisterEvents struct{ Mask uint32 }

// PINWidth asks how many digits a PIN has; see [ParsePINWidth].
type PINWidth struct{}

// Clear wipes one table, or everything.
type Clear struct{ What Table }

// Table is what [Clear] wipes.
type Table uint8

// The tables.
const (
	TableAttendance Table = 1
	TableTemplates  Table = 2
	TableOperations Table = 4
	TableUsers      Table = 5
	TableEverything Table = 0xff // not on the wire: CLEAR_DATA without data
)

// Unlock opens the door. Most hosts send the delay in tenths of a second, and
// some terminals read it as seconds: it stands here as it is sent.
type Unlock struct{ Delay uint32 }

// Other is a request that has no form of its own here, or data that its form
// does not foresee. A simulator answers it with ACK_UNKNOWN.
type Other struct {
	Asked Command
	Data  []byte
}

// Command implements [Request].
func (r Bare) Command() Command { return Command(r) }

// Command implements [Request].
func (Auth) Command() Command { return CmdAuth }

// Command implements [Request].
func (OptionRead) Command() Command { return CmdOptionsRead }

// Command implements [Request].
func (OptionWrite) Command() Command { return CmdOptionsWrite }

// Command implements [Request].
func (SetTime) Command() Command { return CmdSetTime }

// Command implements [Request].
func (DisableDevice) Command() Command { return CmdDisableDevice }

// Command implements [Request].
func (BulkRead) Command() Command { return CmdDataRequest }

// Command implements [Request].
func (UsersRead) Command() Command { return CmdUserTempRead }

// Command implements [Request].
func (Chunk) Command() Command { return CmdDataReady }

// Command implements [Request].
func (UserWrite) Command() Command { return CmdUserWrite }

// Command implements [Request].
func (UserDelete) Command() Command { return CmdDeleteUser }

// Command implements [Request].
func (RegisterEvents) Command() Command { return CmdRegEvent }

// Command implements [Request].
func (PINWidth) Command() Command { return CmdGetPINWidth }

// Command implements [Request].
func (Clear) Command() Command { return CmdClearData }

// Command implements [Request].
func (Unlock) Command() Command { return CmdUnlock }

// Command implements [Request].
func (r Other) Command() Command { return r.Asked }
