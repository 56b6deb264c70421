package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/punchd/punchd/"

// houses are the top-level folders, with what each may import of ours beside
// itself. The reason is part of the rule.
var houses = map[string]struct {
	may []string
	why string
}{
	"protocol":     {nil, "languages know nothing of what speaks them"},
	"device":       {[]string{"protocol"}, "a driver hands over facts and never learns what becomes of them"},
	"geofence":     {[]string{"protocol"}, "judgement is a pure function of a check-in and a roster"},
	"sync":         {[]string{"protocol"}, "the ledger must not care where a record came from"},
	"firmware-sim": {[]string{"protocol"}, "a simulator that shares the daemon's code would share its mistakes"},
	"cmd":          {[]string{"protocol", "device", "geofence", "sync", "firmware-sim"}, "wiring sees everything"},
}

// sources parses every Go file below the module's root. The files themselves
// are read, not what the go command says of them: the test cache would serve
// that stale.
func sources(t *testing.T, visit func(path string, imports []string, doc string, test bool)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		var imports []string
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, p)
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(rel), imports, f.Doc.Text(), strings.HasSuffix(path, "_test.go"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func house(path string) string {
	top, _, _ := strings.Cut(path, "/")
	return top
}

// TestArrowsPointAtProtocol holds the one rule of the layout.
func TestArrowsPointAtProtocol(t *testing.T) {
	files := 0
	sources(t, func(path string, imports []string, _ string, _ bool) {
		files++
		from := house(path)
		rule, ok := houses[from]
		if !ok {
			t.Errorf("%s: %s is not one of the fixed top-level folders", path, from)
			return
		}
		for _, p := range imports {
			ours, found := strings.CutPrefix(p, module)
			if !found {
				continue
			}
			if to := house(ours); to != from && !slices.Contains(rule.may, to) {
				t.Errorf("%s imports %s: %s", path, p, rule.why)
			}
			if strings.HasPrefix(ours, "cmd/") && from != "cmd" {
				t.Errorf("%s imports %s: only a command knows the wiring", path, p)
			}
		}
	})
	if files < 50 {
		t.Errorf("only %d source files were read; the walk does not reach the tree", files)
	}
}

// TestProtocolIsPure holds that a language does no I/O, reads no clock and
// starts nothing, as far as imports and calls can show it.
func TestProtocolIsPure(t *testing.T) {
	forbidden := map[string]string{
		"os": "files belong to sync", "net": "connections belong to device", "net/http": "connections belong to device",
		"log": "the caller logs", "log/slog": "the caller logs", "context": "nothing here waits", "sync": "nothing here is shared",
		"math/rand": "the caller gives randomness", "math/rand/v2": "the caller gives randomness", "os/exec": "no",
	}
	sources(t, func(path string, imports []string, _ string, test bool) {
		if house(path) != "protocol" || test {
			return
		}
		for _, p := range imports {
			if why, bad := forbidden[p]; bad {
				t.Errorf("%s imports %s: %s", path, p, why)
			}
		}
		text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{"time.Now(", "time.Since(", "time.Sleep(", "time.After(", "\tgo func"} {
			if strings.Contains(string(text), call) {
				t.Errorf("%s contains %s: a language has no clock and starts nothing", path, strings.TrimSpace(call))
			}
		}
	})
}

// TestEveryPackageSaysWhatItIs holds that each package opens with a comment.
func TestEveryPackageSaysWhatItIs(t *testing.T) {
	documented := map[string]bool{}
	sources(t, func(path string, _ []string, doc string, test bool) {
		dir := filepath.ToSlash(filepath.Dir(path))
		if test {
			return
		}
		documented[dir] = documented[dir] || doc != ""
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

// TestSyncIsANamespace holds that `sync` in our code always means the
// standard package.
func TestSyncIsANamespace(t *testing.T) {
	sources(t, func(path string, _ []string, _ string, _ bool) {
		if filepath.ToSlash(filepath.Dir(path)) == "sync" {
			t.Errorf("%s: no Go file stands directly in sync/", path)
		}
	})
}
