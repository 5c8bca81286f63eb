// Package fingerprint gives a model file its identity: one hash that binds
// every weight and all metadata, and proofs that a part of the file, small or
// large, belongs to it. spec/fingerprint.md defines both.
//
// Call [Of] on an open file; [Tree.Root] is the identity and [Tree.Prove]
// proves metadata entries, tensors, tiles of tensors, elements of long arrays,
// and that an entry is not there. Whoever has the root and no file calls
// [Decode] and [Proof.Verify]: the [Facts] that come of it answer as a
// gguf.File does. [TilingOf] says how a tensor is cut into tiles.
//
// A [Cache] remembers the hashes of a file's data between runs. It serves the
// one who proves and would otherwise read the file again; verifying never
// looks at it.
//
// A root says which model, not whether it is a good one. Proofs are only as
// true as the root: one that was not computed from a file may prove anything.
package fingerprint
