package roster

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
)

// What only follows from another mistake is left out; the rest is told at once,
// in the order of the lines. (More of it where rosters are judged, in cmd.)
func TestExamine(t *testing.T) {
	accept := func(s *Snapshot) ([]error, error) {
		if s.Roster.Version == "good" {
			return []error{&attendance.EntryError{Path: "employees[0]", Err: errors.New("is lonely")}, errors.New("everywhere")}, nil
		}
		return nil, &attendance.EntryError{Path: "policies[0].place", Err: errors.New("there is no place")}
	}
	for _, c := range []struct{ name, text, mistakes, warnings string }{
		{"good", "version: good\nemployees: [{id: E1}]\n", "", "f:2:14: employees[0]: is lonely\nf: everywhere"},
		{"all sorts", "policies: [{place: x}]\nemployees:\n  - {id: E1, pins: [\"\"]}\n  - {id: E2, naem: x}\n",
			"f:1:13: policies[0].place: there is no place\nf:3:21: employees[0].pins[0]: \"E1\": is empty\nf:4:14: employees[1].naem: unknown key \"naem\" (do you mean \"name\"?)", ""},
		{"one and what follows", "policies: [{place: x}]\nplaces: [{idd: x}]\n", "f:2:11: places[0].idd: unknown key \"idd\" (do you mean \"id\"?)", ""},
		{"no YAML", "employees: [\n", "f:1:12: not YAML: sequence end token ']' not found", ""},
	} {
		x := examine("f", []byte(c.text), accept)
		if x.Mistakes.Error() != c.mistakes || x.Warnings.Error() != c.warnings {
			t.Errorf("%s:\n got %s\nwant %s\nwarnings\n got %s\nwant %s", c.name, x.Mistakes, c.mistakes, x.Warnings, c.warnings)
		}
	}
}

func TestExamineNeedsAFile(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{"none": "there is no file " + filepath.Join(dir, "none"), ".": dir + " is no regular file"} {
		if x, err := Examine(filepath.Join(dir, name), nil); x != nil || err == nil || err.Error() != want {
			t.Errorf("%s: %v, %v, want %s", name, x, err, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("employees: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	x, err := Examine(filepath.Join(dir, "f"), func(*Snapshot) ([]error, error) { return nil, errors.New("no") })
	if err != nil || x.Mistakes.Error() != filepath.Join(dir, "f")+": no" {
		t.Errorf("%v, %v", x, err)
	}
}
