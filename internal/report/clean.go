package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what is shown. What is longer is cut, and the cut is said.
const (
	maxPassage = 64 << 10 // bytes of a text
	maxName    = 80       // characters of a name
)

// clean makes an untrusted text harmless within a line: terminals act upon
// control characters, and marks of direction turn the words beside them around.
func clean(s string) string {
	return strings.Join(strings.Fields(harmless(s)), " ")
}

// passage makes an untrusted text harmless, keeps its lines, and cuts it.
func passage(s string) string {
	rest := 0
	if len(s) > maxPassage {
		end := maxPassage
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		rest = utf8.RuneCountInString(s[end:])
		s = s[:end]
	}
	s = harmless(strings.ReplaceAll(s, "\r\n", "\n"))
	if rest > 0 {
		s += fmt.Sprintf("\n[… %d more characters are not shown]", rest)
	}
	return s
}

func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), turns(r), r == '\u2028', r == '\u2029':
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// turns reports the marks that change the direction of writing beyond
// themselves.
func turns(r rune) bool {
	return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

func short(s string) string {
	r := []rune(s)
	if len(r) <= maxName {
		return s
	}
	return string(r[:maxName]) + "…"
}
