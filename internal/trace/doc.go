// Package trace is the tree of hidden states of a run (spec/trace.md): what a
// model computed at every layer and position, as one hash that a receipt can
// carry.
//
// The model hashes its states with [State] while it computes; [NewTree] puts
// the hashes together, [Tree.Root] and [Commitment] give what is signed. An
// [Opening] shows some of the states with proofs that they are those of a
// commitment; [Decode] reads one that comes from somebody else.
//
// The package computes no state and does not know models: vectors are bytes.
package trace
