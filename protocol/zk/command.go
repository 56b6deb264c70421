package zk

import "fmt"

// Command is what a packet asks or answers. Its names are those of the
// protocol.
type Command uint16

// What a host asks. Read requests of bulk data stand with [BulkRead].
const (
	CmdDBRead           Command = 7 // DB_RRQ
	CmdUserWrite        Command = 8
	CmdUserTempRead     Command = 9 // all users, or one template
	CmdUserTempWrite    Command = 10
	CmdOptionsRead      Command = 11
	CmdOptionsWrite     Command = 12
	CmdAttLogRead       Command = 13
	CmdClearData        Command = 14
	CmdClearAttLog      Command = 15
	CmdDeleteUser       Command = 18
	CmdDeleteUserTemp   Command = 19
	CmdClearAdmin       Command = 20
	CmdUserGroupRead    Command = 21
	CmdUserGroupWrite   Command = 22
	CmdUserZonesRead    Command = 23
	CmdUserZonesWrite   Command = 24
	CmdGroupZonesRead   Command = 25
	CmdGroupZonesWrite  Command = 26
	CmdZoneRead         Command = 27
	CmdZoneWrite        Command = 28
	CmdUnlockGroupRead  Command = 29
	CmdUnlockGroupWrite Command = 30
	CmdUnlock           Command = 31
	CmdClearAccess      Command = 32
	CmdClearOpLog       Command = 33
	CmdOpLogRead        Command = 34
	CmdGetFreeSizes     Command = 50
	CmdEnableClock      Command = 57
	CmdStartVerify      Command = 60
	CmdStartEnroll      Command = 61
	CmdCancelCapture    Command = 62
	CmdStateRead        Command = 64
	CmdWriteLCD         Command = 66
	CmdClearLCD         Command = 67
	CmdGetPINWidth      Command = 69
	CmdDoorStateRead    Command = 75
	CmdVerifyWrite      Command = 79
	CmdVerifyRead       Command = 80
	CmdTmpWrite         Command = 87
	CmdGetUserTemp      Command = 88
	CmdSaveUserTemps    Command = 110
	CmdChecksumBuffer   Command = 119
	CmdDelUserTemp      Command = 134
	CmdReadFace         Command = 150
	CmdGetTime          Command = 201
	CmdSetTime          Command = 202
	CmdRegEvent         Command = 500 // also the command of every event
	CmdConnect          Command = 1000
	CmdExit             Command = 1001
	CmdEnableDevice     Command = 1002
	CmdDisableDevice    Command = 1003
	CmdRestart          Command = 1004
	CmdPowerOff         Command = 1005
	CmdSleep            Command = 1006
	CmdResume           Command = 1007
	CmdCaptureFinger    Command = 1009
	CmdTestTemp         Command = 1011
	CmdCaptureImage     Command = 1012
	CmdRefreshData      Command = 1013
	CmdRefreshOption    Command = 1014
	CmdTestVoice        Command = 1017
	CmdGetVersion       Command = 1100
	CmdChangeSpeed      Command = 1101
	CmdAuth             Command = 1102
	CmdPrepareData      Command = 1500
	CmdData             Command = 1501
	CmdFreeData         Command = 1502
	CmdDataRequest      Command = 1503 // DATA_WRRQ
	CmdDataReady        Command = 1504 // DATA_RDY
)

// What a terminal answers. Any code but [AckOK], [CmdPrepareData] and
// [CmdData] declines.
const (
	AckOK      Command = 2000
	AckError   Command = 2001
	AckData    Command = 2002
	AckRetry   Command = 2003
	AckRepeat  Command = 2004
	AckUnauth  Command = 2005
	ErrorData  Command = 0xfffb
	ErrorInit  Command = 0xfffc
	ErrorCmd   Command = 0xfffd
	AckUnknown Command = 0xffff // a command, with some also an option, that it does not know

	// Codes without a public name, each seen from one line of products.
	AckNoOption Command = 1387 // an option that it does not know
	AckNoBulk   Command = 4989 // no bulk read of this kind
	AckPushOnly Command = 6001 // to CONNECT: its firmware only pushes
)

var commandNames = map[Command]string{
	CmdDBRead: "DB_RRQ", CmdUserWrite: "USER_WRQ", CmdUserTempRead: "USERTEMP_RRQ", CmdUserTempWrite: "USERTEMP_WRQ",
	CmdOptionsRead: "OPTIONS_RRQ", CmdOptionsWrite: "OPTIONS_WRQ", CmdAttLogRead: "ATTLOG_RRQ",
	CmdClearData: "CLEAR_DATA", CmdClearAttLog: "CLEAR_ATTLOG", CmdDeleteUser: "DELETE_USER",
	CmdDeleteUserTemp: "DELETE_USERTEMP", CmdClearAdmin: "CLEAR_ADMIN",
	CmdUserGroupRead: "USERGRP_RRQ", CmdUserGroupWrite: "USERGRP_WRQ", CmdUserZonesRead: "USERTZ_RRQ", CmdUserZonesWrite: "USERTZ_WRQ",
	CmdGroupZonesRead: "GRPTZ_RRQ", CmdGroupZonesWrite: "GRPTZ_WRQ", CmdZoneRead: "TZ_RRQ", CmdZoneWrite: "TZ_WRQ",
	CmdUnlockGroupRead: "ULG_RRQ", CmdUnlockGroupWrite: "ULG_WRQ",
	CmdUnlock: "UNLOCK", CmdClearAccess: "CLEAR_ACC", CmdClearOpLog: "CLEAR_OPLOG", CmdOpLogRead: "OPLOG_RRQ",
	CmdGetFreeSizes: "GET_FREE_SIZES", CmdEnableClock: "ENABLE_CLOCK", CmdStartVerify: "STARTVERIFY",
	CmdStartEnroll: "STARTENROLL", CmdCancelCapture: "CANCELCAPTURE", CmdStateRead: "STATE_RRQ",
	CmdWriteLCD: "WRITE_LCD", CmdClearLCD: "CLEAR_LCD", CmdGetPINWidth: "GET_PINWIDTH", CmdDoorStateRead: "DOORSTATE_RRQ",
	CmdVerifyWrite: "VERIFY_WRQ", CmdVerifyRead: "VERIFY_RRQ", CmdTmpWrite: "TMP_WRITE", CmdGetUserTemp: "GET_USERTEMP",
	CmdSaveUserTemps: "SAVE_USERTEMPS", CmdChecksumBuffer: "CHECKSUM_BUFFER", CmdDelUserTemp: "DEL_USER_TEMP", CmdReadFace: "READ_FACE",
	CmdGetTime: "GET_TIME", CmdSetTime: "SET_TIME", CmdRegEvent: "REG_EVENT",
	CmdConnect: "CONNECT", CmdExit: "EXIT", CmdEnableDevice: "ENABLEDEVICE", CmdDisableDevice: "DISABLEDEVICE",
	CmdRestart: "RESTART", CmdPowerOff: "POWEROFF", CmdSleep: "SLEEP", CmdResume: "RESUME",
	CmdCaptureFinger: "CAPTUREFINGER", CmdTestTemp: "TEST_TEMP", CmdCaptureImage: "CAPTUREIMAGE",
	CmdRefreshData: "REFRESHDATA", CmdRefreshOption: "REFRESHOPTION", CmdTestVoice: "TESTVOICE",
	CmdGetVersion: "GET_VERSION", CmdChangeSpeed: "CHANGE_SPEED", CmdAuth: "AUTH",
	CmdPrepareData: "PREPARE_DATA", CmdData: "DATA", CmdFreeData: "FREE_DATA", CmdDataRequest: "DATA_WRRQ", CmdDataReady: "DATA_RDY",
	AckOK: "ACK_OK", AckError: "ACK_ERROR", AckData: "ACK_DATA", AckRetry: "ACK_RETRY", AckRepeat: "ACK_REPEAT",
	AckUnauth: "ACK_UNAUTH", ErrorData: "ERROR_DATA", ErrorInit: "ERROR_INIT", ErrorCmd: "ERROR_CMD", AckUnknown: "ACK_UNKNOWN",
}

// String is the protocol's name with the number, or the number alone:
// "ACK_UNAUTH (2005)", "4989".
func (c Command) String() string {
	if name := commandNames[c]; name != "" {
		return fmt.Sprintf("%s (%d)", name, uint16(c))
	}
	return fmt.Sprintf("%d", uint16(c))
}
