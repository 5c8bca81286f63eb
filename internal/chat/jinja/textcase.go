package jinja

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Python's case mappings are the full ones of Unicode without a language: one
// character may become several, and a capital sigma depends on its place.

func upper(s string) string {
	return mapRunes(s, func(_ int, r rune) string { return upperRune(r) })
}

func upperRune(r rune) string {
	if many, ok := manyUpper[r]; ok {
		return many
	}
	return string(unicode.ToUpper(r))
}

// capital is the title case of one character.
func capital(r rune) string {
	if many, ok := manyTitle[r]; ok {
		return many
	}
	return string(unicode.ToTitle(r))
}

func lower(s string) string {
	return mapRunes(s, func(i int, r rune) string { return lowerRune(s, i, r) })
}

// lowerRune is the lower case of the character at s[i:].
func lowerRune(s string, i int, r rune) string {
	switch r {
	case 'Σ':
		if finalSigma(s, i) {
			return "ς"
		}
	case 'İ':
		return "i\u0307"
	}
	return string(unicode.ToLower(r))
}

// finalSigma reports whether the capital sigma at s[i:] ends a word: a letter
// stands before it and none behind it, marks and the like not counted.
func finalSigma(s string, i int) bool {
	rest := strings.TrimLeftFunc(s[i+len("Σ"):], ignoresCase)
	before := strings.TrimRightFunc(s[:i], ignoresCase)
	if next, _ := utf8.DecodeRuneInString(rest); isCased(next) {
		return false
	}
	last, _ := utf8.DecodeLastRuneInString(before)
	return isCased(last)
}

// ignoresCase is Unicode's Case_Ignorable.
func ignoresCase(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) ||
		strings.ContainsRune("'.:\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a", r)
}

// mapRunes replaces every character.
func mapRunes(s string, f func(i int, r rune) string) string {
	var b strings.Builder
	for i, r := range s {
		b.WriteString(f(i, r))
	}
	return b.String()
}

func capitalize(s string) string {
	return mapRunes(s, func(i int, r rune) string {
		if i == 0 {
			return capital(r)
		}
		return lowerRune(s, i, r)
	})
}

// title is Python's str.title: a letter is a capital where no letter stands
// before it.
func title(s string) string {
	inWord := false
	return mapRunes(s, func(i int, r rune) string {
		start := !inWord
		inWord = isCased(r)
		if start {
			return capital(r)
		}
		return lowerRune(s, i, r)
	})
}

func swapCase(s string) string {
	return mapRunes(s, func(i int, r rune) string {
		switch {
		case isUpper(r):
			return lowerRune(s, i, r)
		case isLower(r):
			return upperRune(r)
		}
		return string(r)
	})
}

func isUpper(r rune) bool { return unicode.IsUpper(r) || unicode.Is(unicode.Other_Uppercase, r) }
func isLower(r rune) bool { return unicode.IsLower(r) || unicode.Is(unicode.Other_Lowercase, r) }
func isCased(r rune) bool { return isUpper(r) || isLower(r) || unicode.IsTitle(r) }

func caseMethod(s, id string) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		if _, err := bind(id, args, kw, 0); err != nil {
			return nil, err
		}
		if err := m.spendCase(s); err != nil {
			return nil, err
		}
		switch id {
		case "upper":
			return upper(s), nil
		case "lower":
			return lower(s), nil
		case "title":
			return title(s), nil
		case "capitalize":
			return capitalize(s), nil
		case "swapcase":
			return swapCase(s), nil
		}
		return nil, fmt.Errorf("the text method %s is not supported", id)
	}
}

// spendCase counts a change of case, which looks around every capital sigma.
func (m *machine) spendCase(s string) error {
	if n := strings.Count(s, "Σ"); n > 1000 {
		return limitf("%d capital sigmas in a text to be put in lower case", n)
	}
	return m.spend(4 * len(s))
}

// oneCase reports whether text has letters of a case and none of the other.
func oneCase(s string, is, other func(rune) bool) bool {
	found := false
	for _, r := range s {
		if other(r) || unicode.IsTitle(r) {
			return false
		}
		found = found || is(r)
	}
	return found
}

func isTitle(s string) bool {
	found, inWord := false, false
	for _, r := range s {
		switch {
		case isUpper(r) || unicode.IsTitle(r):
			if inWord {
				return false
			}
			inWord, found = true, true
		case isLower(r):
			if !inWord {
				return false
			}
			found = true
		default:
			inWord = false
		}
	}
	return found
}
