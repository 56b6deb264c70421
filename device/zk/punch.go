package zk

import (
	"fmt"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// reading is what the punches of one read have in common.
type reading struct {
	at    time.Time         // gateway clock when the records were complete
	skew  *time.Duration    // as last measured, nil if never
	users map[uint16]string // PINs by slot, where records need them
}

// punch makes the fact of a record.
//
// A record that names its person by slot alone has the slot in its key, not the
// PIN found for it: a slot is given to another person some day, and the records
// of the one before must keep their keys then.
func (d *Driver) punch(r zk.Record, of reading) attendance.Punch {
	badge, index, note := r.PIN, "", ""
	if badge == "" {
		index = fmt.Sprintf("slot %d", r.UID)
		if badge = of.users[r.UID]; badge == "" {
			note = index + " of the terminal, which nobody holds"
		}
	}
	t := &d.terminal
	return attendance.Punch{
		Key:        attendance.TerminalKey(t.identity, r.PIN, r.At, int(r.State), int(r.Verify), index),
		Kind:       attendance.KindPunch,
		Badge:      badge,
		Direction:  direction(r.State),
		Method:     method(r.Verify),
		Device:     attendance.Device{ID: d.cfg.ID, Driver: driverName, Serial: t.identity},
		DeviceTime: r.At,
		Zone:       d.cfg.Zone.String(),
		At:         r.At.In(d.cfg.Zone),
		ReceivedAt: of.at,
		Skew:       of.skew,
		State:      int(r.State),
		Verify:     int(r.Verify),
		Evidence:   attendance.Evidence{Note: note, Raw: r.Raw},
	}
}

// malformed makes the fact of a record that can't be read. Somebody punched, and
// it may be told who from its bytes: it is kept with what can be read of it. One
// without a date has the gateway's clock at the reading, as a phone's message has
// that can't be read: the order of the log is all that is known of it.
func (d *Driver) malformed(b zk.Bad, log *snapshot) attendance.Punch {
	r, err := zk.Salvage(b.Raw, log.layout)
	if err != nil {
		r = zk.Record{Raw: b.Raw} // never of a whole record; its bytes say all
	}
	p := d.punch(r, log.reading)
	p.Key = attendance.DamagedKey(d.terminal.identity, log.layout.String(), b.Raw)
	p.Badge = r.PIN // a slot in a damaged record names nobody
	p.Reasons = []attendance.Reason{attendance.ReasonMalformed}
	p.Evidence.Note = b.Err.Error()
	if r.At == 0 {
		p.DeviceTime, p.At = attendance.LocalOf(log.at.In(d.cfg.Zone)), log.at
	}
	return p
}

// direction is what a state key means. Most terminals have none and say 255.
func direction(state uint8) attendance.Direction {
	directions := [...]attendance.Direction{
		attendance.DirIn, attendance.DirOut, attendance.DirBreakOut, attendance.DirBreakIn,
		attendance.DirOvertimeIn, attendance.DirOvertimeOut,
	}
	if int(state) < len(directions) {
		return directions[state]
	}
	return attendance.DirUnknown
}

// method is what a verify code means. 3 is a card on some terminals and a
// password on others, and the combined methods differ too: they are unknown,
// and the code itself is kept.
func method(verify uint8) attendance.Method {
	switch verify {
	case 0:
		return attendance.MethodPassword
	case 1:
		return attendance.MethodFingerprint
	case 2, 4:
		return attendance.MethodCard
	case 15:
		return attendance.MethodFace
	case 25:
		return attendance.MethodPalm
	}
	return attendance.MethodUnknown
}
