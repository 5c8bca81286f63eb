// Package gguf reads and writes GGUF files, the format in which language
// models for the ggml family of programs are published.
//
// Call [Open] first: it maps the file (all parts of a split one), checks
// every length, offset and type in the header, and gives the metadata
// ([File.String], [File.Uint], ...) and the tensors ([File.Tensor],
// [File.Data]). [Inspect] does the same without mapping the data and also
// takes tensor types that this module does not compute with, so that any file
// can be listed. [Parse] reads a header from an [io.ReaderAt]. [Create] and
// [NewWriter] write version 3 files.
//
// Versions 2 and 3 are read. They have one layout, little endian:
//
//	magic "GGUF" · version uint32 · tensors uint64 · keys uint64
//	keys    × (key string · kind uint32 · value)
//	tensors × (name string · dims uint32 · dim uint64 × dims · type uint32 · offset uint64)
//	padding to general.alignment (32 unless the key says otherwise)
//	tensor data; each offset counts from here and is a multiple of the alignment
//
// A string is a uint64 length and that many bytes. An array is an element
// kind (uint32), a count (uint64) and the elements; elements may be arrays.
// The format's specification is docs/gguf.md in the ggml repository; where
// this package is stricter than it, the reason stands beside the check.
//
// A file is untrusted: the limits are the constants in limits.go, nothing is
// allocated because a header says so (only for bytes that were really there),
// and every refusal is a [ParseError] that tells which check failed, where,
// and what to do.
//
// Version 1 and big-endian files are refused. Arrays of arrays follow the
// specification, but llama.cpp does not read them: do not put them into model
// files.
//
// The package does not interpret metadata (that is the model loader's work),
// does not dequantise, and does not fetch anything.
package gguf
