// Package strict reads the YAML and JSON files that people write, and says of
// every mistake in them where it stands.
//
// It is stricter than YAML: a key that the target type does not have, a key
// given twice, anchors, aliases, merge keys, tags and more than one document
// are mistakes. A text keeps the characters it was written with, so that the
// PIN 0012 does not become the number 10.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a file. A YAML tree takes up to several hundred times its text in
// memory, JSON is read as a stream.
const (
	MaxYAML = 512 << 10 // bytes; see also bounds.go
	MaxJSON = 64 << 20  // bytes
	// MaxProblems is how many mistakes are told at once.
	MaxProblems = 50

	maxFound = 10_000   // mistakes; the reading ends there
	maxTaken = 96 << 20 // bytes of the entries of all lists
	maxStep  = 128      // characters of a key in a path
	maxText  = 1000     // characters of a path, a message or a hint
)

// Problem is one mistake and where it stands. Line and Column count from 1; 0
// means that the place is not known. Path is empty for a mistake of the text
// itself.
type Problem struct {
	File         string
	Line, Column int
	Path         string // as in terminals[0].driver
	Message      string
	Hint         string // what may be meant, empty if nothing comes near
}

// cut bounds what a problem tells: a file may hold a word of any length, and a
// key in its path one that a screen obeys.
func (p *Problem) cut() *Problem {
	p.Path = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, p.Path)
	p.Path, p.Message, p.Hint = cut(p.Path, maxText), cut(p.Message, maxText), cut(p.Hint, maxText)
	return p
}

// cut shortens a text to n characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := range s {
		if n--; n < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	if p.Path != "" {
		b.WriteString(": " + p.Path)
	}
	b.WriteString(": " + p.Message)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Problems are all mistakes of one file, in the order of its lines.
type Problems []*Problem

func (ps Problems) Error() string {
	lines := make([]string, 0, len(ps)+1)
	for i, p := range ps {
		if i == MaxProblems {
			lines = append(lines, fmt.Sprintf("and %d more", len(ps)-i))
			break
		}
		lines = append(lines, p.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the single problems to [errors.As].
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// Document is a file that was read, so that what is found wrong later can be
// said with its line. It is not safe for concurrent use.
type Document struct {
	file   string
	text   []byte
	json   bool
	parsed []event // of YAML, whose parser is slow; JSON is read anew
}

// Open looks at a file's text without decoding it: it must be UTF-8 and within
// the bounds. It is JSON if its first character is a brace.
func Open(file string, text []byte) (*Document, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	d := &Document{file: file, text: text}
	d.json = bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{"))
	if !utf8.Valid(text) {
		line, column := 1, 1
		for i := 0; i < len(text); {
			r, n := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			if column++; r == '\n' {
				line, column = line+1, 1
			}
			i += n
		}
		return nil, Problems{{File: file, Line: line, Column: column, Message: "not UTF-8 text", Hint: "save the file as UTF-8"}}
	}
	if d.json && len(text) > MaxJSON {
		return nil, Problems{{File: file, Message: fmt.Sprintf("%d bytes are too many, the limit is %d", len(text), MaxJSON)}}
	}
	if !d.json && len(text) > MaxYAML {
		return nil, Problems{{File: file, Message: fmt.Sprintf("%d bytes of YAML are too many, the limit is %d", len(text), MaxYAML),
			Hint: asJSON}}
	}
	return d, nil
}

// Decode reads a file into what v points to, a struct whose keys are its yaml
// tags. The error is a [Problems] that holds every mistake, and v must not be
// used then.
func Decode(file string, text []byte, v any) (*Document, error) {
	d, err := Open(file, text)
	if err != nil {
		return nil, err
	}
	src, err := d.events()
	if err != nil {
		return nil, d.syntax(err)
	}
	dec := decoder{doc: d, src: src}
	if err := dec.document(reflect.ValueOf(v).Elem()); err != nil && !errors.Is(err, errEnough) {
		return nil, append(dec.problems, d.syntax(err)...)
	}
	if len(dec.problems) > 0 {
		return nil, dec.problems
	}
	return d, nil
}

// Problem makes a mistake at a path, with its line; a path that is not in the
// file stands at the nearest entry above it.
func (d *Document) Problem(path, format string, args ...any) *Problem {
	p := &Problem{Path: path, Message: fmt.Sprintf(format, args...)}
	d.Place(Problems{p})
	return p
}

// Place gives problems that hold a path and a message their file and line, all
// in one reading. One without a path is about all of the file.
func (d *Document) Place(ps Problems) {
	var root placed
	for _, p := range ps {
		root.want(splitPath(p.Path))
	}
	if src, err := d.events(); err == nil { // else nothing has a place
		root.find(src)
	}
	for _, p := range ps {
		if p.Path != "" {
			p.Line, p.Column = root.place(splitPath(p.Path))
		}
		p.File = d.file
		p.cut()
	}
}

// Locate finds the line and column, from 1, of a path like
// employees[3].badges[0], or of the nearest entry above it.
func (d *Document) Locate(path string) (line, column int) {
	p := &Problem{Path: path}
	d.Place(Problems{p})
	return p.Line, p.Column
}

func (d *Document) events() (source, error) {
	if d.json {
		return newJSONSource(d.text), nil
	}
	if d.parsed == nil {
		s, err := newYAMLSource(d.text)
		if err != nil {
			return nil, err
		}
		d.parsed = s.events
	}
	return &yamlSource{d.parsed}, nil
}

// errSyntax is a mistake of the text itself, with its place.
type errSyntax struct {
	line, column int
	message      string
	hint         string
}

func (e *errSyntax) Error() string { return e.message }

func (d *Document) syntax(err error) Problems {
	var s *errSyntax
	if errors.As(err, &s) {
		return Problems{(&Problem{File: d.file, Line: s.line, Column: s.column, Message: s.message, Hint: s.hint}).cut()}
	}
	return Problems{(&Problem{File: d.file, Message: err.Error()}).cut()}
}
