//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gguf

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// mapping is a file's bytes in memory.
type mapping struct {
	bytes []byte
}

func newMapping(fd *os.File, size int64) (*mapping, error) {
	if size > math.MaxInt {
		return nil, unix.ENOMEM
	}
	b, err := unix.Mmap(int(fd.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &mapping{b}, nil
}

func (m *mapping) close() error { return unix.Munmap(m.bytes) }

// release gives back the pages that lie wholly within the range; the ones at
// its ends may hold bytes of a neighbour.
func (m *mapping) release(start, size int64) {
	page := os.Getpagesize()
	first, end := pad(start, page), (start+size)&^int64(page-1)
	if first < end {
		// Advice: when it fails, memory stays resident and nothing breaks.
		_ = unix.Madvise(m.bytes[first:end], unix.MADV_DONTNEED)
	}
}
