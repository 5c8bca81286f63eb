package token

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// A Tokenizer encodes and decodes the text of one model. Use [New].
type Tokenizer struct {
	vocab *vocab

	// Exactly one of these is set.
	spm       *spm
	bpe       *bpe
	wordPiece *wordPiece

	fields bool // white space is dropped before BPE
	lower  bool // and the text lower-cased

	user    *specials // tokens matched in any text
	all     *specials // those and control tokens
	addBOS  bool
	addEOS  bool
	addSep  bool
	trimmed bool // decoding drops the space that encoding puts before a text
}

// models are the values of tokenizer.ggml.model that New takes.
var models = []string{"bert", "gemma4", "gpt2", "llama", "whitespace"}

// New makes a tokenizer from a file's metadata. It refuses tokenizers and
// pre-tokenizers that it does not know, with the names of those it knows.
func New(f Meta) (*Tokenizer, error) {
	model, ok := f.String(keyModel)
	if !ok {
		return nil, keyError(keyModel, "missing or not a string; the file has no tokenizer")
	}
	if !slices.Contains(models, model) {
		return nil, keyError(keyModel, "tokenizer %q is not supported; supported are %s", model, strings.Join(models, ", "))
	}
	v, err := readVocab(f)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{vocab: v}
	switch model {
	case "llama":
		err = t.initSPM(f)
	case "bert":
		err = t.initWordPiece(f)
	default:
		err = t.initBPE(f, model)
	}
	if err != nil {
		return nil, err
	}
	v.findSpecial(f)
	v.setStrips(f)
	if t.user, err = newSpecials(v, false); err != nil {
		return nil, err
	}
	if t.all, err = newSpecials(v, true); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Tokenizer) initSPM(f Meta) error {
	v := t.vocab
	v.unk, v.bos, v.eos = 0, 1, 2 // SentencePiece's own
	v.readIDs(f)
	t.readAdd(f, true)
	t.trimmed = flag(f, "tokenizer.ggml.add_space_prefix", true)
	var err error
	t.spm, err = newSPM(v, t.trimmed)
	return err
}

func (t *Tokenizer) initWordPiece(f Meta) error {
	v := t.vocab
	v.unk, v.bos, v.sep = 100, 101, 102 // of the first such model
	v.readIDs(f)
	t.readAdd(f, true)
	// Both are added whatever the metadata says.
	t.addBOS, t.addEOS, t.addSep = true, false, true
	t.trimmed = true
	var err error
	t.wordPiece, err = newWordPiece(f, v)
	return err
}

func (t *Tokenizer) initBPE(f Meta, model string) error {
	pre, _ := f.String(keyPre)
	if model == "gemma4" {
		pre = model
	}
	p, err := findPreset(pre)
	if err != nil {
		return err
	}
	t.vocab.readIDs(f)
	t.readAdd(f, p.bos)
	t.addBOS = t.addBOS || p.lines // metadata of these models says false by mistake
	t.fields = model == "whitespace"
	t.lower = flag(f, "tokenizer.ggml.normalizer.lowercase", pre != "whitespace")
	t.bpe, err = newBPE(f, t.vocab, p, pre != "kimi-k2")
	return err
}

// readAdd reads whether tokens are added at the ends of a text.
func (t *Tokenizer) readAdd(f Meta, bos bool) {
	t.addBOS = flag(f, "tokenizer.ggml.add_bos_token", bos)
	t.addEOS = flag(f, "tokenizer.ggml.add_eos_token", false)
}

func flag(f Meta, key string, otherwise bool) bool {
	if on, ok := f.Bool(key); ok {
		return on
	}
	return otherwise
}

// EncodeOptions say how to treat special tokens. The zero value encodes the
// text alone.
type EncodeOptions struct {
	// AddSpecial adds the tokens that the model expects at the beginning and
	// the end of a text, such as BOS, as the file's metadata says.
	AddSpecial bool
	// ParseSpecial turns the texts of control tokens, such as "<|im_end|>",
	// into those tokens. Leave it off for text that a user wrote. Tokens that
	// the vocabulary calls user-defined are always recognised.
	ParseSpecial bool
}

// Encode returns the ids of a text. It fails only if the text is longer than
// 256 MiB, or if the vocabulary lacks a way to write a character.
func (t *Tokenizer) Encode(text string, opt EncodeOptions) ([]ID, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("token: text has %d bytes, the limit is %d; encode it in parts", len(text), maxText)
	}
	s := &session{out: make([]ID, 0, len(text)/3+8)}
	if opt.AddSpecial && t.addBOS && t.vocab.bos != none {
		s.out = append(s.out, t.vocab.bos)
	}
	sp := t.user
	if opt.ParseSpecial {
		sp = t.all
	}
	afterSpecial := true
	for _, f := range sp.split(text) {
		if f.id != none {
			s.out = append(s.out, f.id)
			afterSpecial = true
			continue
		}
		if err := t.encode(s, f.text, afterSpecial); err != nil {
			return nil, err
		}
		afterSpecial = false
	}
	if opt.AddSpecial {
		if t.addEOS && t.vocab.eos != none {
			s.out = append(s.out, t.vocab.eos)
		}
		if t.addSep && t.vocab.sep != none {
			s.out = append(s.out, t.vocab.sep)
		}
	}
	return s.out, nil
}

// encode appends the ids of a text without special tokens.
func (t *Tokenizer) encode(s *session, text string, afterSpecial bool) error {
	switch {
	case t.spm != nil:
		return t.spm.encode(s, text, afterSpecial)
	case t.wordPiece != nil:
		t.wordPiece.encode(s, text)
	case t.fields:
		if t.lower {
			text = strings.Map(unicode.ToLower, text)
		}
		for _, word := range strings.Fields(text) {
			t.bpe.encode(s, word)
		}
	default:
		t.bpe.encode(s, text)
	}
	return nil
}

// Size returns the number of tokens in the vocabulary.
func (t *Tokenizer) Size() int { return len(t.vocab.text) }

// BOS returns the token that begins a text, or -1 if there is none.
func (t *Tokenizer) BOS() ID { return t.vocab.bos }

// EOS returns the token that ends a text, or -1 if there is none.
func (t *Tokenizer) EOS() ID { return t.vocab.eos }

// AddsBOS reports whether Encode with AddSpecial puts BOS first, so that a
// caller whose text already begins with it can avoid a second one.
func (t *Tokenizer) AddsBOS() bool { return t.addBOS && t.vocab.bos != none }

// AddsEOS reports whether Encode with AddSpecial puts EOS last.
func (t *Tokenizer) AddsEOS() bool { return t.addEOS && t.vocab.eos != none }

// EOG reports whether a token means that generation ends: the end of the text,
// of a turn, or of a message to a tool.
func (t *Tokenizer) EOG(id ID) bool { return t.vocab.eog[id] }

// IsControl reports whether a token is a control token, which is not part of
// the visible text.
func (t *Tokenizer) IsControl(id ID) bool { return t.has(id, attrControl) }

// Text returns the text of a token as the vocabulary writes it, "" if there is
// no such token.
func (t *Tokenizer) Text(id ID) string {
	if !t.valid(id) {
		return ""
	}
	return t.vocab.text[id]
}

// Lookup returns the token that the vocabulary writes so.
func (t *Tokenizer) Lookup(text string) (ID, bool) {
	id, ok := t.vocab.ids[text]
	return id, ok
}

func (t *Tokenizer) valid(id ID) bool { return id >= 0 && int(id) < len(t.vocab.text) }

func (t *Tokenizer) has(id ID, a attr) bool { return t.valid(id) && t.vocab.attr[id]&a != 0 }
