package zk

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

// TestGuessOddButSound holds that codes, dates and PINs that are odd in each
// record do not keep a log from being read, and never make it another one.
func TestGuessOddButSound(t *testing.T) {
	odd := map[string]func(i int, r *Record){
		"a function key's own code": func(_ int, r *Record) { r.State = 20 },
		"a clock in 2069":           func(i int, r *Record) { r.At += attendance.LocalTime(i%2) * 43 * year },
		"a clock in 2069 always":    func(_ int, r *Record) { r.At += 43 * year },
		"PINs with a slash": func(_ int, r *Record) {
			if r.PIN != "" {
				r.PIN = "HR/" + r.PIN
			}
		},
		"a verify code of its own": func(_ int, r *Record) { r.Verify = 99 },
	}
	for name, change := range odd {
		for _, l := range layouts {
			for _, n := range []int{1, 2, 3, 5, 9, 10, 50, 140} {
				for seed := range uint64(10) {
					r := rand.New(rand.NewPCG(seed, uint64(l)<<32|uint64(n)))
					recs := ordinaryLog(r, l, n)
					for i := range recs {
						if l != Layout16 || name != "PINs with a slash" {
							change(i, &recs[i])
						}
					}
					b := encode(t, r, l, recs)
					g, err := GuessLayout(b, Hints{Now: testNow})
					switch {
					case err == nil && g.Layout != l, err != nil && !errors.Is(err, protocol.ErrUnsupported):
						t.Errorf("%s: layout %v, %d records, seed %d: %v %v", name, l, n, seed, g, err)
					case err != nil && l >= Layout40 && l != LayoutMA300 && n > 1:
						t.Errorf("%s: layout %v, %d records, seed %d: %v", name, l, n, seed, err)
					}
					// With what was known before, slots are read too, if there are many.
					if g, err := GuessLayout(b, Hints{Now: testNow, Before: l}); (n >= 50 && l != Layout8 || n >= enough && l.HasPIN()) && (g.Layout != l || err != nil) {
						t.Errorf("%s: layout %v known before, %d records, seed %d: %v %v", name, l, n, seed, g, err)
					}
				}
			}
		}
	}
}

// TestGuessMA300AfterReset holds that records of an MA300 whose clock began
// anew, with no verify code and no state, never pass for half as many of 16
// bytes: the second of two looks like a work code.
func TestGuessMA300AfterReset(t *testing.T) {
	decided := 0
	for _, people := range []int{1, 3, 30} {
		for _, step := range []int{10, 600, 4 * 3600, 12 * 3600} {
			for _, n := range []int{1, 2, 3, 4, 6, 10, 20, 50} {
				for seed := range uint64(25) {
					r := rand.New(rand.NewPCG(seed, uint64(people)<<40|uint64(step)<<20|uint64(n)))
					at := reset + attendance.LocalTime(r.IntN(600))*1000
					recs := make([]Record, n)
					for i := range recs {
						recs[i] = Record{UID: uint16(1 + r.IntN(people)), At: at}
						at += attendance.LocalTime(1+r.IntN(2*step)) * 1000
					}
					b := encode(t, r, LayoutMA300, recs)
					for _, h := range []Hints{{Now: testNow}, {}, {Now: testNow, Count: n}, {Now: testNow, Count: n, Before: LayoutMA300}, {Now: testNow, Before: Layout16}} {
						g, err := GuessLayout(b, h)
						if err == nil && g.Layout != LayoutMA300 && h.Before != Layout16 || err != nil && !errors.Is(err, protocol.ErrUnsupported) {
							t.Errorf("%d people, steps of %d s, %d records, seed %d, %+v: %v %v", people, step, n, seed, h, g, err)
						}
						if err == nil && h.Before == LayoutMA300 {
							decided++
						}
					}
				}
			}
		}
	}
	if decided < 2300 {
		t.Errorf("known from before, only %d of 2400 were decided", decided)
	}
	// A log of 16 bytes has its work codes where the other has times that go back.
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 16))
		recs := ordinaryLog(r, Layout16, 20)
		for i := range recs {
			recs[i].WorkCode, recs[i].Verify, recs[i].State = uint32(i+1), 0, 0
		}
		if g, err := GuessLayout(encode(t, r, Layout16, recs), Hints{Now: testNow, Count: 20}); g.Layout != Layout16 || err != nil {
			t.Errorf("seed %d: %v %v", seed, g, err)
		}
	}
}

// TestGuessConfigured holds that the layout of a person's choice is taken, also
// where the log has two readings, and not where it makes no sense.
func TestGuessConfigured(t *testing.T) {
	even := []byte{7, 0, 2, 0xff, 0x3c, 0, 0, 0}
	for _, l := range []Layout{Layout8, LayoutMA300} {
		if g, err := GuessLayout(even, Hints{Now: testNow, Before: Layout16, Configured: l}); g.Layout != l || err != nil {
			t.Errorf("%v: %v, %v", l, g, err)
		}
	}
	r := rand.New(rand.NewPCG(3, 3))
	b := encode(t, r, Layout40, ordinaryLog(r, Layout40, 20))
	for _, l := range []Layout{Layout8, LayoutMA300, Layout16, Layout49} {
		if g, err := GuessLayout(b, Hints{Configured: l}); !errors.Is(err, protocol.ErrUnsupported) || !strings.Contains(err.Error(), "configured") {
			t.Errorf("%v: %v, %v", l, g, err)
		}
	}
	if _, err := GuessLayout(b[:39], Hints{Configured: Layout40}); !errors.Is(err, protocol.ErrUnsupported) {
		t.Error(err)
	}
}
