package strict

import (
	"strconv"
	"strings"
)

// Nearest is the known word that a mistyped one probably means, or empty if
// none comes near: at most a third of its letters, and no more than three, may
// be wrong, missing or too many; the case does not count. Of two that are
// equally near the first is taken.
func Nearest(word string, known []string) string {
	word = strings.ToLower(word)
	best, limit := "", min(3, max(1, len(word)/3))
	for _, k := range known {
		if d := distance(word, strings.ToLower(k), limit); d <= limit {
			best, limit = k, d-1
		}
	}
	return best
}

// distance counts the letters to change, add, remove or swap with their
// neighbour to make a of b; anything over limit may be told as limit+1.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

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

// locate walks along steps and returns the place of the last one that exists.
func locate(src source, steps []string) (line, column int) {
	e, err := src.next()
	if err != nil {
		return 0, 0
	}
	line, column = e.line, e.column
	for _, step := range steps {
		var ok bool
		if e, ok = descend(src, e, step); !ok {
			return line, column
		}
		line, column = e.line, e.column
	}
	return line, column
}

// descend goes from a map or list to one of its values. The place of a value
// in a map is that of its key.
func descend(src source, e event, step string) (event, bool) {
	want, isIndex := -1, strings.HasPrefix(step, "[")
	if isIndex {
		n, err := strconv.Atoi(step[1:])
		if err != nil {
			return e, false
		}
		want = n
	}
	if isIndex && e.kind != listStart || !isIndex && e.kind != mapStart {
		return e, false
	}
	for i := 0; ; i++ {
		child, err := src.next()
		if err != nil || child.kind == eof || child.kind == listEnd || child.kind == mapEnd {
			return e, false
		}
		line, column := child.line, child.column
		name := child.text
		if !isIndex {
			if child, err = src.next(); err != nil {
				return e, false
			}
		}
		if isIndex && i == want || !isIndex && name == step {
			child.line, child.column = line, column
			return child, true
		}
		if skip(src, child) != nil {
			return e, false
		}
	}
}
