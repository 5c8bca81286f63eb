//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package gguf

import (
	"io"
	"math"
	"os"
	"syscall"
)

// mapping is a file's bytes in memory; here, a copy of the file.
type mapping struct {
	bytes []byte
}

func newMapping(fd *os.File, size int64) (*mapping, error) {
	if size > math.MaxInt {
		return nil, syscall.ENOMEM
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(fd, 0, size), b); err != nil {
		return nil, err
	}
	return &mapping{b}, nil
}

func (m *mapping) close() error {
	m.bytes = nil
	return nil
}

// release does nothing: the memory holds the only copy.
func (m *mapping) release(start, size int64) {}
