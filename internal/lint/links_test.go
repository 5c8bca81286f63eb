package lint_test

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	mdLink   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	specName = regexp.MustCompile(`\b(spec/[a-z0-9_/-]+\.md)(?:,? (?:§|section )\s?([0-9]+(?:\.[0-9]+)*))?`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+?)\s*$`)
	number   = regexp.MustCompile(`^§?([0-9]+(?:\.[0-9]+)*)\.?\s`)
)

// TestLinks follows every relative link of the documentation, with its anchor.
func TestLinks(t *testing.T) {
	walk(t, func(name string, src []byte) {
		for i, line := range strings.Split(string(src), "\n") {
			for _, m := range mdLink.FindAllStringSubmatch(line, -1) {
				if problem := checkLink(name, m[1]); problem != "" {
					t.Errorf("%s:%d: link %s: %s", name, i+1, m[1], problem)
				}
			}
		}
	}, ".md")
}

func checkLink(from, link string) string {
	if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
		return ""
	}
	file, anchor, _ := strings.Cut(link, "#")
	target := from
	if file != "" {
		target = path.Join(path.Dir(from), file)
	}
	info, err := fs.Stat(root, strings.TrimSuffix(target, "/"))
	if err != nil {
		return "no such file"
	}
	if anchor == "" || info.IsDir() {
		return ""
	}
	src, err := fs.ReadFile(root, target)
	if err != nil {
		return err.Error()
	}
	for _, m := range heading.FindAllStringSubmatch(string(src), -1) {
		if slug(m[1]) == anchor {
			return ""
		}
	}
	return "no such heading"
}

// slug is the anchor that GitHub gives a heading.
func slug(s string) string {
	s = strings.ToLower(strings.ReplaceAll(s, "`", ""))
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// TestSpecReferences checks that a comment which cites a specification, such
// as a file of spec/ with a section number, cites a file and a section that exist.
func TestSpecReferences(t *testing.T) {
	sections := map[string]map[string]bool{}
	walk(t, func(name string, src []byte) {
		text := string(src)
		for _, m := range specName.FindAllStringSubmatchIndex(text, -1) {
			file := text[m[2]:m[3]]
			if _, ok := sections[file]; !ok {
				sections[file] = readSections(file)
			}
			line := 1 + strings.Count(text[:m[0]], "\n")
			if sections[file] == nil {
				t.Errorf("%s:%d: %s does not exist", name, line, file)
			} else if m[4] >= 0 && !sections[file][text[m[4]:m[5]]] {
				t.Errorf("%s:%d: %s has no section %s", name, line, file, text[m[4]:m[5]])
			}
		}
	}, ".go", ".s", ".md")
}

func readSections(file string) map[string]bool {
	src, err := fs.ReadFile(root, file)
	if err != nil {
		return nil
	}
	out := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(string(src), -1) {
		if n := number.FindStringSubmatch(m[1] + " "); n != nil {
			out[n[1]] = true
		}
	}
	return out
}
