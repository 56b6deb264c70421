package zk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

// TestGuessFew holds that a few records of 8 bytes never pass for those of the
// other layout of 8, with codes that few terminals have, from long ago, and with
// a gateway whose clock is wrong; that one or two are undecided; and that the
// configured layout decides them.
func TestGuessFew(t *testing.T) {
	nows := []attendance.LocalTime{testNow, 0, attendance.LocalDate(1970, 1, 1, 0, 5, 0, 0), attendance.LocalDate(2001, 6, 1, 0, 0, 0, 0), attendance.LocalDate(2019, 1, 1, 0, 0, 0, 0)}
	decided := 0
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 8))
		for _, l := range []Layout{Layout8, LayoutMA300, Layout16} {
			n, step := 1+r.IntN(6), pick(r, 2, 20, 3600, 86400)
			verify, state := pick[uint8](r, 0, 1, 2, 3, 4, 11, 15, 25, 200, 255), pick[uint8](r, 0, 1, 2, 4, 5, 10, 255)
			at := testNow - attendance.LocalTime(r.Int64N(900*day))/1000*1000
			recs := make([]Record, n)
			for i := range recs {
				at += attendance.LocalTime(1+r.IntN(step)) * 1000
				recs[i] = Record{UID: uint16(1 + r.IntN(6)), Verify: verify, State: state, At: at}
				if l == Layout16 {
					recs[i].UID, recs[i].PIN = 0, fmt.Sprint(recs[i].UID)
				}
			}
			b := encode(t, r, l, recs)
			for _, now := range nows {
				h := Hints{Now: now, Count: pick(r, 0, n)}
				g, err := GuessLayout(b, h)
				switch {
				case err == nil && (g.Layout != l || n < fewest):
					t.Errorf("layout %v, %d records, seed %d, now %v: %+v\n% x", l, n, seed, now, g, b)
				case err != nil && !errors.Is(err, protocol.ErrUnsupported):
					t.Error(err)
				case err == nil:
					decided++
				}
				h.Configured = l
				if g, err := GuessLayout(b, h); g.Layout != l || err != nil {
					t.Errorf("configured as %v: %v, %v", l, g, err)
				}
			}
		}
	}
	if decided < 8_000 {
		t.Errorf("%d of about 15,000 logs of three records and more were decided", decided)
	}
}

// TestGuessLongWorkCodes holds that records of 16 bytes whose work codes grow
// past eight digits, and look like dates, never pass for twice as many of an
// MA300.
func TestGuessLongWorkCodes(t *testing.T) {
	decided := 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 16))
		n := 3 + r.IntN(20)
		at := testNow - attendance.LocalTime(r.Int64N(300*day))/1000*1000
		job, step := uint32(99_999_999-r.IntN(3*n)), pick(r, 20, 3600, 20000)
		recs := make([]Record, n)
		for i := range recs {
			at += attendance.LocalTime(1+r.IntN(step)) * 1000
			recs[i] = Record{PIN: fmt.Sprint(1 + r.IntN(pick(r, 9, 300))), Verify: pick[uint8](r, 0, 1, 15), State: uint8(r.IntN(2)), At: at, WorkCode: job}
			job += uint32(r.IntN(4))
		}
		b := encode(t, r, Layout16, recs)
		for _, count := range []int{0, n, n + 1, n - 1, 2 * n} {
			g, err := GuessLayout(b, Hints{Now: testNow, Count: count})
			if err == nil && g.Layout != Layout16 || err != nil && !errors.Is(err, protocol.ErrUnsupported) {
				t.Errorf("%d records, seed %d, counted %d: %+v, %v\n% x", n, seed, count, g, err, b[:min(len(b), 96)])
			}
			if err == nil {
				decided++
			}
		}
	}
	if decided < 14_000 {
		t.Errorf("only %d of 15,000 were decided", decided)
	}
}
