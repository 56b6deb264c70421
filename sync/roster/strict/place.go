package strict

import (
	"errors"
	"strconv"
	"strings"
)

// splitPath cuts employees[3].badges[0] into employees, 3, badges, 0; a number
// stands for a place in a list.
func splitPath(path string) []string {
	var steps []string
	for _, part := range strings.Split(path, ".") {
		name, index, found := strings.Cut(part, "[")
		if name != "" {
			steps = append(steps, name)
		}
		for found {
			var n string
			n, index, _ = strings.Cut(index, "]")
			steps = append(steps, "["+n)
			_, index, found = strings.Cut(index, "[")
		}
	}
	return steps
}

// placed is an entry whose place is wanted, with those that are wanted in it.
type placed struct {
	line, column int
	found        bool
	inside       map[string]*placed
	left         int // of those inside that are not found
}

// want adds the entry that steps lead to.
func (p *placed) want(steps []string) {
	for _, step := range steps {
		next := p.inside[step]
		if next == nil {
			if p.inside == nil {
				p.inside = map[string]*placed{}
			}
			next = &placed{}
			p.inside[step] = next
			p.left++
		}
		p = next
	}
}

// place is that of the last entry along steps which exists.
func (p *placed) place(steps []string) (line, column int) {
	line, column = p.line, p.column
	for _, step := range steps {
		if p = p.inside[step]; p == nil || !p.found {
			break
		}
		line, column = p.line, p.column
	}
	return line, column
}

// errFound ends a walk whose rest is of no interest.
var errFound = errors.New("found")

// find reads a document and notes the places in it.
func (p *placed) find(src source) {
	e, err := src.next()
	if err != nil {
		return
	}
	p.line, p.column, p.found = e.line, e.column, true
	_ = p.walk(src, e, true) // what is not found has the place of what is around it
}

// walk reads the value that begins with e. Nothing of interest comes behind the
// last one.
func (p *placed) walk(src source, e event, last bool) error {
	if p.left == 0 && last {
		return errFound
	}
	if p.left == 0 || e.kind != mapStart && e.kind != listStart {
		return skip(src, e)
	}
	for i := 0; ; i++ {
		child, err := src.next()
		if err != nil || child.kind == eof || child.kind == listEnd || child.kind == mapEnd {
			return err
		}
		line, column, step := child.line, child.column, child.text // the place of a value in a map is that of its key
		if e.kind == listStart {
			step = "[" + strconv.Itoa(i)
		} else if child, err = src.next(); err != nil {
			return err
		}
		next := p.inside[step]
		if next == nil || next.found { // a key given twice counts where it is first
			err = skip(src, child)
		} else {
			next.line, next.column, next.found = line, column, true
			p.left--
			err = next.walk(src, child, last && p.left == 0)
		}
		if err != nil {
			return err
		}
	}
}
