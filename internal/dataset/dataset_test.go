package dataset_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/bpe"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/token"
	"github.com/avalnetwork/aval/internal/train"
)

// prose is enough text for a small vocabulary.
var prose = strings.Repeat("The cat sat on the mat.\nThe dog sat on the cat, and the cat ran away.\n\n", 40)

// tokenizer is a vocabulary of prose. bos may be "".
func tokenizer(t testing.TB, bos string) *token.Tokenizer {
	t.Helper()
	tr, err := bpe.NewTrainer(bpe.Options{Size: 300, BOS: bos, EOS: "<|end|>", Special: []string{"<|im_start|>", "<|im_end|>"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Add(t.Context(), "prose", strings.NewReader(prose), nil); err != nil {
		t.Fatal(err)
	}
	v, err := tr.Train(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "v.gguf")
	if err := v.WriteFile(path, "llama", "test"); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok, err := token.New(f)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func file(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTextWindows(t *testing.T) {
	for _, bos := range []string{"", "<s>"} {
		tok := tokenizer(t, bos)
		path := file(t, "a.txt", prose+"<|end|>\n"+prose+"The end")
		o := dataset.TextOptions{Tokenizer: tok, Context: 40, Threads: 3}
		s, err := dataset.ReadText(t.Context(), []string{path}, o)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		ends, aligned := 0, 0
		for i, e := range s.Examples {
			if n := len(e.Tokens); n < 2 || n > 41 || e.Mask != nil {
				t.Fatalf("example %d has %d tokens, mask %v", i, n, e.Mask)
			}
			if bos != "" && e.Tokens[0] != tok.BOS() {
				t.Fatalf("example %d does not begin with BOS", i)
			}
			learned := e.Tokens[1:]
			if bos == "" && (i == 0 || s.Examples[i-1].Tokens[len(s.Examples[i-1].Tokens)-1] == tok.EOS()) {
				learned = e.Tokens // the very first token of a document is not predicted
			}
			piece := tok.DecodeMore(learned)
			if strings.HasPrefix(piece, "The") {
				aligned++
			}
			text.WriteString(piece)
			if e.Tokens[len(e.Tokens)-1] == tok.EOS() {
				ends++
			}
		}
		if want := prose + "\n" + prose + "The end"; text.String() != want {
			t.Errorf("bos %q: the windows do not add up to the text: %d bytes, want %d", bos, text.Len(), len(want))
		}
		if ends != 2 || aligned < s.Len()*9/10 {
			t.Errorf("bos %q: %d documents end, %d of %d windows begin with a line", bos, ends, aligned, s.Len())
		}
		if s.Targets != s.Tokens-s.Len() {
			t.Errorf("%d targets of %d tokens in %d examples", s.Targets, s.Tokens, s.Len())
		}
		o.Threads = 1
		again, err := dataset.ReadText(t.Context(), []string{path}, o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Errorf("one thread: %s", diff)
		}
	}
}

// TestPieces holds the reader, which tokenizes in pieces, to the tokenizer.
func TestPieces(t *testing.T) {
	tok := tokenizer(t, "<s>")
	text := strings.Repeat(prose+"\n\n \n\tA line\n  that is\r\n\r\n", 200)
	path := file(t, "long.txt", text)
	s, err := dataset.ReadText(t.Context(), []string{path}, dataset.TextOptions{Tokenizer: tok, Context: 100, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	want, err := tok.Encode(text, token.EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []int32
	for _, e := range s.Examples {
		got = append(got, e.Tokens[1:]...)
	}
	if !slices.Equal(got, append(want, tok.EOS())) {
		t.Errorf("%d tokens, want %d", len(got), len(want)+1)
	}
}

// learned is the text whose tokens count, with [] around each stretch.
func learned(tok *token.Tokenizer, e train.Example) string {
	var b strings.Builder
	on := false
	for i, id := range e.Tokens {
		now := i > 0 && (e.Mask == nil || e.Mask[i-1])
		if now != on {
			b.WriteString(map[bool]string{true: "[", false: "]"}[now])
		}
		on = now
		b.WriteString(strings.NewReplacer("Ġ", " ", "Ċ", "/").Replace(tok.Text(id)))
	}
	if on {
		b.WriteString("]")
	}
	return b.String()
}

func TestJSONL(t *testing.T) {
	tok := tokenizer(t, "<s>")
	chatML, err := chat.Parse(chat.ChatML)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := chat.Parse(`{{ bos_token }}{% for m in messages %}{{ m.role[0] }}: {{ m.content }}/{% endfor %}{% if add_generation_prompt %}a: {% endif %}`)
	if err != nil {
		t.Fatal(err)
	}
	thinking, err := chat.Parse(`{% for m in messages %}<|im_start|>{{ m.role }}:{% if not loop.last %}{{ m.content[2:] }}{% else %}{{ m.content }}{% endif %}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant:{% endif %}`)
	if err != nil {
		t.Fatal(err)
	}
	const talk = `{"messages": [{"role": "system", "content": "Hi"}, {"role": "user", "content": "cat?"}, {"role": "assistant", "content": "dog!"},
		{"role": "user", "content": [{"type": "text", "text": "mat?"}]}, {"role": "assistant", "content": "sat."}, {"role": "user", "content": "left over"}]}`
	for _, c := range []struct {
		name     string
		template *chat.Template
		line     string
		context  int
		want     []string
	}{
		{"text", nil, `{"text": "The cat", "id": 7}`, 40, []string{"<s>[The cat<|end|>]"}},
		{"pair", nil, `{"prompt": "The cat", "response": " sat."}`, 40, []string{"<s>The cat[ sat.<|end|>]"}},
		{"pair in one token", nil, `{"prompt": "The c", "response": "at"}`, 40, []string{"<s>The[ cat<|end|>]"}},
		{"pair without a prompt", nil, `{"prompt": "", "response": "The cat"}`, 40, []string{"<s>[The cat<|end|>]"}},
		{"pair cut", nil, `{"prompt": "The cat", "response": " sat on the mat. The dog"}`, 8, nil},
		{"pair too long", nil, `{"prompt": "The cat sat on the mat. The dog sat on the mat.", "response": " sat"}`, 8, []string{}},
		{"pair by template", chatML, `{"prompt": "cat?", "response": "dog!"}`, 40, []string{"<s><|im_start|>user/cat?<|im_end|>/<|im_start|>assistant/[dog!<|im_end|>]"}},
		{"messages", chatML, talk, 100, []string{"<s><|im_start|>system/Hi<|im_end|>/<|im_start|>user/cat?<|im_end|>/<|im_start|>assistant/[dog!<|im_end|>]/" +
			"<|im_start|>user/mat?<|im_end|>/<|im_start|>assistant/[sat.<|im_end|>]"}},
		{"no end token", plain, talk, 100, []string{"<s>s: Hi/u: cat?/a:[ dog!/]u: mat?/a:[ sat./<|end|>]"}},
		{"earlier turns change", thinking, talk, 100, []string{"<s><|im_start|>system:<|im_end|><|im_start|>user:t?<|im_end|>" +
			"<|im_start|>assistant:g!<|im_end|><|im_start|>user:t?<|im_end|><|im_start|>assistant:[sat.<|im_end|>]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			line := strings.ReplaceAll(c.line, "\n", " ")
			path := file(t, "x.jsonl", "\n"+line+"\n\n")
			s, err := dataset.ReadJSONL(t.Context(), []string{path}, dataset.JSONLOptions{
				TextOptions: dataset.TextOptions{Tokenizer: tok, Context: c.context}, Template: c.template,
			})
			if c.name == "earlier turns change" && err != nil {
				// The prompt of the last answer is written otherwise too.
				if !strings.Contains(err.Error(), "template") {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, e := range s.Examples {
				got = append(got, learned(tok, e))
			}
			if c.want == nil {
				if s.Cut != 1 || s.Len() != 1 || len(s.Examples[0].Tokens) != c.context+1 {
					t.Errorf("cut %d: %q", s.Cut, got)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestJSONLByteOrderMark reads a file as Windows programs write it.
func TestJSONLByteOrderMark(t *testing.T) {
	o := dataset.JSONLOptions{TextOptions: dataset.TextOptions{Tokenizer: tokenizer(t, "<s>"), Context: 40}}
	lines := "{\"text\": \"The cat\"}\n{\"text\": \"The dog\"}\n"
	want, err := dataset.ReadJSONL(t.Context(), []string{file(t, "x.jsonl", lines)}, o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := dataset.ReadJSONL(t.Context(), []string{file(t, "y.jsonl", "\ufeff"+strings.ReplaceAll(lines, "\n", "\r\n"))}, o)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestJSONLRefuses(t *testing.T) {
	tok := tokenizer(t, "<s>")
	for _, c := range []struct{ line, says string }{
		{`{"text": 1}`, `"text"`},
		{`{"text": null}`, "null"},
		{`[1]`, "not a JSON object"},
		{`{"a": 1, "b": 2}`, `the keys are ["a" "b"]`},
		{`{"prompt": "x", "respnse": "y"}`, `only one of these forms; there is ["prompt"] among the keys ["prompt" "respnse"]`},
		{`{"text": "x", "messages": []}`, "0 messages"},
		{`{"messages": [{"role": "user", "content": "x"}]}`, "nothing to learn"},
		{`{"messages": [{"content": "x"}]}`, "no role"},
		{`{"messages": [{"role": "assistant", "content": {"a": 1}}]}`, "not text"},
		{`{"messages": [{"role": "assistant", "content": [{"type": "image"}]}]}`, `"image"`},
		{`{"messages": [{"role": "assistant", "content": "x"}]}`, "no chat template"},
		{"{\"text\": \"\xff\"}", "UTF-8"},
	} {
		path := file(t, "x.jsonl", "{\"text\": \"The cat\"}\n"+c.line+"\n")
		_, err := dataset.ReadJSONL(t.Context(), []string{path}, dataset.JSONLOptions{TextOptions: dataset.TextOptions{Tokenizer: tok, Context: 40}})
		if !errors.Is(err, dataset.ErrData) || !strings.Contains(fmt.Sprint(err), "x.jsonl, line 2: ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", c.line, err, c.says)
		}
	}
	long := file(t, "long.jsonl", "\n{\"text\": \""+strings.Repeat("x", dataset.MaxLine)+"\"}\n")
	_, err := dataset.ReadJSONL(t.Context(), []string{long}, dataset.JSONLOptions{TextOptions: dataset.TextOptions{Tokenizer: tok, Context: 40}})
	if !errors.Is(err, dataset.ErrData) || !strings.Contains(fmt.Sprint(err), "line 2: the line has more than") {
		t.Error(err)
	}
}

func examples(n int) *dataset.Set {
	s := &dataset.Set{}
	for i := range n {
		s.Examples = append(s.Examples, train.Example{Input: []float32{float32(i)}, Label: int32(i % 3)})
	}
	return s
}

func TestSplit(t *testing.T) {
	small, large := examples(1000), examples(3000)
	train1, val1 := small.Split(0.1, 7)
	train2, val2 := large.Split(0.1, 7)
	if n := val2.Len(); n < 240 || n > 360 { // 300 with a deviation of 16.4
		t.Errorf("%d of 3000 examples are for validation", n)
	}
	if train1.Len()+val1.Len() != 1000 || train2.Len()+val2.Len() != 3000 {
		t.Error("examples are lost")
	}
	for i := range train1.Examples {
		if !cmp.Equal(train1.Examples[i], train2.Examples[i]) {
			t.Fatalf("example %d of the training side moves when examples are added", i)
		}
	}
	seen := map[string]bool{}
	for _, e := range train2.Examples {
		seen[string(dataset.Canonical(&e))] = true
	}
	for _, e := range val2.Examples {
		if seen[string(dataset.Canonical(&e))] {
			t.Fatal("an example is on both sides")
		}
	}
	if _, other := large.Split(0.1, 8); cmp.Equal(other.Examples, val2.Examples) {
		t.Error("another seed gives the same division")
	}
	if _, none := large.Split(0, 7); none.Len() != 0 {
		t.Error("a fraction of 0 gives validation examples")
	}
	if all, _ := large.Split(1, 7); all.Len() != 0 {
		t.Error("a fraction of 1 leaves examples for training")
	}
}

// TestSplitIsThatOfTheSpec holds an example to its number, computed by hand:
// 0.50512...
func TestSplitIsThatOfTheSpec(t *testing.T) {
	s := &dataset.Set{Examples: train.List{{Tokens: []int32{1, 258}, Mask: []bool{true}}}}
	for _, c := range []struct {
		fraction float64
		want     int
	}{{0.50512, 0}, {0.50513, 1}} {
		if _, v := s.Split(c.fraction, 7); v.Len() != c.want {
			t.Errorf("a share of %v: %d examples for validation, want %d", c.fraction, v.Len(), c.want)
		}
	}
}

func TestCanonical(t *testing.T) {
	for _, e := range []train.Example{
		{Tokens: []int32{1, 2, 300000}, Mask: []bool{true, false}},
		{Tokens: []int32{5, 6}},
		{Input: []float32{0.5, -1}, Label: 3},
		{Input: []float32{0.5}, Target: []float32{1, 2}},
	} {
		got, err := dataset.ParseCanonical(dataset.Canonical(&e))
		if err != nil || !cmp.Equal(e, got) {
			t.Errorf("%+v comes back as %+v, %v", e, got, err)
		}
	}
	// As spec/training.md has it.
	e := train.Example{Tokens: []int32{1, 258}, Mask: []bool{true}}
	if got, want := fmt.Sprintf("%x", dataset.Canonical(&e)), "a2014801000000020100000241"+"01"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestReport(t *testing.T) {
	r := dataset.NewReport(10, train.Loss{Sum: 200, Count: 100, Correct: 37}, true)
	if got, want := r.String(), "loss 2.0000, perplexity 7.39, accuracy 37.00 % (100 predictions in 10 examples)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestRealText reads a book.
func TestRealText(t *testing.T) {
	path := testdata.Shared(t, "text", "tinyshakespeare.txt")
	s, err := dataset.ReadText(t.Context(), []string{path}, dataset.TextOptions{Tokenizer: tokenizer(t, "<s>"), Context: 256, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	_, val := s.Split(0.05, 0)
	if share := float64(val.Len()) / float64(s.Len()); s.Len() < 1000 || share < 0.03 || share > 0.07 {
		t.Errorf("%d examples, a share of %.3f for validation", s.Len(), share)
	}
}
