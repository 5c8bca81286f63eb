// Package token turns text into the token ids of a model and back, from the
// tokenizer that a GGUF file carries in its metadata.
//
// Call [New] with the file's metadata first; then [Tokenizer.Encode],
// [Tokenizer.Decode], or [Tokenizer.NewStream] for text that is generated
// token by token. A Tokenizer never changes after New and may be used by many
// goroutines at once.
//
// Three families are implemented: "llama" (SentencePiece's byte-pair merging
// by score, with byte fallback; spm.go), "gpt2" and its relatives (byte-pair
// merging by rank after a pre-tokenizer has cut the text into words; bpe.go,
// presets.go) and "bert" (WordPiece; wordpiece.go). The ids are those that
// llama.cpp gives for the same file, including its habits where they differ
// from the tokenizer a model was trained with; the differences are noted where
// they arise. Unigram ("t5"), "rwkv", "plamo2" and "hybriddna" tokenizers are
// refused with an error that lists what is known.
//
// Every step takes time linear in the length of the text, up to a logarithm in
// merging, whatever the text is. There is no regular-expression engine: a
// pre-tokenizer is a list of hand-written scanners (scan.go, words.go) over
// character classes.
//
// Character classes are those of Unicode 15.1 (classes.go), the version of
// llama.cpp's tables, whatever version the Go toolchain has; lower-casing and
// decomposition, which only WordPiece uses, come from Go's tables. Text that is
// not UTF-8 has each offending byte replaced by U+FFFD, except in the "llama"
// family, which keeps bytes. llama.cpp lets over-long forms and surrogates
// pass where this package replaces them.
//
// The package does not render chat templates, and it does not decide when
// generation ends: [Tokenizer.EOG] only says which tokens mean that.
package token
