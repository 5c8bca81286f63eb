package token_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/token"
	"github.com/google/go-cmp/cmp"
)

// Types of tokens in the metadata.
const (
	normal  = 1
	unknown = 2
	control = 3
	user    = 4
	unused  = 5
	bytes   = 6
)

type entry struct {
	text string
	kind int64
}

// spmMeta is a small SentencePiece vocabulary: unknown, BOS, EOS, the bytes,
// then the entries, each with a lower score than the one before.
func spmMeta(entries ...entry) meta {
	all := []entry{{"<unk>", unknown}, {"<s>", control}, {"</s>", control}}
	for b := range 256 {
		all = append(all, entry{fmt.Sprintf("<0x%02X>", b), bytes})
	}
	return vocabMeta("llama", append(all, entries...))
}

// bpeMeta is a small byte-level vocabulary: the bytes, then the entries.
func bpeMeta(merges []string, entries ...entry) meta {
	var all []entry
	next := rune(256)
	for b := range rune(256) {
		r := b
		if b < '!' || '~' < b && b < 0xA1 || b == 0xAD {
			r = next
			next++
		}
		all = append(all, entry{string(r), normal})
	}
	for _, m := range merges {
		all = append(all, entry{strings.ReplaceAll(m, " ", ""), normal})
	}
	m := vocabMeta("gpt2", append(all, entries...))
	m["tokenizer.ggml.pre"] = "gpt-2"
	m["tokenizer.ggml.merges"] = merges
	return m
}

func bertMeta(entries ...string) meta {
	all := []entry{{"[UNK]", unknown}, {"[CLS]", control}, {"[SEP]", control}}
	for _, e := range entries {
		all = append(all, entry{e, normal})
	}
	m := vocabMeta("bert", all)
	m["tokenizer.ggml.unknown_token_id"] = uint64(0)
	m["tokenizer.ggml.bos_token_id"] = uint64(1)
	m["tokenizer.ggml.seperator_token_id"] = uint64(2)
	return m
}

func vocabMeta(model string, all []entry) meta {
	var texts []string
	var kinds []int64
	var scores []float32
	for i, e := range all {
		texts = append(texts, e.text)
		kinds = append(kinds, e.kind)
		scores = append(scores, float32(-i))
	}
	return meta{
		"tokenizer.ggml.model":      model,
		"tokenizer.ggml.tokens":     texts,
		"tokenizer.ggml.token_type": kinds,
		"tokenizer.ggml.scores":     scores,
	}
}

// texts writes ids as the vocabulary does.
func texts(tok *token.Tokenizer, ids []token.ID) string {
	var out []string
	for _, id := range ids {
		out = append(out, tok.Text(id))
	}
	return strings.Join(out, "|")
}

func TestEncode(t *testing.T) {
	plain := token.EncodeOptions{}
	parse := token.EncodeOptions{ParseSpecial: true}
	add := token.EncodeOptions{AddSpecial: true}
	spm := spmMeta(entry{"▁", normal}, entry{"▁a", normal}, entry{"ab", normal}, entry{"a", normal},
		entry{"b", normal}, entry{"<|x|>", control}, entry{"<|x|><|y|>", control}, entry{"\n\n", user}, entry{"\n\n\n", user})
	phi := spm.with("general.name", "Phi-3 mini")
	bpe := bpeMeta([]string{"a b", "ab c", "b c"}, entry{"<|endoftext|>", control}, entry{"ab", user})
	bert := bertMeta("▁un", "able", "▁a", "▁.", "▁中", "▁e", "b")
	for _, c := range []struct {
		name, text string
		meta       meta
		opt        token.EncodeOptions
		want       string
	}{
		{"space before the text", "ab", spm, plain, "▁a|b"},
		{"none if the file says so", "ab", spm.with("tokenizer.ggml.add_space_prefix", false), plain, "ab"},
		{"empty", "", spm, plain, ""},
		{"empty with BOS", "", spm, add, "<s>"},
		{"BOS", "a", spm, add, "<s>|▁a"},
		{"no BOS if the file says so", "a", spm.with("tokenizer.ggml.add_bos_token", false), add, "▁a"},
		{"EOS if the file says so", "a", spm.with("tokenizer.ggml.add_eos_token", true), add, "<s>|▁a|</s>"},
		{"byte fallback", "é", spm, plain, "▁|<0xC3>|<0xA9>"},
		{"bytes that are not UTF-8 stay", "a\xff", spm, plain, "▁a|<0xFF>"},
		{"controls are text", "<|x|>", spm, plain, "▁|<0x3C>|<0x7C>|<0x78>|<0x7C>|<0x3E>"},
		{"controls are parsed", "a<|x|>a", spm, parse, "▁a|<|x|>|▁a"},
		{"the longest wins", "<|x|><|y|><|x|>", spm, parse, "<|x|><|y|>|<|x|>"},
		{"and anywhere in the text", "\n\n\n\n\n", spm, plain, "\n\n\n|\n\n"},
		{"of one length the lower id wins", "aba", spmMeta(entry{"▁a", normal}, entry{"ba", user}, entry{"ab", user}), plain, "▁a|ba"},
		{"user-defined tokens always", "a\n\n", spm, plain, "▁a|\n\n"},
		{"white space after a control stays", "<|x|> \na", spm, parse, "<|x|>|▁|▁|<0x0A>|a"},
		{"phi-3 swallows it", "<|x|> \na", phi, parse, "<|x|>|▁a"},
		{"phi-3 swallows it, but not after BOS", "<s> a", phi, parse, "<s>|▁|▁a"},
		{"merges by rank, not by length", "abc", bpeMeta([]string{"b c", "a b", "ab c"}), plain, "a|bc"},
		{"merges", "abcab", bpeMeta([]string{"a b", "ab c"}), plain, "abc|ab"},
		{"user-defined before merging", "xabc", bpe, plain, "x|ab|c"},
		{"no BOS by default", "b", bpe, add, "b"},
		{
			"EOS and BOS", "b",
			bpe.with("tokenizer.ggml.add_bos_token", true).with("tokenizer.ggml.add_eos_token", true).
				with("tokenizer.ggml.bos_token_id", uint64(97)).with("tokenizer.ggml.eos_token_id", uint64(98)),
			add, "a|b|b",
		},
		{"not UTF-8", "a\xffb", bpe, plain, "a|ï|¿|½|b"},
		{"words", "Un\u00e2ble a.b", bert, plain, "▁un|able|▁a|▁.|[UNK]"},
		{"ideographs", "a中中", bert, plain, "▁a|▁中|▁中"},
		{"accents", "éb E\u0301", bert, plain, "▁e|b|▁e"},
		{"CLS and SEP", "a", bert, add, "[CLS]|▁a|[SEP]"},
		{"case", "A a", bert.with("tokenizer.ggml.normalizer.lowercase", false), plain, "[UNK]|▁a"},
	} {
		tok := mustNew(t, c.meta)
		if got := texts(tok, encode(t, tok, c.text, c.opt)); got != c.want {
			t.Errorf("%s: %q: got %q, want %q", c.name, c.text, got, c.want)
		}
	}
}

func TestEOG(t *testing.T) {
	kind := func(texts ...string) []entry {
		var out []entry
		for _, text := range texts {
			out = append(out, entry{text, normal})
		}
		return out
	}
	for _, c := range []struct {
		name string
		meta meta
		want string
	}{
		{"default", spmMeta(), "</s>"},
		{"by key", bpeMeta(nil).with("tokenizer.ggml.eos_token_id", uint64(97)).with("tokenizer.ggml.eot_token_id", uint64(98)), "a|b"},
		{"llama 3", bpeMeta(nil, kind("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>", "<|start_header_id|>")...), "<|end_of_text|>|<|eom_id|>|<|eot_id|>"},
		{"chatml", bpeMeta(nil, kind("<|endoftext|>", "<|im_start|>", "<|im_end|>")...), "<|endoftext|>|<|im_end|>"},
		{"gemma", bpeMeta(nil, kind("<start_of_turn>", "<end_of_turn>", "<eos>")...), "<end_of_turn>|<eos>"},
		{"code", bpeMeta(nil, kind("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|fim_prefix|>")...), "<|fim_pad|>|<|repo_name|>|<|file_sep|>"},
		{"harmony", bpeMeta(nil, kind("<|return|>", "<|call|>", "<|end|>")...), "<|return|>|<|call|>"},
		{"phi", bpeMeta(nil, kind("<|end|>", "<|endoftext|>")...), "<|end|>|<|endoftext|>"},
		{"html", bpeMeta(nil, kind("<|tool_response>", "</s>")...), "<|tool_response>"},
	} {
		tok := mustNew(t, c.meta)
		var got []token.ID
		for id := range token.ID(tok.Size()) {
			if tok.EOG(id) {
				got = append(got, id)
				if strings.HasPrefix(tok.Text(id), "<") && !tok.IsControl(id) {
					t.Errorf("%s: %s is not a control token", c.name, tok.Text(id))
				}
			}
		}
		if got := texts(tok, got); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if tok.EOG(-1) || tok.EOG(token.ID(tok.Size())) {
			t.Errorf("%s: an id outside the vocabulary ends generation", c.name)
		}
	}
}

func TestNewErrors(t *testing.T) {
	long := strings.Repeat("x", 1<<14+1)
	for _, c := range []struct {
		name string
		meta meta
		want []string // parts of the error
	}{
		{"no tokenizer", meta{}, []string{"tokenizer.ggml.model", "missing"}},
		{"unigram", spmMeta().with("tokenizer.ggml.model", "t5"), []string{`"t5"`, "not supported", "gpt2", "llama", "bert"}},
		{"pre-tokenizer", bpeMeta(nil).with("tokenizer.ggml.pre", "nonesuch"), []string{`"nonesuch"`, "qwen2", "llama-bpe", "tekken"}},
		{"no tokens", meta{"tokenizer.ggml.model": "gpt2"}, []string{"tokenizer.ggml.tokens", "missing"}},
		{"empty", vocabMeta("gpt2", nil).with("tokenizer.ggml.tokens", []string{}), []string{"tokenizer.ggml.tokens", "empty"}},
		{"no merges", bpeMeta(nil).with("tokenizer.ggml.merges", 1), []string{"tokenizer.ggml.merges", "missing"}},
		{"no scores", spmMeta().with("tokenizer.ggml.scores", 1), []string{"tokenizer.ggml.scores", "missing"}},
		{"few scores", spmMeta().with("tokenizer.ggml.scores", []float32{1}), []string{"tokenizer.ggml.scores", "1 entries for 259"}},
		{"few types", spmMeta().with("tokenizer.ggml.token_type", []int64{1}), []string{"tokenizer.ggml.token_type", "1 entries for 259"}},
		{"long token", spmMeta(entry{long, normal}), []string{"token 259", "16385 bytes", "16384"}},
		{"long control token", spmMeta(entry{long[:2000], control}), []string{"token 259", "2000 bytes", "1024"}},
		{"no unknown token", vocabMeta("bert", []entry{{"a", normal}}), []string{"unknown_token_id"}},
	} {
		_, err := token.New(c.meta)
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not say %q", c.name, err, part)
			}
		}
	}
}

func TestNoByteToken(t *testing.T) {
	m := vocabMeta("llama", []entry{{"a", normal}})
	tok := mustNew(t, m.with("tokenizer.ggml.unknown_token_id", uint64(0)))
	if got := encode(t, tok, "b", token.EncodeOptions{}); !slices.Equal(got, []token.ID{0, 0, 0, 0}) {
		t.Errorf("got %v", got) // three bytes of U+2581 and one of b
	}
}

func TestPieces(t *testing.T) {
	spm := mustNew(t, spmMeta(entry{"▁a", normal}, entry{"▁", user}, entry{"x", unused}, entry{"<0xZZ>", bytes}))
	bpe := mustNew(t, bpeMeta([]string{"Ã ©"}, entry{"<|im_end|>", control}, entry{"a b\u4e2d", normal}))
	for _, c := range []struct {
		tok  *token.Tokenizer
		id   token.ID
		want string
	}{
		{spm, 0, ""},
		{spm, 1, ""},
		{spm, 3 + 'A', "A"},
		{spm, 3 + 0xff, "\xff"},
		{spm, 259, " a"},
		{spm, 260, "▁"},
		{spm, 261, ""},
		{spm, 262, "<0xZZ>"},
		{spm, 263, ""},
		{spm, -1, ""},
		{bpe, 0, "\x00"},
		{bpe, 0xad, "\xad"},
		{bpe, 256, "é"},
		{bpe, 257, ""},
		{bpe, 258, "a b\u4e2d"},
	} {
		if got := string(c.tok.Piece(c.id)); got != c.want {
			t.Errorf("piece of %d %q: got %q, want %q", c.id, c.tok.Text(c.id), got, c.want)
		}
	}
}

func TestStream(t *testing.T) {
	tok := mustNew(t, spmMeta(entry{"▁a", normal}, entry{"é", normal}))
	raw := func(s string) []token.ID {
		var ids []token.ID
		for i := range len(s) {
			ids = append(ids, 3+token.ID(s[i]))
		}
		return ids
	}
	for _, c := range []struct {
		name string
		ids  []token.ID
		want []string // of each id, then of Flush
	}{
		{"words", []token.ID{259, 259}, []string{" a", " a", ""}},
		{"a character in bytes", raw("€x"), []string{"", "", "€", "x", ""}},
		{"with a control token within", []token.ID{3 + 0xC3, 1, 3 + 0xA9}, []string{"", "", "é", ""}},
		{"unfinished", raw("\xF0\x9F\x98"), []string{"", "", "", "\uFFFD"}},
		{"broken off", raw("\xF0\x9F\x98a"), []string{"", "", "", "\uFFFDa", ""}},
		{"broken off by another", raw("\xE2\xC3\xA9"), []string{"", "\uFFFD", "é", ""}},
		{"broken off by a token", []token.ID{3 + 0xE2, 260}, []string{"", "\uFFFDé", ""}},
		{"never one", raw("\x80\xFF\xC0"), []string{"\uFFFD", "\uFFFD", "\uFFFD", ""}},
		{"surrogate", raw("\xED\xA0\x80"), []string{"", "\uFFFD\uFFFD", "\uFFFD", ""}},
	} {
		s := tok.NewStream()
		var got []string
		for _, id := range c.ids {
			got = append(got, s.Add(id))
		}
		got = append(got, s.Flush())
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if all := strings.Join(got, ""); all != tok.DecodeMore(c.ids) {
			t.Errorf("%s: stream gives %q, DecodeMore %q", c.name, all, tok.DecodeMore(c.ids))
		}
	}
}

func TestDecodeLeadingSpace(t *testing.T) {
	tok := mustNew(t, spmMeta(entry{"▁a", normal}, entry{"▁", normal}))
	ids := encode(t, tok, " a a", token.EncodeOptions{AddSpecial: true})
	if got := tok.Decode(ids); got != " a a" {
		t.Errorf("Decode: got %q", got)
	}
	if got := tok.DecodeMore(ids); got != "  a a" {
		t.Errorf("DecodeMore: got %q", got)
	}
}

func TestAccessors(t *testing.T) {
	tok := mustNew(t, spmMeta(entry{"", normal}))
	if id, ok := tok.Lookup("[EMPTY_259]"); !ok || id != 259 {
		t.Errorf("empty token: got %d, %v", id, ok)
	}
	if _, ok := tok.Lookup("nonesuch"); ok {
		t.Error("found a token that is not there")
	}
	if tok.Size() != 260 || tok.BOS() != 1 || tok.EOS() != 2 || !tok.AddsBOS() || tok.AddsEOS() {
		t.Errorf("size %d, BOS %d, EOS %d, adds BOS %v, EOS %v", tok.Size(), tok.BOS(), tok.EOS(), tok.AddsBOS(), tok.AddsEOS())
	}
	if tok.Text(-1) != "" || tok.Text(260) != "" || tok.IsControl(-1) || !tok.IsControl(1) {
		t.Error("ids outside the vocabulary")
	}
	bare := mustNew(t, bpeMeta(nil))
	if bare.BOS() != -1 || bare.EOS() != -1 || bare.AddsBOS() {
		t.Errorf("BOS %d, EOS %d", bare.BOS(), bare.EOS())
	}
}

// FuzzEncode encodes any text with a small vocabulary of each family. Encode
// must not panic, a byte-level text must come back from Decode, and a stream
// must give what Decode gives.
func FuzzEncode(f *testing.F) {
	for _, s := range []string{
		"", " ", "Hello, world!\n\n", "it's 12345 €", "\xff\xc3", "<|im_end|> <s>", "中文。한국어 e\u0301", "▁a \u00a0\u3000",
		"😀\u200d", "ab<|im_end|>\nab", "\x00", "<sentinel:1>IMGIMGAZ",
	} {
		f.Add(s, uint8(0))
		f.Add(s, uint8(3))
	}
	m := bpeMeta([]string{"a b", "Ġ a", "Ġ Ġ", "Ã ©", "ab c", "h e", "l l", "he ll"}, entry{"<|im_end|>", control}, entry{"  ", user})
	var byteLevel []*token.Tokenizer
	for _, pre := range strings.Fields("default gpt-2 llama-bpe jais-2 qwen2 qwen35 tekken gpt-4o granite-embed-multi-97m " +
		"tiny_aya youtu deepseek-llm deepseek-coder deepseek-v3 afmoe kimi-k2 superbpe bloom viking chameleon falcon smollm " +
		"laguna minicpm5 seed-coder exaone-moe") {
		byteLevel = append(byteLevel, mustNew(f, m.with("tokenizer.ggml.pre", pre)))
	}
	others := []*token.Tokenizer{
		mustNew(f, spmMeta(entry{"▁a", normal}, entry{"ab", normal}, entry{"<|im_end|>", control}, entry{"\n\n", user})),
		mustNew(f, bertMeta("▁a", "b", "▁中", "▁.")),
		mustNew(f, m.with("tokenizer.ggml.pre", "gemma4")),
		mustNew(f, m.with("tokenizer.ggml.pre", "whitespace").with("tokenizer.ggml.model", "whitespace")),
	}
	f.Fuzz(func(t *testing.T, text string, flags uint8) {
		opt := token.EncodeOptions{AddSpecial: flags&1 != 0, ParseSpecial: flags&2 != 0}
		for _, tok := range byteLevel {
			ids := encode(t, tok, text, token.EncodeOptions{})
			if want := string([]rune(text)); tok.Decode(ids) != want {
				t.Fatalf("%q comes back as %q", want, tok.Decode(ids))
			}
		}
		for _, tok := range slices.Concat(byteLevel, others) {
			ids := encode(t, tok, text, opt)
			s := tok.NewStream()
			var b strings.Builder
			for _, id := range ids {
				part := s.Add(id)
				if !utf8.ValidString(part) {
					t.Fatalf("the stream gives %q, which is not UTF-8", part)
				}
				b.WriteString(part)
			}
			b.WriteString(s.Flush())
			if b.String() != tok.DecodeMore(ids) {
				t.Fatalf("the stream gives %q, DecodeMore %q", b.String(), tok.DecodeMore(ids))
			}
		}
	})
}

// FuzzNew makes tokenizers of arbitrary vocabularies, and encodes and decodes
// with them. The tokens are the lines of a text.
func FuzzNew(f *testing.F) {
	f.Add("llama", "", "<unk>\n<s>\n</s>\na\nab\n▁", "", "\x02\x03\x03\x01\x01", "ab b")
	f.Add("gpt2", "qwen2", "a\nb\nab\nabc", "a b\nab c\n x\nx \n  ", "\x01\x01\x04", "abc")
	f.Add("gemma4", "", "a\n▁\n<0x62>\n\n\n", "▁ a", "", "a b")
	f.Add("bert", "", "[UNK]\n▁a\nb", "", "", "ab")
	f.Add("whitespace", "whitespace", "a", "a a", "\x06", "A")
	f.Fuzz(func(t *testing.T, model, pre, tokens, merges, kinds, text string) {
		m := meta{
			"tokenizer.ggml.model":            model,
			"tokenizer.ggml.pre":              pre,
			"tokenizer.ggml.tokens":           strings.Split(tokens, "\n"),
			"tokenizer.ggml.merges":           strings.Split(merges, "\n"),
			"tokenizer.ggml.unknown_token_id": uint64(len(kinds)),
		}
		var types []int64
		scores := []float32{}
		for i := range strings.Split(tokens, "\n") {
			kind := int64(normal)
			if i < len(kinds) {
				kind = int64(kinds[i])
			}
			types = append(types, kind)
			scores = append(scores, float32(kind-int64(i)))
		}
		m["tokenizer.ggml.token_type"], m["tokenizer.ggml.scores"] = types, scores
		tok, err := token.New(m)
		if err != nil {
			return
		}
		for _, opt := range []token.EncodeOptions{{}, {AddSpecial: true, ParseSpecial: true}} {
			ids, err := tok.Encode(text, opt)
			if err != nil {
				return
			}
			tok.Decode(ids)
			for _, id := range ids {
				if tok.Text(id) == "" {
					t.Fatalf("id %d is not in the vocabulary", id)
				}
			}
		}
	})
}
