package token

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/unicode/norm"
)

// These tests are of the inside: what a pre-tokenizer cuts and what merging
// costs cannot be seen from outside except through a vocabulary.

func split(t testing.TB, pre, text string) []string {
	t.Helper()
	p, err := findPreset(pre)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	s := splitter{stages: p.stages}
	s.words(text, func(w string) { words = append(words, w) })
	return words
}

// TestSplit shows how each pre-tokenizer differs from the others. The words
// are separated by "|".
func TestSplit(t *testing.T) {
	for _, c := range []struct{ pre, want string }{
		// Numbers.
		{"gpt-2", "x|12345| 67"},
		{"llama-bpe", "x|123|45| |67"},
		{"qwen2", "x|1|2|3|4|5| |6|7"},
		{"smollm", "x|1|2|3|4|5| |6|7"},
		{"tekken", "x|1|2|3|4|5| |6|7"},
		{"deepseek-v3", "x|123|45| |67"},
		{"deepseek-llm", "x|12345| |67"},
		{"deepseek-coder", "x|1|2|3|4|5| |6|7"},
		{"falcon", "x|123|45| 67"},
		{"default", "x|123|45| |67"},
		{"superbpe", "x|12|345| |67"},
		{"tiny_aya", "x|12|345| |67"},
		{"minicpm5", "x|123|45| |67"},
		// Contractions.
		{"gpt-2", "it|'s| I|'|LL| x|'|y"},
		{"llama-bpe", "it|'s| I|'LL| x|'y"},
		{"tekken", "it|'s| I|'LL| x|'y"},
		{"gpt-4o", "it's| I'LL| x|'y"},
		{"kimi-k2", "it's| I'LL| x|'y"},
		{"deepseek-v3", "it|'s| I|'LL| x|'y"},
		// White space and line ends.
		{"gpt-2", "a|  | b|\n\n|\t|c|  "},
		{"llama-bpe", "a|  | b|\n\n|\tc|  "},
		{"qwen2", "a|   \n|  | b|  "},
		{"deepseek-llm", "a|  | b|\n|\n|\tc|  "},
		{"jais-2", "a|    | | b|    | "},
		{"laguna", "a|  |\n\n| b"},
		{"gemma4", "a   b c|\n\n|d"},
		// Punctuation.
		{"gpt-2", "f|(|x|));| //| !|\n|y"},
		{"llama-bpe", "f|(x|));| //| !\n|y"},
		{"seed-coder", "f|(x|));| //| !|\n|y"},
		{"tekken", "f|(x|));| //| !\n//|y"},
		{"deepseek-v3", "f|(x|));| //| !\n|y"},
		{"falcon", "f|(|x|));| |//| |!|\n|y"},
		{"chameleon", "f|(|x|)|)|;|  |/"},
		{"exaone-moe", "two words| !!\n|\n|x"},
		// Capitals.
		{"tekken", "camel|Case| HTTPServerÉ|COLEÉ|TUDE"},
		{"gpt-4o", "camel|Case| HTTPServerÉ|COLEÉ|TUDE"},
		{"llama-bpe", "camelCase| HTTPServerÉCOLE"},
		// Other scripts. U+0301 is a combining mark.
		{"llama-bpe", "中文のabc|，한국어"},
		{"kimi-k2", "中文|のabc|，한국어"},
		{"deepseek-v3", "中文の|abc|，|한국어"},
		{"deepseek-llm", "中文の|abc|，|한국어"},
		{"youtu", "中文の|abc|，|한국어"},
		{"qwen2", "e|\u0301a| x"},
		{"qwen35", "e\u0301a| x"},
		{"bloom", "el| niño|,| ¿qué|?"},
		{"viking", "el| ni|1|ño|,"},
		{"chameleon", "<|sentinel|:|1|2|>"},
	} {
		text := strings.ReplaceAll(c.want, "|", "")
		got := strings.Join(split(t, c.pre, text), "|")
		if got != c.want {
			t.Errorf("%s: %q: got %q, want %q", c.pre, text, got, c.want)
		}
	}
}

// TestSplitKeepsText cuts hostile texts with every pre-tokenizer. The texts are
// long enough that a scanner which looks at the rest of the text for each
// character would take minutes.
func TestSplitKeepsText(t *testing.T) {
	const n = 1 << 14
	var texts []string
	for _, unit := range []string{
		" ", "\n", " \n", "\t ", "a", "A", "Aa", "é", "éA", "aÉ", "1", "٣", "12 ", "'", "'s", "' ", ".", " .", "/\n", "中", "の中",
		"한", "\u0301", "e\u0301", "\u0301A", "😀", "\u3000", "<sentinel:1", "<sentinel:", "IMGIMG", "\x00", "a b", "\u00a0",
		"\u0378", "|`", "½x",
	} {
		texts = append(texts, strings.Repeat(unit, n/len(unit)), strings.Repeat(unit, n/len(unit))+"x")
	}
	for _, row := range presetRows {
		name, _, _ := strings.Cut(row.names, " ")
		for _, text := range texts {
			if got := strings.Join(split(t, name, text), ""); got != text {
				t.Errorf("%s: words of %.12q… are not the text", name, text)
			}
		}
	}
}

func TestPresetNamesOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range presetRows {
		for _, name := range strings.Fields(row.names) {
			if seen[name] {
				t.Errorf("%s is listed twice", name)
			}
			seen[name] = true
		}
	}
}

// TestMergeSteps counts what merging one long word costs: it may not depend on
// how the merges fall.
func TestMergeSteps(t *testing.T) {
	const n = 1 << 18
	id := func(size int32) (uint32, int32, bool) { return uint32(size), size, true }
	rules := map[string]rule{
		"nothing":    func(_, _ *atom) (uint32, int32, bool) { return 0, 0, false },
		"everything": func(l, r *atom) (uint32, int32, bool) { return 0, 0, true },
		"shortest":   func(l, r *atom) (uint32, int32, bool) { return id(r.end - l.start) },
		"longest":    func(l, r *atom) (uint32, int32, bool) { return id(n - (r.end - l.start)) },
		"rightmost":  func(l, r *atom) (uint32, int32, bool) { return id(n - l.start) },
	}
	for name, r := range rules {
		var m merger
		for i := range n {
			m.add(i, i+1, 0)
		}
		m.run(r)
		if m.steps > 3*n {
			t.Errorf("%s: %d pairs considered for %d symbols", name, m.steps, n)
		}
	}
}

// TestMergeTwin compares merging with the obvious way to do it.
func TestMergeTwin(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		// Texts of letters a-c; rank of a merge by its text, some missing.
		rank := map[string]uint32{}
		key := func(s string) (uint32, bool) {
			if _, ok := rank[s]; !ok {
				rank[s] = uint32(rnd.IntN(40))
			}
			return rank[s], rank[s] >= 12 && len(s) < 9
		}
		b := make([]byte, rnd.IntN(40)+1)
		for i := range b {
			b[i] = "abc"[rnd.IntN(3)]
		}
		text := string(b)
		var m merger
		for i := range text {
			m.add(i, i+1, 0)
		}
		m.run(func(l, r *atom) (uint32, int32, bool) {
			k, ok := key(text[l.start:r.end])
			return k, 0, ok
		})
		var got []string
		for i := int32(0); i >= 0; i = m.syms[i].next {
			got = append(got, text[m.syms[i].start:m.syms[i].end])
		}
		if diff := cmp.Diff(mergeTwin(text, key), got); diff != "" {
			t.Fatalf("%q (-twin +got):\n%s", text, diff)
		}
	}
}

func mergeTwin(text string, key func(string) (uint32, bool)) []string {
	parts := strings.Split(text, "")
	for {
		best := -1
		var bestKey uint32
		for i := 0; i+1 < len(parts); i++ {
			if k, ok := key(parts[i] + parts[i+1]); ok && (best < 0 || k < bestKey) {
				best, bestKey = i, k
			}
		}
		if best < 0 {
			return parts
		}
		parts[best] += parts[best+1]
		parts = slices.Delete(parts, best+1, best+2)
	}
}

func TestScoreKey(t *testing.T) {
	scores := []float32{3e38, 7, 1, 1e-40, 0, -1e-40, -1, -7, -3e38}
	for i := 1; i < len(scores); i++ {
		if scoreKey(scores[i-1]) >= scoreKey(scores[i]) {
			t.Errorf("%g does not come before %g", scores[i-1], scores[i])
		}
	}
	var zero float32
	if scoreKey(zero) != scoreKey(-zero) {
		t.Error("0 and -0 differ")
	}
}

func TestByteRunes(t *testing.T) {
	seen := map[rune]bool{}
	for i := range 256 {
		r := byteRune(byte(i))
		back, ok := runeByte(r)
		if !ok || back != byte(i) || seen[r] || classes()[r]&space != 0 {
			t.Errorf("byte %d is %q, which is byte %d (%v)", i, r, back, ok)
		}
		seen[r] = true
	}
	for r := range rune(0x200) {
		if _, ok := runeByte(r); ok != seen[r] {
			t.Errorf("%q stands for a byte: %v", r, ok)
		}
	}
}

// TestClasses compares with Go's tables, if they are those that the table was
// made from, and holds the three ranges that were added by hand.
func TestClasses(t *testing.T) {
	table := classes()
	for r, want := range map[rune]class{
		0x2FFB: symbol, 0x2FFC: symbol, 0x2FFF: symbol, 0x31EF: symbol, 0x2EBF0: letter, 0x2EE5D: letter,
		0x2EE5E: unassigned, 'a': letter, '5': number, 0x301: mark, '!': punct, '$': symbol, '\n': space | control,
		' ': space, 0x85: space | control, 0x3000: space, 0xE000: control, 0x378: unassigned, 0x10FFFF: unassigned,
	} {
		if table[r] != want {
			t.Errorf("%U: class %08b, want %08b", r, table[r], want)
		}
	}
	if unicode.Version != "15.0.0" {
		t.Skipf("Go's tables are of Unicode %s", unicode.Version)
	}
	for r := range table {
		for _, c := range []struct {
			bit   class
			table *unicode.RangeTable
		}{{letter, unicode.L}, {number, unicode.N}, {mark, unicode.M}, {punct, unicode.P}, {symbol, unicode.S}, {space, unicode.White_Space}} {
			added := between(rune(r), 0x2FFC, 0x2FFF) || r == 0x31EF || between(rune(r), 0x2EBF0, 0x2EE5D)
			if !added && unicode.Is(c.table, rune(r)) != (table[r]&c.bit != 0) {
				t.Fatalf("%U: class %08b", r, table[r])
			}
		}
	}
}

func TestBaseRune(t *testing.T) {
	for r := range unicode.MaxRune {
		if unicode.Is(unicode.Cs, r) {
			continue
		}
		want := []rune(norm.NFD.String(string(r)))[0]
		if got := baseRune(r); got != want {
			t.Fatalf("%U: got %U, want %U", r, got, want)
		}
	}
}
