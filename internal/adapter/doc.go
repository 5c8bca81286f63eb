// Package adapter holds low-rank adapters (LoRA, Hu et al. 2021): small changes
// of a model's matrices, W + s B A, in files of their own. Call [Read] on an open
// GGUF file, then [Adapter.Fit] with the base model; [Adapter.Write] writes a
// file that llama.cpp loads too.
//
// A file has these keys and, for each matrix that it changes, two tensors:
//
//	general.type           "adapter"
//	general.architecture   that of the base model, such as "llama"
//	adapter.type           "lora"
//	adapter.lora.alpha     float32; missing or 0: B A is not divided by the rank
//	NAME.lora_a            rank rows of as many columns as the matrix NAME has
//	NAME.lora_b            as many rows as the matrix NAME has, of rank columns
//
// The tensor token_embd.weight, from which rows are taken, is the exception:
// its lora_a has a row of rank numbers for each token, and its lora_b as many
// rows as an embedding has numbers.
//
// The package computes nothing with adapters: internal/model runs them,
// internal/adapter/merge puts them into the weights, and spec/numerics.md
// defines both.
package adapter
