package forward_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/forward/sourcetest"
)

var errDown = errors.New("connection refused")

// Three days without the far end: nothing is lost, nothing comes twice or out
// of order, it is not hammered, and it has everything within five minutes.
func TestThreeDayOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		end := &far{}
		r := start(t, source, end)
		source.Append(punches(0, 100)...)
		r.after(time.Minute)
		end.script = func([]forward.Item) (forward.Receipt, error) { return nil, errDown }
		n, began := 100, time.Now()
		for time.Since(began) < 72*time.Hour {
			source.Append(sourcetest.Punch(n))
			n++
			r.after(time.Minute)
		}
		s := r.State()
		if s.Online || s.LastError != errDown.Error() || s.Alarm != "" || s.NextTry.Before(time.Now()) || s.NextTry.After(time.Now().Add(forward.MaxDelay)) || !s.Since.Before(began.Add(time.Minute)) {
			t.Errorf("in the outage: %+v", s)
		}
		// The mean wait is half the cap: 3 days are 1,728 tries, give or take.
		if tries := len(end.calls); tries < 1500 || tries > 2000 {
			t.Errorf("%d requests in three days", tries)
		}
		end.script = nil
		r.after(forward.MaxDelay)
		r.wantAll(t, n)
		if s := r.State(); !s.Online || s.LastError != "" || s.Sent != uint64(n) || !s.NextTry.IsZero() || s.Requests != uint64(len(end.calls)) || s.Failures == 0 {
			t.Errorf("after it: %+v", s)
		}
		r.stop(t)
	})
}

func TestRetryAfter(t *testing.T) {
	for _, c := range []struct{ asked, least, most time.Duration }{
		{0, 0, time.Second / 2},
		{10 * time.Minute, 10 * time.Minute, 10*time.Minute + time.Second/2},
		{24 * time.Hour, time.Hour, time.Hour + time.Second/2},
	} {
		synctest.Test(t, func(t *testing.T) {
			source := sourcetest.NewMemory()
			source.Append(punches(0, 10)...)
			end := &far{}
			end.script = func([]forward.Item) (forward.Receipt, error) {
				end.script = nil
				return nil, fmt.Errorf("wrapped: %w", forward.Later{After: c.asked, Err: errors.New("503")})
			}
			r := start(t, source, end)
			r.after(2 * time.Hour)
			r.wantAll(t, 10)
			if gap := end.calls[1].at.Sub(end.calls[0].at); gap < c.least || gap > c.most {
				t.Errorf("asked for %v it waits %v", c.asked, gap)
			}
			r.stop(t)
		})
	}
}

func TestWakeCutsAWaitShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(punches(0, 10)...)
		end := &far{script: func([]forward.Item) (forward.Receipt, error) {
			return nil, forward.Later{After: time.Hour, Err: errDown}
		}}
		r := start(t, source, end)
		r.after(time.Minute)
		end.script = nil
		r.Wake()
		r.Wake() // twice is as good
		r.after(0)
		r.wantAll(t, 10)
		r.stop(t)
	})
}

// An answer that is lost looks like a failure. Everything comes again, and
// counts once.
func TestLostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(punches(0, 1000)...)
		end, n := &far{}, 0
		end.script = func(items []forward.Item) (forward.Receipt, error) {
			if n++; n%3 != 0 {
				end.takeAll(items)
				return nil, errors.New("unexpected EOF")
			}
			return nil, nil
		}
		r := start(t, source, end, func(c *forward.Config) { c.BatchItems = 100 })
		r.after(time.Hour)
		r.wantAll(t, 1000)
		if s := r.State(); s.Duplicates != 1000 || s.Sent != 0 || s.Failures != 20 || s.Requests != 30 {
			t.Errorf("%+v", s)
		}
		r.stop(t)
	})
}

// 401: it stops and raises an alarm, tries every five minutes, and mends
// by itself or when it is woken.
func TestDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(punches(0, 10)...)
		end := &far{script: func([]forward.Item) (forward.Receipt, error) {
			return nil, forward.Denied{Err: errors.New("401 Unauthorized")}
		}}
		r := start(t, source, end)
		r.after(time.Hour + time.Second)
		if n := len(end.calls); n != 13 {
			t.Errorf("%d requests in an hour", n)
		}
		for i, c := range end.calls[1:] {
			if gap := c.at.Sub(end.calls[i].at); gap != forward.DeniedDelay {
				t.Errorf("a gap of %v", gap)
			}
		}
		if s := r.State(); s.Online || !strings.Contains(s.Alarm, "401") || s.Dead != 0 {
			t.Errorf("%+v", s)
		}
		r.Wake()
		r.after(0)
		if n := len(end.calls); n != 14 {
			t.Errorf("woken, it made %d requests", n)
		}
		end.script = nil
		r.after(forward.DeniedDelay)
		r.wantAll(t, 10)
		if s := r.State(); s.Alarm != "" || !s.Online {
			t.Errorf("%+v", s)
		}
		r.stop(t)
	})
}

// What can't be about a punch never counts against one.
func TestMisconfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(punches(0, 10)...)
		end := &far{script: func([]forward.Item) (forward.Receipt, error) {
			return nil, forward.Misconfigured{Err: errors.New("404 Not Found")}
		}}
		r := start(t, source, end)
		r.after(24 * time.Hour)
		if s := r.State(); s.Online || !strings.Contains(s.Alarm, "404") || s.Dead != 0 || s.Sent != 0 {
			t.Errorf("%+v", s)
		}
		for _, c := range end.calls {
			if len(c.seqs) != 10 {
				t.Errorf("the batch is divided: %v", c.seqs)
			}
		}
		end.script = nil
		r.after(forward.MaxDelay)
		r.wantAll(t, 10)
		r.stop(t)
	})
}

// rejecting refuses every batch with one of the culprits in it.
func rejecting(bad ...uint64) func([]forward.Item) (forward.Receipt, error) {
	return func(items []forward.Item) (forward.Receipt, error) {
		for _, it := range items {
			if slices.Contains(bad, it.Seq) {
				return nil, forward.Rejected{Err: errors.New("400: no such\n terminal")}
			}
		}
		return nil, nil
	}
}

// Wherever in a batch the culprits stand, they die and nobody else does.
func TestPoisonAtEveryPosition(t *testing.T) {
	const n = 9
	for bits := range 1 << n {
		var bad []uint64
		for i := range n {
			if bits>>i&1 == 1 {
				bad = append(bad, uint64(i))
			}
		}
		if len(bad) > 2 && len(bad) < n {
			continue // one, two, none and all
		}
		synctest.Test(t, func(t *testing.T) {
			source := sourcetest.NewMemory()
			source.Append(punches(0, n)...)
			r := start(t, source, &far{script: rejecting(bad...)})
			r.after(0)
			r.wantAll(t, n-len(bad))
			dead := source.Dead("hq")
			if len(dead) != len(bad) {
				t.Errorf("dead are %v, want %v", dead, bad)
			}
			for _, seq := range bad {
				if dead[seq] != "400: no such terminal" {
					t.Errorf("%d is dead because of %q", seq, dead[seq])
				}
			}
			// Each culprit costs at most two requests a halving.
			if most := 1 + len(bad)*2*4; len(r.far.calls) > most {
				t.Errorf("%v cost %d requests, at most %d", bad, len(r.far.calls), most)
			}
			if s := r.State(); s.Dead != uint64(len(bad)) || s.Alarm != "" || !s.Online {
				t.Errorf("%+v", s)
			}
			r.stop(t)
		})
	}
}

// A service that rejects everything is not believed for long: most punches
// wait, with an alarm, until it comes to reason or a person decides.
func TestRejectsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(punches(0, 300)...)
		end := &far{script: func([]forward.Item) (forward.Receipt, error) {
			return nil, forward.Rejected{Err: errors.New("400 Bad Request")}
		}}
		r := start(t, source, end)
		r.after(24 * time.Hour)
		if s := r.State(); s.Dead != forward.MaxRejected || !strings.Contains(s.Alarm, "400 Bad Request") || s.Online {
			t.Errorf("%+v", s)
		}
		if last := end.calls[len(end.calls)-1]; len(last.seqs) != 300-forward.MaxRejected {
			t.Errorf("the last request has %d punches: not all that wait are tried", len(last.seqs))
		}
		for range 3 { // a new roster says nothing about the service
			r.Wake()
			r.after(time.Hour)
		}
		if s := r.State(); s.Dead != forward.MaxRejected || s.Alarm == "" {
			t.Errorf("woken: %+v", s)
		}
		r.Release() // the operator says that they are broken indeed
		r.after(24 * time.Hour)
		if s := r.State(); s.Dead != 2*forward.MaxRejected {
			t.Errorf("%+v", s)
		}
		end.script = nil
		r.after(forward.MaxDelay)
		r.wantAll(t, 300-2*forward.MaxRejected)
		if s := r.State(); s.Alarm != "" {
			t.Errorf("%+v", s)
		}
		end.script = rejecting(source.Len()) // one taken, and the count begins anew
		source.Append(punches(300, 310)...)
		r.after(0)
		if s := r.State(); s.Dead != 2*forward.MaxRejected+1 || s.Alarm != "" {
			t.Errorf("%+v", s)
		}
		r.stop(t)
	})
}

// A far end that takes little at a time gets little at a time, and only what
// is too large by itself dies.
func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		ps := punches(0, 400)
		ps[123].Badge = strings.Repeat("9", 30_000)
		source.Append(ps...)
		one := forward.EstimateOf(ps[0])
		end := &far{script: func(items []forward.Item) (forward.Receipt, error) {
			size := 0
			for _, it := range items {
				size += forward.EstimateOf(it.Punch)
			}
			if size > 20*one {
				return nil, forward.Rejected{TooLarge: true, Err: errors.New("413")}
			}
			return nil, nil
		}}
		r := start(t, source, end)
		r.after(0)
		r.wantAll(t, 399)
		if dead := source.Dead("hq"); len(dead) != 1 || dead[123] != "413" {
			t.Errorf("dead are %v", dead)
		}
		end.calls = nil
		source.Append(punches(1000, 1200)...) // it has learned: no request is too large now
		r.after(0)
		if n := len(end.calls); n > 20 || len(end.calls[0].seqs) > 20 {
			t.Errorf("%d requests, the first with %d", n, len(end.calls[0].seqs))
		}
		end.script, end.calls = nil, nil // it takes more again, which Wake tells
		r.Wake()
		r.after(0)
		source.Append(punches(2000, 2200)...)
		r.after(0)
		if n := len(end.calls); n != 1 {
			t.Errorf("%d requests", n)
		}
		r.stop(t)
	})
}

// Coming to its senses, a service that rejected everything may still take
// little at a time.
func TestRejectsEverythingThenTakesLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(punches(0, 300)...)
		end := &far{script: func([]forward.Item) (forward.Receipt, error) {
			return nil, forward.Rejected{Err: errors.New("400")}
		}}
		r := start(t, source, end)
		r.after(time.Hour)
		end.script = func(items []forward.Item) (forward.Receipt, error) {
			if len(items) > 10 {
				return nil, forward.Rejected{TooLarge: true, Err: errors.New("413")}
			}
			return nil, nil
		}
		r.after(forward.MaxDelay)
		r.wantAll(t, 300-forward.MaxRejected)
		if s := r.State(); s.Alarm != "" || !s.Online || s.Dead != forward.MaxRejected {
			t.Errorf("%+v", s)
		}
		r.stop(t)
	})
}

// One punch that is too large does not make the batches small.
func TestTooLargeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		end := &far{script: func(items []forward.Item) (forward.Receipt, error) {
			if slices.ContainsFunc(items, func(it forward.Item) bool { return len(it.Punch.Badge) > 1000 }) {
				return nil, forward.Rejected{TooLarge: true, Err: errors.New("413")}
			}
			return nil, nil
		}}
		ps := punches(0, 100)
		ps[50].Badge = strings.Repeat("9", 2000)
		source.Append(ps...)
		r := start(t, source, end)
		r.after(0)
		r.wantAll(t, 99)
		end.calls = nil
		source.Append(punches(100, 300)...)
		r.after(0)
		if len(end.calls) != 1 {
			t.Errorf("%d requests for 200 punches", len(end.calls))
		}
		r.stop(t)
	})
}

// After a success the waiting begins anew, from half a second.
func TestSuccessResetsTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, end := sourcetest.NewMemory(), &far{}
		r := start(t, source, end)
		for n := range 5 {
			failures := 20 // to the cap, or a single one
			if n > 0 {
				failures = 1
			}
			end.script = func([]forward.Item) (forward.Receipt, error) {
				if failures--; failures < 0 {
					return nil, nil
				}
				return nil, errDown
			}
			source.Append(sourcetest.Punch(n))
			if r.after(2 * time.Hour); n == 0 {
				continue
			}
			last := end.calls[len(end.calls)-2:]
			if gap := last[1].at.Sub(last[0].at); gap > time.Second/2 {
				t.Errorf("it waited %v", gap)
			}
		}
		r.wantAll(t, 5)
		r.stop(t)
	})
}

// What an answer does not name is sent again, alone, and holds the cursor; what
// it does name is not.
func TestPartialAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(punches(0, 6)...)
		end := &far{}
		var cursors []uint64
		answers := []string{"a-da-a", "--", "a-", "a"}
		end.script = func(items []forward.Item) (forward.Receipt, error) {
			cursor, err := source.Cursor("hq")
			if err != nil {
				t.Error(err)
			}
			cursors = append(cursors, cursor)
			r := make(forward.Receipt, len(items))
			for i, c := range answers[len(cursors)-1] {
				switch c {
				case 'a':
					r[i].Outcome = end.take(items[i])
				case 'd':
					r[i] = forward.Result{Outcome: forward.Dead, Reason: "never"}
				}
			}
			return r, nil
		}
		r := start(t, source, end)
		r.after(time.Minute)
		var sent [][]uint64
		for _, c := range end.calls {
			sent = append(sent, c.seqs)
		}
		if want := [][]uint64{{0, 1, 2, 3, 4, 5}, {1, 4}, {1, 4}, {4}}; !slices.EqualFunc(sent, want, slices.Equal[[]uint64]) {
			t.Errorf("sent were %v", sent)
		}
		if !slices.Equal(cursors, []uint64{0, 1, 1, 4}) {
			t.Errorf("the cursor was at %v", cursors)
		}
		if end.calls[1].at != end.calls[0].at || end.calls[2].at == end.calls[1].at {
			t.Error("only an answer that names nothing is a failure")
		}
		if s := r.State(); s.Dead != 1 || s.Sent != 5 || s.Failures != 1 || !s.Online {
			t.Errorf("%+v", s)
		}
		r.wantNothingPending(t)
		r.stop(t)
	})
}

// Receipts that make no sense are failures, never answers.
func TestNonsense(t *testing.T) {
	for name, nonsense := range map[string]forward.Receipt{
		"short": forward.All(9, forward.Accepted), "long": forward.All(11, forward.Accepted), "empty": {}, "of the future": forward.All(10, forward.Dead+1),
	} {
		synctest.Test(t, func(t *testing.T) {
			source := sourcetest.NewMemory()
			source.Append(punches(0, 10)...)
			end := &far{script: func([]forward.Item) (forward.Receipt, error) { return nonsense, nil }}
			r := start(t, source, end)
			r.after(time.Hour)
			if cursor, err := source.Cursor("hq"); cursor != 0 || err != nil {
				t.Errorf("%s: the cursor is at %d, %v", name, cursor, err)
			}
			if s := r.State(); s.Online || s.LastError == "" || s.Sent+s.Dead+s.Parked != 0 {
				t.Errorf("%s: %+v", name, s)
			}
			r.stop(t)
		})
	}
}

// A ledger that can't keep an answer keeps it later; the far end is not asked
// again.
func TestSettleFails(t *testing.T) {
	for _, kept := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			source := sourcetest.NewMemory()
			source.Append(punches(0, 10)...)
			full := errors.New("no space left on device")
			source.Fail(func(method string) error {
				if method != "Settle" {
					return nil
				}
				if kept { // it says that it failed, and has not
					source.Fail(nil)
					if err := source.Settle(t.Context(), "hq", forward.Answer{First: 0, Last: 9}); err != nil {
						t.Error(err)
					}
				}
				return full
			})
			r := start(t, source, &far{})
			r.after(time.Second)
			if !kept {
				if s := r.State(); !strings.Contains(s.Alarm, full.Error()) || !s.Online || s.Sent != 0 {
					t.Errorf("%+v", s)
				}
				r.after(24 * time.Hour)
				source.Fail(nil)
			}
			r.after(forward.MaxDelay)
			r.wantAll(t, 10)
			if len(r.far.calls) != 1 {
				t.Errorf("%d requests", len(r.far.calls))
			}
			if s := r.State(); s.Alarm != "" || s.Sent != 10 {
				t.Errorf("%+v", s)
			}
			r.stop(t)
		})
	}
}

// Whatever of the source fails for a day, all goes on when it works again.
func TestSourceFails(t *testing.T) {
	for _, broken := range []string{"Cursor", "Pending", "Wait", "Due", "Settle", "Retry"} {
		t.Run(broken, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := sourcetest.NewMemory()
				source.Fail(func(method string) error {
					if method == broken {
						return errors.New("input/output error")
					}
					return nil
				})
				r := start(t, source, &far{})
				r.after(time.Second) // Wait fails only where there is nothing
				source.Append(punches(0, 10)...)
				r.Wake()
				r.after(24 * time.Hour)
				if s := r.State(); !strings.Contains(s.Alarm, "input/output error") {
					t.Errorf("%+v", s)
				}
				source.Fail(nil)
				r.after(2 * forward.MaxDelay)
				r.wantAll(t, 10)
				if s := r.State(); s.Alarm != "" {
					t.Errorf("%+v", s)
				}
				r.stop(t)
			})
		})
	}
}

func TestKeysAreUnique(t *testing.T) {
	seen := map[attendance.Key]bool{}
	for n := range 5000 {
		k := sourcetest.Punch(n).Key
		if seen[k] {
			t.Fatalf("number %d has the key of another", n)
		}
		seen[k] = true
	}
}
