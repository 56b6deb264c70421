package zk

import (
	"slices"
	"time"

	wire "github.com/punchd/punchd/protocol/zk"
)

// binding ties a quirk's name to the fields that hold it.
type binding struct {
	name, value, means, seen string
	set                      func(string) error
	get                      func() string // empty: not set
}

// with adds the words for a person.
func (b binding) with(name, value, means, seen string) binding {
	b.name, b.value, b.means, b.seen = name, value, means, seen
	return b
}

// takes says what may stand behind the name.
func (b binding) takes() string {
	if b.value == "" {
		return "no value"
	}
	return b.value
}

// bindings is the table of quirks.
func (q *Quirks) bindings() []binding {
	return slices.Concat(q.tables(), q.answers(), q.timing(), q.line())
}

func (q *Quirks) tables() []binding {
	return []binding{
		bindChoice(&q.AttSize, map[string]wire.Layout{
			"8": wire.Layout8, "ma300": wire.LayoutMA300, "16": wire.Layout16, "40": wire.Layout40, "49": wire.Layout49,
		}).with("att_size", "8, ma300, 16, 40 or 49",
			"bytes of a log record; 8, ma300 and 16 come with user records of 28 bytes and PINs that are numbers",
			"8 and 16 black-and-white, ma300 MA300, 40 colour screens, 49 SpeedFace-V5L and MB560-VL of 2020 and later"),
		bindChoice(&q.Sizes, map[string]int{"80": 80, "92": 92, "112": 112}).with("sizes", "80, 92 or 112",
			"bytes of the block that GET_FREE_SIZES gives", "80 K20, 92 F18, 112 SpeedFace"),
		bindWord(&q.CountLies, "zero", "off", "huge").with("count_lies", "zero, off or huge",
			"GET_FREE_SIZES counts no entries, some more or fewer than there are, or two thousand million", "zero SpeedFace-H5L and V5L; the others reported without a model"),
		bindNumber(&q.LogFull, 1, maxLogs).with("log_full", "a number of entries",
			"the log has room for so many; then each new one takes the place of the oldest and the count stays", "all"),
		bindCharset(&q.Charset).with("name_charset", "gbk, windows-1256 and others",
			"names are not in UTF-8", "older ones, after their menu's language"),
		bindFlag(&q.PINAlnum).with("pin_alnum", "", "PINs have letters, up to 14 digits, and zeros before them", "those with IsSupportABCPin"),
		bindFlag(&q.UIDReuse).with("uid_reuse", "", "some slots belonged to other people, in whose names the older entries are", "all"),
		bindChoice(&q.NoState, map[string]bool{"255": true}).with("state", "255", "state keys are not used: every entry has the state 255", "many, by their settings"),
	}
}

func (q *Quirks) answers() []binding {
	return []binding{
		bindChoice(&q.Connect, map[string]wire.Command{"6001": wire.AckPushOnly}).with("connect", "6001",
			"CONNECT is refused with this code: its firmware only pushes", "MB10-VL, SenseFace"),
		bindKey(&q.CommKey, &q.KeyClose).with("comm_key", "a number, close, or a number,close",
			"AUTH is needed with this key; close: a wrong key ends the connection", "all that have a key set; close reported without a model"),
		bindChoice(&q.Bulk, map[string]wire.Command{"unsupported": wire.AckError, "unknown": wire.AckUnknown, "4989": wire.AckNoBulk}).with(
			"bulk", "unsupported, unknown or 4989", "DATA_WRRQ is refused with ACK_ERROR, ACK_UNKNOWN or 4989: only the classic reads work",
			"4989 SpeedFace-H5L; the others reported without a model"),
		bindNumber(&q.Piece, 1, 1<<16).also("whole", &q.Piece, PieceWhole).with("piece", "a number of bytes, or whole",
			"chunks come in pieces of so many bytes, which count themselves in place of the session; whole: each in one DATA without a stream", "1008 K20; 4096 and whole reported without a model"),
		bindWord(&q.Trailing, "glued", "missing").with("trailing", "glued or missing",
			"the ACK_OK behind a stream comes with the next frame (after 200 ms if none does), or never", "reported without a model"),
		bindWord(&q.OptUnknown, "error", "unknown", "1387", "silent", "empty").with("opt_unknown", "error, unknown, 1387, silent or empty",
			"an option that it does not know is answered with ACK_ERROR, ACK_UNKNOWN, 1387, nothing, or an empty value", "error most, unknown AK3750WIFI, 1387 ZLM60; the others reported without a model"),
		bindWord(&q.CmdUnknown, "error", "unknown").with("cmd_unknown", "error or unknown",
			"a command that it does not know is answered with ACK_ERROR or ACK_UNKNOWN", "either, by firmware"),
		bindNumber(&q.SerialRefused, 1, 1<<30).with("sn_refused", "a number of times",
			"after it told its serial number so often, it refuses it four times, and so on", "reported without a model: those that are busy"),
		bindFlag(&q.RestartNoReply).with("restart_no_reply", "", "RESTART ends the connections without an answer", "many"),
		bindFlag(&q.DisableIgnored).with("disable_ignored", "", "people can punch while it is disabled", "reported without a model"),
		bindFlag(&q.StuckDisabled).with("stuck_disabled", "", "it stays disabled when the host that disabled it is gone", "reported without a model"),
	}
}

func (q *Quirks) timing() []binding {
	return []binding{
		bindSpan(&q.ClockSkew, -maxSkew, maxSkew).with("clock_skew", "a duration, as in -90s", "its clock is ahead by so much", "all"),
		bindSpan(&q.ClockJump, -maxSkew, maxSkew).with("clock_jump", "a duration, as in -1h",
			"its clock jumps by so much, once, after one of its first 16 punches", "all: people set clocks"),
		bindFlag(&q.DupSecond).with("dup_second", "", "Run makes some entries twice, alike to the second", "all"),
		bindChoice(&q.RTLen, map[string]int{"10": 10, "12": 12, "14": 14, "32": 32, "36": 36, "37": 37, "52": 52}).with("rt_len", "10, 12, 14, 32, 36, 37 or 52",
			"bytes of a record in an event; with 52, one event tells all that wait", "10, 12 and 14 black-and-white, the others colour screens"),
		bindNumber(&q.SilentDrop, 1, 1<<30).with("rt_silent_drop", "a number of events",
			"after so many a connection gets no more, and stays open", "reported without a model"),
		bindFlag(&q.Resend).with("rt_no_ack_resend", "", "an event is sent again every 2 s until it is acknowledged; the next one waits", "some firmware, as hosts are told to expect"),
		bindFlag(&q.Dup).with("dup", "", "each event is sent twice at once, and again every 2 s until it is acknowledged; a read of the log has about one entry in 16 twice", "reported without a model"),
	}
}

func (q *Quirks) line() []binding {
	return []binding{
		bindNumber(&q.Split, 1, 1<<16).with("split", "a number of bytes", "frames are written in segments of so many bytes", "all"),
		bindFlag(&q.Coalesce).with("coalesce", "", "frames that follow each other are written together", "all"),
		bindGap(&q.Gap).with("gap", "a duration", "time between the frames of a bulk answer, 4ms if not given", "all: they are slow"),
		bindFlag(&q.BadChecksum).with("bad_checksum", "", "the checksum of every frame is one too high", "a public emulator"),
		bindWord(&q.SingleClient, "refuse", "starve").with("single_client", "refuse or starve",
			"a second host that says CONNECT loses its connection, or gets no answer until the first is gone", "most: they are made for one host"),
		bindNumber(&q.ResetFirst, 1, 1<<30).also("all", &q.ResetFirst, ResetAll).with("rst_on_connect", "a number of connections, or all",
			"connections are reset as soon as they come in", "reported without a model"),
		bindNumber(&q.Slow, 1, 1<<30).with("slow", "bytes a second", "it writes no faster", "all: 100,000 records take 60 to 90 s"),
		bindSilence(&q.Silence, &q.SilenceAlways).with("silence", "a number of bytes, or that and ,always",
			"after so many bytes of the answers to a bulk read it says nothing more on this connection; once, or always", "reported without a model"),
		bindNumber(&q.Cut, 1, 1<<30).with("cut", "a number of bytes", "after so many bytes of the answers to a bulk read it ends the connection; once", "all, on bad lines"),
	}
}

// maxSkew bounds a clock's error: a century is all that its face has.
const maxSkew = 100 * 366 * 24 * time.Hour
