// Package bpe learns a byte-level vocabulary from text: byte-pair encoding as
// GPT-2 made it common, written in the metadata of a GGUF file as llama.cpp and
// internal/token read it.
//
// Call [NewTrainer] first, [Trainer.Add] for each text, then [Trainer.Train].
// [Vocabulary.Set] writes what came out into a file.
//
// What is learned is a function of the texts and the options alone: never of
// the number of threads or of the order in which words are met. The rule is
//
//   - A text is cut at the texts of special tokens, which are not learned from,
//     and into pieces of 1 MiB at a line end (piece.go). A pre-tokenizer cuts
//     the pieces into words (internal/token); merges never cross words.
//   - A word is first a list of bytes. The pair of neighbours that occurs most
//     often in all words is joined everywhere, from left to right in each word;
//     then the next, until the vocabulary has its size or no pair occurs
//     [Options.MinCount] times. In "aaa" the pair "aa" occurs twice.
//   - Of pairs that occur equally often, the one whose left token has the lower
//     id comes first, then the one whose right token has. Bytes have ids in
//     their order, then tokens in the order in which they were made.
//   - Two merges may make the same text. Then it is one token.
//
// The ids in the file are: the special tokens, the 256 bytes, then what was
// merged.
//
// The package does not encode: that is what internal/token does with the file.
package bpe
