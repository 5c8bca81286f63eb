package hub

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/store"
)

const extGGUF = ".gguf"

// quantEnd finds the quantisation at the end of a file's name, as publishers
// write it: model-Q4_K_M, model.q8_0, model-UD-IQ2_XXS, model-BF16.
var quantEnd = regexp.MustCompile(`(?i)(?:^|[-._])((?:UD-)?(?:I?Q[1-8]_(?:0|1|K|NL|XXS|XS|S|M|L|XL)(?:_(?:XXS|XS|S|M|L|XL|0|[0-9]_[0-9]|[0-9]))?|TQ[12]_0|MXFP4(?:_MOE)?|BF16|FP?16|FP?32))$`)

// companion reports whether a file belongs to a model but is not one: a projector
// of pictures, calibration data, a draft head.
func companion(base string) bool {
	base = strings.ToLower(base)
	return slices.ContainsFunc([]string{"mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-"},
		func(s string) bool { return strings.Contains(base, s) })
}

// label returns the quantisation in a file's name, in capitals, "" if none.
func label(base string) string {
	if prefix, _, _, ok := store.SplitName(base); ok {
		base = prefix
	} else {
		base = base[:len(base)-len(extOf(base))]
	}
	if m := quantEnd.FindStringSubmatch(base); m != nil {
		return strings.Replace(strings.ToUpper(m[1]), "FP", "F", 1)
	}
	return ""
}

func extOf(base string) string {
	if n := len(base) - len(extGGUF); n >= 0 && strings.EqualFold(base[n:], extGGUF) {
		return base[n:]
	}
	return ""
}

// Candidate is a model that a repository holds.
type Candidate struct {
	Tag  string // its quantisation, "" if its name tells none
	Path string // of its first file
	Size int64  // bytes of all its files, 0 if not known

	files   []remoteFile
	missing int // a part that the repository lacks, 0 if none
}

// NoMatchError: no model of the repository, or more than one, fits the reference.
type NoMatchError struct {
	Ref        Reference
	Reason     string
	Candidates []Candidate // ordered by path
}

func (e *NoMatchError) Error() string {
	if len(e.Candidates) == 0 {
		return e.Reason
	}
	const most = 40
	var b strings.Builder
	b.WriteString(e.Reason + "; name one of these, as in " + Reference{Repo: e.Ref.Repo, Tag: e.Candidates[0].name(e.Candidates)}.String() + ":")
	for i, c := range e.Candidates {
		if i == most {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Candidates)-most)
			break
		}
		b.WriteString("\n  " + c.name(e.Candidates))
		if c.Size > 0 { // a server may not tell sizes
			b.WriteString(" (" + Bytes(c.Size) + ")")
		}
	}
	return b.String()
}

// name is what to write after the colon to get this candidate among all.
func (c Candidate) name(all []Candidate) string {
	same := 0
	for _, o := range all {
		if o.Tag == c.Tag {
			same++
		}
	}
	if c.Tag != "" && same == 1 {
		return c.Tag
	}
	return c.Path[strings.LastIndexByte(c.Path, '/')+1:]
}

// candidates groups the files of a repository into models.
func candidates(files []remoteFile) []Candidate {
	var out []Candidate
	splits := map[string][]part{} // by folder, prefix and count
	var order []string
	for _, f := range files {
		base := f.base()
		if extOf(base) == "" || companion(base) {
			continue
		}
		prefix, i, n, ok := store.SplitName(base)
		if !ok {
			out = append(out, Candidate{Tag: label(base), Path: f.path, Size: max(f.size, 0), files: []remoteFile{f}})
			continue
		}
		key := fmt.Sprintf("%s%s %d", f.path[:len(f.path)-len(base)], prefix, n)
		if splits[key] == nil {
			order = append(order, key)
		}
		splits[key] = append(splits[key], part{file: f, index: i, count: n})
	}
	for _, key := range order {
		out = append(out, splitCandidate(splits[key]))
	}
	slices.SortFunc(out, func(a, b Candidate) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

// part is one part of a split model; index counts from 1.
type part struct {
	file         remoteFile
	index, count int
}

func splitCandidate(parts []part) Candidate {
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.index, b.index) })
	first := parts[0].file
	c := Candidate{Tag: label(first.base()), Path: first.path}
	for i, p := range parts {
		if p.index != i+1 && c.missing == 0 {
			c.missing = i + 1
		}
		c.Size += max(p.file.size, 0)
		c.files = append(c.files, p.file)
	}
	if n := parts[0].count; len(parts) < n && c.missing == 0 {
		c.missing = len(parts) + 1
	}
	return c
}

// choose returns the files of the model that the reference names.
func choose(ref Reference, files []remoteFile) ([]remoteFile, error) {
	all := candidates(files)
	no := func(format string, args ...any) ([]remoteFile, error) {
		return nil, &NoMatchError{Ref: ref, Reason: fmt.Sprintf(format, args...), Candidates: all}
	}
	if len(all) == 0 {
		return no("the repository has %d files but no GGUF model; look for a repository whose name ends in -GGUF", len(files))
	}
	fit := fitting(ref.Tag, all)
	switch {
	case len(fit) == 0 && ref.Tag == "":
		return no("the repository has several models and none of a usual quantisation")
	case len(fit) == 0:
		return no("the repository has no model %q", ref.Tag)
	case len(fit) > 1:
		return no("%d models fit", len(fit))
	}
	c := fit[0]
	if c.missing != 0 {
		return nil, fmt.Errorf("%s: part %d is missing in the repository", c.Path, c.missing)
	}
	return c.files, nil
}

// fitting returns the candidates that a tag means: those that fit best, and of
// them those in the uppermost folder.
func fitting(tag string, all []Candidate) []Candidate {
	pick := func(fits func(Candidate) bool) []Candidate {
		var out []Candidate
		for _, c := range all {
			if !fits(c) {
				continue
			}
			switch depth := cmp.Compare(strings.Count(c.Path, "/"), depthOf(out)); {
			case len(out) == 0 || depth < 0:
				out = []Candidate{c}
			case depth == 0:
				out = append(out, c)
			}
		}
		return out
	}
	if tag == "" {
		for _, t := range store.TagOrder() {
			if out := pick(func(c Candidate) bool { return c.Tag == t }); out != nil {
				return out
			}
		}
		if len(all) == 1 {
			return all
		}
		return nil
	}
	for _, fits := range []func(Candidate) bool{
		func(c Candidate) bool { return c.isFile(tag) },
		func(c Candidate) bool { return strings.EqualFold(c.Tag, tag) },
		func(c Candidate) bool { return containsWord(strings.ToUpper(c.Path), strings.ToUpper(tag)) },
	} {
		if out := pick(fits); out != nil {
			return out
		}
	}
	return nil
}

func depthOf(cs []Candidate) int {
	if len(cs) == 0 {
		return 0
	}
	return strings.Count(cs[0].Path, "/")
}

// isFile reports whether name is that of one of the candidate's files.
func (c Candidate) isFile(name string) bool {
	return slices.ContainsFunc(c.files, func(f remoteFile) bool {
		return strings.EqualFold(f.base(), name) || strings.EqualFold(f.base(), name+extGGUF)
	})
}

// containsWord reports whether word occurs in s with no letter, digit or
// underscore beside it: Q4_K is not in model-Q4_K_M.
func containsWord(s, word string) bool {
	for from := 0; ; {
		i := strings.Index(s[from:], word)
		if i < 0 {
			return false
		}
		i += from
		end := i + len(word)
		if (i == 0 || !wordByte(s[i-1])) && (end == len(s) || !wordByte(s[end])) {
			return true
		}
		from = i + 1
	}
}

func wordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
