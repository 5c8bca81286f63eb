package grammar_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/grammar"
)

// fits reports whether a grammar accepts a text, and whether it accepts it as
// the beginning of one.
func fits(t testing.TB, g *grammar.Grammar, text string) (whole, prefix bool) {
	t.Helper()
	v, err := grammar.NewVocabulary(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := grammar.NewMatcher(g, v).NewState()
	if err := s.AcceptText([]byte(text)); err != nil {
		return false, false
	}
	return s.CanEnd(), true
}

func TestGBNF(t *testing.T) {
	tests := []struct {
		name, text string
		yes, no    []string
	}{
		{"literal", `root ::= "abc"`, []string{"abc"}, []string{"", "ab", "abcd", "abd"}},
		{"empty literal", `root ::= ""`, []string{""}, []string{"a"}},
		{"alternatives", `root ::= "a" | "b" | `, []string{"a", "b", ""}, []string{"ab"}},
		{"class", `root ::= [a-cx\]\-]`, []string{"a", "b", "c", "x", "]", "-"}, []string{"d", "", "ab"}},
		{"class with a final dash", `root ::= [a-]`, []string{"a", "-"}, []string{"b"}},
		{"negated class", `root ::= [^a-c\n]`, []string{"d", "ä", "€", "😀", "\x00"}, []string{"a", "\n", "\xff", "\xc3"}},
		{"any", `root ::= . .`, []string{"ab", "ä\n", "😀😀"}, []string{"a", "\xed\xa0\x80a", "\xf4\x90\x80\x80a", "\xc0\x80a"}},
		{"ranges over lengths", `root ::= [ü-😀]`, []string{"ü", "ÿ", "Ā", "ࠀ", "€", "\ud7ff", "\ue000", "\uffff", "\U00010000", "😀"}, []string{"û", "😁", "a"}},
		{"escapes", `root ::= "\x41\u00e4\U0001F600\t\n\r\\\"\[\]"`, []string{"Aä😀\t\n\r\\\"[]"}, nil},
		{"group", `root ::= ("a" | "b") "c"`, []string{"ac", "bc"}, []string{"a", "c", "abc"}},
		{"star", `root ::= "a"*`, []string{"", "a", "aaaa"}, []string{"b", "ab"}},
		{"plus", `root ::= "ab"+`, []string{"ab", "abab"}, []string{"", "aba"}},
		{"question", `root ::= "a"? "b"`, []string{"b", "ab"}, []string{"aab"}},
		{"counts", `root ::= [ab]{2,3}`, []string{"ab", "aba"}, []string{"a", "abab"}},
		{"exact count", `root ::= [ab]{2}`, []string{"ab"}, []string{"a", "aba"}},
		{"open count", `root ::= [ab]{2,}`, []string{"ab", "abababab"}, []string{"a"}},
		{"no repetition", `root ::= "a"{0} "b"`, []string{"b"}, []string{"ab"}},
		{"large counts", `root ::= [ab]{100,200}`, []string{strings.Repeat("a", 100), strings.Repeat("b", 200)}, []string{strings.Repeat("a", 99), strings.Repeat("a", 201)}},
		{"large open count", `root ::= [ab]{100,} "."`, []string{strings.Repeat("a", 100) + ".", strings.Repeat("b", 200) + "."}, []string{strings.Repeat("a", 99) + "."}},
		{"counts in counts", `root ::= (x{70,80} ";"){1,90}` + "\nx ::= \"a\" | \"bc\"", []string{strings.Repeat("a", 70) + ";", strings.Repeat(strings.Repeat("bc", 80)+";", 90)}, []string{strings.Repeat("a", 69) + ";", strings.Repeat("bc", 81) + ";"}},
		{"count of what may be empty", `root ::= x{100,200}` + "\nx ::= \"a\"?", []string{"", "a", strings.Repeat("a", 200)}, []string{strings.Repeat("a", 201)}},
		{"repeated repetition", `root ::= "a"+*`, []string{"", "a", "aaa"}, []string{"b"}},
		{"star of what may be empty", `root ::= ("a"? "b"?)*`, []string{"", "abba"}, []string{"c"}},
		{"rules", "root ::= a b\na ::= \"x\" b?\nb ::= \"y\"", []string{"xy", "xyy"}, []string{"x", "xyyy"}},
		{"recursion", `root ::= "(" root ")" | "x"`, []string{"x", "((x))"}, []string{"(x", "((x)", "()"}},
		{"right recursion", `root ::= "a" root | "b"`, []string{strings.Repeat("a", 5000) + "b"}, []string{"a"}},
		{"ambiguous", "root ::= a* a* a* \".\"\na ::= \"x\" | \"x\" \"x\"", []string{strings.Repeat("x", 300) + "."}, []string{"x"}},
		{"comments and lines", "# first\n\nroot ::= ( # in a group\n \"a\" # more\n  \"b\"\n) |\n  \"c\" # end\n\n# last", []string{"ab", "c"}, []string{"a"}},
		{"line begins with a bar", "root ::=\n  \"a\"\n  | \"b\"\nx ::= \"c\"", []string{"a", "b"}, []string{"c"}},
		{"carriage returns", "root ::= x\r\nx ::= \"a\"\r\n", []string{"a"}, nil},
		{"dashes", "root ::= my-rule_1\nmy-rule_1 ::= \"a\"", []string{"a"}, nil},
		{"branch that never ends", "root ::= \"a\" loop | \"ab\"\nloop ::= \"x\" loop", []string{"ab"}, []string{"ax", "axx"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := grammar.FromGBNF(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range tt.yes {
				if whole, _ := fits(t, g, s); !whole {
					t.Errorf("%.40q is refused", s)
				}
			}
			for _, s := range tt.no {
				if whole, _ := fits(t, g, s); whole {
					t.Errorf("%.40q is accepted", s)
				}
			}
		})
	}
	g, err := grammar.FromGBNF("root ::= \"a\" loop | \"ab\"\nloop ::= \"x\" loop")
	if err != nil {
		t.Fatal(err)
	}
	if _, prefix := fits(t, g, "ax"); prefix {
		t.Error("a text that can never end is accepted as a beginning")
	}
}

func TestGBNFErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "no rule is named root"},
		{"a ::= \"x\"", "no rule is named root"},
		{"root ::= x", `line 1, column 10: rule "x" is not defined`},
		{"root ::= \"a\"\nroot ::= \"b\"", `line 2, column 1: rule "root" is defined twice`},
		{"root = \"a\"", `want "::="`},
		{"root ::= \"a", "not closed"},
		{"root ::= [a", "not closed"},
		{"root ::= []", "no character"},
		{"root ::= [^\\x00-\\U0010FFFF]", "no character"},
		{"root ::= [b-a]", "backwards"},
		{"root ::= (\"a\"", `want ")"`},
		{"root ::= \"a\")", "want the end of the line"},
		{"root ::= *", "nothing to repeat"},
		{"root ::= \"a\"{", "want a number"},
		{"root ::= \"a\"{1", `want "}"`},
		{"root ::= \"a\"{2,1}", "less than the first"},
		{"root ::= \"a\"{9999999999}", "repetition of more than"},
		{"root ::= \"\\q\"", "unknown escape"},
		{"root ::= \"\\u00g0\"", "hexadecimal"},
		{"root ::= \"\\ud800\"", "not a character"},
		{"root ::= \"\\UFFFFFFFF\"", "hexadecimal"},
		{"root ::= <think>", "tokens are not supported"},
		{"root ::= \"\xff\"", "not UTF-8"},
		{"::= \"a\"", "want the name"},
		{"root ::= root \"a\" | \"b\"", "left recursion"},
		{"root ::= a\na ::= b? c\nb ::= \"x\"\nc ::= root", "left recursion"},
		{"root ::= a{70,90} \"x\"\na ::= root | \"y\"", "left recursion"},
		{"root ::= \"a\" root", "no text matches"},
		{"root ::= " + strings.Repeat("(", 200) + "\"a\"" + strings.Repeat(")", 200), "nested more than"},
		{"root ::= ((((\"abcdefghijklmnopqrstuvwxyz\"{60}){60}){60}){60}){60} " + strings.Repeat("\"a\" ", 300_000), "at most|more than"},
	}
	for _, tt := range tests {
		_, err := grammar.FromGBNF(tt.text)
		ok := err != nil && errors.Is(err, grammar.ErrSyntax)
		if ok {
			ok = false
			for _, w := range strings.Split(tt.want, "|") {
				ok = ok || strings.Contains(err.Error(), w)
			}
		}
		if !ok {
			t.Errorf("%.60q: error %v, want %q", tt.text, err, tt.want)
		}
	}
}

func FuzzGBNF(f *testing.F) {
	for _, s := range []string{
		"root ::= \"a\"", "root ::= [a-z]+ | x{2,5}\nx ::= (\"b\" | .)* # c",
		"root ::= root", "root ::= \"(\" root? \")\"", "root ::= [^\"\\\\\\x00-\\x1f]{3,900}",
		"root ::= ((\"a\"?)*)*", "root ::= a a\na ::= (\"x\" root \"y\")?", "root ::= \"\\u00e4\\U0001F600\"",
	} {
		f.Add(s, "a(x)")
	}
	v, err := grammar.NewVocabulary([][]byte{[]byte("a"), []byte("ab"), []byte("("), []byte("x)"), []byte("\xc3"), []byte("\xa4b"), nil}, []int32{6})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, input string) {
		if len(text) > 2000 || len(input) > 200 {
			t.Skip("long inputs only slow the search down")
		}
		g, err := grammar.FromGBNF(text)
		if err != nil {
			if !errors.Is(err, grammar.ErrSyntax) {
				t.Fatalf("error %v is not marked", err)
			}
			return
		}
		checkMasks(t, g, v, input)
	})
}

// TestSource holds that a grammar tells what it was compiled from.
func TestSource(t *testing.T) {
	const text, schema = `root ::= "a"`, `{"type": "null"}`
	gbnf, err1 := grammar.FromGBNF(text)
	fromSchema, err2 := grammar.FromJSONSchema([]byte(schema))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		g    *grammar.Grammar
		kind grammar.Kind
		src  string
	}{{gbnf, grammar.KindGBNF, text}, {fromSchema, grammar.KindSchema, schema}, {grammar.JSON(), grammar.KindJSON, ""}} {
		if kind, src := c.g.Source(); kind != c.kind || src != c.src {
			t.Errorf("got %s %q, want %s %q", kind, src, c.kind, c.src)
		}
	}
}
