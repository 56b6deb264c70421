package zk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

var layouts = []Layout{Layout8, LayoutMA300, Layout16, Layout40, Layout49}

// testNow is the host's clock of the tests.
var testNow = attendance.LocalDate(2026, 11, 24, 9, 0, 0, 0)

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// person is somebody in a generated log.
type person struct {
	uid uint16
	pin string
}

// people makes a staff whose PINs fit the layout.
func people(r *rand.Rand, l Layout) []person {
	digits := pick(r, 1, 2, 3, 4, 6, 9)
	low := uint32(1)
	for range digits - 1 {
		low *= 10
	}
	staff := make([]person, 1+r.IntN(pick(r, 1, 5, 9, 200)))
	first := uint16(1 + r.IntN(pick(r, 1, 10, 3000)))
	for i := range staff {
		pin := fmt.Sprint(low + r.Uint32N(9*low))
		switch {
		case l == Layout16:
		case r.IntN(8) == 0:
			pin = "0" + pin
		case r.IntN(8) == 0:
			pin = "NB24" + pin
		}
		staff[i] = person{first + uint16(i), pin}
	}
	return staff
}

// ordinaryLog makes n records as a terminal with a right clock keeps them: the
// last one lately, some at once, some days apart, few out of order.
func ordinaryLog(r *rand.Rand, l Layout, n int) []Record {
	staff := people(r, l)
	verify := pick(r, []uint8{1}, []uint8{1, 1, 1, 0}, []uint8{2}, []uint8{15, 1, 2}, []uint8{3, 4}, []uint8{25, 15})
	state := pick(r, []uint8{0}, []uint8{255}, []uint8{0, 1}, []uint8{0, 1, 2, 3, 4, 5}, []uint8{0, 0, 0, 255})
	pace := pick(r, 3, 120, 3600, 5*3600, 3*86400) // seconds
	if n > 1000 {
		pace = 120
	}
	at := testNow - attendance.LocalTime(r.Int64N(20*day))
	records := make([]Record, n)
	for i := n - 1; i >= 0; i-- {
		who := pick(r, staff...)
		rec := Record{UID: who.uid, PIN: who.pin, Verify: pick(r, verify...), State: pick(r, state...), At: at / 1000 * 1000}
		switch {
		case l == Layout16:
			rec.UID = 0
			if r.IntN(5) == 0 {
				rec.WorkCode = r.Uint32N(pick(r, uint32(10), 1000, 99_999_999))
			}
		case !l.HasPIN():
			rec.PIN = ""
		}
		records[i] = rec
		at -= attendance.LocalTime(r.IntN(pace)) * 1000
		if r.IntN(50) == 0 {
			at += attendance.LocalTime(r.IntN(3600)) * 1000
		}
		at = min(at, testNow)
	}
	return records
}

// encode makes the bytes of a log, with the extra bytes that firmware may put
// behind a record of 40.
func encode(t testing.TB, r *rand.Rand, l Layout, records []Record) []byte {
	t.Helper()
	style := r.IntN(4)
	var b []byte
	for _, rec := range records {
		var err error
		if b, err = AppendRecord(b, l, rec); err != nil {
			t.Fatal(err)
		}
		if l >= Layout40 && l < LayoutMA300 {
			for i := len(b) - (l.Size() - 40); i < len(b); i++ {
				switch style {
				case 1:
					b[i] = 255
				case 2:
					b[i] = byte(r.IntN(256))
				case 3:
					b[i] = byte(r.IntN(40) * (i % 2))
				}
			}
			if style == 3 {
				copy(b[len(b)-(l.Size()-32):], make([]byte, 8))
			}
		}
	}
	return b
}

// confusion counts what logs of one layout were taken for.
type confusion map[Layout]map[string]int

func (c confusion) add(want Layout, got string) {
	if c[want] == nil {
		c[want] = map[string]int{}
	}
	c[want][got]++
}

func (c confusion) String() string {
	var b strings.Builder
	for _, l := range layouts {
		fmt.Fprintf(&b, "\n%8v taken for %v", l, c[l])
	}
	return b.String()
}

// TestGuessLayout holds that an ordinary log of any layout and any size is
// recognised, with every combination of hints; of layouts without text, one of
// three records or more, or one whose layout is known.
func TestGuessLayout(t *testing.T) {
	table := confusion{}
	wrong := 0
	for _, l := range layouts {
		for n := 1; n <= 60; n++ {
			for seed := range uint64(20) {
				r := rand.New(rand.NewPCG(seed, uint64(l)<<32|uint64(n)))
				b := encode(t, r, l, ordinaryLog(r, l, n))
				h := Hints{Now: testNow, Count: pick(r, 0, n, n+1, n-1, 5*n)}
				g, err := GuessLayout(b, h)
				if !(weighed{layout: l}).hasText() && n < enough && errors.Is(err, protocol.ErrUnsupported) {
					table.add(l, "none at first")
					h.Before = l
					g, err = GuessLayout(b, h)
				}
				if err != nil {
					table.add(l, "none")
				} else {
					table.add(l, g.Layout.String())
				}
				if g.Layout != l {
					if wrong++; wrong <= 5 {
						t.Errorf("layout %v, %d records, seed %d: %v %v\n% x", l, n, seed, g, err, b[:min(len(b), 160)])
					}
				}
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d logs were not recognised%v", wrong, table)
	}
}

// TestGuessNeverWrong holds that a log of odd content may be left undecided and
// is never taken for another layout: reset clocks, clocks far ahead, all
// records equal, no clock at the host, damage.
func TestGuessNeverWrong(t *testing.T) {
	odd := map[string]func(r *rand.Rand, recs []Record){
		"reset clock": func(r *rand.Rand, recs []Record) {
			at := attendance.LocalDate(2000, 1, 1, 0, 0, r.IntN(pick(r, 5, 600, 86400, 30*86400)), 0)
			for i := range recs {
				recs[i].At = at
				at += attendance.LocalTime(r.IntN(7200)) * 1000
			}
		},
		"reset clock in between": func(r *rand.Rand, recs []Record) {
			for i := range recs[r.IntN(len(recs)):] {
				recs[i].At = attendance.LocalDate(2000, 1, 1, 0, i, r.IntN(60), 0)
			}
		},
		"clock ahead": func(r *rand.Rand, recs []Record) {
			ahead := attendance.LocalTime(r.Int64N(5 * year))
			for i := range recs {
				recs[i].At += ahead / 1000 * 1000
			}
		},
		"all equal": func(r *rand.Rand, recs []Record) {
			for i := range recs {
				recs[i] = recs[0]
			}
		},
		"all equal after a reset": func(r *rand.Rand, recs []Record) {
			recs[0].At = attendance.LocalDate(2000, 1, 1, 0, 0, r.IntN(pick(r, 5, 600, 86400)), 0)
			recs[0].State = pick(r, uint8(0), 1, 4, 5, 15, 255)
			for i := range recs {
				recs[i] = recs[0]
			}
		},
		"old": func(r *rand.Rand, recs []Record) {
			ago := attendance.LocalTime(r.Int64N(15 * year))
			for i := range recs {
				recs[i].At -= ago / 1000 * 1000
			}
		},
		"unknown state keys": func(r *rand.Rand, recs []Record) {
			for i := range recs {
				recs[i].State = uint8(r.IntN(256))
			}
		},
		"ones": func(r *rand.Rand, recs []Record) {
			for i := range recs {
				if recs[i].PIN != "" {
					recs[i].PIN = "1"
				}
				recs[i].UID = min(recs[i].UID, 1)
				recs[i].Verify, recs[i].State = 0, 0
			}
		},
	}
	for name, change := range odd {
		table := confusion{}
		undecided := 0
		for _, l := range layouts {
			for n := 1; n <= 60; n++ {
				for seed := range uint64(4) {
					r := rand.New(rand.NewPCG(seed, uint64(l)<<32|uint64(n)))
					recs := ordinaryLog(r, l, n)
					change(r, recs)
					b := encode(t, r, l, recs)
					for _, now := range []attendance.LocalTime{testNow, 0} {
						g, err := GuessLayout(b, Hints{Now: now})
						switch {
						case err == nil:
							table.add(l, g.Layout.String())
						case errors.Is(err, protocol.ErrUnsupported):
							undecided++
							table.add(l, "none")
						default:
							t.Errorf("%s: %v", name, err)
						}
						if err == nil && g.Layout != l {
							t.Errorf("%s: layout %v, %d records, seed %d, now %v: %v\n% x", name, l, n, seed, now, g, b[:min(len(b), 160)])
						}
					}
				}
			}
		}
		t.Logf("%s: %d undecided%v", name, undecided, table)
	}
}

// TestGuessLongerRecords holds that records longer than any described are read
// as what they begin like, once there are three of them.
func TestGuessLongerRecords(t *testing.T) {
	for l := Layout40 + 1; l <= MaxLayout; l++ {
		if l%Layout40 == 0 || l%Layout49 == 0 {
			continue
		}
		for _, n := range []int{1, 2, 3, 4, 5, 7, 10, 20, 40, 49, 60} {
			r := rand.New(rand.NewPCG(uint64(l), uint64(n)))
			b := encode(t, r, l, ordinaryLog(r, l, n))
			g, err := GuessLayout(b, Hints{Now: testNow})
			switch {
			case n < 3 && !errors.Is(err, protocol.ErrUnsupported):
				t.Errorf("%d records of %d bytes: %v, %v\n% x", n, l, g, err, b)
			case n >= 3 && (g.Layout != l || err != nil):
				t.Errorf("%d records of %d bytes: %v, %v\n% x", n, l, g, err, b[:min(len(b), 160)])
			}
		}
	}
}

// TestGuessCut holds that a log without its end is recognised, from three
// whole records on, and never taken for another.
func TestGuessCut(t *testing.T) {
	for _, l := range layouts {
		for n := 4; n <= 40; n++ {
			r := rand.New(rand.NewPCG(uint64(l), uint64(n)))
			b := encode(t, r, l, ordinaryLog(r, l, n))
			for cut := 1; cut < l.Size(); cut++ {
				g, err := GuessLayout(b[:len(b)-cut], Hints{Now: testNow})
				if err == nil && g.Layout != l || err != nil && n > 10 {
					t.Errorf("%d records of layout %v without the last %d bytes: %v, %v", n, l, cut, g, err)
				}
			}
		}
	}
}

// TestGuessHints holds what the hints may do: the layout of before decides
// between two that fit, and never against what the records say.
func TestGuessHints(t *testing.T) {
	// After a reset, 04:16:15 with no state key, or 00:01:00 with state 255.
	even := []byte{7, 0, 2, 0xff, 0x3c, 0, 0, 0}
	if g, err := GuessLayout(even, Hints{Now: testNow}); !errors.Is(err, protocol.ErrUnsupported) || !strings.Contains(err.Error(), "two readings") {
		t.Errorf("%v, %v", g, err)
	}
	for _, l := range []Layout{Layout8, LayoutMA300} {
		if g, err := GuessLayout(even, Hints{Now: testNow, Before: l}); g.Layout != l || err != nil {
			t.Errorf("before %v: %v, %v", l, g, err)
		}
	}
	if g, err := GuessLayout(even, Hints{Now: testNow, Before: Layout40}); err == nil {
		t.Error(g)
	}
	r := rand.New(rand.NewPCG(1, 1))
	b := encode(t, r, Layout40, ordinaryLog(r, Layout40, 5))
	for _, h := range []Hints{{}, {Count: 25, Before: Layout8}, {Count: -1}, {Now: testNow, Count: 1 << 40}} {
		if g, err := GuessLayout(b, h); g.Layout != Layout40 || err != nil || g.Confidence < minConfidence {
			t.Errorf("%+v: %+v, %v", h, g, err)
		}
	}
	for n := range 8 {
		if g, err := GuessLayout(b[:n], Hints{}); !errors.Is(err, protocol.ErrIncomplete) {
			t.Error(g, err)
		}
	}
}
