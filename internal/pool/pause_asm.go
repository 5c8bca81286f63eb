//go:build (amd64 || arm64) && !purego

package pool

// pause tells the processor that this is a spinning wait.
//
//go:noescape
func pause()
