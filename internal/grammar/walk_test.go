package grammar_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/grammar"
)

// randomVocabulary has all bytes, some control tokens, the pieces that JSON
// is made of, and random pieces of any length, many across UTF-8 characters.
// The last id ends a generation.
func randomVocabulary(t testing.TB, r *rand.Rand, n int) (*grammar.Vocabulary, [][]byte) {
	t.Helper()
	var pieces [][]byte
	for b := range 256 {
		pieces = append(pieces, []byte{byte(b)})
	}
	parts := []string{
		"{", "}", "[", "]", ",", ":", "\"", " ", "\n", "\t", "\\", "\\u", "00", "e", "E+", "-", ".", "1", "23", "true", "null", "false",
		"a", "name", "value", "ä", "€", "😀", "\xc3", "\xa4", "\xf0\x9f", "\x98", "  ", "x", "id", "2024", "T", "Z", "the", "next", "items", "/",
	}
	for range n {
		var p []byte
		for range 1 + r.IntN(3) + r.IntN(3)*r.IntN(5) {
			p = append(p, parts[r.IntN(len(parts))]...)
		}
		pieces = append(pieces, p)
	}
	pieces = append(pieces, nil, []byte("x"), []byte("x"), []byte("</s>"))
	v, err := grammar.NewVocabulary(pieces, []int32{int32(len(pieces) - 1)})
	if err != nil {
		t.Fatal(err)
	}
	return v, pieces
}

var walkSchemas = []string{
	`{"type":"object"}`,
	`{"type":"object","properties":{"name":{"type":"string","minLength":1,"maxLength":20},"id":{"type":"integer","minimum":-20,"maximum":300},"x":{"type":"number","minimum":0,"maximum":1}},"required":["name","x"],"additionalProperties":false}`,
	`{"type":"array","items":{"enum":["a","name",1,null,{"x":[1]}]},"minItems":2,"maxItems":40}`,
	`{"$defs":{"n":{"type":"object","properties":{"value":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]},"items":{"type":"array","items":{"$ref":"#/$defs/n"},"maxItems":3}},"required":["value","next"],"additionalProperties":false}},"$ref":"#/$defs/n"}`,
	`{"type":"object","properties":{"a":{"type":"string","format":"date-time"},"b":{"type":"string","pattern":"^(the|next) [a-z€]{2,90}$"},"c":{"type":"string","format":"uuid"}},"additionalProperties":{"type":["boolean","null"]}}`,
	`{"type":"array","prefixItems":[{"type":"string","maxLength":3},{"type":"number"},{"type":"boolean"}],"items":{"type":"string","minLength":17,"maxLength":18},"minItems":2,"maxItems":5}`,
	`{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"],"oneOf":[{"properties":{"a":{"const":"true"}},"required":["a"]},{"properties":{"x":{"type":"array","items":{}}},"required":["x"]}]}`,
}

// TestRandomWalks lets a model that picks any allowed token write texts: each
// must be valid against its schema.
func TestRandomWalks(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	v, pieces := randomVocabulary(t, r, 1500)
	end := int32(len(pieces) - 1)
	finished := 0
	for _, schema := range walkSchemas {
		g, err := grammar.FromJSONSchema([]byte(schema))
		if err != nil {
			t.Fatal(err)
		}
		var s any
		if err := json.Unmarshal([]byte(schema), &s); err != nil {
			t.Fatal(err)
		}
		m := grammar.NewMatcher(g, v)
		for range 60 {
			text, ok := randomWalk(t, r, m, pieces, end)
			if !ok {
				continue
			}
			finished++
			d := json.NewDecoder(bytes.NewReader(text))
			d.UseNumber()
			var got any
			if !json.Valid(text) || d.Decode(&got) != nil {
				t.Fatalf("not JSON: %s", text)
			}
			if err := check(s, s, got); err != nil {
				t.Fatalf("schema %s\ntext %s\n%v", schema, text, err)
			}
		}
	}
	if finished < len(walkSchemas)*30 {
		t.Errorf("only %d walks came to an end", finished)
	}
}

// randomWalk writes up to a length, with a taste for short pieces that close
// something after half of it.
func randomWalk(t *testing.T, r *rand.Rand, m *grammar.Matcher, pieces [][]byte, end int32) ([]byte, bool) {
	t.Helper()
	s := m.NewState()
	var text []byte
	for step := range 600 {
		mask, err := s.Mask()
		if err != nil {
			t.Fatalf("after %q: %v", text, err)
		}
		var ids, closing []int32
		for id := range int32(len(pieces)) {
			if mask.Has(id) {
				ids = append(ids, id)
				if p := pieces[id]; len(p) > 0 && strings.ContainsRune(`"}],0e`, rune(p[len(p)-1])) {
					closing = append(closing, id)
				}
			}
		}
		if mask.Has(end) != s.CanEnd() {
			t.Fatalf("after %q: end token allowed: %t, but CanEnd: %t", text, mask.Has(end), s.CanEnd())
		}
		id := ids[r.IntN(len(ids))]
		if len(closing) > 0 && r.IntN(600) < step*2 {
			id = slices.MinFunc(closing, func(a, b int32) int { return len(pieces[a]) - len(pieces[b]) })
			if r.IntN(3) == 0 {
				id = closing[r.IntN(len(closing))]
			}
		}
		if mask.Has(end) && (step > 20 || r.IntN(3) == 0) {
			id = end
		}
		if err := s.Accept(id); err != nil {
			t.Fatalf("after %q: token %d %q is in the mask but %v", text, id, pieces[id], err)
		}
		if id == end {
			if !s.Done() {
				t.Fatal("not done after the end token")
			}
			return text, true
		}
		text = append(text, pieces[id]...)
	}
	return text, false
}

// TestMaskTwin compares masks along random walks with trying every token.
func TestMaskTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	v, pieces := randomVocabulary(t, r, 300)
	var grammars []*grammar.Grammar
	for _, s := range walkSchemas {
		g, err := grammar.FromJSONSchema([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		grammars = append(grammars, g)
	}
	for _, s := range []string{
		`root ::= (("a" | "the"){3,30} "\n"){2,20}`,
		"root ::= word{1,25} (\" \" word){5,}\nword ::= [a-zä€]{2,35} | \"x\" word \"x\"",
		"root ::= a{20,40} | .{10,12}\na ::= [^\\x00-a]? \"name\"",
		"root ::= \"{\" root{0,70} \"}\" | [a-z]*",
	} {
		g, err := grammar.FromGBNF(s)
		if err != nil {
			t.Fatal(err)
		}
		grammars = append(grammars, g)
	}
	for _, g := range grammars {
		m := grammar.NewMatcher(g, v)
		for range 2 {
			s := m.NewState()
			for range 30 {
				mask, err := s.Mask()
				if err != nil {
					t.Fatal(err)
				}
				var ids []int32
				for id, want := range accepted(s, len(pieces)) {
					if got := mask.Has(int32(id)); got != want {
						t.Fatalf("token %d %q in the mask: %t, but accepted: %t", id, pieces[id], got, want)
					}
					if want {
						ids = append(ids, int32(id))
					}
				}
				if err := s.Accept(ids[r.IntN(len(ids))]); err != nil {
					t.Fatal(err)
				}
				if s.Done() {
					break
				}
			}
		}
	}
}

func TestNesting(t *testing.T) {
	v, err := grammar.NewVocabulary([][]byte{[]byte("["), []byte("]"), []byte("[["), []byte("[[[[[[[["), {}}, []int32{4})
	if err != nil {
		t.Fatal(err)
	}
	g, err := grammar.FromJSONSchema([]byte(`{"type":"array"}`))
	if err != nil {
		t.Fatal(err)
	}
	s := grammar.NewMatcher(g, v).NewState()
	depth := 0
	for ; ; depth++ {
		mask, err := s.Mask()
		if err != nil {
			t.Fatal(err)
		}
		for id, want := range accepted(s, v.Size()) {
			if got := mask.Has(int32(id)); got != want {
				t.Fatalf("depth %d: token %d in the mask: %t, accepted: %t", depth, id, got, want)
			}
		}
		if !mask.Has(0) {
			break
		}
		if err := s.Accept(0); err != nil {
			t.Fatal(err)
		}
	}
	if depth < 100 || depth > 2000 {
		t.Errorf("nesting ends at %d", depth)
	}
	for ; depth > 0; depth-- {
		if err := s.Accept(1); err != nil {
			t.Fatal(err)
		}
	}
	if !s.Done() {
		t.Error("not done")
	}
}

func TestNoAllocation(t *testing.T) {
	v, _ := randomVocabulary(t, rand.New(rand.NewPCG(1, 2)), 1000)
	g := grammar.JSON()
	s := grammar.NewMatcher(g, v).NewState()
	if err := s.AcceptText([]byte(`{"a": ["text`)); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(10, func() {
		if _, err := s.Mask(); err != nil {
			t.Fatal(err)
		}
		if err := s.Accept('x'); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per token inside a string", n)
	}
}

func TestConcurrentStates(t *testing.T) {
	v, pieces := randomVocabulary(t, rand.New(rand.NewPCG(3, 4)), 500)
	m := grammar.NewMatcher(grammar.JSON(), v)
	texts := make([][]byte, 8)
	t.Run("walks", func(t *testing.T) {
		for i := range texts {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				// Pairs of walks have the same seed and must be the same.
				texts[i], _ = randomWalk(t, rand.New(rand.NewPCG(5, uint64(i/2))), m, pieces, int32(len(pieces)-1))
			})
		}
	})
	for i := 0; i < len(texts); i += 2 {
		if !bytes.Equal(texts[i], texts[i+1]) {
			t.Errorf("walk %d differs: %q and %q", i/2, texts[i], texts[i+1])
		}
	}
}

func TestStateErrors(t *testing.T) {
	v, err := grammar.NewVocabulary([][]byte{[]byte("a"), []byte("b"), nil, []byte("</s>")}, []int32{3})
	if err != nil {
		t.Fatal(err)
	}
	g, err := grammar.FromGBNF(`root ::= "a" ("c" | "")`)
	if err != nil {
		t.Fatal(err)
	}
	s := grammar.NewMatcher(g, v).NewState()
	for _, id := range []int32{-1, 4, 1, 2, 3} {
		if s.Accept(id) == nil {
			t.Errorf("token %d is accepted at the start", id)
		}
	}
	if err := s.Accept(0); err != nil {
		t.Fatal(err)
	}
	if s.Done() || !s.CanEnd() {
		t.Errorf("after a: done %t, can end %t", s.Done(), s.CanEnd())
	}
	if err := s.Accept(3); err != nil || !s.Done() {
		t.Errorf("end token: %v", err)
	}
	if m, err := s.Mask(); err != nil || !m.Has(3) || m.Has(0) {
		t.Errorf("mask after the end: %v, %v", m, err)
	}
	if s.Accept(0) == nil || s.AcceptText([]byte("c")) == nil {
		t.Error("text after the end is accepted")
	}
	g, err = grammar.FromGBNF(`root ::= "c"`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grammar.NewMatcher(g, v).NewState().Mask(); err != grammar.ErrStuck {
		t.Errorf("no piece fits: error %v, want ErrStuck", err)
	}
	if _, err := grammar.NewVocabulary(nil, []int32{0}); err == nil {
		t.Error("end token outside the vocabulary: no error")
	}
	if _, err := grammar.NewVocabulary([][]byte{make([]byte, 1<<20)}, nil); err == nil {
		t.Error("huge piece: no error")
	}
}

// check is a validator for the keywords that walkSchemas use.
func check(root, schema, v any) error {
	s, ok := schema.(map[string]any)
	if !ok {
		return nil // true
	}
	if ref, ok := s["$ref"].(string); ok {
		target := root
		for _, k := range strings.Split(ref, "/")[1:] {
			target = target.(map[string]any)[k]
		}
		return check(root, target, v)
	}
	if one, ok := s["oneOf"].([]any); ok {
		if err := checkAny(root, one, v); err != nil {
			return err
		}
	}
	if some, ok := s["anyOf"].([]any); ok {
		return checkAny(root, some, v)
	}
	if c, ok := s["const"]; ok && fmt.Sprint(c) != fmt.Sprint(v) {
		return fmt.Errorf("%v is not %v", v, c)
	}
	if e, ok := s["enum"].([]any); ok && !slices.ContainsFunc(e, func(x any) bool { return fmt.Sprint(x) == fmt.Sprint(v) }) {
		return fmt.Errorf("%v is not in %v", v, e)
	}
	if err := checkType(s["type"], v); err != nil {
		return err
	}
	num := func(key string, missing float64) float64 {
		if n, ok := s[key].(float64); ok {
			return n
		}
		return missing
	}
	switch v := v.(type) {
	case string:
		if n := float64(utf8.RuneCountInString(v)); n < num("minLength", 0) || n > num("maxLength", 1e9) {
			return fmt.Errorf("%q has %v characters", v, n)
		}
	case json.Number:
		if f, err := v.Float64(); err != nil || f < num("minimum", -1e300) || f > num("maximum", 1e300) {
			return fmt.Errorf("%v is out of range (%v)", v, err)
		}
	case []any:
		if n := float64(len(v)); n < num("minItems", 0) || n > num("maxItems", 1e9) {
			return fmt.Errorf("%v items", n)
		}
		prefix, _ := s["prefixItems"].([]any)
		for i, e := range v {
			sub := s["items"]
			if i < len(prefix) {
				sub = prefix[i]
			}
			if err := check(root, sub, e); err != nil {
				return err
			}
		}
	case map[string]any:
		return checkObject(root, s, v)
	}
	return nil
}

func checkAny(root any, some []any, v any) error {
	for _, x := range some {
		if check(root, x, v) == nil {
			return nil
		}
	}
	return fmt.Errorf("%v fits none of %v", v, some)
}

func checkObject(root any, s, v map[string]any) error {
	required, _ := s["required"].([]any)
	for _, r := range required {
		if _, ok := v[r.(string)]; !ok {
			return fmt.Errorf("%v is missing", r)
		}
	}
	props, _ := s["properties"].(map[string]any)
	for k, e := range v {
		sub, ok := props[k]
		if !ok {
			if s["additionalProperties"] == false {
				return fmt.Errorf("property %q", k)
			}
			sub = s["additionalProperties"]
		}
		if err := check(root, sub, e); err != nil {
			return err
		}
	}
	return nil
}

func checkType(want, v any) error {
	if want == nil {
		return nil
	}
	names, ok := want.([]any)
	if !ok {
		names = []any{want}
	}
	got := []string{"null"}
	switch v := v.(type) {
	case bool:
		got = []string{"boolean"}
	case string:
		got = []string{"string"}
	case []any:
		got = []string{"array"}
	case map[string]any:
		got = []string{"object"}
	case json.Number:
		got = []string{"number"}
		if !strings.ContainsAny(v.String(), ".eE") {
			got = append(got, "integer")
		}
	}
	if slices.ContainsFunc(names, func(n any) bool { return slices.Contains(got, n.(string)) }) {
		return nil
	}
	return fmt.Errorf("%v is %v, not %v", v, got, want)
}
