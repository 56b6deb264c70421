package zk_test

import (
	"encoding/hex"
	"fmt"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// A terminal's answer to a request for its log, from the frame to the records.
func Example() {
	frame, err := hex.DecodeString("5050827d34000000dd053510cf450900280000000d0039393931313133333300000000" +
		"0000000000000000000000016bb368230000000000ff000000")
	if err != nil {
		panic(err)
	}
	p, _, err := zk.ParseFrame(frame)
	if err != nil {
		panic(err)
	}
	bulk, err := zk.ParseBulk(p) // small: it came at once
	if err != nil {
		panic(err)
	}
	log, _, err := zk.SplitDataset(bulk.Data)
	if err != nil {
		panic(err)
	}
	guess, err := zk.GuessLayout(log, zk.Hints{Now: attendance.LocalDate(2018, 6, 25, 18, 0, 0, 0)})
	if err != nil {
		panic(err)
	}
	records, bad, err := zk.ParseRecords(log, guess.Layout)
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Command, "layout", guess.Layout, "bad", len(bad))
	for _, r := range records {
		fmt.Println("PIN", r.PIN, "verify", r.Verify, "state", r.State, "at", r.At)
	}
	// Output:
	// DATA (1501) layout 40 bad 0
	// PIN 999111333 verify 1 state 0 at 2018-06-25T17:50:35
}
