package grammar_test

import (
	"math/rand/v2"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/testdata"
)

// largeEnd is the end token of largePieces.
const largeEnd = 151_936

// largePieces returns a real byte-level vocabulary of 102,400 pieces, joined
// pairs of these up to 151,936, and an end token.
func largePieces(t testing.TB) [][]byte {
	t.Helper()
	f, err := gguf.Open(testdata.Shared(t, "tokenizers", "ggml-vocab-deepseek-llm.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	texts, ok := f.Strings("tokenizer.ggml.tokens")
	if !ok {
		t.Fatal("no vocabulary in the file")
	}
	// GPT-2's table: printable bytes stand for themselves, the others for the
	// characters from U+0100 on, in order.
	byteOf := map[rune]byte{}
	next := rune(0x100)
	for b := range 256 {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			byteOf[rune(b)] = byte(b)
			continue
		}
		byteOf[next] = byte(b)
		next++
	}
	var pieces [][]byte
	for _, text := range texts {
		var p []byte
		for _, r := range text {
			b, ok := byteOf[r]
			if !ok {
				p = nil
				break
			}
			p = append(p, b)
		}
		pieces = append(pieces, p)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for n := len(pieces); len(pieces) < largeEnd; {
		a, b := pieces[r.IntN(n)], pieces[r.IntN(n)]
		pieces = append(pieces, append(append([]byte(nil), a...), b...))
	}
	return append(pieces, nil)
}

func BenchmarkNewVocabulary(b *testing.B) {
	pieces := largePieces(b)
	for b.Loop() {
		if _, err := grammar.NewVocabulary(pieces, []int32{largeEnd}); err != nil {
			b.Fatal(err)
		}
	}
}

const benchSchema = `{"type":"object","properties":{"name":{"type":"string"},"note":{"type":"string","maxLength":500},` +
	`"age":{"type":"integer","minimum":0,"maximum":150},"tags":{"type":"array","items":{"type":"string"}}},` +
	`"required":["name","note","age","tags"],"additionalProperties":false}`

const benchText = `{"name": "Ada Lovelace", "note": "She wrote the first published program, for a machine that was never built.", ` +
	`"age": 36, "tags": ["mathematics", "computing", "poetry", "London"]}`

// BenchmarkMask generates a text, all bytes one at a time: first with nothing
// known about the grammar (cold), as for a new schema, then again for the
// same Matcher (warm), as for another request.
func BenchmarkMask(b *testing.B) {
	v, err := grammar.NewVocabulary(largePieces(b), []int32{largeEnd})
	if err != nil {
		b.Fatal(err)
	}
	g, err := grammar.FromJSONSchema([]byte(benchSchema))
	if err != nil {
		b.Fatal(err)
	}
	run := func(b *testing.B, m *grammar.Matcher) {
		s := m.NewState()
		for i := range len(benchText) {
			if _, err := s.Mask(); err != nil {
				b.Fatalf("byte %d: %v", i, err)
			}
			if err := s.AcceptText([]byte{benchText[i]}); err != nil {
				b.Fatalf("byte %d: %v", i, err)
			}
		}
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			run(b, grammar.NewMatcher(g, v))
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(benchText)), "µs/mask")
	})
	b.Run("warm", func(b *testing.B) {
		m := grammar.NewMatcher(g, v)
		run(b, m)
		for b.Loop() {
			run(b, m)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(benchText)), "µs/mask")
	})
	b.Run("steady", func(b *testing.B) {
		s := grammar.NewMatcher(g, v).NewState()
		if err := s.AcceptText([]byte(`{"name": "Ada`)); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := s.Mask(); err != nil {
				b.Fatal(err)
			}
			if err := s.AcceptText([]byte(" x")); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkFromJSONSchema(b *testing.B) {
	for b.Loop() {
		if _, err := grammar.FromJSONSchema([]byte(benchSchema)); err != nil {
			b.Fatal(err)
		}
	}
}
