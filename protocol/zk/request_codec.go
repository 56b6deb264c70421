package zk

import (
	"encoding/binary"
	"fmt"

	"github.com/punchd/punchd/protocol"
)

// fctUsers is the table number of users, pinWidthData the data of GET_PINWIDTH.
const (
	fctUsers     = 5
	pinWidthData = " P"
)

// RequestPacket makes the packet that asks r. It fails on a request that the
// protocol can't carry: an option's name with '=' in it, a PIN that the user
// record has no room for.
func RequestPacket(session, reply uint16, r Request) (Packet, error) {
	data, err := r.appendData(nil)
	if err != nil {
		return Packet{}, err
	}
	return Packet{Command: r.Command(), Session: session, Reply: reply, Data: data}, nil
}

// ParseRequest reads what a host asks. Nothing of the result shares memory
// with p but the Data of [Other]. The error wraps [protocol.ErrMalformed] if
// the command is known and its data can't be right.
func ParseRequest(p Packet) (Request, error) {
	d := p.Data
	switch p.Command {
	case CmdAuth:
		if len(d) != 4 {
			return nil, wrongLength("AUTH", len(d), 4)
		}
		return Auth{[4]byte(d)}, nil
	case CmdOptionsRead:
		return parseOptionRead(d)
	case CmdOptionsWrite:
		name, value, err := ParseOption(d)
		if err != nil {
			return nil, err
		}
		return OptionWrite{name, value}, nil
	case CmdSetTime:
		at, err := ParseTime(d)
		if err != nil {
			return nil, err
		}
		return SetTime{at}, nil
	case CmdUserWrite:
		l := UserLayout(len(d))
		u, err := ParseUser(d, l)
		if err != nil {
			return nil, err
		}
		return UserWrite{l, u}, nil
	case CmdDataRequest:
		return parseBulkRead(d)
	case CmdClearData:
		return parseClear(d)
	}
	return parsePlain(p)
}

// parsePlain reads the requests that are numbers, or nothing.
func parsePlain(p Packet) (Request, error) {
	d := p.Data
	switch {
	case len(d) == 0 && isBare(p.Command):
		return Bare(p.Command), nil
	case len(d) == 0 && p.Command == CmdDisableDevice:
		return DisableDevice{}, nil
	case p.Command == CmdUserTempRead && len(d) == 1 && d[0] == fctUsers:
		return UsersRead{}, nil
	case p.Command == CmdGetPINWidth && string(d) == pinWidthData:
		return PINWidth{}, nil
	}
	want := map[Command]int{CmdDataReady: 8, CmdDeleteUser: 2, CmdRegEvent: 4, CmdUnlock: 4, CmdDisableDevice: 4}[p.Command]
	if want == 0 {
		return Other{p.Command, d}, nil
	}
	if len(d) != want {
		return nil, wrongLength(p.Command.String(), len(d), want)
	}
	switch le := binary.LittleEndian; p.Command {
	case CmdDataReady:
		return Chunk{le.Uint32(d), le.Uint32(d[4:])}, nil
	case CmdDeleteUser:
		return UserDelete{le.Uint16(d)}, nil
	case CmdRegEvent:
		return RegisterEvents{le.Uint32(d)}, nil
	case CmdUnlock:
		return Unlock{le.Uint32(d)}, nil
	default:
		return DisableDevice{le.Uint32(d)}, nil
	}
}

func parseBulkRead(d []byte) (Request, error) {
	if len(d) != 11 {
		return nil, wrongLength("DATA_WRRQ", len(d), 11)
	}
	if d[0] != 1 {
		return nil, fmt.Errorf("zk: DATA_WRRQ begins with %02x, not 01: %w", d[0], protocol.ErrMalformed)
	}
	le := binary.LittleEndian
	return BulkRead{Command(le.Uint16(d[1:])), le.Uint32(d[3:]), le.Uint32(d[7:])}, nil
}

func parseClear(d []byte) (Request, error) {
	switch {
	case len(d) == 0:
		return Clear{TableEverything}, nil
	case len(d) == 1 && d[0] != 0 && Table(d[0]) != TableEverything:
		return Clear{Table(d[0])}, nil
	}
	// Nothing is wiped on a guess.
	return nil, fmt.Errorf("zk: CLEAR_DATA with % x: %w", d[:min(len(d), 8)], protocol.ErrMalformed)
}

func (r Bare) appendData(dst []byte) ([]byte, error) {
	if !isBare(Command(r)) {
		return dst, fmt.Errorf("zk: %v is no request without data", Command(r))
	}
	return dst, nil
}

func (r Auth) appendData(dst []byte) ([]byte, error) { return append(dst, r.Key[:]...), nil }

func (r OptionWrite) appendData(dst []byte) ([]byte, error) {
	return AppendOption(dst, r.Name, r.Value)
}

func (r SetTime) appendData(dst []byte) ([]byte, error) { return AppendTime(dst, r.At) }

func (r DisableDevice) appendData(dst []byte) ([]byte, error) {
	if r.Timeout == 0 {
		return dst, nil
	}
	return binary.LittleEndian.AppendUint32(dst, r.Timeout), nil
}

func (r BulkRead) appendData(dst []byte) ([]byte, error) {
	le := binary.LittleEndian
	dst = le.AppendUint16(append(dst, 1), uint16(r.Of))
	return le.AppendUint32(le.AppendUint32(dst, r.FCT), r.Extra), nil
}

func (UsersRead) appendData(dst []byte) ([]byte, error) { return append(dst, fctUsers), nil }

func (r Chunk) appendData(dst []byte) ([]byte, error) {
	le := binary.LittleEndian
	return le.AppendUint32(le.AppendUint32(dst, r.Offset), r.Size), nil
}

func (r UserWrite) appendData(dst []byte) ([]byte, error) { return AppendUser(dst, r.Layout, r.User) }

func (r UserDelete) appendData(dst []byte) ([]byte, error) {
	return binary.LittleEndian.AppendUint16(dst, r.UID), nil
}

func (r RegisterEvents) appendData(dst []byte) ([]byte, error) {
	return binary.LittleEndian.AppendUint32(dst, r.Mask), nil
}

func (PINWidth) appendData(dst []byte) ([]byte, error) { return append(dst, pinWidthData...), nil }

func (r Clear) appendData(dst []byte) ([]byte, error) {
	switch r.What {
	case TableEverything:
		return dst, nil
	case 0:
		return dst, fmt.Errorf("zk: CLEAR_DATA of no table")
	}
	return append(dst, byte(r.What)), nil
}

func (r Unlock) appendData(dst []byte) ([]byte, error) {
	return binary.LittleEndian.AppendUint32(dst, r.Delay), nil
}

func (r Other) appendData(dst []byte) ([]byte, error) { return append(dst, r.Data...), nil }
