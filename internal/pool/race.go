//go:build race

package pool

// recompute is 0 where a chunk must not be computed twice.
const recompute = 0
