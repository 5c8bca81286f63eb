// Package tensor is the exact float32 arithmetic of training: matrix products
// with either side transposed ([Machine.Mul]), and the operations of networks,
// each beside its gradient. spec/training.md, part 1, defines every result bit
// for bit; the number of threads and the processor change none.
//
// Start with [New], which gives a [Machine]: threads and their working memory.
// Operations are its methods, on plain slices, rows after rows. They set their
// first arguments; a comment says where a gradient is added to instead. Shapes
// that do not fit are bugs of the caller and panic.
//
// The package knows no layers, parameters or optimisers (see internal/train),
// keeps no graph and differentiates nothing by itself.
package tensor
