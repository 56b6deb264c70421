package zk

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

func TestPunches(t *testing.T) {
	pin := func(s string) string { return fmt.Sprintf("%x", s) + strings.Repeat("00", 24-len(s)) }
	for _, c := range []struct {
		raw  string
		form int
		says []string
	}{
		{"0100 01 00 1a0b18081e0f", 10, []string{"slot 1, PIN , verify 1, state 0, 2026-11-24T08:30:15, work code 0"}},
		{"0100 01 ff 1a0b18081e0f", 10, []string{"slot 1, PIN , verify 1, state 255, 2026-11-24T08:30:15, work code 0"}},
		{"65000000 01 00 1a0b18081e0f", 12, []string{"slot 0, PIN 101, verify 1, state 0, 2026-11-24T08:30:15, work code 0"}},
		{"f1944900 00 00 120c07130906", 12, []string{"slot 0, PIN 4822257, verify 0, state 0, 2018-12-07T19:09:06, work code 0"}},
		{"0100 01 00 1a0b18081e0f 00000000", 14, []string{"slot 1, PIN , verify 1, state 0, 2026-11-24T08:30:15, work code 0"}},
		{pin("1140064") + "0f 00 120b1d0c3703", 32, []string{"slot 0, PIN 1140064, verify 15, state 0, 2018-11-29T12:55:03, work code 0"}},
		{pin("999111333") + "01 00 120619112905", 32, []string{"slot 0, PIN 999111333, verify 1, state 0, 2018-06-25T17:41:05, work code 0"}},
		{pin("0012") + "01 00 1a0b18081e0f 07000000", 36, []string{"slot 0, PIN 0012, verify 1, state 0, 2026-11-24T08:30:15, work code 0"}},
		{pin("NB2401004") + "01 ff 1a0b18081e0f 0700000001", 37, []string{"slot 0, PIN NB2401004, verify 1, state 255, 2026-11-24T08:30:15, work code 0"}},
		{pin("7") + "19 00 1a0b18081e0f" + strings.Repeat("00", 20), 52, []string{"slot 0, PIN 7, verify 25, state 0, 2026-11-24T08:30:15, work code 0"}},
		// Several at once.
		{strings.Repeat(pin("7")+"01 00 1a0b18081e0f", 2), 32, []string{
			"slot 0, PIN 7, verify 1, state 0, 2026-11-24T08:30:15, work code 0", "slot 0, PIN 7, verify 1, state 0, 2026-11-24T08:30:15, work code 0"}},
		{pin("7") + "01 00 1a0b18081e0f" + strings.Repeat("ff", 20) + pin("8") + "01 01 1a0b18081e10" + strings.Repeat("00", 20) + pin("9") + "01 05 1a0b18081e11" + strings.Repeat("00", 20), 52, []string{
			"slot 0, PIN 7, verify 1, state 0, 2026-11-24T08:30:15, work code 0", "slot 0, PIN 8, verify 1, state 1, 2026-11-24T08:30:16, work code 0",
			"slot 0, PIN 9, verify 1, state 5, 2026-11-24T08:30:17, work code 0"}},
		{strings.Repeat("65000000 01 00 1a0b18081e0f", 3), 12, []string{ // as long as one of 36
			"slot 0, PIN 101, verify 1, state 0, 2026-11-24T08:30:15, work code 0", "slot 0, PIN 101, verify 1, state 0, 2026-11-24T08:30:15, work code 0",
			"slot 0, PIN 101, verify 1, state 0, 2026-11-24T08:30:15, work code 0"}},
	} {
		raw := unhex(t, c.raw)
		form, recs, err := ParsePunches(raw)
		var says []string
		for _, r := range recs {
			says = append(says, record(r))
		}
		if form != c.form || !reflect.DeepEqual(says, c.says) || err != nil {
			t.Errorf("%d bytes: %d, %q, %v; want %q", len(raw), form, says, err, c.says)
			continue
		}
		if form < 14 || form == 32 { // the others end in bytes of unknown meaning
			if p, err := EventPacket(Punched{form, recs}); !bytes.Equal(p.Data, raw) || err != nil {
				t.Errorf("made %x, %v\nwas  %x", p.Data, err, raw)
			}
		}
		for n := range raw {
			switch form, recs, err := ParsePunches(raw[:n]); {
			case err != nil && !isKind(err):
				t.Errorf("cut to %d: an error of no kind: %v", n, err)
			case c.form == 14 && n == 12: // happens to make a form of its own
			case err == nil && (n%form != 0 || record(recs[0]) != c.says[0]):
				// A form that begins like a longer one reads the same.
				t.Errorf("%d bytes cut to %d: form %d, %+v", len(raw), n, form, recs)
			}
		}
	}
}

func TestPunchesRefused(t *testing.T) {
	long := "31" + strings.Repeat("00", 23) + "0100 1a0b18081e0f"
	for name, c := range map[string]struct {
		raw string
		err error
	}{
		"nothing":                       {"", protocol.ErrUnsupported},
		"no known length":               {"01000100", protocol.ErrUnsupported},
		"32 and an unknown end":         {long + strings.Repeat("00", 21), protocol.ErrUnsupported},
		"32, then 12":                   {long + "65000000 01 00 1a0b18081e0f", protocol.ErrUnsupported},
		"the validity in the state":     {"0100 01 10 1a0b18081e0f", protocol.ErrUnsupported},
		"the 13th month":                {"0100 01 00 1a0d18081e0f", protocol.ErrMalformed},
		"30 February":                   {"0100 01 00 1a021e081e0f", protocol.ErrMalformed},
		"nobody by slot":                {"0000 01 00 1a0b18081e0f", protocol.ErrMalformed},
		"nobody by number":              {"00000000 01 00 1a0b18081e0f", protocol.ErrMalformed},
		"nobody by text":                {strings.Repeat("00", 24) + "0100 1a0b18081e0f", protocol.ErrMalformed},
		"a PIN of control characters":   {"0701" + strings.Repeat("00", 22) + "0100 1a0b18081e0f", protocol.ErrMalformed},
		"the second of two has no date": {long + long[:52] + "1a0b18081e3c", protocol.ErrMalformed},
		"readable in two ways":          {strings.Repeat("010101010101 010101010101 ", 5), protocol.ErrUnsupported},
		"too much":                      {strings.Repeat(long, 2049), protocol.ErrTooLarge},
	} {
		form, recs, err := ParsePunches(unhex(t, c.raw))
		if !errors.Is(err, c.err) || form != 0 || recs != nil {
			t.Errorf("%s: %d, %+v, %v; want %v", name, form, recs, err, c.err)
		}
	}
	at := testNow
	for name, e := range map[string]Punched{
		"no record":                {Form: 32},
		"no form":                  {33, []Record{{PIN: "1", At: at}}},
		"PIN as a slot":            {10, []Record{{PIN: "1", At: at}}},
		"slot as a PIN":            {32, []Record{{UID: 1, At: at}}},
		"both":                     {32, []Record{{UID: 1, PIN: "1", At: at}}},
		"PIN with leading zeros":   {12, []Record{{PIN: "0012", At: at}}},
		"PIN too long":             {32, []Record{{PIN: strings.Repeat("1", 25), At: at}}},
		"state with a high half":   {10, []Record{{UID: 1, State: 16, At: at}}},
		"work code without room":   {36, []Record{{PIN: "1", WorkCode: 1, At: at}}},
		"the second before 2000":   {32, []Record{{PIN: "1", At: at}, {PIN: "1"}}},
		"PIN of control character": {32, []Record{{PIN: "1\n", At: at}}},
	} {
		if p, err := EventPacket(e); err == nil {
			t.Errorf("%s: % x", name, p.Data)
		}
	}
}

func TestEvents(t *testing.T) {
	for _, c := range []struct {
		code EventCode
		raw  string
		want Event
	}{
		{EventVerify, "0e000000 01", Verified{14, true}},
		{EventVerify, "ffffffff 01", Verified{}},
		{EventVerify, "ffffffff 02", OtherEvent{EventVerify, []byte{255, 255, 255, 255, 2}}},
		{EventScore, "64", Scored{100}},
		{EventEnrollFinger, "0000 0402 313031000000000000 06", FingerEnrolled{0, 0x204, "101", 6}},
		{EventEnrollFinger, "0500 0000 393939393939393939 00", FingerEnrolled{5, 0, "999999999", 0}},
		{EventEnrollFinger, "0500 0000 07", OtherEvent{EventEnrollFinger, []byte{5, 0, 0, 0, 7}}},
		{EventAlarm, "37000000", Alarm{Kind: AlarmTamper, Rest: []byte{0, 0, 0}}},
		{EventAlarm, "3a010203", Alarm{Kind: AlarmMisoperation, Rest: []byte{1, 2, 3}}},
		{EventAlarm, "5400000000000001", Alarm{Kind: AlarmDoorClosed2, Rest: []byte{0, 0, 0, 0, 0, 0, 1}}},
		{EventAlarm, "ffffffff 2000 0e00 03000000", Alarm{Kind: AlarmDuress, UID: 14, Match: 3}},
		{EventAlarm, "ffffff00 2000 0e00 03000000", OtherEvent{EventAlarm, unhex(t, "ffffff0020000e0003000000")}},
		{EventAlarm, "35", OtherEvent{EventAlarm, []byte{0x35}}},
		{EventButton, "01", OtherEvent{EventButton, []byte{1}}},
		{0x4000, "", OtherEvent{0x4000, []byte{}}},
	} {
		raw := unhex(t, c.raw)
		e, err := ParseEvent(Packet{CmdRegEvent, uint16(c.code), 0, raw})
		if !reflect.DeepEqual(e, c.want) || err != nil {
			t.Errorf("%v of % x: %+v, %v; want %+v", c.code, raw, e, err, c.want)
		}
		p, err := EventPacket(c.want)
		if p.Command != CmdRegEvent || p.Session != uint16(c.code) || p.Reply != 0 || !bytes.Equal(p.Data, raw) || err != nil {
			t.Errorf("%+v is %+v, %v", c.want, p, err)
		}
	}
	if _, err := ParseEvent(Packet{Command: AckOK, Session: 1}); !errors.Is(err, protocol.ErrMalformed) {
		t.Error(err)
	}
	for _, e := range []Event{
		Verified{nobody, true}, Verified{1, false}, FingerEnrolled{PIN: "1234567890"}, FingerEnrolled{PIN: "张"},
		Alarm{Kind: AlarmTamper, Rest: []byte{1}}, Alarm{Kind: 0x137, Rest: []byte{1, 2, 3}}, Alarm{Kind: AlarmTamper, Rest: make([]byte, 3), UID: 1},
	} {
		if p, err := EventPacket(e); err == nil {
			t.Errorf("%+v is % x", e, p.Data)
		}
	}
	if EventAttLog.String() != "EF_ATTLOG (1)" || EventCode(3).String() != "3" {
		t.Error(EventAttLog, EventCode(3))
	}
}

func FuzzEvent(f *testing.F) {
	for _, v := range vectors(f) {
		if v.kind == "event" {
			f.Add(v.packet.Session, v.packet.Data)
		}
	}
	f.Add(uint16(EventVerify), []byte{255, 255, 255, 255, 1})
	f.Add(uint16(EventAlarm), []byte{255, 255, 255, 255, 0x20, 0, 14, 0, 3, 0, 0, 0})
	f.Add(uint16(EventEnrollFinger), []byte("\x00\x00\x04\x02101\x00\x00\x00\x00\x00\x00\x06"))
	f.Fuzz(func(t *testing.T, code uint16, data []byte) {
		e, err := ParseEvent(Packet{CmdRegEvent, code, 0, data})
		if err != nil {
			if e != nil || !isKind(err) {
				t.Errorf("%+v, %v", e, err)
			}
			return
		}
		p, err := EventPacket(e)
		if err != nil || p.Session != code {
			t.Fatalf("%+v: %+v, %v", e, p, err)
		}
		again, err := ParseEvent(p)
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		if p, ok := e.(Punched); ok {
			q, ok := again.(Punched)
			if !ok || p.Form != q.Form || len(p.Records) != len(q.Records) {
				t.Fatalf("%+v comes back as %+v", e, again)
			}
			for i := range p.Records {
				p.Records[i].Raw, q.Records[i].Raw = nil, nil
				if p.Records[i].At/attendance.LocalTime(day) < 0 {
					t.Errorf("a date before 1970: %+v", p.Records[i])
				}
			}
			e, again = p, q
		}
		if fmt.Sprintf("%+v", e) != fmt.Sprintf("%+v", again) {
			t.Errorf("%+v comes back as %+v", e, again)
		}
	})
}
