package zk

import (
	"errors"
	"testing"

	"github.com/punchd/punchd/protocol"
)

// TestSalvage holds what is read of a record that can't be read.
func TestSalvage(t *testing.T) {
	for _, c := range []struct {
		name   string
		layout Layout
		raw    string
		says   string
	}{
		{"no date", Layout40, "0d00 393939310000000000000000000000000000000000000000 01 ffffffff 00 00000000ff000000",
			"slot 13, PIN 9991, verify 1, state 0, 1970-01-01T00:00:00, work code 0"},
		{"a PIN in GBK", Layout40, "0d00 d5c5c8fd0000000000000000000000000000000000000000 01 17a78633 00 00000000ff000000",
			"slot 13, PIN , verify 1, state 0, 2026-11-24T08:30:15, work code 0"},
		{"nobody", Layout16, "00000000 17a78633 01 00 0000 07000000", "slot 0, PIN , verify 1, state 0, 2026-11-24T08:30:15, work code 7"},
		{"no date of a number", Layout16, "65000000 ffffffff 01 00 0000 07000000", "slot 0, PIN 101, verify 1, state 0, 1970-01-01T00:00:00, work code 7"},
		{"no date of a slot", Layout8, "0100 01 ffffffff 04", "slot 1, PIN , verify 1, state 4, 1970-01-01T00:00:00, work code 0"},
	} {
		raw := unhex(t, c.raw)
		if _, bad, err := ParseRecords(raw, c.layout); err != nil || len(bad) != 1 {
			t.Errorf("%s: %v, %v", c.name, bad, err)
		}
		if r, err := Salvage(raw, c.layout); err != nil || record(r) != c.says {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
		if _, err := Salvage(raw[1:], c.layout); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s, cut: %v", c.name, err)
		}
	}
}
