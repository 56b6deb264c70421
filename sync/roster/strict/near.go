package strict

import "strings"

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
