package attendance

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// Whoever gets a code must find it explained: every one that is declared stands
// in FORMAT.md, and nothing else does.
func TestReasonsAreExplained(t *testing.T) {
	find := func(file, pattern string) (found []string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			found = append(found, m[1])
		}
		slices.Sort(found)
		return found
	}
	declared := find("reason.go", `Reason = "([a-z-]+)"`)
	explained := find("FORMAT.md", "(?m)^\\| `([a-z]+(?:-[a-z]+)*)` \\| [^|]+ \\| [^|]*\\|$")
	if len(declared) < 20 || !slices.Equal(declared, explained) {
		t.Errorf("declared are %v\nexplained are %v", declared, explained)
	}
}
