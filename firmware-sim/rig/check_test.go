package rig

import (
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/firmware-sim/phone"
	"github.com/punchd/punchd/firmware-sim/reader"
	"github.com/punchd/punchd/firmware-sim/terminal/zk"
	"github.com/punchd/punchd/protocol/attendance"
)

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

// What central is told of a fact counts as well as that it is told.
func TestCheckFindsWhatIsAltered(t *testing.T) {
	at := time.Date(2026, 11, 4, 0, 58, 12, 0, time.UTC)
	want := Says{Employee: "E1", At: at, Verdict: attendance.Accepted, Direction: attendance.DirIn, Method: attendance.MethodFace}
	for name, c := range map[string]struct {
		change func(*Says)
		what   string
	}{
		"nothing":      {func(s *Says) { s.At = s.At.In(time.FixedZone("", 3600)) }, ""},
		"somebody":     {func(s *Says) { s.Employee = "E2" }, `employee "E1" is told as "E2"`},
		"nobody":       {func(s *Says) { s.Employee = "" }, `employee "E1" is told as ""`},
		"another zone": {func(s *Says) { s.At = s.At.Add(8 * time.Hour) }, `time "2026-11-04T00:58:12Z" is told as "2026-11-04T08:58:12Z"`},
		"a second":     {func(s *Says) { s.At = s.At.Add(-time.Second) }, `is told as "2026-11-04T00:58:11Z"`},
		"verdict":      {func(s *Says) { s.Verdict = attendance.Refused }, `verdict "accepted" is told as "refused"`},
		"direction":    {func(s *Says) { s.Direction = attendance.DirOut }, `direction "in" is told as "out"`},
		"method":       {func(s *Says) { s.Method = attendance.MethodCard }, `method "face" is told as "card"`},
	} {
		made, held := line("a", "1", "2"), seen("a", "1", "2")
		told := want
		c.change(&told)
		made[1].Says, held[1].Says = &want, &told
		got := Check(made, held)
		altered := 0
		if c.what != "" {
			altered = 1
		}
		if got.Altered != altered || got.Clean() != (altered == 0) || got.Held != 2 || got.Lost+got.Doubled+got.Invented+got.OutOfOrder != 0 || len(got.Faults) != altered {
			t.Errorf("%s: %+v", name, got)
		}
		if text := strings.Join(got.Examples(), "\n"); !strings.Contains(text, c.what) {
			t.Errorf("%s: %s", name, text)
		}
	}
	near := want
	near.Within = time.Minute
	told := near
	told.At = at.Add(time.Minute)
	if what := near.differs(&told); what != "" {
		t.Error(what)
	}
}

// What the rig expects of each sort of device, by hand.
func TestExpectations(t *testing.T) {
	zone, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	e, left := &attendance.Employee{ID: "E1"}, &attendance.Employee{ID: "E2", Until: "2026-11-03"}
	p := &people{zone, map[string]*attendance.Employee{"1": e, "2": left}, map[string]*attendance.Employee{"AB": left},
		map[string]*attendance.Employee{"p-001": e}, map[string]*attendance.Employee{"ot-001": e}}
	face := attendance.LocalDate(2026, 11, 4, 0, 30, 0, 0)
	at := time.Date(2026, 11, 3, 16, 30, 0, 0, time.UTC)
	signed := attendance.PhoneKey("p-001", 2)
	for name, c := range map[string]struct{ got, want *Says }{
		"terminal":        {p.atTerminal(zk.Entry{PIN: "1", At: face, State: 1, Verify: 15}, 0), &Says{"E1", at, attendance.Accepted, attendance.DirOut, attendance.MethodFace, 0}},
		"left":            {p.atTerminal(zk.Entry{PIN: "2", At: face, State: 255}, 0), &Says{"E2", at, attendance.Refused, attendance.DirUnknown, attendance.MethodPassword, 0}},
		"left yesterday":  {p.atTerminal(zk.Entry{PIN: "2", At: face - 31*60_000, State: 0}, 0), &Says{"E2", at.Add(-31 * time.Minute), attendance.Accepted, attendance.DirIn, attendance.MethodPassword, 0}},
		"wrong clock":     {p.atTerminal(zk.Entry{PIN: "2", At: face, State: 0}, -6*time.Minute), &Says{"E2", at, attendance.Flagged, attendance.DirIn, attendance.MethodPassword, 0}},
		"nobody":          {p.atTerminal(zk.Entry{PIN: "01", At: face, State: 0}, -6*time.Minute), &Says{"", at, attendance.Unverified, attendance.DirIn, attendance.MethodPassword, 0}},
		"reader":          {p.atReader(reader.Made{Badge: "AB", At: at}), &Says{"E2", at, attendance.Refused, attendance.DirUnknown, attendance.MethodCard, readerWithin}},
		"honest":          {p.byPhone(phone.Made{Phone: "p-001", Native: true, Counter: 2, At: at, Behaviour: phone.Honest, Key: signed}), &Says{"E1", at, attendance.Accepted, attendance.DirIn, attendance.MethodPhone, 0}},
		"outside":         {p.byPhone(phone.Made{Phone: "p-001", Native: true, Counter: 2, At: at, Behaviour: phone.Outside, Key: signed}), &Says{"E1", at, attendance.Flagged, attendance.DirIn, attendance.MethodPhone, 0}},
		"replayed":        {p.byPhone(phone.Made{Phone: "p-001", Native: true, Counter: 2, At: at, Behaviour: phone.Replayed}), &Says{"E1", at, attendance.Refused, attendance.DirIn, attendance.MethodPhone, 0}},
		"wrong key":       {p.byPhone(phone.Made{Phone: "p-001", Native: true, Counter: 2, At: at, Behaviour: phone.WrongKey}), &Says{"", at, attendance.Refused, attendance.DirIn, attendance.MethodPhone, 0}},
		"OwnTracks":       {p.byPhone(phone.Made{Phone: "ot-001", At: at.Add(time.Millisecond), Behaviour: phone.Honest}), &Says{"E1", at, attendance.Accepted, attendance.DirUnknown, attendance.MethodPhone, 0}},
		"OwnTracks stale": {p.byPhone(phone.Made{Phone: "ot-001", At: at, Behaviour: phone.Stale}), &Says{"E1", at, attendance.Flagged, attendance.DirUnknown, attendance.MethodPhone, 0}},
	} {
		if what := c.want.differs(c.got); what != "" || c.got.Within != c.want.Within {
			t.Errorf("%s: %+v%s", name, c.got, what)
		}
	}
}
