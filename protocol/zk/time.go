package zk

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

// A terminal's clock has seconds and no zone, and runs from 2000 to 2099.
const (
	firstYear = 2000
	lastYear  = 2099
)

// EncodeTime packs a clock face, cut to the second, as SET_TIME and the
// records of the log hold it. It fails outside 2000 to 2099.
func EncodeTime(l attendance.LocalTime) (uint32, error) {
	t, err := face(l)
	if err != nil {
		return 0, err
	}
	y, m, d := t.Date()
	days := (y-firstYear)*12*31 + (int(m)-1)*31 + d - 1 // every month has 31 slots
	return uint32(days*86400 + t.Hour()*3600 + t.Minute()*60 + t.Second()), nil
}

// DecodeTime unpacks a clock face. The error wraps [protocol.ErrMalformed] if
// there is no such date: 31 February has a value too.
func DecodeTime(v uint32) (attendance.LocalTime, error) {
	l, ok := unpack(v)
	if !ok {
		return 0, fmt.Errorf("zk: time %08x is no date: %w", v, protocol.ErrMalformed)
	}
	return l, nil
}

func unpack(v uint32) (attendance.LocalTime, bool) {
	clock := int(v % 86400)
	slot := int(v / 86400)
	y, m, d := firstYear+slot/(12*31), slot/31%12+1, slot%31+1
	if y > lastYear || d > daysIn(y, m) {
		return 0, false
	}
	return attendance.LocalDate(y, m, d, 0, 0, clock, 0), true
}

// ParseTime reads the answer to GET_TIME.
func ParseTime(data []byte) (attendance.LocalTime, error) {
	if len(data) != 4 {
		return 0, wrongLength("time", len(data), 4)
	}
	return DecodeTime(binary.LittleEndian.Uint32(data))
}

// AppendTime appends the data of SET_TIME, which is also that of an answer to
// GET_TIME. It fails as [EncodeTime] does.
func AppendTime(dst []byte, l attendance.LocalTime) ([]byte, error) {
	v, err := EncodeTime(l)
	if err != nil {
		return dst, err
	}
	return binary.LittleEndian.AppendUint32(dst, v), nil
}

// parseTime6 reads the form in which events tell the time: six bytes, the year
// first and counted from 2000.
func parseTime6(b []byte) (attendance.LocalTime, bool) {
	y, m, d := firstYear+int(b[0]), int(b[1]), int(b[2])
	if y > lastYear || m < 1 || m > 12 || d < 1 || d > daysIn(y, m) || b[3] > 23 || b[4] > 59 || b[5] > 59 {
		return 0, false
	}
	return attendance.LocalDate(y, m, d, int(b[3]), int(b[4]), int(b[5]), 0), true
}

func appendTime6(dst []byte, l attendance.LocalTime) ([]byte, error) {
	t, err := face(l)
	if err != nil {
		return dst, err
	}
	y, m, d := t.Date()
	return append(dst, byte(y-firstYear), byte(m), byte(d), byte(t.Hour()), byte(t.Minute()), byte(t.Second())), nil
}

func face(l attendance.LocalTime) (time.Time, error) {
	t := time.UnixMilli(int64(l)).UTC()
	if y := t.Year(); y < firstYear || y > lastYear {
		return t, fmt.Errorf("zk: a terminal's clock runs from %d to %d, %v is outside", firstYear, lastYear, l)
	}
	return t, nil
}

// daysIn is right from 2000 to 2099, where every fourth year is a leap year.
func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 {
			return 29
		}
		return 28
	}
	return 31
}

// wrongLength is the error for data that has another length than its one form.
func wrongLength(what string, got, want int) error {
	return fmt.Errorf("zk: %s of %d bytes, it has %d: %w", what, got, want, protocol.ErrMalformed)
}
