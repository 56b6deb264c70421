package attendance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func someRoster() *Roster {
	at := time.Date(2026, 11, 4, 8, 0, 0, 0, time.UTC)
	return &Roster{
		Employees: []Employee{
			{ID: "E1001", Name: "张三", Badges: []string{"00AB12cd34", "117"}, PINs: []string{"0012", "117"},
				Phones: []Phone{{ID: "p-7f3a", Key: "k"}, {OwnTracksUser: "ada"}}, Groups: []string{"sales"}, From: "2026-01-01", Until: "2026-11-04"},
			{ID: "e1001", PINs: []string{"12"}, Phones: []Phone{{ID: "P-7F3A", Key: "k"}}, From: "2026-11-04"},
			{ID: "李四", Badges: []string{"ÄB", "K"}, PINs: []string{"E1001"}},
		},
		Places:  []Place{{ID: "hq"}, {ID: "HQ"}},
		Excuses: []Excuse{{Employee: "李四", From: at, Until: at.Add(1)}},
	}
}

func TestIndexFinds(t *testing.T) {
	x, err := NewIndex(someRoster())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		by   string
		find func(string) (*Employee, bool)
		text string
		want string // empty: nobody
	}{
		{"id", x.ByID, "E1001", "E1001"},
		{"id", x.ByID, "e1001", "e1001"}, // ids are compared exactly
		{"id", x.ByID, "E1001 ", ""},
		{"id", x.ByID, "李四", "李四"},
		{"id", x.ByID, "", ""},
		{"PIN", x.ByPIN, "0012", "E1001"},
		{"PIN", x.ByPIN, "12", "e1001"}, // another person than 0012
		{"PIN", x.ByPIN, "012", ""},
		{"PIN", x.ByPIN, "117", "E1001"},
		{"PIN", x.ByPIN, "E1001", "李四"}, // a PIN may look like another's id
		{"badge", x.ByBadge, "00AB12CD34", "E1001"},
		{"badge", x.ByBadge, "00ab12cd34", "E1001"},
		{"badge", x.ByBadge, "0AB12CD34", ""},
		{"badge", x.ByBadge, "117", "E1001"}, // a badge and a PIN may be the same text
		{"badge", x.ByBadge, "Äb", "李四"},
		{"badge", x.ByBadge, "äb", ""}, // only ASCII letters are folded
		{"badge", x.ByBadge, "k", "李四"},
		{"badge", x.ByBadge, "\u212a", ""}, // the Kelvin sign is no k
		{"badge", x.ByBadge, "", ""},
		{"phone", x.ByPhone, "p-7f3a", "E1001"},
		{"phone", x.ByPhone, "P-7F3A", "e1001"},
		{"phone", x.ByPhone, "ada", ""}, // an OwnTracks user is no native phone
		{"user", x.ByOwnTracksUser, "ada", "E1001"},
		{"user", x.ByOwnTracksUser, "p-7f3a", ""},
	} {
		e, found := c.find(c.text)
		if found != (c.want != "") || found && e.ID != c.want {
			t.Errorf("by %s %q: %+v %v, want %q", c.by, c.text, e, found, c.want)
		}
	}
}

func TestEmployedOn(t *testing.T) {
	for _, c := range []struct {
		from, until, day string
		want             bool
	}{
		{"", "", "2026-11-04", true},
		{"2026-11-04", "", "2026-11-04", true},
		{"2026-11-04", "", "2026-11-03", false},
		{"", "2026-11-04", "2026-11-04", true},
		{"", "2026-11-04", "2026-11-05", false},
		{"2026-11-04", "2026-11-04", "2026-11-04", true},
		{"2025-12-31", "2026-01-01", "2026-01-02", false},
	} {
		e := Employee{From: c.from, Until: c.until}
		if got := e.EmployedOn(c.day); got != c.want {
			t.Errorf("from %q until %q on %s: %v", c.from, c.until, c.day, got)
		}
	}
}

// Every mistake is found, at its own path.
func TestIndexErrors(t *testing.T) {
	at := time.Date(2026, 11, 4, 8, 0, 0, 0, time.UTC)
	people := func(list ...Employee) *Roster { return &Roster{Employees: list} }
	phones := func(list ...Phone) *Roster { return people(Employee{ID: "1", Phones: list}) }
	excuse := func(x Excuse) *Roster { return &Roster{Employees: []Employee{{ID: "1"}}, Excuses: []Excuse{x}} }
	long := strings.Repeat("x", maxName+1)
	for _, c := range []struct {
		name   string
		roster *Roster
		want   string
	}{
		{"no id", people(Employee{Name: "Ada"}), "employees[0].id: is empty"},
		{"long id", people(Employee{ID: long}), "employees[0].id (" + long[:40] + "): has 129 bytes, the limit is 128"},
		{"long text", people(Employee{ID: "1", From: long, Phones: []Phone{{ID: long + "/", Key: "k"}}}),
			`employees[0].phones[0].id (1): "` + long[:40] + `" can't be a level of an MQTT topic: it holds one of / + #` + "\n" +
				`employees[0].from (1): "` + long[:40] + `" is no date like 2026-11-04`},
		{"space at the end", people(Employee{ID: "1 "}), `employees[0].id (1 ): "1 " has a space at an end`},
		{"wide space in front", people(Employee{ID: "\u30001"}), "employees[0].id (\u30001): \"\\u30001\" has a space at an end"},
		{"control character", people(Employee{ID: "a\x00b"}), "employees[0].id (a\x00b): \"a\\x00b\" holds a character that nobody sees"},
		{"zero width space", people(Employee{ID: "a\u200bb"}), "employees[0].id (a\u200bb): \"a\\u200bb\" holds a character that nobody sees"},
		{"both dates", people(Employee{ID: "1", From: "x", Until: "y"}), "employees[0].from (1): \"x\" is no date like 2026-11-04\nemployees[0].until (1): \"y\" is no date like 2026-11-04"},
		{"no UTF-8", people(Employee{ID: "a\xff"}), "employees[0].id (a\xff): \"a\\xff\" is no UTF-8"},
		{"id twice", people(Employee{ID: "1"}, Employee{ID: "2"}, Employee{ID: "1"}), `employees[2].id (1): id "1" stands at employees[0].id (1) already`},

		{"badge of two", people(Employee{ID: "1", Badges: []string{"7", "ab"}}, Employee{ID: "2", Badges: []string{"AB"}}),
			`employees[1].badges[0] (2): badge "ab" stands at employees[0].badges[1] (1) already`},
		{"badge twice", people(Employee{ID: "1", Badges: []string{"ab", "Ab"}}), `employees[0].badges[1] (1): badge "ab" stands at employees[0].badges[0] (1) already`},
		{"empty badge", people(Employee{ID: "1", Badges: []string{""}}), "employees[0].badges[0] (1): is empty"},
		{"PIN of two", people(Employee{ID: "1", PINs: []string{"7"}}, Employee{ID: "2", PINs: []string{"007", "7"}}),
			`employees[1].pins[1] (2): PIN "7" stands at employees[0].pins[0] (1) already`},
		{"empty PIN", people(Employee{ID: "1", PINs: []string{"1", ""}}), "employees[0].pins[1] (1): is empty"},
		{"line in a group", people(Employee{ID: "1", Groups: []string{"a", "b\nc"}}), `employees[0].groups[1] (1): "b\nc" holds a character that nobody sees`},

		{"phone of nothing", phones(Phone{ID: "p"}), "employees[0].phones[0] (1): needs a key (native) or an owntracks_user"},
		{"phone of both", phones(Phone{ID: "p", Key: "k", OwnTracksUser: "u"}), "employees[0].phones[0] (1): has both a key and an owntracks_user; make it two phones"},
		{"phone without id", phones(Phone{Key: "k"}), "employees[0].phones[0].id (1): is empty"},
		{"phone as a topic", phones(Phone{ID: "a/b", Key: "k"}), `employees[0].phones[0].id (1): "a/b" can't be a level of an MQTT topic: it holds one of / + #`},
		{"user as a topic", phones(Phone{OwnTracksUser: "a+"}), `employees[0].phones[0].owntracks_user (1): "a+" can't be a level of an MQTT topic: it holds one of / + #`},
		{"phone of two", people(Employee{ID: "1", Phones: []Phone{{ID: "p", Key: "k"}}}, Employee{ID: "2", Phones: []Phone{{ID: "p", Key: "k"}}}),
			`employees[1].phones[0].id (2): phone "p" stands at employees[0].phones[0].id (1) already`},
		{"one MQTT user for two", people(Employee{ID: "1", Phones: []Phone{{ID: "p", Key: "k"}}}, Employee{ID: "2", Phones: []Phone{{OwnTracksUser: "p"}}}),
			`employees[1].phones[0].owntracks_user (2): phone "p" stands at employees[0].phones[0].id (1) already`},

		{"from", people(Employee{ID: "1", From: "2026-2-3"}), `employees[0].from (1): "2026-2-3" is no date like 2026-11-04`},
		{"until", people(Employee{ID: "1", Until: "2026-02-30"}), `employees[0].until (1): "2026-02-30" is no date like 2026-11-04`},
		{"a time is no date", people(Employee{ID: "1", Until: "2026-02-03T00:00:00Z"}), `employees[0].until (1): "2026-02-03T00:00:00Z" is no date like 2026-11-04`},
		{"backwards", people(Employee{ID: "1", From: "2026-02-02", Until: "2026-02-01"}), "employees[0].until (1): 2026-02-01 is before from, 2026-02-02"},

		{"place without id", &Roster{Places: []Place{{}}}, "places[0].id: is empty"},
		{"place twice", &Roster{Places: []Place{{ID: "hq"}, {ID: "a"}, {ID: "hq"}}}, "places[2].id (hq): places[0] has the same id"},

		{"excuse of nobody", excuse(Excuse{Employee: "2", From: at, Until: at.Add(1)}), "excuses[0].employee (2): no such employee"},
		{"excuse without from", excuse(Excuse{Employee: "1", Until: at}), "excuses[0].from (1): is missing"},
		{"excuse without until", excuse(Excuse{Employee: "1", From: at}), "excuses[0].until (1): is missing"},
		{"excuse of no time", excuse(Excuse{Employee: "1", From: at, Until: at}), "excuses[0].until (1): is not after from"},

		{"several", people(Employee{}, Employee{ID: "1", PINs: []string{""}, Until: "x"}),
			"employees[0].id: is empty\nemployees[1].pins[0] (1): is empty\nemployees[1].until (1): \"x\" is no date like 2026-11-04"},

		{"many badges", people(Employee{ID: "1", Badges: make([]string, maxPerPerson+1)}), "employees[0].badges (1): 65 are too many, the limit is 64"},
		{"many PINs", people(Employee{ID: "1", PINs: make([]string, maxPerPerson+1)}), "employees[0].pins (1): 65 are too many, the limit is 64"},
		{"many phones", people(Employee{ID: "1", Phones: make([]Phone, maxPerPerson+1)}), "employees[0].phones (1): 65 are too many, the limit is 64"},
		{"many groups", people(Employee{ID: "1", Groups: make([]string, maxPerPerson+1)}), "employees[0].groups (1): 65 are too many, the limit is 64"},
		{"many employees", &Roster{Employees: make([]Employee, MaxEmployees+1)}, "employees: 200001 are too many, the limit is 200000"},
		{"many places", &Roster{Places: make([]Place, MaxPlaces+1)}, "places: 50001 are too many, the limit is 50000"},
		{"many policies", &Roster{Policies: make([]Policy, MaxPolicies+1)}, "policies: 10001 are too many, the limit is 10000"},
		{"many excuses", &Roster{Excuses: make([]Excuse, MaxExcuses+1)}, "excuses: 1000001 are too many, the limit is 1000000"},
	} {
		x, err := NewIndex(c.roster)
		if err == nil || x != nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		if err.Error() != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, err, c.want)
		}
		if e, ok := errors.AsType[*EntryError](err); !ok || !strings.HasPrefix(c.want, e.Path) {
			t.Errorf("%s: %T holds no EntryError of its path", c.name, err)
		}
	}
}

// A file that is wrong all over is told in a bounded error.
func TestIndexErrorsAreBounded(t *testing.T) {
	_, err := NewIndex(&Roster{Employees: make([]Employee, 1000)})
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxProblems+1 || lines[maxProblems] != "and 900 more" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

// What was right stays right, and the roster is left as it was.
func TestIndexBounds(t *testing.T) {
	e := Employee{ID: strings.Repeat("x", maxName)}
	for i := range maxPerPerson {
		text := fmt.Sprint(i)
		e.Badges, e.PINs = append(e.Badges, text), append(e.PINs, text)
		e.Groups, e.Phones = append(e.Groups, text), append(e.Phones, Phone{ID: text, Key: "k"})
	}
	r := &Roster{Employees: []Employee{e}}
	x, err := NewIndex(r)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := x.ByPhone("63"); !ok || got != &r.Employees[0] {
		t.Errorf("by phone: %v, %v", got, ok)
	}
	if !slices.Equal(r.Employees[0].Badges, e.Badges) {
		t.Error("the roster has changed")
	}
	if _, err := NewIndex(&Roster{}); err != nil {
		t.Errorf("an empty roster: %v", err)
	}
}

func BenchmarkNewIndex(b *testing.B) {
	r := &Roster{}
	for i := range 10_000 {
		id := fmt.Sprintf("E%05d", i)
		r.Employees = append(r.Employees, Employee{ID: id, Name: "张三", Badges: []string{fmt.Sprintf("00%08X", i)}, PINs: []string{fmt.Sprint(i)},
			Phones: []Phone{{ID: "p-" + id, Key: "k"}}, Groups: []string{"staff"}, From: "2020-01-01"})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewIndex(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkByBadge(b *testing.B) {
	x, err := NewIndex(someRoster())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		x.ByBadge("00AB12CD34")
	}
}
