package store

import (
	"fmt"
	"strings"
)

// Limits of names. The longest name and the extensions after it fit the 255
// bytes that file systems allow a file name.
const (
	maxName    = 220
	maxSegment = 96
	maxTag     = 128
)

const (
	defaultTag = "latest"
	hostHF     = "hf.co"
	// In file names a slash is written + and the colon @, which no name contains.
	slashMark = "+"
	tagMark   = "@"
)

// Name is a valid model name: model[:tag], user/model[:tag] or
// host/user/model[:tag]. Case is kept but not significant.
type Name struct {
	base, tag string
}

// TagOrder returns the tags that a name without one stands for, the preferred
// first: the sizes most people want, then others this engine runs.
func TagOrder() []string {
	return []string{
		"Q4_K_M", "Q8_0", "Q4_0", "Q4_K_S", "Q5_K_M", "Q5_K_S", "Q6_K", "Q4_1", "IQ4_XS", "IQ4_NL",
		"Q5_0", "Q5_1", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "F16", "BF16", "F32",
	}
}

// ParseName checks a name and brings it to the form that is stored:
// huggingface.co becomes hf.co.
func ParseName(s string) (Name, error) {
	bad := func(format string, args ...any) (Name, error) {
		return Name{}, fmt.Errorf("store: %w %q: %s", ErrName, clip(s), fmt.Sprintf(format, args...))
	}
	if s == "" {
		return bad("it is empty")
	}
	if len(s) > maxName {
		return bad("%d bytes, at most %d are allowed", len(s), maxName)
	}
	base, tag, tagged := strings.Cut(s, ":")
	if tagged && tag == "" {
		return bad("nothing follows the colon")
	}
	if why := checkSegment(tag, maxTag); tagged && why != "" {
		return bad("tag: %s", why)
	}
	segs := strings.Split(base, "/")
	if len(segs) > 3 {
		return bad("more than three parts; want model, user/model or host/user/model, then :tag if wanted")
	}
	for _, g := range segs {
		if why := checkSegment(g, maxSegment); why != "" {
			return bad("part %q: %s", g, why)
		}
	}
	host := strings.ToLower(segs[0])
	if host == "huggingface.co" || host == "www.huggingface.co" {
		host = hostHF
	}
	switch {
	case len(segs) == 3 && !strings.Contains(host, "."):
		return bad("%q is not a host name; of three parts the first must be one, such as hf.co", segs[0])
	case len(segs) == 3:
		segs[0] = host
	case host == hostHF:
		return bad("want %s/user/repo", hostHF)
	}
	n := Name{base: strings.Join(segs, "/"), tag: tag}
	if stem, _, _ := strings.Cut(n.key(), "."); reservedName(stem) {
		return bad("%q is a device on Windows", stem)
	}
	return n, nil
}

// String returns the name, with its tag if it has one.
func (n Name) String() string {
	if n.tag == "" {
		return n.base
	}
	return n.base + ":" + n.tag
}

// Base returns the name without its tag.
func (n Name) Base() string { return n.base }

// Tag returns the tag, "" if there is none.
func (n Name) Tag() string { return n.tag }

// stored returns the name with the tag it is stored under.
func (n Name) stored() Name {
	if n.tag == "" {
		n.tag = defaultTag
	}
	return n
}

// key is the file name without extension; without a tag, the prefix of all the
// tags' file names. Lower case, because some file systems ignore case and then
// two names that differ by case only would be one file here and two there.
func (n Name) key() string {
	k := strings.ToLower(strings.ReplaceAll(n.base, "/", slashMark))
	if n.tag != "" {
		k += tagMark + strings.ToLower(n.tag)
	}
	return k
}

// candidates are the stored names that n may stand for, best first.
func (n Name) candidates() []Name {
	if strings.Count(n.base, "/") == 1 {
		return []Name{n, {base: hostHF + "/" + n.base, tag: n.tag}}
	}
	return []Name{n}
}

// checkSegment says what is wrong with one part of a name, "" if nothing is.
func checkSegment(s string, limit int) string {
	switch {
	case s == "":
		return "it is empty"
	case len(s) > limit:
		return fmt.Sprintf("%d bytes, at most %d are allowed", len(s), limit)
	case strings.Contains(s, ".."):
		return "two dots in a row are not allowed"
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z':
		case c == '.' || c == '-':
			if i == 0 || i == len(s)-1 {
				return fmt.Sprintf("must not begin or end with %q", c)
			}
		default:
			return fmt.Sprintf("byte %q is not allowed; use letters, digits, '_', '-' and '.'", c)
		}
	}
	return ""
}

// reservedName reports whether Windows takes the file name for a device.
func reservedName(stem string) bool {
	switch s := strings.ToLower(stem); s {
	case "con", "prn", "aux", "nul":
		return true
	default:
		return len(s) == 4 && (strings.HasPrefix(s, "com") || strings.HasPrefix(s, "lpt")) && '0' <= s[3] && s[3] <= '9'
	}
}

// checkFileName says what is wrong with the name of a model's file, "" if
// nothing is. It must be a single path element on every system.
func checkFileName(s string) string {
	const limit = 200
	switch {
	case s == "" || s == "." || s == "..":
		return "it is not a file name"
	case len(s) > limit:
		return fmt.Sprintf("%d bytes, at most %d are allowed", len(s), limit)
	case strings.HasSuffix(s, ".") || strings.HasSuffix(s, " ") || strings.HasPrefix(s, " "):
		return "a dot or space at its end, or a space before it, is not portable"
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == '\uFFFD' || strings.ContainsRune(`/\:*?"<>|`, r) {
			return fmt.Sprintf("character %q is not allowed", r)
		}
	}
	if stem, _, _ := strings.Cut(s, "."); reservedName(stem) {
		return "it is a device on Windows"
	}
	return ""
}

// clip shortens text from outside for an error message.
func clip(s string) string {
	const limit = 120
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "..."
}

// SplitName takes apart the name of one part of a split model file,
// prefix-00002-of-00005.gguf.
func SplitName(file string) (prefix string, index, count int, ok bool) {
	const tail = len("-00001-of-00001.gguf")
	if len(file) <= tail {
		return "", 0, 0, false
	}
	t := file[len(file)-tail:]
	if t[0] != '-' || t[6:10] != "-of-" || !strings.EqualFold(t[15:], ".gguf") {
		return "", 0, 0, false
	}
	index, ok1 := fiveDigits(t[1:6])
	count, ok2 := fiveDigits(t[10:15])
	if !ok1 || !ok2 || index < 1 || index > count {
		return "", 0, 0, false
	}
	return file[:len(file)-tail], index, count, true
}

func fiveDigits(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}
