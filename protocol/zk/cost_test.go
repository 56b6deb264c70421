package zk

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
)

// TestCosts holds that the costs are lengths of a code: the values of a field
// have together at most the probability 1.
func TestCosts(t *testing.T) {
	of := func(name string, cost func(byte) int) {
		sum := 0.0
		for c := range 256 {
			sum += math.Exp2(-float64(cost(byte(c))))
		}
		if sum > 1 || sum < 0.5 {
			t.Errorf("%s: %f", name, sum)
		}
	}
	of("verify", verifyCost)
	of("state", stateCost)
	of("extra", extraCost)
	of("PIN's character", pinByteCost)
	of("PIN's length", func(n byte) int {
		if n > 24 {
			return 1000 // no such length
		}
		return pinLengthCost(int(n))
	})
	of("a byte where zeros are", func(c byte) int { return zerosCost([]byte{c}) })

	for _, width := range []int{4, 5} {
		sum := math.Exp2(-float64(numberCost(0, width)))
		for length := range 1 << width {
			if length < 32 {
				n := uint32(1) << length
				sum += float64(n) * math.Exp2(-float64(numberCost(n, width)))
			}
		}
		if sum > 1.000001 {
			t.Errorf("numbers of width %d: %f", width, sum)
		}
	}
	for _, m := range []*meter{{}, {now: testNow}, {now: testNow, seen: true, prev: testNow - 30*day}, {seen: true, prev: reset}} {
		sum := 0.0
		for slot := range uint32(math.MaxUint32 / 86400) {
			// The cost falls and rises by steps of some hours at the least, but
			// near the record before: sample the day there by the minute.
			midnight, ok := unpack(slot * 86400)
			steps := uint32(24)
			if m.seen && midnight-m.prev < 2*day && m.prev-midnight < 2*day {
				steps = 86400
			}
			for i := range steps {
				at := midnight + attendance.LocalTime(i)*day/attendance.LocalTime(steps)
				sum += 86400 / float64(steps) * math.Exp2(-float64(m.timeCost(at, ok)))
			}
		}
		if sum > 1 {
			t.Errorf("times after %v, now %v: %f", m.prev, m.now, sum)
		}
	}
}

func TestGuessNoise(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 20_000 {
		b := make([]byte, 8*(1+r.IntN(20)))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if g, err := GuessLayout(b, Hints{Now: testNow}); err == nil {
			accepted++
			t.Log(g)
		}
	}
	if accepted > 20 {
		t.Errorf("%d of 20000 noises were taken for logs", accepted)
	}
	for _, c := range []byte{0, 1, 9, '0', 'A', 255} {
		for n := range 400 {
			if g, err := GuessLayout(bytes.Repeat([]byte{c}, n), Hints{Now: testNow}); err == nil {
				t.Errorf("%d times %02x: %v", n, c, g)
			}
		}
	}
}
