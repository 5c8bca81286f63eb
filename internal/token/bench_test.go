package token_test

import (
	"os"
	"testing"

	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/token"
)

// Benchmarks report the speed of encoding English prose, of decoding it, and
// of loading a vocabulary of 128,000 tokens.

func BenchmarkEncode(b *testing.B) {
	prose, err := os.ReadFile(testdata.Shared(b, "text", "war-and-peace.txt"))
	if err != nil {
		b.Fatal(err)
	}
	text := string(prose[:1<<20])
	run := func(name string, tok *token.Tokenizer) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				encode(b, tok, text, token.EncodeOptions{})
			}
		})
	}
	run("llama3", mustNew(b, llama3Meta(b, "llama-bpe")))
	for _, name := range []string{"gpt-2", "llama-spm", "bert-bge", "deepseek-llm"} {
		run(name, load(b, name))
	}
}

func BenchmarkDecode(b *testing.B) {
	prose, err := os.ReadFile(testdata.Shared(b, "text", "war-and-peace.txt"))
	if err != nil {
		b.Fatal(err)
	}
	tok := load(b, "gpt-2")
	ids := encode(b, tok, string(prose[:1<<20]), token.EncodeOptions{})
	b.SetBytes(1 << 20)
	for b.Loop() {
		tok.Decode(ids)
	}
}

func BenchmarkNew(b *testing.B) {
	m := llama3Meta(b, "llama-bpe")
	b.ReportAllocs()
	for b.Loop() {
		mustNew(b, m)
	}
}
