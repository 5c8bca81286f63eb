//go:build unix

package gguf_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/avalnetwork/aval/gguf"
)

// TestPipe holds that a named pipe, whose opening would wait for a writer, is
// refused at once.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := gguf.Open(path); !errors.Is(err, gguf.ErrNotGGUF) {
		t.Errorf("error %v, want %v", err, gguf.ErrNotGGUF)
	}
}
