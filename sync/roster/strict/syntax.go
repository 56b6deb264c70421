package strict

import (
	"strings"

	"github.com/goccy/go-yaml"
)

// notYAML says what the parser found, and where that is known what a person
// does about it: the parser's words are about its grammar.
func notYAML(text string, e *yaml.SyntaxError) *errSyntax {
	s := &errSyntax{line: e.Token.Position.Line, column: e.Token.Position.Column, message: "not YAML: " + e.Message}
	if strings.Contains(e.Message, "tab character") || strings.Contains(e.Message, "'\t'") {
		s.message, s.hint = "not YAML: a tab stands here", "indent with spaces"
		return s
	}
	lines := strings.Split(text, "\n")
	if s.line < 1 || s.line > len(lines) || s.column > len(lines[s.line-1])+1 {
		return s
	}
	if strings.TrimLeft(lines[s.line-1][:max(s.column-1, 0)], " ") != "" {
		return s // not at the beginning of its line, so it is not about lines
	}
	switch e.Message {
	case "value is not allowed in this context", "non-map value is specified":
		above := lineAbove(lines[:s.line-1])
		for _, b := range []string{"[]", "{}"} {
			if strings.HasSuffix(above, b) {
				s.message = "not YAML: an entry below a list or map that has ended"
				s.hint = "take the " + b + " away from the line above: " + above
				return s
			}
		}
		s.hint = "see how far it is indented: what belongs together begins in one column"
	case "unexpected key name":
		s.hint = "a key has a colon and a space behind it"
	}
	return s
}

// lineAbove is the last line that is not empty, without its comment.
func lineAbove(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		line, _, _ := strings.Cut(lines[i], " #")
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return line
		}
	}
	return ""
}
