package config

import (
	"fmt"
	"strings"
)

// suggest ends a message about an unknown word with the known one that is
// nearest, or with all of them.
func suggest(word string, known []string) string {
	if len(known) == 0 {
		return "there are none"
	}
	if k := nearest(word, known); k != "" {
		return fmt.Sprintf("did you mean %q?", k)
	}
	return "known: " + strings.Join(known, ", ")
}

// nearest returns the known word, or the path that ends in it, that is at most
// two slips of the finger away, or "".
func nearest(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		for _, spelling := range []string{k, k[strings.LastIndex(k, ".")+1:]} {
			// Two changes make anything out of a word of three letters.
			if d := distance(strings.ToLower(word), spelling); d < least && d*2 < len(spelling) {
				best, least = k, d
			}
		}
	}
	return best
}

// distance returns the number of letters to insert, delete, replace or swap with
// their neighbour to make b of a.
func distance(a, b string) int {
	// A name has at most a few dozen letters; do not spend time on anything else.
	if len(a) > 2*maxName {
		return len(a)
	}
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
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
	}
	return row[len(b)]
}
