//go:build !linux

package bench

// roofBuffer returns n bytes of written memory.
func roofBuffer(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 64 {
		b[i] = byte(i)
	}
	return b
}

func freeBuffer([]byte) {}
