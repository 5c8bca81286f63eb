package aval_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"testing"

	"github.com/avalnetwork/aval"
	"github.com/avalnetwork/aval/internal/testdata"
)

func ExampleOpen() {
	m, err := aval.Open("model.gguf", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	answer, err := m.Chat(context.Background(), []aval.Message{
		{Role: "system", Content: "You answer in one sentence."},
		{Role: "user", Content: "Why is the sky blue?"},
	}, &aval.Options{Temperature: 0.7, Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Text)
}

func open(t *testing.T) *aval.Model {
	t.Helper()
	m, err := aval.Open(testdata.Shared(t, "weights", "stories260K", "stories260K-F16.gguf"), &aval.Config{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestGenerate(t *testing.T) {
	m := open(t)
	var streamed strings.Builder
	got, err := m.Generate(t.Context(), "Once upon a time", &aval.Options{
		Stop:   []string{" in the"},
		Stream: func(text string) error { streamed.WriteString(text); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = ", there was a little girl named Lily. She loved to play outside"
	if got.Text != want || streamed.String() != want || got.Stop != "stop" || len(got.PromptTokens) != 5 {
		t.Errorf("got %+v, streamed %q", got, streamed.String())
	}
}

func TestChat(t *testing.T) {
	m := open(t)
	got, err := m.Chat(t.Context(), []aval.Message{{Role: "user", Content: "Hi"}}, &aval.Options{MaxTokens: 5})
	if err != nil || len(got.Tokens) > 5 || len(got.PromptTokens) < 5 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestErrors(t *testing.T) {
	if _, err := aval.Open("no-such-file.gguf", nil); err == nil {
		t.Error("opened a file that is not there")
	}
	m := open(t)
	_, err := m.Generate(t.Context(), strings.Repeat("Once upon a time ", 500), nil)
	var long *aval.PromptTooLongError
	if !errors.As(err, &long) || long.Prompt < 500 || long.Context != m.Context() {
		t.Errorf("got %v", err)
	}
	if _, err := m.Generate(t.Context(), "x", &aval.Options{Schema: []byte("{")}); err == nil {
		t.Error("took half a schema")
	}
}
