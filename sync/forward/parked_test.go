package forward_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/forward/sourcetest"
)

// parking parks the punches of some sequences, and takes the others.
func (f *far) parking(retryAfter time.Duration, seqs ...uint64) func([]forward.Item) (forward.Receipt, error) {
	return func(items []forward.Item) (forward.Receipt, error) {
		r := make(forward.Receipt, len(items))
		for i, it := range items {
			if slices.Contains(seqs, it.Seq) {
				r[i] = forward.Result{Outcome: forward.Park, Reason: "unknown employee", RetryAfter: retryAfter}
			} else {
				r[i].Outcome = f.take(it)
			}
		}
		return r, nil
	}
}

// A parked punch comes again after 30 s, then after twice as long each time up
// to an hour, while new ones go on; and it is taken in the end.
func TestParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, end := sourcetest.NewMemory(), &far{}
		end.script = end.parking(time.Second, 1)
		source.Append(punches(0, 3)...)
		r := start(t, source, end)
		var tried []time.Time
		began := time.Now()
		n, seen := 3, 0
		for time.Since(began) < 6*time.Hour {
			source.Append(sourcetest.Punch(n))
			n++
			r.after(5 * time.Second)
			for _, c := range end.calls[seen:] {
				if slices.Contains(c.seqs, 1) {
					tried = append(tried, c.at)
				}
			}
			seen = len(end.calls)
		}
		if len(end.order) != n-1 {
			t.Errorf("%d of %d new ones went on", len(end.order), n-1)
		}
		want := []time.Duration{30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600}
		if len(tried) <= len(want) {
			t.Fatalf("tried at %v", tried)
		}
		for i, wait := range want {
			gap := tried[i+1].Sub(tried[i])
			if gap < wait*time.Second || gap > wait*time.Second+20*time.Second {
				t.Errorf("try %d came %v after the one before, want about %v", i+1, gap, wait*time.Second)
			}
		}
		end.script = nil
		r.after(time.Hour + time.Minute)
		if len(end.order) != n || len(source.Parked("hq")) != 0 {
			t.Errorf("the far end holds %d of %d", len(end.order), n)
		}
		if s := r.State(); s.Parked != uint64(len(tried)) || s.Failures != 0 {
			t.Errorf("%d tries: %+v", len(tried), s)
		}
		r.stop(t)
		if n := r.Remembered(); n != 0 {
			t.Errorf("the tries of %d punches are remembered that are parked no more", n)
		}
	})
}

// Without retry_after a parked punch waits for its cause: a new roster, or an
// operator.
func TestParkedUntilWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, end := sourcetest.NewMemory(), &far{}
		end.script = end.parking(0, 1, 2)
		source.Append(punches(0, 5)...)
		r := start(t, source, end)
		r.after(240 * time.Hour)
		if len(end.calls) != 1 || !slices.Equal(source.Parked("hq"), []uint64{1, 2}) {
			t.Errorf("%d requests, parked are %v", len(end.calls), source.Parked("hq"))
		}
		end.script = end.parking(0, 2)
		r.Wake()
		r.after(0)
		if !slices.Equal(source.Parked("hq"), []uint64{2}) || !slices.Equal(end.calls[1].seqs, []uint64{1, 2}) {
			t.Errorf("parked are %v, sent were %v", source.Parked("hq"), end.calls[1].seqs)
		}
		r.stop(t)
	})
}

// A thousand parked punches that are due at once do not keep new ones waiting.
func TestParkedTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, end := sourcetest.NewMemory(), &far{}
		var bad []uint64
		for seq := range uint64(1000) {
			bad = append(bad, seq)
		}
		end.script = end.parking(0, bad...)
		source.Append(punches(0, 1000)...)
		r := start(t, source, end, func(c *forward.Config) { c.BatchItems = 10 })
		r.after(0)
		if n := len(source.Parked("hq")); n != 1000 {
			t.Fatalf("%d are parked", n)
		}
		end.script = func([]forward.Item) (forward.Receipt, error) { time.Sleep(time.Second); return nil, nil }
		end.calls = nil
		source.Append(punches(1000, 2000)...)
		r.Wake()
		r.after(time.Hour)
		if len(end.order) != 2000 {
			t.Fatalf("the far end holds %d", len(end.order))
		}
		firstHalf := 0
		for _, c := range end.calls[:100] {
			if c.seqs[0] >= 1000 {
				firstHalf++
			}
		}
		if firstHalf < 20 || firstHalf > 80 {
			t.Errorf("of the first 100 requests %d were new ones", firstHalf)
		}
		r.stop(t)
	})
}

// Trouble with parked punches is not trouble for new ones: one try each, then
// the new ones.
func TestParkedFail(t *testing.T) {
	for name, trouble := range map[string]struct {
		script func(*far, []forward.Item) (forward.Receipt, error)
		dead   int
	}{
		"server error": {func(*far, []forward.Item) (forward.Receipt, error) { return nil, errDown }, 0},
		"unanswered": {func(_ *far, items []forward.Item) (forward.Receipt, error) {
			return make(forward.Receipt, len(items)), nil
		}, 0},
		"rejected": {func(_ *far, items []forward.Item) (forward.Receipt, error) { return rejecting(1)(items) }, 1},
		"half answered": {func(end *far, items []forward.Item) (forward.Receipt, error) {
			r := make(forward.Receipt, len(items))
			r[0].Outcome = end.take(items[0])
			return r, nil
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source, end := sourcetest.NewMemory(), &far{}
				end.script = end.parking(time.Second, 1, 2)
				source.Append(punches(0, 3)...)
				r := start(t, source, end)
				r.after(time.Second)
				end.script = func(items []forward.Item) (forward.Receipt, error) {
					if items[0].Seq < 3 {
						return trouble.script(end, items)
					}
					return nil, nil
				}
				for n := 3; n < 300; n++ {
					source.Append(sourcetest.Punch(n))
					r.after(5 * time.Second)
				}
				r.after(forward.MaxDelay)
				if slices.Max(end.order) < 299 {
					t.Error("new ones wait for parked ones")
				}
				if n := len(source.Dead("hq")); n != trouble.dead {
					t.Errorf("%d are dead", n)
				}
				end.script = nil
				r.after(2 * time.Hour)
				if len(end.order) != 300-trouble.dead || len(source.Parked("hq")) != 0 {
					t.Errorf("the far end holds %d, parked are %v", len(end.order), source.Parked("hq"))
				}
				r.stop(t)
			})
		})
	}
}

// A parked punch that makes the far end fail is let alone longer and longer, and
// a new one does not wait for it; but when the far end asks for a pause, all do.
func TestParkedAreLetAlone(t *testing.T) {
	for _, asked := range []time.Duration{0, 20 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			source, end := sourcetest.NewMemory(), &far{}
			end.script = end.parking(time.Second, 0)
			source.Append(sourcetest.Punch(0))
			r := start(t, source, end)
			r.after(time.Second)
			end.script = func(items []forward.Item) (forward.Receipt, error) {
				if items[0].Seq == 0 {
					return nil, forward.Later{After: asked, Err: errDown}
				}
				return nil, nil
			}
			r.after(12 * time.Hour)
			if n := len(end.calls); n > 12*60 || n < 12*3-3 {
				t.Errorf("it was tried %d times in twelve hours", n)
			}
			last := end.calls[len(end.calls)-1].at
			came := time.Now()
			source.Append(sourcetest.Punch(1))
			r.after(time.Hour)
			for _, c := range end.calls {
				if c.seqs[0] == 0 {
					continue
				}
				if late := c.at.Sub(came); asked == 0 && late != 0 {
					t.Errorf("the new one waited %v", late)
				}
				if rest := c.at.Sub(last); rest < asked {
					t.Errorf("the new one came after %v, asked for %v", rest, asked)
				}
			}
			if len(end.order) != 1 {
				t.Errorf("the far end holds %v", end.order)
			}
			r.stop(t)
		})
	}
}

// A parked punch that an answer does not name waits for its next turn, like
// one that failed.
func TestParkedUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, end := sourcetest.NewMemory(), &far{}
		end.script = end.parking(time.Second, 1, 2)
		source.Append(punches(0, 3)...)
		r := start(t, source, end)
		r.after(time.Second)
		end.script = func(items []forward.Item) (forward.Receipt, error) {
			receipt := make(forward.Receipt, len(items))
			receipt[0].Outcome = end.take(items[0])
			return receipt, nil
		}
		r.after(time.Hour)
		if s := r.State(); s.Failures != 0 || len(end.order) != 3 || len(end.calls) != 3 {
			t.Fatalf("%d held after %d requests: %+v", len(end.order), len(end.calls), s)
		}
		if gap := end.calls[2].at.Sub(end.calls[1].at); gap < 5*time.Second {
			t.Errorf("it was sent again after %v", gap)
		}
		r.stop(t)
	})
}

// Answers to parked punches that can't be kept are kept later, and are not
// asked for again.
func TestParkedSettleFails(t *testing.T) {
	for _, kept := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			source, end := sourcetest.NewMemory(), &far{}
			end.script = end.parking(time.Second, 1)
			source.Append(punches(0, 3)...)
			r := start(t, source, end)
			r.after(time.Second)
			end.script = nil
			tries := 0
			source.Fail(func(method string) error {
				if method != "Settle" {
					return nil
				}
				if tries++; tries == 20 {
					source.Fail(nil)
				}
				if kept && tries == 1 {
					source.Fail(nil)
					if err := source.Settle(t.Context(), "hq", forward.Answer{First: 1, Last: 1}); err != nil {
						t.Error(err)
					}
				}
				return errors.New("no space left on device")
			})
			r.after(3 * time.Hour)
			if len(end.calls) != 2 || len(end.order) != 3 || len(source.Parked("hq")) != 0 {
				t.Errorf("%d requests, the far end holds %d, parked are %v", len(end.calls), len(end.order), source.Parked("hq"))
			}
			r.stop(t)
		})
	}
}

func TestReasonsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(punches(0, 3)...)
		reasons := []string{"", " two\n\tlines ", strings.Repeat("张", 1000)}
		r := start(t, source, &far{script: func(items []forward.Item) (forward.Receipt, error) {
			r := forward.All(len(items), forward.Dead)
			for i := range r {
				r[i].Reason = reasons[i]
			}
			return r, nil
		}})
		r.after(0)
		dead := source.Dead("hq")
		if dead[0] != "no reason given" || dead[1] != "two lines" || len(dead[2]) > 510 || !strings.HasPrefix(dead[2], "张") || !strings.HasSuffix(dead[2], "张...") {
			t.Errorf("%v", dead)
		}
		r.stop(t)
	})
}

// dice are thrown from several goroutines.
type dice struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func (d *dice) IntN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rnd.IntN(n)
}

// Every fault at once, drawn by a seed: each punch ends exactly once at the far
// end, or dead for cause; the order holds; and no punch is ever held that was
// not sent.
func TestEverythingAtOnce(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			rnd := dice{rnd: rand.New(rand.NewPCG(seed, 1))}
			source, end := sourcetest.NewMemory(), &far{}
			const n = 400
			poison, parked := map[attendance.Key]bool{}, map[uint64]bool{}
			for i := range n {
				if rnd.IntN(40) == 0 {
					poison[sourcetest.Punch(i).Key] = true
				}
			}
			var calm atomic.Bool
			end.script = func(items []forward.Item) (forward.Receipt, error) {
				time.Sleep(time.Duration(rnd.IntN(1000)) * time.Millisecond)
				for _, it := range items {
					if poison[it.Punch.Key] {
						return nil, forward.Rejected{Err: errors.New("422")}
					}
				}
				if calm.Load() {
					return nil, nil
				}
				switch rnd.IntN(8) {
				case 0:
					return nil, errDown
				case 1:
					end.takeAll(items)
					return nil, errDown
				case 2:
					return nil, forward.Later{After: time.Duration(rnd.IntN(100)) * time.Second, Err: errDown}
				case 3:
					return nil, forward.Misconfigured{Err: errDown}
				case 4:
					r := end.takeAll(items)
					for i := range r {
						if rnd.IntN(3) == 0 {
							r[i].Outcome = forward.Unanswered
						} else if r[i].Outcome == forward.Accepted {
							r[i].Outcome = forward.Duplicate
						}
					}
					return r, nil
				case 5:
					r := make(forward.Receipt, len(items))
					for i, it := range items {
						if rnd.IntN(10) == 0 && end.held[it.Punch.Key] == 0 {
							r[i] = forward.Result{Outcome: forward.Park, RetryAfter: time.Second}
							parked[it.Seq] = true
						} else {
							end.take(it)
							r[i].Outcome = forward.Duplicate
						}
					}
					return r, nil
				}
				return nil, nil
			}
			source.Fail(func(string) error {
				if !calm.Load() && rnd.IntN(50) == 0 {
					return errors.New("input/output error")
				}
				return nil
			})
			r := start(t, source, end, func(c *forward.Config) { c.BatchItems = 1 + rnd.IntN(40) })
			for i := range n {
				source.Append(sourcetest.Punch(i))
				r.after(time.Duration(rnd.IntN(30)) * time.Second)
				if rnd.IntN(100) == 0 { // a restart
					r.cancel()
					if err := <-r.done; err != nil {
						t.Error(err)
					}
					r = start(t, source, end)
				}
				if rnd.IntN(50) == 0 {
					r.Wake()
				}
			}
			calm.Store(true)
			r.after(5 * time.Hour)
			dead := source.Dead("hq")
			if len(dead) != len(poison) || len(end.order) != n-len(poison) {
				t.Errorf("seed %d: %d held, %d dead and %d parked of %d with %d poison", seed, len(end.order), len(dead), len(source.Parked("hq")), n, len(poison))
			}
			for key := range poison {
				if end.held[key] != 0 {
					t.Errorf("seed %d: poison %v is held", seed, key)
				}
			}
			if order := slices.DeleteFunc(end.order, func(seq uint64) bool { return parked[seq] }); !slices.IsSorted(order) {
				t.Errorf("seed %d: out of order: %v", seed, order)
			}
			r.wantNothingPending(t)
			r.stop(t)
		})
	}
}
