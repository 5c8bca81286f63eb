package token

import (
	"sync"
	"unicode/utf8"
)

//go:generate go run _gen/classes.go

// class is a set of properties of a character. Exactly one category bit is set
// for every character (none for the separators, which are all white space), so
// that the class of a character is never 0 and 0 can mean "no character".
type class uint8

const (
	letter class = 1 << iota
	number
	mark
	punct
	symbol
	space   // white space, in addition to a category
	control // controls, formats, surrogates, private use
	unassigned
)

// classes is the table of all characters' classes, spread out from the runs of
// classes_table.go the first time a tokenizer needs it (about a millisecond).
var classes = sync.OnceValue(func() *[utf8.MaxRune + 1]class {
	t := new([utf8.MaxRune + 1]class)
	for i, run := range classRuns {
		end := len(t)
		if i+1 < len(classRuns) {
			end = int(classRuns[i+1] >> 8)
		}
		for r := int(run >> 8); r < end; r++ {
			t[r] = class(run)
		}
	}
	return t
})

// interval is a range of characters, both ends included.
type interval struct{ lo, hi rune }

// within reports whether r is in one of the sorted intervals.
func within(set []interval, r rune) bool {
	lo, hi := 0, len(set)
	for lo < hi {
		mid := (lo + hi) / 2
		switch {
		case r < set[mid].lo:
			hi = mid
		case r > set[mid].hi:
			lo = mid + 1
		default:
			return true
		}
	}
	return false
}

func between(r, lo, hi rune) bool { return lo <= r && r <= hi }

// isHan reports whether r is a Chinese character for the purpose of splitting
// words: the unified blocks A to F and the compatibility blocks.
func isHan(r rune) bool {
	return r >= 0x3400 && (r <= 0x4DBF || between(r, 0x4E00, 0x9FFF) || between(r, 0xF900, 0xFAFF) ||
		between(r, 0x20000, 0x2A6DF) || between(r, 0x2A700, 0x2EBEF) || between(r, 0x2F800, 0x2FA1F))
}
