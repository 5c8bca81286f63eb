package gguf

import (
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// mapping is a file's bytes in memory.
type mapping struct {
	bytes []byte
	addr  uintptr
}

func newMapping(fd *os.File, size int64) (*mapping, error) {
	if size > math.MaxInt {
		return nil, windows.ERROR_NOT_ENOUGH_MEMORY
	}
	h, err := windows.CreateFileMapping(windows.Handle(fd.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, err
	}
	// The view keeps the mapping object alive.
	defer windows.CloseHandle(h)
	addr, err := windows.MapViewOfFile(h, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, err
	}
	// The address is outside Go's heap; going through a pointer to it is the
	// conversion that vet accepts.
	p := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	return &mapping{bytes: unsafe.Slice((*byte)(p), int(size)), addr: addr}, nil
}

func (m *mapping) close() error { return windows.UnmapViewOfFile(m.addr) }

// release does nothing: Windows trims the working set of mapped files itself.
func (m *mapping) release(start, size int64) {}
