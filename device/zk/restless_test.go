package zk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// TestHalfDate has a poll come while the date of a record is written, behind a
// record whose own date proves nothing: it is long ago, or wrong. One punch is one
// fact, and it does not wait for the log to be read without a reason.
func TestHalfDate(t *testing.T) {
	dead := time.Date(2000, 1, 1, 0, 3, 0, 0, time.UTC) // a clock that has lost its battery
	old := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		front, now time.Time
		lacks      func(date []byte)
	}{
		"dead clock in front, high half": {dead, time.Time{}, func(date []byte) { clear(date[2:]) }},
		"dead clock in front, all":       {dead.Add(-3 * time.Minute), time.Time{}, func(date []byte) { clear(date) }},
		"yesterday in front, low half":   {old, time.Time{}, func(date []byte) { clear(date[:2]) }},
		"yesterday in front, low byte":   {old, time.Time{}, func(date []byte) { clear(date[:1]) }},
		"yesterday in front, high byte":  {old, time.Time{}, func(date []byte) { clear(date[3:]) }},
		"dead clock, second byte":        {dead, dead.Add(30 * time.Minute), func(date []byte) { clear(date[1:]) }},
		"dead clock, low byte":           {dead, dead.Add(30 * time.Minute), func(date []byte) { clear(date[:1]) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				f := newFake(t)
				if !c.now.IsZero() {
					f.skew = time.Until(c.now)
				}
				front := zk.Record{UID: 3, PIN: "103", Verify: 1, At: attendance.LocalOf(c.front)}
				want := append(someRecords(f.layout, 50, yesterday-72*3600*1000, 9), front)
				f.add(want...)
				r := newRig(t, f, nil)
				r.pass(27 * time.Second)
				rec, _ := f.punch("301")
				full := bytes.Clone(f.log)
				f.set(func() { c.lacks(f.log[len(f.log)-40+27:][:4]) })
				r.pass(4 * time.Second) // the poll at 30 s
				f.set(func() { f.log = full })
				r.pass(2 * settleWithin) // in 2000 any date may lack bytes, and waits for a second read
				r.wants(append(want, rec)...)
				r.pass(15 * time.Minute)
				r.wants(append(want, rec)...)
				r.wantNote("cleared or changed", false)
			})
		})
	}
}

// TestNoHalfDatePasses holds for any second that nothing which lacks bytes of it
// passes for a date that is long written, whatever stands in front.
func TestNoHalfDatePasses(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	none := func(zk.Record) bool { return false }
	for range 20_000 {
		face := attendance.LocalDate(2000+random.IntN(100), 1+random.IntN(12), 1+random.IntN(28), random.IntN(24), random.IntN(60), random.IntN(60), 0)
		at := face - attendance.LocalTime(random.IntN(3))*1000 // is just being written
		if _, err := zk.EncodeTime(at); err != nil {
			continue
		}
		raw := appendRecords(t, nil, zk.Layout40, zk.Record{UID: 1, PIN: "1", At: at})
		for from, to := range map[int]int{0: 1 + random.IntN(4), random.IntN(4): 4} {
			half := bytes.Clone(raw)
			clear(half[27+from : 27+to])
			log := snapshot{layout: zk.Layout40, records: half}
			if log.old(0, face, none) {
				t.Fatalf("seed %d: at %v the date %v passes without bytes %d to %d", seed, face, at, from, to)
			}
		}
	}
}

// TestRoundSecond has punches in a second of which the last byte is zero as if it
// were not written yet. Those that an event tells wait no longer for that.
func TestRoundSecond(t *testing.T) {
	for _, told := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			today(t)
			r, want := live(t, nil)
			f := r.fake
			for round := false; !round; {
				r.pass(time.Second)
				v, err := zk.EncodeTime(f.clock())
				round = err == nil && v&0xff == 0
			}
			rec, e := f.punch("301")
			want = append(want, rec)
			if told {
				f.send(e)
			} else {
				f.send(f.event(10, rec)) // tells the slot
			}
			r.pass(settleWithin)
			if n := len(r.store.list()); (n == len(want)) != told {
				t.Errorf("told %v: %d of %d after %v", told, n, len(want), settleWithin)
			}
			r.pass(settleWithin)
			r.wants(want...)
		})
	}
}

// TestSlowWrite has a terminal that completes a record after more time than that
// should take, and its count has not moved then. The whole record is found soon,
// and nothing but it is handed over for that.
func TestSlowWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		r, want := live(t, nil)
		f := r.fake
		rec, e := f.punch("301")
		full := bytes.Clone(f.log)
		f.set(func() { clear(f.log[len(f.log)-40+29:][:2]) })
		f.send(e)
		r.pass(20 * time.Second)
		f.set(func() { f.log = full })
		r.pass(25 * time.Second)
		list := r.store.list()
		if last := list[len(list)-1]; len(list) != len(want)+2 || last.DeviceTime != rec.At {
			t.Errorf("%d punches, the last of %v", len(list), last.DeviceTime)
		}
		if n := r.store.handed(); n != len(want)+2 {
			t.Errorf("%d punches handed over", n)
		}
		reads := f.reads()
		r.pass(9 * time.Minute)
		if f.reads() != reads {
			t.Errorf("%d reads without a reason", f.reads()-reads)
		}
	})
}

// noClock has the fake refuse to tell its time from now on.
func noClock(f *fake) { f.set(func() { f.answers[zk.CmdGetTime] = zk.AckError }) }

// eachRead changes the log before each read of it.
func (f *fake) eachRead(change func()) {
	f.set(func() {
		f.instead = func(p zk.Packet) ([]zk.Packet, bool) {
			if p.Command == zk.CmdDataRequest {
				change()
			}
			return nil, false
		}
	})
}

// TestRestlessRecord has a newest record that is another at each reading, of a
// terminal whose clock does not tell that it is long written. It is handed over
// all the same, and the terminal is not read all the time.
func TestRestlessRecord(t *testing.T) {
	for name, c := range map[string]struct {
		at    int // the byte that changes
		clock func(f *fake)
		soon  bool
	}{
		"reserved byte, no clock":       {39, noClock, true},
		"reserved byte, clock set back": {39, func(f *fake) { f.set(func() { f.skew = -time.Hour }) }, true},
		"behind the PIN":                {25, noClock, true},
		"the state":                     {31, noClock, false},
		"unreadable":                    {2, func(f *fake) { f.set(func() { f.log[len(f.log)-38] = 0xff }) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				today(t)
				r, want := live(t, nil)
				f := r.fake
				f.add(zk.Record{UID: 7, PIN: "301", Verify: 1, At: f.clock()})
				c.clock(f)
				n := byte(0)
				f.eachRead(func() {
					n++
					f.log[len(f.log)-40+c.at] = 0x80 + n
				})
				r.pass(40 * time.Second) // a poll finds it
				if got := len(r.store.list()); (got == len(want)+1) != c.soon {
					t.Errorf("%d of %d after 40 s", got, len(want)+1)
				}
				r.pass(20 * time.Second)
				since := time.Date(2026, 11, 24, 8, 30, 30, 0, time.UTC).Format(time.RFC3339)
				r.wantNote("the newest record changes at each reading; 1 are held back since "+since, !c.soon)
				r.pass(4 * time.Minute)
				if got := len(r.store.list()); got != len(want)+1 {
					t.Errorf("%d of %d after 5 minutes", got, len(want)+1)
				}
				r.wantNote("are held back", false)
				r.wantNote(fmt.Sprintf("1 records changed at each of %d readings", maxChanges+1), !c.soon)
				r.pass(25 * time.Minute)
				if most := map[bool]int{true: 5, false: 36}[c.soon]; f.reads() > most {
					t.Errorf("%d reads in half an hour", f.reads())
				}
				r.wantNote("cleared or changed", !c.soon)
				if n := r.store.handed(); n > len(want)+5 {
					t.Errorf("%d punches handed over", n)
				}
			})
		})
	}
}

// TestWaversRecord has a newest record that is now this, now that. What is read
// again for a doubt finds another each time, and so is not done all the time.
func TestWaversRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		r, want := live(t, nil)
		f := r.fake
		noClock(f)
		f.add(zk.Record{UID: 7, PIN: "301", Verify: 1, At: f.clock()})
		n := byte(0)
		f.eachRead(func() {
			n++
			f.log[len(f.log)-40+31] = n / 2 % 2
		})
		r.pass(time.Hour)
		if got := len(r.store.list()); got != len(want)+2 || f.reads() > 30 {
			t.Errorf("%d punches, %d reads in an hour", got, f.reads())
		}
	})
}

// TestHash holds what two records have in common that are one fact.
func TestHash(t *testing.T) {
	seed := maphash.MakeSeed()
	base := appendRecords(t, nil, zk.Layout40, zk.Record{UID: 1, PIN: "1", Verify: 1, At: yesterday})
	of := func(l zk.Layout, raw []byte) []uint64 {
		log := snapshot{layout: l, records: raw}
		if err := log.hash(seed); err != nil {
			t.Fatal(err)
		}
		return log.hashes
	}
	for at := range base {
		other := bytes.Clone(base)
		other[at] ^= 1
		alike := at > 3 && at < 26 || at > 31 // behind the PIN's end, and behind the state
		if (of(zk.Layout40, base)[0] == of(zk.Layout40, other)[0]) != alike {
			t.Errorf("byte %d: alike is %v", at, !alike)
		}
	}
	bad := bytes.Clone(base)
	binary.LittleEndian.PutUint32(bad[27:], 0xffffffff)
	other := bytes.Clone(bad)
	other[39]++
	all := of(zk.Layout40, append(append(append(bytes.Clone(bad), other...), base...), base[:30]...))
	if len(all) != 3 || all[0] == all[1] {
		t.Errorf("%d hashes, of two that can't be read %x, %x", len(all), all[0], all[1])
	}
}
