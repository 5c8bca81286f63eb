package chat_test

import (
	"os"
	"testing"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/testdata"
)

func BenchmarkParse(b *testing.B) {
	source, err := os.ReadFile(testdata.Shared(b, "tokenizers", "chat-templates", "Qwen-Qwen3-0.6B.jinja"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(source)))
	for b.Loop() {
		if _, err := chat.Parse(string(source)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	source, err := os.ReadFile(testdata.Shared(b, "tokenizers", "chat-templates", "Qwen-Qwen3-0.6B.jinja"))
	if err != nil {
		b.Fatal(err)
	}
	tmpl, err := chat.Parse(string(source))
	if err != nil {
		b.Fatal(err)
	}
	in := chat.Input{Messages: talk, AddGenerationPrompt: true}
	for b.Loop() {
		if _, err := tmpl.Render(in); err != nil {
			b.Fatal(err)
		}
	}
}
