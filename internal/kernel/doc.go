// Package kernel holds the arithmetic of the engine: exact functions of one
// value ([Exp], [GELU]), matrices repacked for the vector units ([Matrix]),
// their products with batches of activations ([Kernel.Mul]), attention, norms
// and activations. spec/numerics.md defines every result bit for bit.
//
// Start with [Best] or [Named], which give a [Kernel]: one set of
// implementations for one instruction set. The plain Go one is the reference;
// every other gives its bits.
//
// Layout. Weights are repacked in panels of sixteen rows, so that a vector
// register holds sixteen outputs and no sum is ever split between lanes.
// Columns go by blocks of 32. Activations are quantised to int8 once a block
// and laid out in tiles of a few tokens.
//
// The package starts no goroutines and allocates nothing while computing. It
// does not know models, files or tokens.
package kernel

// Numerics names the definition of the arithmetic, spec/numerics.md. Programs
// that name the same one give the same bits.
const Numerics = "aval-numerics/1"
