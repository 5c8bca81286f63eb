// Package model runs the forward pass of decoder language models: tokens in,
// logits out, with the bits that spec/numerics.md defines. Call [Load], then
// [Model.NewSequence] and [Model.Forward].
//
// A pass is one program that every worker of a pool executes (internal/pool);
// pass.go holds its building blocks, and each architecture, in a file of its
// own, composes them into a layer. To add one, write such a file and add a row
// to the table in architecture.go.
//
// The package does not know text, files beyond the GGUF reader, or sampling.
package model
