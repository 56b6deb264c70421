package audit

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/punchd/punchd/sync/ledger/audit/audittest"
)

// TestLost: what the gateway says to be lost stands in the tree as such, whether
// the record can be read again or not, and nobody else can say so.
func TestLost(t *testing.T) {
	build := func(x *audittest.Ledger) {
		x.Punches(8, 0)
		x.Head() // record 8
		x.Punches(8, 0)
		x.Lose(10, 11)
		x.Lose(14, 14)
		x.Head() // record 17
		x.Punches(2, 0)
		x.Head() // record 20
	}
	const said3 = "lost 10-11, lost 14-14"
	for _, one := range []change{
		{"repaired since", func(*copied) {}, said3},
		{"missing", func(c *copied) {
			c.edit(func(fs []placed) []placed { return slices.Delete(fs, 10, 12) })
		}, "damaged 10-11, " + said3},
		{"one more missing", func(c *copied) {
			c.edit(func(fs []placed) []placed { return slices.Delete(fs, 10, 13) })
		}, "incomplete 8-16, lost 10-11, damaged 10-12, lost 14-14"},
		{"changed", to(10, func(f *placed) { f.Payload[3] ^= 1 }), said3}, // nobody ever signed what it says
		{"its neighbour changed", to(12, func(f *placed) { f.Payload[3] ^= 1 }), "changed 8-16, " + said3},
		{"kept elsewhere", func(c *copied) { c.keep = c.notes }, said3},
		{"the head taken out, and kept elsewhere", func(c *copied) {
			c.keep = c.notes
			to(17, func(f *placed) { f.Kind = 5 })(c)
		}, "changed 8-19"},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			c := sample(t, build)
			one.do(c)
			o := c.options()
			r, err := Run(t.Context(), o)
			if err != nil || said(briefs(r)) != one.want || r.Witness != len(c.keep) {
				t.Errorf("found %q, want %q; %+v, %v", said(briefs(r)), one.want, r, err)
			}
			needPython(t)
			if other, own := pythonOf(t, o), summarize(r); !reflect.DeepEqual(other, own) {
				t.Errorf("verify.py says\n%+v, and Run\n%+v", other, own)
			}
		})
	}
}

// TestRandom holds the checkers to each other on ledgers and changes at random.
func TestRandom(t *testing.T) {
	needPython(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 3))
	for range 20 {
		c := sample(t, func(x *audittest.Ledger) {
			for range 4 + r.IntN(12) {
				x.Punches(1+r.IntN(9), r.IntN(500))
				if at := x.Next(); r.IntN(4) > 0 {
					x.HeadOf(at - uint64(r.IntN(int(min(3, at-x.Size)))))
				}
			}
		})
		if rep := c.run(); len(rep.Findings) > 0 && rep.Heads > 0 {
			t.Fatalf("before any change: %s", said(briefs(rep)))
		}
		for _, note := range c.notes {
			if r.IntN(2) == 0 {
				c.keep = append(c.keep, note)
			}
		}
		for range r.IntN(3) {
			c.edit(func(fs []placed) []placed { return spoil(r, fs) })
		}
		o := c.options()
		rep, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if other, own := pythonOf(t, o), summarize(rep); !reflect.DeepEqual(other, own) {
			t.Errorf("verify.py says\n%+v, and Run\n%+v", other, own)
		}
	}
}

func spoil(r *rand.Rand, fs []placed) []placed {
	if len(fs) < 4 {
		return fs
	}
	i, j := r.IntN(len(fs)), r.IntN(len(fs))
	switch r.IntN(8) {
	case 0:
		return slices.Delete(fs, i, i+1)
	case 1:
		return slices.Delete(fs, min(i, j), max(i, j))
	case 2:
		fs[i].Payload[r.IntN(len(fs[i].Payload))] ^= 1 << r.IntN(8)
	case 3:
		fs[i].Entry, fs[j].Entry = fs[j].Entry, fs[i].Entry
	case 4:
		return slices.Insert(fs, i, fs[j])
	case 5:
		fs[i].Index, fs[i].Count = 0, uint16(1+r.IntN(9))
	case 6:
		fs[i].Kind = 4
	case 7:
		return fs[:max(1, i)]
	}
	return fs
}
