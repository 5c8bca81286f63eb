package jinja

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// Python's case mappings are the full ones of Unicode without a locale.

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func upper(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	return cases.Upper(language.Und).String(s)
}

func lower(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return cases.Lower(language.Und, cases.HandleFinalSigma(true)).String(s)
}

// capital is the title case of one character.
func capital(r rune) string {
	if r < 0x80 {
		return string(unicode.ToUpper(r))
	}
	return cases.Title(language.Und).String(string(r))
}

func capitalize(s string) string {
	for i, r := range s {
		if i > 0 {
			// The first character stays in front: whether a sigma is
			// final depends on it.
			low := lower(s)
			return capital([]rune(s)[0]) + low[len(lower(s[:i])):]
		}
		if len(s) == len(string(r)) {
			return capital(r)
		}
	}
	return s
}

func isUpper(r rune) bool { return unicode.IsUpper(r) || unicode.Is(unicode.Other_Uppercase, r) }
func isLower(r rune) bool { return unicode.IsLower(r) || unicode.Is(unicode.Other_Lowercase, r) }
func isCased(r rune) bool { return isUpper(r) || isLower(r) || unicode.IsTitle(r) }

// title is Python's str.title: a letter is a capital where no letter stands
// before it.
func title(s string) string {
	var b strings.Builder
	word := 0 // where the lower-case rest of a word begins
	inWord := false
	for i, r := range s {
		if isCased(r) {
			if !inWord {
				b.WriteString(capital(r))
				word = i + len(string(r))
			}
			inWord = true
			continue
		}
		if inWord {
			b.WriteString(lower(s[word:i]))
		}
		b.WriteRune(r)
		inWord = false
	}
	if inWord {
		b.WriteString(lower(s[word:]))
	}
	return b.String()
}

func swapCase(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case isUpper(r):
			b.WriteString(lower(string(r)))
		case isLower(r):
			b.WriteString(upper(string(r)))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func caseMethod(s, id string) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		if _, err := bind(id, args, kw, 0); err != nil {
			return nil, err
		}
		if err := m.spend(4 * len(s)); err != nil {
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
		case "casefold":
			return cases.Fold().String(s), nil
		}
		return swapCase(s), nil
	}
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
