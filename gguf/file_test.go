package gguf_test

import (
	"path/filepath"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/testdata"
)

func TestOpenPublishedFiles(t *testing.T) {
	for _, dir := range [][]string{{"weights", "stories260K"}, {"tokenizers"}} {
		paths, err := filepath.Glob(filepath.Join(testdata.Shared(t, dir...), "*.gguf"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no files in %v: %v", dir, err)
		}
		for _, path := range paths {
			f, err := gguf.Open(path)
			if err != nil {
				t.Error(err)
				continue
			}
			if arch, ok := f.String("general.architecture"); !ok || arch == "" {
				t.Errorf("%s: no architecture", path)
			}
			if tokens, ok := f.Strings("tokenizer.ggml.tokens"); !ok || len(tokens) < 512 {
				t.Errorf("%s: %d tokens", path, len(tokens))
			}
			for _, x := range f.Tensors() {
				if got := len(f.Data(x)); int64(got) != x.Size || got != x.Rows()*x.RowSize() {
					t.Errorf("%s: %s: %d bytes of %d", path, x.Name, got, x.Size)
				}
				f.Release(x)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// BenchmarkOpen opens a file with a vocabulary of 102,400 tokens.
func BenchmarkOpen(b *testing.B) {
	path := testdata.Shared(b, "tokenizers", "ggml-vocab-deepseek-llm.gguf")
	b.ReportAllocs()
	for b.Loop() {
		f, err := gguf.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if tokens, ok := f.Strings("tokenizer.ggml.tokens"); !ok || len(tokens) == 0 {
			b.Fatal("no tokens")
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
