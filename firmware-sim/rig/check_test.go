package rig

import "testing"

func line(name string, ids ...string) (facts []Fact) {
	for _, id := range ids {
		facts = append(facts, Fact{Line: name, ID: id, Promised: true})
	}
	return facts
}

func seen(name string, ids ...string) (s []Seen) {
	for _, id := range ids {
		s = append(s, Seen{Line: name, ID: id})
	}
	return s
}

// The checker is what every promise rests on, so each way of being wrong is
// planted here and must be found.
func TestCheckFindsEachFault(t *testing.T) {
	unpromised := append(line("a", "1", "2"), Fact{Line: "a", ID: "3"})
	for _, c := range []struct {
		name string
		made []Fact
		held []Seen
		want Tally
	}{
		{"clean", line("a", "1", "2", "3"), seen("a", "1", "2", "3"), Tally{Made: 3, Promised: 3, Held: 3}},
		{"two lines interleaved", append(line("a", "1", "2"), line("b", "1")...),
			append(append(seen("a", "1"), seen("b", "1")...), seen("a", "2")...), Tally{Made: 3, Promised: 3, Held: 3}},
		{"lost", line("a", "1", "2", "3"), seen("a", "1", "3"), Tally{Made: 3, Promised: 3, Held: 2, Lost: 1}},
		{"doubled", line("a", "1", "2"), seen("a", "1", "2", "1"), Tally{Made: 2, Promised: 2, Held: 2, Doubled: 1}},
		{"invented", line("a", "1"), seen("a", "1", "9"), Tally{Made: 1, Promised: 1, Held: 1, Invented: 1}},
		{"on another device", line("a", "1"), seen("b", "1"), Tally{Made: 1, Promised: 1, Lost: 1, Invented: 1}},
		{"swapped", line("a", "1", "2", "3"), seen("a", "1", "3", "2"), Tally{Made: 3, Promised: 3, Held: 3, OutOfOrder: 1}},
		{"unpromised and absent", unpromised, seen("a", "1", "2"), Tally{Made: 3, Promised: 2, Held: 2}},
		{"unpromised and there", unpromised, seen("a", "1", "2", "3"), Tally{Made: 3, Promised: 2, Held: 3}},
		{"same card twice", line("a", "1", "1"), seen("a", "1", "1"), Tally{Made: 2, Promised: 2, Held: 2}},
		{"same card twice, once lost", line("a", "1", "1"), seen("a", "1"), Tally{Made: 2, Promised: 2, Held: 1, Lost: 1}},
		{"same card twice, thrice there", line("a", "1", "1"), seen("a", "1", "1", "1"), Tally{Made: 2, Promised: 2, Held: 2, Doubled: 1}},
		{"nothing at all", nil, nil, Tally{}},
	} {
		got := Check(c.made, c.held)
		if got.Made != c.want.Made || got.Promised != c.want.Promised || got.Held != c.want.Held || got.Lost != c.want.Lost ||
			got.Doubled != c.want.Doubled || got.Invented != c.want.Invented || got.OutOfOrder != c.want.OutOfOrder {
			t.Errorf("%s: %+v, want %+v", c.name, *got, c.want)
		}
		if got.Clean() != (c.want.Lost+c.want.Doubled+c.want.Invented+c.want.OutOfOrder == 0) {
			t.Errorf("%s: clean = %v", c.name, got.Clean())
		}
		if n := c.want.Lost + c.want.Doubled + c.want.Invented + c.want.OutOfOrder; len(got.Faults) != n || len(got.Examples()) != n {
			t.Errorf("%s: faults %v", c.name, got.Faults)
		}
	}
}
