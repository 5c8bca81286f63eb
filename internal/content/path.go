package content

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/canon"
)

// CheckPath refuses paths that are not safe to make on any system below a folder:
// absolute ones, those that leave the folder, and names that Windows gives a
// meaning. Parts are separated by "/".
func CheckPath(path string) error {
	bad := func(why string) error { return errorf("the path %.200q %s", path, why) }
	switch {
	case path == "":
		return bad("is empty")
	case len(path) > MaxPath:
		return bad("is too long")
	case !utf8.ValidString(path):
		return bad("is not UTF-8")
	}
	parts := strings.Split(path, "/")
	if len(parts) > MaxDepth {
		return bad("has too many parts")
	}
	for _, part := range parts {
		if why := checkPart(part); why != "" {
			return bad(why)
		}
	}
	return nil
}

func checkPart(s string) string {
	switch {
	case s == "":
		return "is absolute, or has an empty part"
	case s == "." || s == "..":
		return "leaves its folder"
	case len(s) > 200:
		return "has a part that is too long"
	case strings.ContainsAny(s, `\:*?"<>|`):
		return `has a part with one of \ : * ? " < > |`
	case strings.HasPrefix(strings.ToLower(s), ReservedPrefix):
		return "has a part that begins with " + ReservedPrefix
	case strings.HasSuffix(s, ".") || strings.HasSuffix(s, " ") || strings.HasPrefix(s, " "):
		return "has a part that begins or ends with a space, or ends with a dot"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
		return "has characters that cannot be seen"
	}
	stem, _, _ := strings.Cut(strings.ToLower(s), ".")
	stem = strings.TrimRight(stem, " ")
	if slices.Contains([]string{"con", "prn", "aux", "nul", "conin$", "conout$"}, stem) || device(stem) {
		return "names a device of Windows"
	}
	return ""
}

// device tells com1 to com9 and lpt1 to lpt9, also with superscript digits.
func device(stem string) bool {
	for _, prefix := range []string{"com", "lpt"} {
		if rest, ok := strings.CutPrefix(stem, prefix); ok && utf8.RuneCountInString(rest) == 1 && strings.ContainsAny(rest, "0123456789¹²³") {
			return true
		}
	}
	return false
}

// checkPaths refuses paths of which two would be one file where case does not
// count, or one the folder of another.
func checkPaths(files []File) error {
	seen := map[canon.Hash]bool{} // of lower-case paths; true for files
	key := func(s string) canon.Hash { return canon.Sum("path", []byte(strings.ToLower(s))) }
	for _, f := range files {
		if err := CheckPath(f.Path); err != nil {
			return err
		}
		if _, ok := seen[key(f.Path)]; ok {
			return errorf("the path %.200q comes twice, or differs from another by case alone, or is also a folder", f.Path)
		}
		seen[key(f.Path)] = true
		for at := strings.LastIndexByte(f.Path, '/'); at >= 0; at = strings.LastIndexByte(f.Path[:at], '/') {
			if seen[key(f.Path[:at])] {
				return errorf("the path %.200q is a file and a folder", f.Path[:at])
			}
			seen[key(f.Path[:at])] = false
		}
	}
	return nil
}
