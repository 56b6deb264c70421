package command

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/punchd/punchd/protocol/attendance"
)

// Whatever people are called, what is pasted says so.
func TestEmployeesYAML(t *testing.T) {
	var want []attendance.Employee
	for i, name := range []string{
		"Ada Lovelace", "王小明", "歐陽 娜娜", "全角\u3000空格", "Seán O'Connor", `a "b" c`, `back\slash`, "'", "yes", "null", "0012", "1e3", "~", "- x", "a: b", "a #b",
		"{a}", "[a]", "*a", "&a", "!a", "%a", "@a", "  both ends  ", "two\nlines", "tab\there", "bell\a\x7f\u0085\u2028", "😀", "",
	} {
		e := attendance.Employee{ID: name, Name: name, Phones: []attendance.Phone{{ID: "p", Key: `{"kty":"OKP","x":"` + name + `"}`}}}
		if i%2 == 1 {
			e.Phones = []attendance.Phone{{OwnTracksUser: "o" + name}}
		}
		want = append(want, e)
	}
	text := "employees:\n" + employeesYAML(want) + "places: []\n"
	var got attendance.Roster
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for i := range want {
		if i >= len(got.Employees) || !reflect.DeepEqual(got.Employees[i], want[i]) {
			t.Errorf("%q is not what is read from\n%s", want[i].Name, employeesYAML(want[i:i+1]))
		}
	}
	if !strings.Contains(text, "name: '王小明'\n") {
		t.Error("a Chinese name is not to be read by people")
	}
}

// The key is found where punchd init puts it, from both places in which the
// documents have people stand.
func TestGatewayKey(t *testing.T) {
	const public = `{"kty":"OKP","crv":"Ed25519","x":"Mb4Qd8op1HYNq-LY4jhYgsXJSZO5OkIQSi60PF-zqxQ"}`
	dir := t.TempDir()
	office := filepath.Join(dir, "my-office")
	if err := os.MkdirAll(filepath.Join(office, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(office, defaultKey)
	if err := os.WriteFile(file, []byte(public), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, named, site, wrong string }{
		{dir: office, site: "my-office"},
		{dir: office, site: "another"},
		{dir: dir, site: "my-office"},
		{dir: t.TempDir(), named: file, site: "another"},
		{dir: dir, site: "another", wrong: "keys/gateway.pub, another/keys/gateway.pub: no such file"},
		{dir: office, named: "typo", site: "my-office", wrong: "typo: no such file"},
	} {
		t.Chdir(c.dir)
		key, err := gatewayKey(c.named, c.site)
		switch {
		case c.wrong == "" && (err != nil || key.Algorithm() == ""):
			t.Errorf("%+v: %v", c, err)
		case c.wrong != "" && (err == nil || !strings.HasPrefix(filepath.ToSlash(err.Error()), c.wrong)):
			t.Errorf("%+v: %v", c, err)
		}
	}
}
