package strict

import (
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/token"
)

// Bounds of a YAML file beside its size. The parser copies its tokens for
// every entry without a value, and the keys of a map for every key, so that
// half a megabyte of either took minutes; it also keeps some 500 bytes for
// each token. Within these bounds nothing takes more than two seconds or 200 MB
// on a small machine.
const (
	maxDepth  = 64 // levels inside each other
	maxTokens = 200_000
	maxKeys   = 5_000 // of one map
	maxEmpty  = 8_000 // entries without a value in the file
)

// maxRead bounds the words and signs of a JSON file. The largest roster has fewer.
const maxRead = 10_000_000

// bounds counts what is costly for the parser, before it sees a token.
type bounds struct {
	tokens token.Tokens
	flow   []*flowLevel // [ and { that are open
	block  []blockMap   // maps by indentation, the outermost first
	line   int          // of the dashes counted in same
	same   int          // dashes on this line
	empty  int
}

// flowLevel is one [ or {.
type flowLevel struct {
	braces         bool
	colons, commas int
	value          bool // a colon since the last comma
}

// blockMap is a map whose keys begin in one column.
type blockMap struct{ column, keys int }

// checkBounds refuses what would take the parser long, much memory, or all of
// its stack: it descends once per level.
func checkBounds(tokens token.Tokens) error {
	if len(tokens) > maxTokens {
		return over(tokens[maxTokens], "words and signs", maxTokens)
	}
	b := bounds{tokens: tokens}
	for i, t := range tokens {
		if err := b.token(i, t); err != nil {
			return err
		}
	}
	return nil
}

func misplaced(t *token.Token, format string, args ...any) *errSyntax {
	return &errSyntax{line: t.Position.Line, column: t.Position.Column, message: fmt.Sprintf(format, args...)}
}

func over(t *token.Token, what string, limit int) *errSyntax {
	e := misplaced(t, "more than %d %s in one YAML file", limit, what)
	e.hint = asJSON
	return e
}

// asJSON is what helps with a file that is too much for YAML.
var asJSON = fmt.Sprintf("write it as JSON, which is read up to %d MiB", MaxJSON>>20)

func (b *bounds) token(i int, t *token.Token) error {
	switch t.Type {
	case token.MappingStartType, token.SequenceStartType:
		b.flow = append(b.flow, &flowLevel{braces: t.Type == token.MappingStartType})
	case token.MappingEndType, token.SequenceEndType, token.CollectEntryType:
		b.separate(i, t)
	case token.SequenceEntryType:
		b.deeper(t)
		b.leave(t.Position.Column)
		if next := b.next(i); next == nil || next.Position.Column < t.Position.Column ||
			next.Position.Column == t.Position.Column && next.Type == token.SequenceEntryType {
			b.empty++
		}
	case token.MappingKeyType:
		b.deeper(t)
	case token.TagType:
		return misplaced(t, "tags (!) are not read here; put the value in quotes if it is a text")
	case token.AnchorType, token.AliasType:
		return misplaced(t, "anchors and aliases (& and *) are not read here; write the value out, or put it in quotes if it is a text")
	case token.MappingValueType:
		b.colon(i)
	}
	keys := 0
	if n := len(b.flow); n > 0 {
		keys = max(b.flow[n-1].colons, b.flow[n-1].commas)
	} else if n := len(b.block); n > 0 {
		keys = b.block[n-1].keys
	}
	switch {
	case len(b.flow)+b.same > maxDepth:
		return misplaced(t, "more than %d levels inside each other", maxDepth)
	case keys > maxKeys:
		return over(t, "keys in one map", maxKeys)
	case b.empty > maxEmpty:
		e := over(t, "entries without a value", maxEmpty)
		e.hint = "leave out what has no value, or " + asJSON
		return e
	}
	return nil
}

// deeper counts what stands on one line and makes a level each.
func (b *bounds) deeper(t *token.Token) {
	if t.Position.Line != b.line {
		b.same, b.line = 0, t.Position.Line
	}
	b.same++
}

// leave ends the block maps whose keys begin behind a column.
func (b *bounds) leave(column int) {
	for n := len(b.block); n > 0 && b.block[n-1].column > column; n-- {
		b.block = b.block[:n-1]
	}
}

// colon counts a key.
func (b *bounds) colon(i int) {
	if n := len(b.flow); n > 0 {
		b.flow[n-1].colons++
		b.flow[n-1].value = true
		return
	}
	if i == 0 {
		return // no key: the parser tells it
	}
	column := b.tokens[i-1].Position.Column
	b.leave(column)
	if n := len(b.block); n > 0 && b.block[n-1].column == column {
		b.block[n-1].keys++
	} else {
		b.block = append(b.block, blockMap{column, 1})
	}
	if next := b.next(i); next == nil || next.Position.Column < column ||
		next.Position.Column == column && next.Type != token.SequenceEntryType {
		b.empty++
	}
}

// separate takes a comma or the end of a flow level.
func (b *bounds) separate(i int, t *token.Token) {
	n := len(b.flow)
	if n == 0 {
		return
	}
	f, before := b.flow[n-1], b.tokens[i-1]
	none := f.braces && !f.value && before.Type != token.CollectEntryType && before.Type != token.MappingStartType
	if none || before.Type == token.MappingValueType {
		b.empty++
	}
	f.value = false
	if t.Type != token.CollectEntryType {
		b.flow = b.flow[:n-1]
	} else if f.braces {
		f.commas++
	}
}

// next is the token behind a place, without comments.
func (b *bounds) next(i int) *token.Token {
	rest := b.tokens[i+1:]
	if k := slices.IndexFunc(rest, func(t *token.Token) bool { return t.Type != token.CommentType }); k >= 0 {
		return rest[k]
	}
	return nil
}
