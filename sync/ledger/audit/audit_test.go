package audit

import (
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/ledger"
	"github.com/punchd/punchd/sync/ledger/audit/audittest"
)

// at is the place of a record in a list.
func at(fs []placed, seq uint64) int {
	return slices.IndexFunc(fs, func(f placed) bool { return f.Seq == seq })
}

// to changes one frame, and makes its check sum right.
func to(seq uint64, change func(*placed)) func(*copied) {
	return func(c *copied) {
		c.edit(func(fs []placed) []placed {
			change(&fs[at(fs, seq)])
			return fs
		})
	}
}

// renumber gives the frames their sequences anew.
func renumber(fs []placed) []placed {
	for i := range fs {
		fs[i].Seq, fs[i].Index, fs[i].Count = uint64(i), 0, 1
	}
	return fs
}

// change is what somebody does to the sample, and what must be seen. The
// sample's heads are the records 6 (of 6), 20 (of 15), 34 (of 34) and 39 (of
// 39); its segments begin at 0, 22 and 31.
type change struct {
	name string
	do   func(*copied)
	want string // findings
}

func changes() []change {
	return slices.Concat(changesOfRecords(), changesOfHeads(), changesOfNotes(), changesOfFiles(), changesOfWitness())
}

func changesOfRecords() []change {
	return []change{
		{"nothing", func(*copied) {}, ""},
		{"a bit of a record", func(c *copied) { c.files[c.names()[0]][4096+40] ^= 4 }, "damaged 0-0, incomplete 0-5"},
		{"a record's payload, by one who knows the salt", to(9, func(f *placed) { f.Payload[3] ^= 1 }), "changed 6-14"},
		{"a record's kind", to(9, func(f *placed) { f.Kind = 5 }), "changed 6-14"},
		{"a record's flags", to(9, func(f *placed) { f.Flags = 1 }), "changed 6-14"},
		{"a record's key id", to(9, func(f *placed) { f.KeyID = 1 }), "changed 6-14"},
		{"a record's batch", to(9, func(f *placed) { f.Index, f.Count = 0, 1 }), "changed 6-14"},
		{"a record's batch at the end", to(41, func(f *placed) { f.Index, f.Count = 0, 1 }), ""},
		{"the last record signed", to(38, func(f *placed) { f.Payload[3] ^= 1 }), "changed 34-38"},
		{"a record not signed yet", to(41, func(f *placed) { f.Payload[3] ^= 1 }), ""},
		{"a record taken out", func(c *copied) {
			c.edit(func(fs []placed) []placed { return slices.Delete(fs, 9, 10) })
		}, "incomplete 6-14, damaged 9-9"},
		{"a record taken out and the others moved up", func(c *copied) {
			c.edit(func(fs []placed) []placed { return renumber(slices.Delete(fs, 9, 10)) })
		}, "changed 0-5, changed 6-14, order 33-33, order 38-38"},
		{"a record put in", func(c *copied) {
			c.edit(func(fs []placed) []placed { return renumber(slices.Insert(fs, 9, fs[8])) })
		}, "changed 0-5, changed 6-14, changed 15-33, changed 34-38"},
		{"a record written twice", func(c *copied) {
			c.edit(func(fs []placed) []placed { return slices.Insert(fs, 9, fs[8]) })
		}, ""}, // the second is passed over by every reader
		{"two records in each other's place", func(c *copied) {
			c.edit(func(fs []placed) []placed {
				fs[9].Entry, fs[10].Entry = fs[10].Entry, fs[9].Entry
				return fs
			})
		}, "changed 6-14"},
		{"two frames in each other's place", func(c *copied) {
			c.edit(func(fs []placed) []placed {
				fs[9], fs[10] = fs[10], fs[9]
				return fs
			})
		}, "incomplete 6-14, damaged 9-9"},
		{"two changes", func(c *copied) {
			to(2, func(f *placed) { f.Payload[3] ^= 1 })(c)
			to(35, func(f *placed) { f.Payload[3] ^= 1 })(c)
		}, "changed 0-5, changed 34-38"},
	}
}

// note is the sample's head no. i, in the place of that in a record.
func note(seq uint64, i int) func(*copied) {
	return func(c *copied) { to(seq, func(f *placed) { setHead(f, c.notes[i], nil) })(c) }
}

func changesOfHeads() []change {
	edge := func(change func([][32]byte) [][32]byte) func(*copied) {
		return to(34, func(f *placed) { setHead(f, nil, change) })
	}
	flip := func(e [][32]byte) [][32]byte { e[0][0] ^= 1; return e }
	return []change{
		{"a head is an older one", note(34, 0), "changed 15-38, order 34-34"},
		{"a head is the one before", note(34, 1), "changed 15-38, order 34-34"},
		{"a head is a later one", note(20, 3), "changed 6-33, order 20-20"},
		{"a head taken out", func(c *copied) {
			c.edit(func(fs []placed) []placed { return slices.Delete(fs, 34, 35) })
		}, "incomplete 15-38, damaged 34-34"},
		{"all heads made something else", func(c *copied) {
			for _, seq := range []uint64{6, 20, 34, 39} {
				to(seq, func(f *placed) { f.Kind = attendance.RecordOperator })(c)
			}
		}, "unsigned 0-42"},
		{"all records taken for unsigned, and the last head kept", func(c *copied) {
			for _, seq := range []uint64{6, 20, 34} {
				to(seq, func(f *placed) { f.Kind = attendance.RecordOperator })(c)
			}
		}, "changed 0-38"},
		{"an edge", edge(flip), "edge 34-34, changed 34-38"},
		{"an edge too short", edge(func(e [][32]byte) [][32]byte { return e[1:] }), "edge 34-34, changed 34-38"},
		{"no edge", edge(func([][32]byte) [][32]byte { return nil }), "edge 34-34, changed 34-38"},
		{"a record and the edge behind it", func(c *copied) {
			to(30, func(f *placed) { f.Payload[3] ^= 1 })(c)
			edge(flip)(c)
		}, "changed 15-38, edge 34-34"},
		{"every edge, and a record", func(c *copied) {
			for _, seq := range []uint64{6, 20, 34, 39} {
				to(seq, func(f *placed) { setHead(f, nil, flip) })(c)
			}
		}, "edge 6-6, changed 6-38, edge 20-20, edge 34-34, edge 39-39"},
		{"a head sealed", to(34, func(f *placed) { f.Flags = 1 }), "changed 15-38, head 34-34"},
		{"a head that is no head", to(34, func(f *placed) { f.Payload = []byte("nothing") }), "changed 15-38, head 34-34"},
		{"a head with another text", func(c *copied) {
			to(34, func(f *placed) { setHead(f, append([]byte("x"), c.notes[2]...), nil) })(c)
		}, "changed 15-38, head 34-34"},
		{"a head signed by another key", func(c *copied) {
			to(39, func(f *placed) { setHead(f, forge(c.t, opened(c.t, c.notes[3]), 8), nil) })(c)
		}, "signature 39-39"},
	}
}

func changesOfNotes() []change {
	return []change{
		{"a head with another size, and the old signature", func(c *copied) {
			h := opened(c.t, c.notes[3])
			h.Size--
			forged, own := forge(c.t, h, 8), c.notes[3]
			cut := len(forged) - 101 // of as many bytes: only numbers differ
			to(39, func(f *placed) { setHead(f, slices.Concat(forged[:cut], own[len(own)-101:]), nil) })(c)
		}, "signature 39-39"},
		{"a head of another ledger", func(c *copied) {
			h := opened(c.t, c.notes[3])
			h.Ledger = "000102030405060708090a0b0c0d0e0f"
			to(39, func(f *placed) { setHead(f, forge(c.t, h, seed), nil) })(c)
		}, "ledger 39-39"},
		{"a head that speaks of itself", func(c *copied) {
			h := opened(c.t, c.notes[3])
			h.Size = 40
			to(39, func(f *placed) { setHead(f, forge(c.t, h, seed), nil) })(c)
		}, "order 39-39"},
		{"another key", func(c *copied) { c.keys = c.keys[:0:0]; c.keys = append(c.keys, audittest.Public(8)) },
			"unsigned 0-42, signature 6-6, signature 20-20, signature 34-34, signature 39-39"},
	}
}

func changesOfFiles() []change {
	return []change{
		{"the first segment gone", func(c *copied) { delete(c.files, c.names()[0]) }, "damaged 0-21, incomplete 0-33"},
		{"a segment gone", func(c *copied) { delete(c.files, c.names()[1]) }, "incomplete 15-33, damaged 22-30"},
		{"the last segment gone", func(c *copied) { delete(c.files, c.names()[2]) }, ""}, // a ledger that ends there looks the same
		{"both copies of a header", func(c *copied) {
			b := c.files[c.names()[1]]
			b[3] ^= 1
			b[2048+50] ^= 1
		}, "header 22-22"},
		{"one copy of a header", func(c *copied) { c.files[c.names()[1]][2048+50] ^= 1 }, "header 22-22"},
		{"a segment of another ledger put in", func(c *copied) {
			o := sample(c.t, (*audittest.Ledger).Sample)
			c.files["00000000000000000099.seg"] = o.files[o.names()[1]]
		}, "foreign 99-99"},
		{"a segment of another ledger in the place of one", func(c *copied) {
			o := sample(c.t, (*audittest.Ledger).Sample)
			c.files[c.names()[1]] = o.files[o.names()[1]]
		}, "incomplete 15-33, foreign 22-22, damaged 22-30"},
		{"a segment put in twice", func(c *copied) { c.files["00000000000000000099.seg"] = c.files[c.names()[1]] }, "foreign 99-99"},
		{"a segment of an older copy", func(c *copied) { clear(c.files[c.names()[1]][4096+2500:]) }, "incomplete 15-33, damaged 27-30"},
		{"a segment cut", func(c *copied) { c.files[c.names()[1]] = c.files[c.names()[1]][:4096+2500] }, "incomplete 15-33, damaged 27-30"},
		{"the end cut off", func(c *copied) {
			c.edit(func(fs []placed) []placed { return fs[:36] })
		}, ""},
		{"something written behind the end", func(c *copied) { c.files[c.names()[2]][8000] = 1 }, ""},
		{"the durable mark too high", func(c *copied) {
			b := c.files[c.names()[2]]
			binary.LittleEndian.PutUint64(b[48:], 31)
			c.header(b, 31)
		}, ""},
	}
}

func changesOfWitness() []change {
	rollback := func(c *copied) {
		c.keep = c.notes
		c.edit(func(fs []placed) []placed { return fs[:36] })
	}
	return []change{
		{"all heads kept", func(c *copied) { c.keep = c.notes }, ""},
		{"heads in another order, one twice", func(c *copied) { c.keep = [][]byte{c.notes[2], c.notes[0], c.notes[2]} }, ""},
		{"an older copy put back", rollback, "rolled-back 35-38"},
		{"a fork", func(c *copied) {
			c.keep = slices.Clone(c.notes)
			h := opened(c.t, c.notes[2])
			h.Root[0] ^= 1
			c.keep[2] = forge(c.t, h, seed)
		}, "contradicted 15-33"},
		{"a fork between heads", func(c *copied) {
			h := opened(c.t, c.notes[2])
			h.Size = 25
			c.keep = [][]byte{c.notes[0], forge(c.t, h, seed)}
		}, "contradicted 6-24"},
		{"a fork behind the last head", func(c *copied) {
			h := opened(c.t, c.notes[2])
			h.Size = 41
			c.keep = [][]byte{c.notes[0], forge(c.t, h, seed)}
		}, "contradicted 6-40"},
		{"a change, and the heads were kept", func(c *copied) {
			c.keep = c.notes
			to(9, func(f *placed) { f.Payload[3] ^= 1 })(c)
		}, "changed 6-14"},
		{"a change behind a head taken out, and the head was kept", func(c *copied) {
			c.keep = c.notes
			to(36, func(f *placed) { f.Payload[3] ^= 1 })(c)
			to(39, func(f *placed) { f.Kind = attendance.RecordOperator })(c)
		}, "contradicted 34-38"},
		{"kept by somebody without the key", func(c *copied) { c.keep = [][]byte{forge(c.t, opened(c.t, c.notes[0]), 9), c.notes[1]} }, "witness 0-0"},
		{"kept of another ledger", func(c *copied) {
			h := opened(c.t, c.notes[0])
			h.Ledger = "000102030405060708090a0b0c0d0e0f"
			c.keep = [][]byte{c.notes[1], forge(c.t, h, seed)}
		}, "witness 1-1"},
	}
}

// TestChanges does to the sample what somebody might do, and holds both checkers
// to what must be seen.
func TestChanges(t *testing.T) {
	for _, one := range changes() {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			c := sample(t, (*audittest.Ledger).Sample)
			one.do(c)
			o := c.options()
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if got := said(briefs(r)); got != one.want {
				t.Errorf("found %q, want %q", got, one.want)
			}
			for _, f := range r.Findings {
				if f.String() == "" || f.Help() == "" {
					t.Errorf("%+v has no words", f)
				}
			}
			needPython(t)
			if other, own := pythonOf(t, o), summarize(r); !reflect.DeepEqual(other, own) {
				t.Errorf("verify.py says\n%+v, and Run\n%+v", other, own)
			}
		})
	}
}

// TestLayout holds what the places in the table above are founded on.
func TestLayout(t *testing.T) {
	c := sample(t, (*audittest.Ledger).Sample)
	var first []uint64
	for _, name := range c.names() {
		first = append(first, c.frames()[name][0].Seq)
	}
	r := c.run()
	if !slices.Equal(first, []uint64{0, 22, 31}) || r.Heads != 4 || r.Records != 43 || r.Signed != 39 || r.Unsigned != 3 {
		t.Errorf("segments from %v, %+v", first, r)
	}
	for i, size := range []uint64{6, 15, 34, 39} {
		if h := opened(t, c.notes[i]); h.Size != size {
			t.Errorf("head %d is of %d records, want %d", i, h.Size, size)
		}
	}
}

// TestLongUnsigned: a gateway does not leave so much without a head.
func TestLongUnsigned(t *testing.T) {
	clocks := make([]ledger.Entry, 10_000)
	for i := range clocks {
		clocks[i] = ledger.Entry{Kind: attendance.RecordClock, Payload: []byte{}}
	}
	for more, want := range map[int]string{0: "", 1: "unsigned 3-20004"} {
		dir := t.TempDir()
		x := audittest.New(t, nil, dir, 1<<20, audittest.Key(seed))
		x.Punches(3, 0)
		x.Head()
		x.Append(clocks...)
		x.Append(clocks...)
		if more > 0 {
			x.Append(clocks[:more]...)
		}
		x.Close()
		o := Options{Dir: dir, Keys: append(Options{}.Keys, audittest.Public(seed))}
		r, err := Run(t.Context(), o)
		if err != nil || said(briefs(r)) != want || r.Unsigned != uint64(20_000+more) {
			t.Errorf("%+v, %v", r, err)
		}
		needPython(t)
		if other, own := pythonOf(t, o), summarize(r); !reflect.DeepEqual(other, own) {
			t.Errorf("verify.py says\n%+v, and Run\n%+v", other, own)
		}
	}
}

func TestNothingToCheck(t *testing.T) {
	if _, err := Run(t.Context(), Options{Dir: t.TempDir()}); !errors.Is(err, errNoKey) {
		t.Errorf("without a key: %v", err)
	}
	c := sample(t, func(*audittest.Ledger) {})
	if r := c.run(); len(r.Findings) > 0 || r.Records != 0 {
		t.Errorf("a new ledger: %+v", r)
	}
	o := c.options()
	o.Dir = t.TempDir()
	if _, err := Run(t.Context(), o); !errors.Is(err, ledger.ErrEmpty) {
		t.Errorf("an empty directory: %v", err)
	}
}
