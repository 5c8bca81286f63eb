package bench

import "golang.org/x/sys/unix"

// roofBuffer returns n bytes of written memory in huge pages if there are any,
// like the weights of a model.
func roofBuffer(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return make([]byte, n)
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // slower without
	for i := 0; i < n; i += 64 {
		b[i] = byte(i)
	}
	return b
}

func freeBuffer(b []byte) { _ = unix.Munmap(b) } // not a mapping: memory of the collector
