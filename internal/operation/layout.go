package operation

// Sizes of leaves (spec/trace.md, section 4.2). They bound what a referee is
// shown: 16 KiB a leaf, proofs included.
const (
	tileLen   = 512  // numbers of a tile of a vector
	storeLen  = 1024 // f16 numbers of a tile of keys and values
	quantCols = 3072 // columns of a quantised matrix that a leaf goes over
	floatCols = 512  // those of another matrix
	sliceLen  = 128  // elements of a head that a leaf of attention goes over
	blockLen  = 32   // positions that it goes over
	expLen    = 128  // positions of a leaf of exponentials
	windowLen = 512  // ids of the history in a leaf
	countLen  = 2048 // ids that a leaf of counts goes over
	block     = 32   // columns of a partial sum, and of an activation scale
	lanes     = 16   // partial sums of a norm or a softmax
	buckets   = 256  // of a histogram of keys
)

// layout says how the numbers of an operation lie in its leaves: groups of n
// numbers of size bytes, one group after the other. The numbers of a group
// count from first on, and a leaf ends where the next number is a multiple of
// per, or with the group.
type layout struct{ groups, first, n, per, size int }

// tiles is the layout of a vector of n numbers of 4 bytes.
func tiles(n int) layout { return layout{1, 0, n, tileLen, 4} }

// records is the layout of n leaves of size bytes.
func records(n, size int) layout { return layout{1, 0, n, 1, size} }

// perGroup is the number of leaves of a group.
func (y layout) perGroup() int { return (y.first+y.n-1)/y.per - y.first/y.per + 1 }

func (y layout) leaves() int { return y.groups * y.perGroup() }

// start is the place, among all numbers, of the first one of a leaf.
func (y layout) start(leaf int) int {
	g := y.perGroup()
	return leaf/g*y.n + max(0, (y.first/y.per+leaf%g)*y.per-y.first)
}

// at is where a leaf begins among the bytes of all.
func (y layout) at(leaf int) int { return y.start(leaf) * y.size }

// find is the leaf that holds number i of all.
func (y layout) find(i int) int {
	return i/y.n*y.perGroup() + (y.first+i%y.n)/y.per - y.first/y.per
}

// vector is where n numbers lie: from number off on, in leaves of in.Op or in
// tiles of a state.
type vector struct {
	in     Input // without From and To
	layout layout
	off, n int
}

// slice is the part of v from number from on.
func (v vector) slice(from, n int) vector {
	v.off, v.n = v.off+from, n
	return v
}
