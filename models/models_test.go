package models_test

import (
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/models"
)

// TestMini holds the built-in model to what is said of it.
func TestMini(t *testing.T) {
	data := models.Mini()
	if len(data) > 6_000_000 {
		t.Errorf("%d bytes, at most 6 MB belong into the program", len(data))
	}
	f, err := gguf.Parse(strings.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	parameters := 0
	for _, x := range f.Tensors() {
		parameters += x.Elements()
		if len(x.Shape) == 2 && x.Type != gguf.Q8_0 {
			t.Errorf("%s is %v, want Q8_0", x.Name, x.Type)
		}
	}
	if parameters < 1e6 || parameters > 5e6 {
		t.Errorf("%d parameters, want 1 to 5 million", parameters)
	}
	for key, want := range map[string]string{"general.architecture": "llama", "general.name": models.MiniName, "tokenizer.ggml.model": "gpt2"} {
		if got, _ := f.String(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}
