package kernel

import "unsafe"

// Stream reads p, a multiple of 512 bytes long, as fast as the kernel can, and
// returns something that depends on it. It measures the bandwidth of memory.
func (k *Kernel) Stream(p []byte) uint64 {
	if k.stream != nil {
		return k.stream(&p[0], len(p))
	}
	return streamGeneric(&p[0], len(p))
}

// Peak executes rounds of the kernel's dot product on registers alone, as many
// multiply-adds of int8 as it returns. It measures the peak of the processor,
// and returns 0 if the kernel has no such instruction.
func (k *Kernel) Peak(rounds int) (multiplyAdds int) {
	if k.peak == nil {
		return 0
	}
	k.peak(rounds)
	return rounds * k.peakOps
}

func streamGeneric(p *byte, n int) (x uint64) {
	v := unsafe.Slice((*uint64)(unsafe.Pointer(p)), n/8)
	var a, b, c, d uint64
	for i := 0; i+8 <= len(v); i += 8 {
		w := v[i : i+8 : i+8]
		a ^= w[0] ^ w[4]
		b ^= w[1] ^ w[5]
		c ^= w[2] ^ w[6]
		d ^= w[3] ^ w[7]
	}
	return a ^ b ^ c ^ d
}
