package token

import (
	"fmt"
	"math"
	"strings"
)

// Limits. A file beyond them is refused by [New], a text by
// [Tokenizer.Encode]. The largest published vocabularies have about 262,000
// tokens and 500,000 merges; their longest token has a few hundred bytes.
const (
	maxTokens    = 1 << 22 // tokens in a vocabulary
	maxMerges    = 1 << 22 // merges
	maxTokenText = 1 << 14 // bytes in one token's text
	maxSpecial   = 1 << 10 // bytes in the text of a token that is matched as a whole
	maxText      = 1 << 28 // bytes in a text to encode
)

// ID is the number of a token in a model's vocabulary.
type ID = int32

// none is the id of a token that a vocabulary does not have.
const none ID = -1

// Meta is the part of a GGUF file's metadata access that New needs. Each
// method reports false if the key is absent or of another type.
type Meta interface {
	String(key string) (string, bool)
	Uint(key string) (uint64, bool)
	Bool(key string) (bool, bool)
	Strings(key string) ([]string, bool)
	Ints(key string) ([]int64, bool)
	Floats(key string) ([]float32, bool)
}

// attr is a set of properties of a token.
type attr uint8

const (
	attrUnknown attr = 1 << iota
	attrUnused
	attrNormal
	attrControl
	attrUser   // matched in the text before anything else
	attrByte   // stands for one byte
	attrLStrip // swallows white space on its left in the text
	attrRStrip // swallows white space on its right
)

const attrSpecial = attrUnknown | attrControl

// ggufAttrs maps the numbers of tokenizer.ggml.token_type, which are
// SentencePiece's, to properties.
var ggufAttrs = [...]attr{1: attrNormal, 2: attrUnknown, 3: attrControl, 4: attrUser, 5: attrUnused, 6: attrByte}

// vocab is the vocabulary of a model.
type vocab struct {
	text    []string
	attr    []attr
	score   []float32 // nil if the file has none
	ids     map[string]ID
	longest int // bytes in the longest text

	bos, eos, unk, sep ID
	eog                map[ID]bool
}

// keyError is the only constructor of errors about metadata.
func keyError(key, format string, args ...any) error {
	return fmt.Errorf("token: metadata key %s: %s", key, fmt.Sprintf(format, args...))
}

const (
	keyModel  = "tokenizer.ggml.model"
	keyPre    = "tokenizer.ggml.pre"
	keyTokens = "tokenizer.ggml.tokens"
	keyScores = "tokenizer.ggml.scores"
	keyTypes  = "tokenizer.ggml.token_type"
	keyMerges = "tokenizer.ggml.merges"
)

// readVocab reads texts, scores and types. It does not yet know the special
// tokens.
func readVocab(f Meta) (*vocab, error) {
	texts, ok := f.Strings(keyTokens)
	switch {
	case !ok:
		return nil, keyError(keyTokens, "missing or not an array of strings; the file has no vocabulary")
	case len(texts) == 0:
		return nil, keyError(keyTokens, "empty")
	case len(texts) > maxTokens:
		return nil, keyError(keyTokens, "%d tokens, the limit is %d", len(texts), maxTokens)
	}
	v := &vocab{
		text: make([]string, len(texts)),
		attr: make([]attr, len(texts)),
		ids:  make(map[string]ID, len(texts)),
		bos:  none, eos: none, unk: none, sep: none,
		eog: map[ID]bool{},
	}
	for i, s := range texts {
		if s == "" {
			s = fmt.Sprintf("[EMPTY_%d]", i)
		}
		if len(s) > maxTokenText {
			return nil, keyError(keyTokens, "token %d has %d bytes, the limit is %d", i, len(s), maxTokenText)
		}
		v.text[i] = s
		v.attr[i] = attrNormal
		v.ids[s] = ID(i)
		v.longest = max(v.longest, len(s))
	}
	if err := v.readTypes(f); err != nil {
		return nil, err
	}
	return v, v.readScores(f)
}

func (v *vocab) readTypes(f Meta) error {
	types, ok := f.Ints(keyTypes)
	if !ok {
		return nil
	}
	if len(types) < len(v.text) {
		return keyError(keyTypes, "%d entries for %d tokens", len(types), len(v.text))
	}
	for i := range v.text {
		v.attr[i] = 0
		if n := types[i]; n > 0 && n < int64(len(ggufAttrs)) {
			v.attr[i] = ggufAttrs[n]
		}
	}
	return nil
}

func (v *vocab) readScores(f Meta) error {
	scores, ok := f.Floats(keyScores)
	if !ok {
		ints, ok := f.Ints(keyScores)
		if !ok {
			return nil
		}
		scores = make([]float32, len(ints))
		for i, n := range ints {
			scores[i] = float32(n)
		}
	}
	if len(scores) < len(v.text) {
		return keyError(keyScores, "%d entries for %d tokens", len(scores), len(v.text))
	}
	for i, s := range scores {
		if math.IsNaN(float64(s)) {
			return keyError(keyScores, "the score of token %d is not a number", i)
		}
	}
	v.score = scores
	return nil
}

// lookup returns the id of the token with this text, or none.
func (v *vocab) lookup(text string) ID {
	if id, ok := v.ids[text]; ok {
		return id
	}
	return none
}

// readIDs sets the special tokens that the metadata names. An id outside the
// vocabulary is ignored, as is a default that does not exist in it.
func (v *vocab) readIDs(f Meta) {
	for _, s := range []struct {
		key string
		id  *ID
	}{
		{"tokenizer.ggml.bos_token_id", &v.bos},
		{"tokenizer.ggml.eos_token_id", &v.eos},
		{"tokenizer.ggml.unknown_token_id", &v.unk},
		{"tokenizer.ggml.seperator_token_id", &v.sep},
	} {
		if int(*s.id) >= len(v.text) {
			*s.id = none
		}
		if n, ok := f.Uint(s.key); ok && n < uint64(len(v.text)) {
			*s.id = ID(n)
		}
	}
}

// role is a purpose that a token may serve besides being text. Files name it
// by a key or, more often, only by the token's text.
type role struct {
	keys  []string
	texts []string
	ends  bool // the token ends generation
}

var roles = []role{
	{
		keys: []string{"tokenizer.ggml.eot_token_id"},
		texts: []string{
			"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>",
			"<EOT>", "_<EOT>", "[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>",
		},
		ends: true,
	},
	{keys: []string{"tokenizer.ggml.eom_token_id"}, texts: []string{"<|eom_id|>"}, ends: true},
	{
		keys: []string{"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"},
		texts: []string{
			"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
			"<|code_prefix|>", "<|prefix|>",
		},
	},
	{
		keys: []string{"tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"},
		texts: []string{
			"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
			"<|code_suffix|>", "<|suffix|>",
		},
	},
	{
		keys: []string{"tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"},
		texts: []string{
			"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
			"<|code_middle|>", "<|middle|>",
		},
	},
	{
		keys:  []string{"tokenizer.ggml.fim_pad_token_id"},
		texts: []string{"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"},
		ends:  true,
	},
	{
		keys:  []string{"tokenizer.ggml.fim_rep_token_id"},
		texts: []string{"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"},
		ends:  true,
	},
	{keys: []string{"tokenizer.ggml.fim_sep_token_id"}, texts: []string{"<|file_sep|>"}, ends: true},
}

// endTexts are the texts of tokens that end generation in any vocabulary that
// has them.
var endTexts = []string{
	"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
	"<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
	"<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
	"<｜end▁of▁sentence｜>", "[e~[",
}

// findSpecial decides which tokens are control tokens and which end
// generation, from keys and from well-known texts.
func (v *vocab) findSpecial(f Meta) {
	for _, r := range roles {
		id := v.findRole(f, r)
		if id != none && r.ends {
			v.eog[id] = true
		}
	}
	for _, text := range endTexts {
		if id := v.lookup(text); id != none {
			v.eog[id] = true
			v.attr[id] |= attrControl
		}
	}
	// These four are shown to the user of the models that have them.
	for _, text := range []string{"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"} {
		if id := v.lookup(text); id != none {
			v.attr[id] = attrUser
		}
	}
	if v.eos != none {
		v.eog[v.eos] = true
	}
	v.exceptions()
}

// findRole returns the token with a role: by key, else the first by text,
// which then becomes a control token.
func (v *vocab) findRole(f Meta, r role) ID {
	id := none
	for _, key := range r.keys {
		if n, ok := f.Uint(key); ok && n < uint64(len(v.text)) {
			id = ID(n)
		}
	}
	if id != none {
		return id
	}
	for _, text := range r.texts {
		if found := v.lookup(text); found != none && (id == none || found < id) {
			id = found
		}
	}
	if id != none {
		v.attr[id] |= attrControl
	}
	return id
}

// exceptions undoes endings by text in vocabularies where the text means
// something else.
func (v *vocab) exceptions() {
	ends := func(text string) bool { return v.eog[v.lookup(text)] }
	call := ends("<|call|>") || ends("<|calls|>")
	if call && ends("<|end|>") && (ends("<|return|>") || ends("<|flush|>")) {
		// In these formats <|end|> closes a part of the answer.
		id := v.lookup("<|end|>")
		delete(v.eog, id)
		v.attr[id] = attrUser
	}
	if ends("<|tool_response>") && ends("</s>") {
		// A mere piece of HTML there.
		id := v.lookup("</s>")
		delete(v.eog, id)
		v.attr[id] = attrNormal
	}
}

// setStrips marks the special tokens that swallow white space beside them. The
// metadata has no field for it, so it is known by names.
func (v *vocab) setStrips(f Meta) {
	pre, _ := f.String(keyPre)
	name, _ := f.String("general.name")
	arch, _ := f.String("general.architecture")
	name = strings.ToLower(name)
	mark := func(text string, a attr, on bool) {
		if id := v.lookup(text); id == none {
			return
		} else if on {
			v.attr[id] |= a
		} else {
			v.attr[id] &^= a
		}
	}
	switch {
	case containsAny(pre, "jina-v2-de", "jina-v2-es", "jina-v2-code") ||
		containsAny(arch, "nomic-bert-moe", "jina-bert-v3"):
		mark("<mask>", attrLStrip, true)
	case containsAny(name, "phi-3", "phi3"):
		for id := range v.attr {
			if v.attr[id]&(attrSpecial|attrUser) != 0 {
				v.attr[id] |= attrRStrip
			}
		}
		mark("</s>", attrRStrip, true)
		for _, text := range []string{"<unk>", "<s>", "<|endoftext|>"} {
			mark(text, attrRStrip, false)
		}
	case containsAny(name, "modern-bert"):
		mark("[MASK]", attrLStrip, true)
	}
}

func containsAny(s string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}
