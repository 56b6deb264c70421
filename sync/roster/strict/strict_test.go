package strict

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

type inner struct {
	ID    string   `yaml:"id"`
	Codes []string `yaml:"codes"`
	Lat   float64  `yaml:"lat"`
}

type outer struct {
	Name  string            `yaml:"name"`
	Count uint32            `yaml:"count"`
	Live  *bool             `yaml:"live"`
	Every time.Duration     `yaml:"every"`
	At    time.Time         `yaml:"at"`
	Inner *inner            `yaml:"inner"`
	List  []inner           `yaml:"list"`
	Users map[string]*inner `yaml:"users"`
}

func TestDecode(t *testing.T) {
	yes := true
	want := outer{
		Name: "0012", Count: 7, Live: &yes, Every: 90 * time.Second,
		At:    time.Date(2026, 11, 4, 0, 58, 0, 0, time.UTC),
		Inner: &inner{ID: "1e5", Lat: -0.5},
		List:  []inner{{ID: "a", Codes: []string{"0009351929", "0x1F", "yes", "张三"}}, {ID: "b"}},
		Users: map[string]*inner{"ada": {ID: "x"}},
	}
	for name, text := range map[string]string{
		"yaml block": "name: 0012\ncount: 7\nlive: true\nevery: 1m30s\nat: 2026-11-04T08:58:00+08:00\ninner:\n  id: 1e5\n  lat: -0.5\nlist:\n  - id: a\n    codes: [0009351929, 0x1F, yes, 张三]\n  - {id: b, codes: ~}\nusers: {ada: {id: x}}\n",
		"yaml crlf":  "\ufeffname: '0012'\r\ncount: 7\r\nlive: true\r\nevery: 1m30s\r\nat: \"2026-11-04T08:58:00+08:00\"\r\ninner: {id: \"1e5\", lat: -0.5}\r\nlist:\r\n- {id: a, codes: [\"0009351929\", \"0x1F\", \"yes\", \"\\u5f20三\"]}\r\n- id: b\r\nusers:\r\n  ada:\r\n    id: x\r\n",
		"json": "{\n\t\"name\": \"0012\", \"count\": 7, \"live\": true, \"every\": \"1m30s\",\n\t\"at\": \"2026-11-04T08:58:00+08:00\",\n\t\"inner\": {\"id\": 1e5, \"lat\": -0.5},\n" +
			"\"list\": [{\"id\":\"a\",\"codes\":[\"0009351929\",\"0x1F\",\"yes\",\"\\u5f20三\"]},{\"id\":\"b\",\"codes\":null}],\"users\":{\"ada\":{\"id\":\"x\"}}}\n",
	} {
		var got outer
		if _, err := Decode("f", []byte(text), &got); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !got.At.Equal(want.At) {
			t.Errorf("%s: at %v", name, got.At)
		}
		got.At = want.At
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v\nwant %+v", name, got, want)
		}
	}
}

// Every mistake is told at once, each with its place.
func TestProblems(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "nme: x\nlist:\n  - {id: a, coeds: []}\n", "f:1:1: nme: unknown key \"nme\" (do you mean \"name\"?)\nf:3:13: list[0].coeds: unknown key \"coeds\" (do you mean \"codes\"?)"},
		{"far key", "inner: {zzzzzz: 1}\n", "f:1:9: inner.zzzzzz: unknown key \"zzzzzz\" (known here: codes, id, lat)"},
		{"json unknown", "{\n \"naem\": {\"a\": [1, {}]},\n \"count\": -1\n}", "f:2:2: naem: unknown key \"naem\" (do you mean \"name\"?)\nf:3:11: count: must be a whole number from 0 to 4294967295, not \"-1\""},
		{"case counts", "Name: x\n", "f:1:1: Name: unknown key \"Name\" (do you mean \"name\"?)"},
		{"twice", "name: x\nname: y\n", "f:2:1: name: is given twice, first on line 1"},
		{"twice json", "{\"name\":\"x\",\n\"name\":\"y\"}", "f:2:1: name: is given twice, first on line 1"},
		{"twice in a table", "users:\n  a: {id: x}\n  a: {id: y}\n", "f:3:3: users.a: is given twice"},
		{"types", "count: x\nlive: yes\nevery: 30\nat: 2026-11-04\ninner: 3\nlist: {}\n",
			"f:1:8: count: must be a whole number from 0 to 4294967295, not \"x\"\nf:2:7: live: must be true or false, not \"yes\"\nf:3:8: every: \"30\" is no duration like 30s, 5m or 1h30m\n" +
				"f:4:5: at: \"2026-11-04\" is no time with its offset, like 2026-11-04T08:58:00+08:00\nf:5:8: inner: must be keys and values, not \"3\"\nf:6:7: list: must be a list, not keys and values"},
		{"quoted number", "count: \"7\"\n", "f:1:8: count: must be a whole number from 0 to 4294967295, not \"7\""},
		{"huge number", "count: 4294967296\n", "f:1:8: count: must be a whole number from 0 to 4294967295, not \"4294967296\""},
		{"nan", "inner: {lat: .nan}\n", "f:1:14: inner.lat: must be a number, not \".nan\""},
		{"list for text", "name: [a]\n", "f:1:7: name: must be a single value, not a list"},
		{"empty entry", "list:\n  - id: a\n  -\n", "f:3:5: list[1]: is an empty entry"},
		{"anchor", "name: &a x\n", "f:1:7: anchors and aliases (& and *) are not read here; write the value out, or put it in quotes if it is a text"},
		{"merge", "inner:\n  <<: {id: x}\n", "f:2:3: only plain keys are read here, no mergekey"},
		{"tag", "name: !!binary x\n", "f:1:7: tags (!) are not read here; put the value in quotes if it is a text"},
		{"two documents", "name: x\n---\nname: y\n", "f:3:5: a second document begins here; one file holds one"},
		{"empty", "", "f:1:1: the file is empty"},
		{"comment only", "# nothing\n", "f:1:1: the file is empty"},
		{"not utf-8", "name: x\nab\xff", "f:2:3: not UTF-8 text (save the file as UTF-8)"},
		{"broken yaml", "list: [1,\n", "f:1:7: not YAML: sequence end token ']' not found"},
		{"brackets left above an entry", "name: x\nlist: []   # take these away\n  # an entry:\n\n  - id: a\n",
			"f:5:3: not YAML: an entry below a list or map that has ended (take the [] away from the line above: list: [])"},
		{"brackets left above an entry at their column", "list: []\r\n- id: a\r\n", "f:2:1: not YAML: an entry below a list or map that has ended (take the [] away from the line above: list: [])"},
		{"braces left above a key", "inner: {}\n  id: a\n", "f:2:3: not YAML: an entry below a list or map that has ended (take the {} away from the line above: inner: {})"},
		{"indented otherwise", "list:\n  - id: a\n   lat: 1\n", "f:3:4: not YAML: value is not allowed in this context (see how far it is indented: what belongs together begins in one column)"},
		{"bracket too many", "list: [a]]\n", "f:1:10: not YAML: value is not allowed in this context"},
		{"tab before an entry", "list:\n\t- id: a\n", "f:2:1: not YAML: a tab stands here (indent with spaces)"},
		{"tab before a key", "\tname: x\n", "f:1:5: not YAML: a tab stands here (indent with spaces)"},
		{"no colon", "name x\ncount: 1\n", "f:1:1: not YAML: unexpected key name (a key has a colon and a space behind it)"},
		{"broken json", "{\"name\": tru}", "f:1:10: not JSON: invalid character '}' in literal true (expecting 'e')"},
		{"short json", "{\"name\": \"x\"\n", "f:2:1: not JSON: the text ends too early"},
		{"json and more", "{}\n{}", "f:2:1: not JSON: something follows the last brace"},
		{"list at the top", "- a\n", "f:1:1: must be keys and values, not a list"},
	} {
		_, err := Decode("f", []byte(c.text), new(outer))
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		if err.Error() != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, err, c.want)
		}
		if _, ok := errors.AsType[*Problem](err); !ok {
			t.Errorf("%s: %T holds no Problem", c.name, err)
		}
	}
}

func TestLocate(t *testing.T) {
	for _, text := range []string{
		"name: x\nlist:\n  - id: a\n    codes:\n      - 1\n      - 2\n  - id: b\n",
		"{\"name\": \"x\",\n\"list\":\n[\n{\"id\": \"a\", \"codes\": [\n1,\n2]},\n{\"id\": \"b\"}]}",
	} {
		d, err := Open("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		lines := map[string]int{"name": 1, "list": 2, "list[0].codes[1]": 6, "list[1].id": 7, "list[1].lat": 7, "list[9]": 2, "nothing": 1}
		for path, want := range lines {
			if line, _ := d.Locate(path); line != want {
				t.Errorf("%q in %.10q: line %d, want %d", path, text, line, want)
			}
		}
		var all Problems // in one reading, in any order, some of them twice
		for range 2 {
			for path := range lines {
				all = append(all, &Problem{Path: path})
			}
		}
		d.Place(append(all, &Problem{Message: "of all"}))
		for _, p := range all {
			if p.Line != lines[p.Path] || p.File != "f" {
				t.Errorf("%q in %.10q: %+v, want line %d", p.Path, text, p, lines[p.Path])
			}
		}
	}
}

func TestHostileNesting(t *testing.T) {
	n := 1 << 18
	for name, text := range map[string]string{
		"brackets":     "name: " + strings.Repeat("[", n),
		"braces":       "name: " + strings.Repeat("{a: ", n),
		"dashes":       strings.Repeat("- ", n),
		"questions":    strings.Repeat("? ", n),
		"tags":         "a: " + strings.Repeat("!a ", n),
		"json":         "{\"name\":" + strings.Repeat("[", n),
		"known depth":  "users: {a: {codes: " + strings.Repeat("[", 70) + strings.Repeat("]", 70) + "}}",
		"over the top": strings.Repeat("a", MaxYAML+1),
	} {
		if _, err := Decode("f", []byte(text), new(outer)); err == nil {
			t.Errorf("%s: no error", name)
		} else if len(err.Error()) > 400 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

// What would keep the parser busy for minutes, or fill the memory, is refused
// before it begins, and the error says what helps.
func TestBounds(t *testing.T) {
	many := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	const limits = " in one YAML file"
	for _, c := range []struct{ name, text, want string }{
		{"a long list", "name: [" + strings.Repeat("1,", maxTokens/2+1), "more than 200000 words and signs" + limits + " (write it as JSON, which is read up to 64 MiB)"},
		{"commas", "name: [" + strings.Repeat(",", MaxYAML-100), "more than 200000 words and signs" + limits},
		{"keys of a block", many("k%d: 1\n", maxKeys+1), "f:5001:6: more than 5000 keys in one map" + limits + " (write it as JSON"},
		{"keys of a block in a list", "list:\n - id: a\n" + many("   k%d: {a: [1, 2]}\n", maxKeys), "f:5002:9: more than 5000 keys in one map"},
		{"keys of braces", "users: {" + many("k%d: 1, ", maxKeys+1), "more than 5000 keys in one map"},
		{"words in braces", "users: {" + many("k%d, ", maxKeys+1), "more than 5000 keys in one map"},
		{"pairs in brackets", "list: [" + many("k%d: 1, ", maxKeys+1), "more than 5000 keys in one map"},
		{"one key again and again", strings.Repeat("a:\n", maxKeys+1), "more than 5000 keys in one map"},
		{"empty dashes", "list:\n" + strings.Repeat("-\n", maxEmpty+1), "more than 8000 entries without a value" + limits + " (leave out what has no value, or write it as JSON"},
		{"empty keys", "list:\n" + strings.Repeat(" - id:\n", maxEmpty+1), "more than 8000 entries without a value"},
		{"empty keys in braces", "list: [" + strings.Repeat("{id: },", maxEmpty+1), "more than 8000 entries without a value"},
		{"braces in braces", "name: " + strings.Repeat("{a: ", 1000), "more than 64 levels inside each other"},
		{"over the top", strings.Repeat("#", MaxYAML+1), "f: 524289 bytes of YAML are too many, the limit is 524288 (write it as JSON, which is read up to 64 MiB)"},
	} {
		_, err := Decode("f", []byte(c.text), new(outer))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v\nwant %s", c.name, err, c.want)
		}
	}
	var wide struct {
		List []struct{ Pad [1 << 20]byte } `yaml:"list"`
	}
	_, err := Decode("f", []byte("{\"list\":["+strings.Repeat("{},", maxTaken>>20+1)), &wide)
	if err == nil || !strings.HasSuffix(err.Error(), "more entries than are read of one file") {
		t.Errorf("JSON: %.300v", err)
	}
	// What is about as long and no more than much is read.
	text := "list:\n" + many("  - id: E%d\n    codes: [a, b, c]\n    lat:\n", 4000) + "users: {" + strings.TrimSuffix(many("k%d: {}, ", maxKeys), ", ") + "}\n"
	var got outer
	if _, err := Decode("f", []byte(text), &got); err != nil || len(got.List) != 4000 || len(got.Users) != maxKeys {
		t.Errorf("%v: %d and %d", err, len(got.List), len(got.Users))
	}
}

// An error is short, whatever the file holds.
func TestErrorsAreShort(t *testing.T) {
	long := strings.Repeat("x", 300_000)
	for name, text := range map[string]string{
		"no YAML": strings.Repeat("\x00", MaxYAML), "name": "name: [" + long + "]", "key": long + ": 1\n", "json key": "{\"" + long + "\": 1}",
		"number": "count: " + long, "live": "live: " + long, "every": "every: " + long, "at": "at: " + long, "lat": "inner: {lat: " + long + "}",
		"list": "list: " + long, "above": "name: " + long + "[]\n  - a\n", "user": "users: {" + long + ": {di: 1}}", "bracket": "name: {" + long + "\n" + long,
	} {
		_, err := Decode("f", []byte(text), new(outer))
		if name == "name" || name == "above" { // some of them may be read
			continue
		}
		if err == nil || len(err.Error()) > 1500 {
			t.Errorf("%s: %.200v", name, err)
		}
	}
	_, err := Decode("f", []byte("\"\\e[2J\": 1\n"), new(outer))
	if err == nil || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("a key that a screen obeys: %q", err)
	}
}

// A line is counted once, however it ends.
func TestLinesOfWindows(t *testing.T) {
	for _, text := range []string{
		"# a\n\n# b\nname: x\n\n\nnme: y\n",
		"name: x # one\n\n# two\n\n#\n\nnme: y\n",
		"name: |\n  a\n\n  b\n\n\nnme: y\n",
		"name: 'a\n\n  b'\ncount: 1\n\n\nnme: y\n",
		"list:\n\n  # c\n  - id: a\n\n  - id: b # d\nnme: y\n",
		"list:\n\n\n\n\n\n  - [\n",
		"name: x\n\n\n\n\n\n\tcount: 1\n",
	} {
		for _, text := range []string{text, strings.ReplaceAll(text, "\n", "\r\n")} {
			_, err := Decode("f", []byte(text), new(outer))
			if err == nil || !strings.HasPrefix(err.Error(), "f:7:") {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}

// A file with as many mistakes as lines is told in a bounded error.
func TestManyProblems(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	_, err := Decode("f", []byte(b.String()), new(outer))
	if err == nil || strings.Count(err.Error(), "\n") != MaxProblems || !strings.HasSuffix(err.Error(), "and 4950 more") {
		t.Errorf("%v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"name: 0012\nlist:\n  - {id: a}\n", "{\"name\":\"x\",\"list\":[{\"id\":\"a\"}]}", "a: &x 1\nb: *x\n", "? a\n: b\n", "a: |\n  x\n", "- 1\n", "{", "a: [", "users: {a: {}, a: {}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var a, b outer
		d, err := Decode("f", []byte(s), &a)
		if err != nil {
			return
		}
		// Decoding is a function: the same text gives the same value.
		if _, err := Decode("f", []byte(s), &b); err != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("two readings differ: %+v %+v (%v)", a, b, err)
		}
		if line, column := d.Locate("list[0].id"); line < 0 || column < 0 {
			t.Errorf("place %d:%d", line, column)
		}
	})
}
