// Package lint holds tests of the repository's shape: which package may import
// which, that every package explains itself, that links resolve, and that
// arithmetic whose bits are promised cannot be fused by a compiler. There is
// nothing to call; run "go test ./internal/lint". It judges sources only and
// proves nothing about what they compute.
package lint
