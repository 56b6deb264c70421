package zk

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

func TestRecords(t *testing.T) {
	for _, c := range []struct {
		layout Layout
		raw    string
		says   string
	}{
		{Layout40, "0d00 393939313131333333000000000000000000000000000000 01 6bb36823 00 00000000ff000000",
			"slot 13, PIN 999111333, verify 1, state 0, 2018-06-25T17:50:35, work code 0"},
		{Layout49, "0d00 393939313131333333000000000000000000000000000000 01 6bb36823 00 00000000ff000000 000000000000000000",
			"slot 13, PIN 999111333, verify 1, state 0, 2018-06-25T17:50:35, work code 0"},
		{Layout16, "65000000 17a78633 01 00 0000 07000000", "slot 0, PIN 101, verify 1, state 0, 2026-11-24T08:30:15, work code 7"},
		{Layout8, "0100 01 17a78633 04", "slot 1, PIN , verify 1, state 4, 2026-11-24T08:30:15, work code 0"},
		{LayoutMA300, "0100 01 04 17a78633", "slot 1, PIN , verify 1, state 4, 2026-11-24T08:30:15, work code 0"},
		{Layout40, "0100 303031320000000000000000000000000000000000000000 0f 17a78633 ff 00000000ff000000",
			"slot 1, PIN 0012, verify 15, state 255, 2026-11-24T08:30:15, work code 0"},
		{Layout40, "0100 4e4232343031303034000000000000000000000000000000 0f 17a78633 ff 00000000ff000000",
			"slot 1, PIN NB2401004, verify 15, state 255, 2026-11-24T08:30:15, work code 0"},
		{Layout40, "0100 313233343536373839303132333435363738393031323334 0f 17a78633 ff 00000000ff000000", // no NUL at all
			"slot 1, PIN 123456789012345678901234, verify 15, state 255, 2026-11-24T08:30:15, work code 0"},
	} {
		raw := unhex(t, c.raw)
		recs, bad, err := ParseRecords(raw, c.layout)
		if err != nil || len(bad) > 0 || len(recs) != 1 || record(recs[0]) != c.says || !bytes.Equal(recs[0].Raw, raw) {
			t.Errorf("%v: %+v, %v, %v; want %s", c.layout, recs, bad, err, c.says)
			continue
		}
		if again, err := AppendRecord(nil, c.layout, recs[0]); !bytes.Equal(again, raw) || err != nil {
			t.Errorf("%v: made %x, %v\nwas %x", c.layout, again, err, raw)
		}
		// One record tells a layout with text; of others it must be known.
		hints := Hints{Now: recs[0].At + day}
		if !(weighed{layout: c.layout}).hasText() {
			hints.Before = c.layout
		}
		if g, err := GuessLayout(raw, hints); g.Layout != c.layout || err != nil {
			t.Errorf("%v: taken for %+v, %v", c.layout, g, err)
		}
		// What a longer record ends with is kept and not read; garbage behind
		// the PIN's NUL likewise.
		if c.layout == Layout40 && raw[11] == 0 {
			dirty := append(bytes.Clone(raw), 1, 2, 3, 4)
			dirty[20], dirty[36] = 0xc6, 7
			recs, bad, err := ParseRecords(dirty, 44)
			if err != nil || len(bad) > 0 || record(recs[0]) != c.says || len(recs[0].Raw) != 44 {
				t.Errorf("44: %+v, %v, %v", recs, bad, err)
			}
		}
	}
}

// TestBadRecords holds that damage stays where it is: the other records are
// read, and the damaged ones are there, byte for byte.
func TestBadRecords(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	noDate := []byte{0xff, 0xff, 0xff, 0xff}
	damage := map[string]func(l Layout, raw []byte){
		"no date": func(l Layout, raw []byte) {
			copy(raw[map[Layout]int{Layout8: 3, LayoutMA300: 4, Layout16: 4, Layout40: 27, Layout49: 27}[l]:], noDate)
		},
		"all ones": func(_ Layout, raw []byte) {
			for i := range raw {
				raw[i] = 0xff
			}
		},
		"erased": func(_ Layout, raw []byte) { clear(raw) },
	}
	for _, name := range slices.Sorted(maps.Keys(damage)) { // in one order: the log is made by chance
		hurt := damage[name]
		for _, l := range layouts {
			for _, n := range []int{2, 3, 11, 60} {
				whole := encode(t, r, l, ordinaryLog(r, l, n))
				for _, cut := range []int{0, 1, l.Size() - 1} {
					b := bytes.Clone(whole)
					at := r.IntN(n - 1)
					hurt(l, b[at*l.Size():(at+1)*l.Size()])
					b = b[:len(b)-cut]
					want := n - 1
					if cut > 0 {
						want--
					}
					recs, bad, err := ParseRecords(b, l)
					if err != nil || len(recs) != want || len(recs)+len(bad) != n || bad[0].Index != at || !errors.Is(bad[0].Err, protocol.ErrMalformed) {
						t.Errorf("%s, layout %v: %d records, bad %+v, %v", name, l, len(recs), bad, err)
						continue
					}
					if cut > 0 && (!errors.Is(bad[1].Err, protocol.ErrIncomplete) || len(bad[1].Raw) != l.Size()-cut || bad[1].Index != n-1) {
						t.Errorf("%s, layout %v: the last %+v", name, l, bad[1])
					}
					total := 0
					for _, r := range recs {
						total += len(r.Raw)
					}
					for _, x := range bad {
						total += len(x.Raw)
					}
					if total != len(b) {
						t.Errorf("%s, layout %v: %d of %d bytes are accounted for", name, l, total, len(b))
					}
					g, err := GuessLayout(b, Hints{Now: testNow})
					// Eleven short records of which one is hurt may leave a doubt: then a person is asked.
					must := n >= 11 && l.HasPIN() || n >= 60 || n == 3 && cut == 0 && l.HasPIN()
					if g.Layout != l && (must || err == nil) {
						t.Errorf("%s, layout %v, %d records, cut by %d: taken for %v, %v", name, l, n, cut, g, err)
					}
				}
			}
		}
	}
}

func TestRecordErrors(t *testing.T) {
	for _, l := range []Layout{0, 1, 9, 17, 28, 39, MaxLayout + 1, 255, 0x100, 0x110, 0x128, 0xffff} {
		if recs, bad, err := ParseRecords(make([]byte, 80), l); !errors.Is(err, protocol.ErrUnsupported) || recs != nil || bad != nil {
			t.Errorf("layout %d: %v, %v, %v", uint16(l), recs, bad, err)
		}
		if _, err := AppendRecord(nil, l, Record{UID: 1, At: testNow}); err == nil {
			t.Errorf("a record was made in layout %d", uint16(l))
		}
	}
	if _, _, err := ParseRecords(make([]byte, MaxDataset+1), Layout40); !errors.Is(err, protocol.ErrTooLarge) {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		l Layout
		r Record
	}{
		"PIN with a leading zero as a number": {Layout16, Record{PIN: "0012", At: testNow}},
		"PIN of letters as a number":          {Layout16, Record{PIN: "A1", At: testNow}},
		"PIN 0 as a number":                   {Layout16, Record{PIN: "0", At: testNow}},
		"PIN over 32 bits":                    {Layout16, Record{PIN: "4294967296", At: testNow}},
		"slot without room":                   {Layout16, Record{UID: 1, PIN: "1", At: testNow}},
		"PIN without room":                    {Layout8, Record{UID: 1, PIN: "1", At: testNow}},
		"nobody":                              {Layout8, Record{At: testNow}},
		"work code without room":              {Layout40, Record{UID: 1, PIN: "1", WorkCode: 1, At: testNow}},
		"PIN too long":                        {Layout40, Record{UID: 1, PIN: strings.Repeat("1", 25), At: testNow}},
		"PIN with a NUL":                      {Layout40, Record{UID: 1, PIN: "1\x002", At: testNow}},
		"before 2000":                         {Layout40, Record{UID: 1, PIN: "1"}},
	} {
		if b, err := AppendRecord(nil, c.l, c.r); err == nil || len(b) > 0 {
			t.Errorf("%s: % x, %v", name, b, err)
		}
	}
}

func TestParseLayout(t *testing.T) {
	for _, l := range append(layouts, 41, 52, MaxLayout) {
		if got, err := ParseLayout(l.String()); got != l || err != nil {
			t.Errorf("%v: %v, %v", l, got, err)
		}
		if l.HasPIN() != (l.Size() > 8) {
			t.Errorf("%v: HasPIN %v", l, l.HasPIN())
		}
	}
	for _, s := range []string{"", "9", "129", "264", "ma300", "40 ", "-8", "1e1"} {
		if l, err := ParseLayout(s); err == nil {
			t.Errorf("%q: %v", s, l)
		}
	}
}

func TestOperations(t *testing.T) {
	raw := unhex(t, "0000 06 2a c29b6823 0300 0000 0700 0205")
	want := Operation{Op: 6, Mark: 0x2a, At: attendance.LocalDate(2018, 6, 25, 16, 9, 38, 0), Params: [4]uint16{3, 0, 7, 0x0502}}
	ops, bad, err := ParseOperations(append(bytes.Clone(raw), raw[:9]...))
	if err != nil || len(ops) != 1 || ops[0] != want || len(bad) != 1 || !errors.Is(bad[0].Err, protocol.ErrIncomplete) {
		t.Errorf("%+v, %+v, %v", ops, bad, err)
	}
	if again, err := AppendOperation(nil, want); !bytes.Equal(again, raw) || err != nil {
		t.Errorf("%x, %v", again, err)
	}
	raw[7] = 0xff
	if ops, bad, err = ParseOperations(raw); err != nil || len(ops) != 0 || len(bad) != 1 || !errors.Is(bad[0].Err, protocol.ErrMalformed) {
		t.Errorf("%+v, %+v, %v", ops, bad, err)
	}
	if _, _, err := ParseOperations(make([]byte, MaxDataset+1)); !errors.Is(err, protocol.ErrTooLarge) {
		t.Error(err)
	}
	if _, err := AppendOperation(nil, Operation{}); err == nil {
		t.Error("an operation of 1970")
	}
	if OpTimeSet.String() != "time set (21)" || Op(200).String() != "operation 200" {
		t.Error(OpTimeSet, Op(200))
	}
}

func FuzzRecords(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, l := range append(layouts, 52, 128) {
		f.Add(uint16(l), encode(f, r, l, ordinaryLog(r, l, 3)))
	}
	f.Fuzz(func(t *testing.T, layout uint16, b []byte) {
		l := Layout(layout)
		recs, bad, err := ParseRecords(b, l)
		if err != nil {
			if recs != nil || bad != nil || !isKind(err) {
				t.Errorf("%v, %v, %v", recs, bad, err)
			}
			return
		}
		total := 0
		for _, x := range bad {
			if !isKind(x.Err) {
				t.Errorf("an error of no kind: %v", x.Err)
			}
			total += len(x.Raw)
		}
		for _, rec := range recs {
			total += len(rec.Raw)
			again, err := AppendRecord(nil, l, rec)
			if err != nil {
				t.Fatalf("%s: %v", record(rec), err)
			}
			back, _, err := ParseRecords(again, l)
			if err != nil || len(back) != 1 || record(back[0]) != record(rec) {
				t.Errorf("%s comes back as %+v, %v", record(rec), back, err)
			}
		}
		if total != len(b) {
			t.Errorf("%d of %d bytes are accounted for", total, len(b))
		}
	})
}

// FuzzGuess holds that a layout that is found is one, and that finding and
// reading never panics, whatever a terminal sends as a dataset.
func FuzzGuess(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, l := range layouts {
		f.Add(AppendDataset(nil, encode(f, r, l, ordinaryLog(r, l, 5))), int64(testNow), 5)
	}
	f.Fuzz(func(t *testing.T, b []byte, now int64, count int) {
		records, _, err := SplitDataset(b)
		if err != nil && !errors.Is(err, protocol.ErrIncomplete) {
			t.Error(err)
		}
		g, err := GuessLayout(records, Hints{Now: attendance.LocalTime(now), Count: count})
		if err != nil {
			if g != (Guess{}) || !isKind(err) {
				t.Errorf("%+v, %v", g, err)
			}
			return
		}
		recs, bad, err := ParseRecords(records, g.Layout)
		if err != nil || len(recs) == 0 || len(recs)+len(bad) != (len(records)+g.Layout.Size()-1)/g.Layout.Size() {
			t.Errorf("%v: %d records, %d bad, %v", g, len(recs), len(bad), err)
		}
	})
}

func BenchmarkParseRecords(b *testing.B) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, l := range layouts {
		log := encode(b, r, l, ordinaryLog(r, l, 100_000))
		b.Run(fmt.Sprintf("100000x%v", l), func(b *testing.B) {
			b.SetBytes(int64(len(log)))
			b.ReportAllocs()
			for b.Loop() {
				recs, bad, err := ParseRecords(log, l)
				if len(recs) != 100_000 || len(bad) > 0 || err != nil {
					b.Fatal(len(recs), bad, err)
				}
			}
		})
	}
}

func BenchmarkGuessLayout(b *testing.B) {
	r := rand.New(rand.NewPCG(11, 12))
	log := encode(b, r, Layout40, ordinaryLog(r, Layout40, 100_000))
	b.ReportAllocs()
	for b.Loop() {
		if g, err := GuessLayout(log, Hints{Now: testNow}); g.Layout != Layout40 {
			b.Fatal(g, err)
		}
	}
}
