//go:build !purego

package kernel

import (
	"testing"

	"github.com/avalnetwork/aval/internal/cpu"
)

func TestIsCentred(t *testing.T) {
	if !cpu.AVX2 {
		t.Skip("this machine has no AVX2")
	}
	const nb = 2
	codes := alignedBytes(nb * 512)
	for c := range 256 {
		want := c >= 128-32 && c < 128+32
		for i := range codes {
			codes[i] = 128 - 32 + byte(i%64)
		}
		for at := range codes {
			keep := codes[at]
			codes[at] = byte(c)
			if got := isCentredAVX2(&codes[0], nb); got != want {
				t.Fatalf("code %d at %d: %v, want %v", c, at, got, want)
			}
			codes[at] = keep
		}
	}
}
