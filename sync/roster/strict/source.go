package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// kind says what an event is.
type kind uint8

const (
	eof kind = iota
	mapStart
	mapKey
	mapEnd
	listStart
	listEnd
	scalar
)

// event is one step through a document; both languages give the same ones.
type event struct {
	kind   kind
	text   string
	quoted bool // a text for certain: it stands in quotes
	null   bool
	line   int
	column int
}

// source gives the events of a document, eof for ever at its end. A source
// gives well-formed sequences only; a mistake of the text is an error.
type source interface {
	next() (event, error)
}

// jsonSource reads JSON as a stream.
type jsonSource struct {
	text      []byte
	dec       *json.Decoder
	open      []json.Delim
	key       bool // the next string is a key
	done      bool
	read      int // words and signs
	counted   int // bytes whose lines are counted
	line      int
	lineStart int
}

func newJSONSource(text []byte) *jsonSource {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return &jsonSource{text: text, dec: dec, line: 1}
}

// place is the line and column of an offset that is not before the last one.
func (s *jsonSource) place(offset int) (int, int) {
	part := s.text[s.counted:offset]
	if n := bytes.Count(part, []byte("\n")); n > 0 {
		s.line += n
		s.lineStart = s.counted + bytes.LastIndexByte(part, '\n') + 1
	}
	s.counted = offset
	return s.line, offset - s.lineStart + 1
}

func (s *jsonSource) fail(offset int, format string, args ...any) error {
	line, column := s.place(min(max(offset, s.counted), len(s.text)))
	return &errSyntax{line: line, column: column, message: fmt.Sprintf(format, args...)}
}

func (s *jsonSource) next() (event, error) {
	if s.done {
		return s.end()
	}
	start := int(s.dec.InputOffset())
	for start < len(s.text) && strings.IndexByte(" \t\r\n,:", s.text[start]) >= 0 {
		start++
	}
	token, err := s.dec.Token()
	if err != nil {
		var syntax *json.SyntaxError
		switch {
		case errors.As(err, &syntax):
			return event{}, s.fail(int(syntax.Offset)-1, "not JSON: %s", syntax)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return event{}, s.fail(len(s.text), "not JSON: the text ends too early")
		}
		return event{}, s.fail(start, "not JSON: %s", err)
	}
	if s.read++; s.read > maxRead {
		return event{}, s.fail(start, "more than %d words and signs in one file", maxRead)
	}
	e := event{kind: scalar}
	e.line, e.column = s.place(start)
	inMap := len(s.open) > 0 && s.open[len(s.open)-1] == '{'
	wasKey := inMap && s.key
	s.key = inMap && !s.key
	switch t := token.(type) {
	case json.Delim:
		e.kind = map[json.Delim]kind{'{': mapStart, '}': mapEnd, '[': listStart, ']': listEnd}[t]
		if t == '{' || t == '[' {
			if s.open = append(s.open, t); len(s.open) > maxDepth {
				return event{}, s.fail(start, "more than %d levels inside each other", maxDepth)
			}
			s.key = t == '{'
			break
		}
		s.open = s.open[:len(s.open)-1]
		s.key = len(s.open) > 0 && s.open[len(s.open)-1] == '{'
		s.done = len(s.open) == 0
	case string:
		e.text, e.quoted = t, true
		if wasKey {
			e.kind = mapKey
		}
	case json.Number:
		e.text = t.String()
	case bool:
		e.text = fmt.Sprint(t)
	case nil:
		e.null = true
	}
	return e, nil
}

// end sees to it that nothing follows the value.
func (s *jsonSource) end() (event, error) {
	rest := s.text[s.dec.InputOffset():]
	if trimmed := bytes.TrimLeft(rest, " \t\r\n"); len(trimmed) > 0 {
		return event{}, s.fail(len(s.text)-len(trimmed), "not JSON: something follows the last brace")
	}
	return event{kind: eof}, nil
}

// yamlSource holds the events of a YAML document, which is parsed as a whole.
type yamlSource struct {
	events []event
}

func (s *yamlSource) next() (event, error) {
	if len(s.events) == 0 {
		return event{kind: eof}, nil
	}
	e := s.events[0]
	s.events = s.events[1:]
	return e, nil
}

func newYAMLSource(text []byte) (*yamlSource, error) {
	// The lexer counts a line end of Windows behind a comment, or alone, twice.
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	tokens := lexer.Tokenize(string(text))
	if err := checkBounds(tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) && syntax.Token != nil && syntax.Token.Position != nil {
			return nil, notYAML(string(text), syntax)
		}
		return nil, &errSyntax{message: "not YAML: " + err.Error()}
	}
	s := &yamlSource{}
	seen := false
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if seen {
			return nil, at(doc.Body, "a second document begins here; one file holds one")
		}
		seen = true
		if err := s.add(doc.Body, 0); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func at(n ast.Node, format string, args ...any) error {
	e := &errSyntax{message: fmt.Sprintf(format, args...)}
	if t := n.GetToken(); t != nil && t.Position != nil {
		e.line, e.column = t.Position.Line, t.Position.Column
	}
	return e
}

func (s *yamlSource) put(k kind, n ast.Node, text string) {
	e := event{kind: k, text: text}
	if t := n.GetToken(); t != nil && t.Position != nil {
		e.line, e.column = t.Position.Line, t.Position.Column
	}
	s.events = append(s.events, e)
}

func (s *yamlSource) add(n ast.Node, depth int) error {
	if depth > maxDepth {
		return at(n, "more than %d levels inside each other", maxDepth)
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return s.mapping(n, n.Values, depth)
	case *ast.MappingValueNode:
		return s.mapping(n, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		s.put(listStart, n, "")
		for _, item := range n.Values {
			if err := s.add(item, depth+1); err != nil {
				return err
			}
		}
		s.put(listEnd, n, "")
	case *ast.NullNode:
		s.put(scalar, n, "")
		s.events[len(s.events)-1].null = true
	case *ast.StringNode:
		s.put(scalar, n, n.Value)
		origin := strings.TrimSpace(n.Token.Origin)
		s.events[len(s.events)-1].quoted = strings.HasPrefix(origin, `"`) || strings.HasPrefix(origin, "'")
	case *ast.LiteralNode:
		s.put(scalar, n, n.Value.Value)
		s.events[len(s.events)-1].quoted = true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		s.put(scalar, n, n.GetToken().Value)
	default:
		return at(n, "%s is not read here", strings.ToLower(n.Type().String()))
	}
	return nil
}

func (s *yamlSource) mapping(n ast.Node, values []*ast.MappingValueNode, depth int) error {
	s.put(mapStart, n, "")
	if len(values) > 0 {
		// The token of a block mapping is the first colon; its first key is
		// where a person looks.
		if t := values[0].Key.GetToken(); t != nil && t.Position != nil {
			start := &s.events[len(s.events)-1]
			start.line, start.column = t.Position.Line, t.Position.Column
		}
	}
	for _, v := range values {
		switch key := v.Key.(type) {
		case *ast.StringNode:
			s.put(mapKey, key, key.Value)
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
			s.put(mapKey, key, key.GetToken().Value)
		default:
			return at(v.Key, "only plain keys are read here, no %s", strings.ToLower(v.Key.Type().String()))
		}
		if err := s.add(v.Value, depth+1); err != nil {
			return err
		}
	}
	s.put(mapEnd, n, "")
	return nil
}
