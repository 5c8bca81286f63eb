//go:build !race

package pool

// recompute is 1: a chunk that is held for long is computed once more.
const recompute = 1
