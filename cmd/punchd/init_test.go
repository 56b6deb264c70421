package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// What init prints to be done next is called as init itself was.
func TestSelf(t *testing.T) {
	for arg0, want := range map[string]string{
		"punchd": "punchd", "./punchd": "./punchd", "../punchd": "../punchd", "/opt/my tools/punchd": "'/opt/my tools/punchd'",
		"/tmp/go-build123/b001/exe/punchd": "punchd", "it's": `'it'\''s'`,
	} {
		if got := self(arg0); got != want {
			t.Errorf("%s: %s, want %s", arg0, got, want)
		}
	}
	t.Chdir(filepath.Join("..", ".."))
	if got := self("/tmp/go-build123/b001/exe/punchd"); got != "go run ./cmd/punchd" {
		t.Errorf("by go run: %s", got)
	}
}

func TestRightValues(t *testing.T) {
	for _, c := range []struct{ site, zone, want string }{
		{"hq", "+08:00", ""},
		{"a b", "", "nothing was written; --site: \"a b\" may hold letters, digits, dots, dashes and underscores, and begins with a letter or digit"},
		{"", "Asia/Shangai", `nothing was written; --timezone: unknown time zone "Asia/Shangai" (do you mean "Asia/Shanghai"?)`},
		{strings.Repeat("x", 65), "", "nothing was written; --site: has 65 bytes, the limit is 64"},
	} {
		files, err := newFiles(c.site, c.zone)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := rightValues("punchd.yaml", files[0].text); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q %q: %s, want %s", c.site, c.zone, got, c.want)
		}
	}
}
