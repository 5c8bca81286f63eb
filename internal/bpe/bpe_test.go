package bpe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/bpe"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/token"
)

func train(t testing.TB, o bpe.Options, texts ...string) *bpe.Vocabulary {
	t.Helper()
	tr, err := bpe.NewTrainer(o)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		if err := tr.Add(t.Context(), fmt.Sprint(i), strings.NewReader(text), nil); err != nil {
			t.Fatal(err)
		}
	}
	v, err := tr.Train(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// tokenizer writes a vocabulary into a file and reads it again.
func tokenizer(t testing.TB, v *bpe.Vocabulary) *token.Tokenizer {
	t.Helper()
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

// slow learns merges as the package comment says, all pairs counted anew each
// time.
func slow(words []string, size int, least int) (merges []string) {
	var lists [][]string
	order := map[string]int{}
	for b := range 256 {
		order[string([]byte{byte(b)})] = b
	}
	for _, w := range words {
		var l []string
		for i := range len(w) {
			l = append(l, w[i:i+1])
		}
		lists = append(lists, l)
	}
	for len(order) < size {
		counts := map[[2]string]int{}
		for _, l := range lists {
			for i := 1; i < len(l); i++ {
				counts[[2]string{l[i-1], l[i]}]++
			}
		}
		var best [2]string
		for p, n := range counts {
			better := n > counts[best]
			if n == counts[best] {
				a, b := order[p[0]], order[best[0]]
				better = a < b || a == b && order[p[1]] < order[best[1]]
			}
			if better && len(p[0])+len(p[1]) <= bpe.MaxTokenBytes {
				best = p
			}
		}
		if counts[best] < least {
			break
		}
		joined := best[0] + best[1]
		merges = append(merges, token.ByteText([]byte(best[0]))+" "+token.ByteText([]byte(best[1])))
		if _, ok := order[joined]; !ok {
			order[joined] = len(order)
		}
		for k, l := range lists {
			var out []string
			for i := 0; i < len(l); i++ {
				if i+1 < len(l) && l[i] == best[0] && l[i+1] == best[1] {
					out = append(out, joined)
					i++
				} else {
					out = append(out, l[i])
				}
			}
			lists[k] = out
		}
	}
	return merges
}

func TestMergesAreThoseOfTheSlowWay(t *testing.T) {
	split, err := token.NewSplitter("gpt-2")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		letters := []rune("ab é'1\n")[:2+rng.IntN(6)]
		var b strings.Builder
		for range 30 + rng.IntN(220) {
			b.WriteRune(letters[rng.IntN(len(letters))])
		}
		var words []string
		split.Words(b.String(), func(w string) { words = append(words, w) })
		size := 256 + rng.IntN(60)
		v := train(t, bpe.Options{Size: size, Threads: 2}, b.String())
		if diff := cmp.Diff(slow(words, size, 2), v.Merges); diff != "" {
			t.Fatalf("%q, %d tokens: %s", b.String(), size, diff)
		}
	}
}

// TestThreads also varies how the text arrives.
func TestThreads(t *testing.T) {
	text, err := os.ReadFile(testdata.Shared(t, "text", "tinyshakespeare.txt"))
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Repeat(text, 3) // more than one piece
	var want *bpe.Vocabulary
	for _, threads := range []int{1, 2, 7} {
		tr, err := bpe.NewTrainer(bpe.Options{Size: 700, Threads: threads, BOS: "<s>", EOS: "</s>"})
		if err != nil {
			t.Fatal(err)
		}
		r := iotest.HalfReader(bytes.NewReader(text))
		if threads == 1 {
			r = bytes.NewReader(text)
		}
		if err := tr.Add(t.Context(), "text", r, nil); err != nil {
			t.Fatal(err)
		}
		v, err := tr.Train(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = v
		}
		if diff := cmp.Diff(want, v); diff != "" {
			t.Fatalf("%d threads: %s", threads, diff)
		}
	}
	if len(want.Tokens) != 700 {
		t.Errorf("%d tokens, want 700", len(want.Tokens))
	}
}

// naive applies merges to a word as the rule is: the first merge of the list
// that can be applied, leftmost, until none can.
func naive(word string, rank map[string]int) []string {
	var l []string
	for i := range len(word) {
		l = append(l, token.ByteText([]byte(word[i:i+1])))
	}
	for {
		best, at := len(rank), -1
		for i := 1; i < len(l); i++ {
			if r, ok := rank[l[i-1]+" "+l[i]]; ok && r < best {
				best, at = r, i
			}
		}
		if at < 0 {
			return l
		}
		l = append(l[:at-1], append([]string{l[at-1] + l[at]}, l[at+1:]...)...)
	}
}

func TestEncodingAppliesMerges(t *testing.T) {
	text, err := os.ReadFile(testdata.Shared(t, "text", "war-and-peace.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pre := range []string{"gpt-2", "llama-bpe"} {
		part := string(text[:400_000])
		v := train(t, bpe.Options{Size: 1000, Pre: pre, BOS: "<|s|>", EOS: "<|s|>", Threads: 2}, part)
		tok := tokenizer(t, v)
		if tok.Size() != 1000 || tok.BOS() != 0 || tok.EOS() != 0 || !tok.AddsBOS() || !tok.IsControl(0) {
			t.Errorf("%s: size %d, bos %d, eos %d, adds %v", pre, tok.Size(), tok.BOS(), tok.EOS(), tok.AddsBOS())
		}
		ids, err := tok.Encode(string(text), token.EncodeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Decode(ids); got != string(text) {
			t.Errorf("%s: the text does not come back", pre)
		}
		if n := float64(len(text)) / float64(len(ids)); n < 2.5 {
			t.Errorf("%s: %.2f bytes a token", pre, n)
		}
		rank := map[string]int{}
		for i, m := range v.Merges {
			rank[m] = i
		}
		split, err := token.NewSplitter(pre)
		if err != nil {
			t.Fatal(err)
		}
		at, cache := 0, map[string][]string{}
		split.Words(part, func(w string) {
			l, ok := cache[w]
			if !ok {
				l = naive(w, rank)
				if pre == "llama-bpe" && slices.Contains(v.Tokens, token.ByteText([]byte(w))) {
					l = []string{token.ByteText([]byte(w))} // that one takes words that are tokens whole
				}
				cache[w] = l
			}
			for _, want := range l {
				if got := tok.Text(ids[at]); got != want && !t.Failed() {
					t.Errorf("%s: token %d is %q, want %q", pre, at, got, want)
				}
				at++
			}
		})
	}
}

func TestSpecialTokensAreNotLearned(t *testing.T) {
	text := strings.Repeat("<|end|>abc<|end|>\n", 50)
	v := train(t, bpe.Options{Size: 300, EOS: "<|end|>", Unknown: "<unk>", Special: []string{"<|x|>"}}, text)
	for _, tok := range v.Tokens[259:] {
		if strings.Contains(tok, "end") || strings.Contains(tok, "|") {
			t.Errorf("learned %q", tok)
		}
	}
	if diff := cmp.Diff([]int32{3, 2, 3}, v.Types[:3]); diff != "" {
		t.Error(diff)
	}
	if v.BOS != -1 || v.EOS != 0 || v.Unknown != 1 {
		t.Errorf("bos %d, eos %d, unknown %d", v.BOS, v.EOS, v.Unknown)
	}
	if n := len(v.Tokens); n != 3+256+2 { // ab, abc: nothing else to learn
		t.Errorf("%d tokens: %q", n, v.Tokens[256:])
	}
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		o    bpe.Options
		says string
	}{
		{bpe.Options{Size: 255}, "want 256"},
		{bpe.Options{Size: 256, BOS: "<s>"}, "want 257"},
		{bpe.Options{Size: bpe.MaxSize + 1}, "1048576"},
		{bpe.Options{Size: 300, Pre: "nobody"}, "known are"},
		{bpe.Options{Size: 300, Pre: "gemma4"}, "byte by byte"},
		{bpe.Options{Size: 300, BOS: "a b"}, "without spaces"},
		{bpe.Options{Size: 300, MinCount: -1}, "least count"},
		{bpe.Options{Size: 300, Threads: -1}, "threads"},
	} {
		_, err := bpe.NewTrainer(c.o)
		if !errors.Is(err, bpe.ErrOptions) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want it to say %q", c.o, err, c.says)
		}
	}
	for _, c := range []struct{ text, says string }{
		{"", "empty"},
		{"a\xffb", "byte 1"},
		{"ab\x00c", "byte 2"},
		{strings.Repeat("line\n", 1<<18) + "\xc3", fmt.Sprint("byte ", 5<<18)},
	} {
		tr, err := bpe.NewTrainer(bpe.Options{Size: 300})
		if err != nil {
			t.Fatal(err)
		}
		err = tr.Add(t.Context(), "some.txt", strings.NewReader(c.text), nil)
		if err == nil {
			_, err = tr.Train(t.Context(), nil)
		}
		if !errors.Is(err, bpe.ErrText) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.20q: %v, want it to say %q", c.text, err, c.says)
		}
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tr, err := bpe.NewTrainer(bpe.Options{Size: 300})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Add(ctx, "x", strings.NewReader("abc"), nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzTrain(f *testing.F) {
	f.Add("hello hello world", 270, 2)
	f.Add(strings.Repeat("a", 700), 300, 1)
	f.Add("日本語 日本語 \r\n\t 12345", 290, 3)
	f.Fuzz(func(t *testing.T, text string, size, threads int) {
		if len(text) > 1<<12 || size > 600 || threads > 4 {
			t.Skip()
		}
		tr, err := bpe.NewTrainer(bpe.Options{Size: size, Threads: threads, BOS: "<s>"})
		if err != nil {
			t.Skip()
		}
		if err := tr.Add(t.Context(), "x", strings.NewReader(text), nil); err != nil {
			t.Skip()
		}
		v, err := tr.Train(t.Context(), nil)
		if err != nil {
			t.Skip()
		}
		tok := tokenizer(t, v)
		ids, err := tok.Encode(text, token.EncodeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Decode(ids); got != text {
			t.Errorf("%q comes back as %q", text, got)
		}
	})
}

func BenchmarkTrain(b *testing.B) {
	text, err := os.ReadFile(testdata.Shared(b, "text", "war-and-peace.txt"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		train(b, bpe.Options{Size: 4096, Threads: 2}, string(text))
	}
}
