//go:build !purego

package kernel

//go:generate sh -c "cd _asm && go run . -set avx512bw -out ../avx512bw_amd64.s -stubs ../avx512bw_amd64.go -pkg kernel"

// avx512bw needs AVX-512 F, BW, DQ and VL: it is avx512 where no function needs
// VNNI, and has tiles cut into passes like those of avx2.
var avx512bw = withoutVNNI(avx512)

func withoutVNNI(k Kernel) Kernel {
	k.name = "avx512bw"
	k.tileQ = [4]func(int, *float32, *byte, *float32, *float32, *byte, *byte, int, int){tileQAVX512BW, offsetAVX512BW.tile, halfAVX512BW.tile, halfOffsetAVX512BW.tile}
	k.gemv = avx2.gemv
	k.peak, k.peakOps = nil, 0
	return k
}

var (
	anyAVX512BW        = passes{tileQ1AVX512BW, tileQ2AVX512BW, tileQ4AVX512BW, tileQ12AVX512BW, Panel}
	centredAVX512BW    = passes{tileQ1CentredAVX512BW, tileQ2CentredAVX512BW, tileQ4CentredAVX512BW, tileQ12CentredAVX512BW, Panel}
	offsetAVX512BW     = passes{tileQ1OffsetAVX512BW, tileQ2OffsetAVX512BW, tileQ4OffsetAVX512BW, tileQ12OffsetAVX512BW, Panel}
	halfAVX512BW       = passes{tileQ1HalfAVX512BW, tileQ2HalfAVX512BW, tileQ4HalfAVX512BW, tileQ12HalfAVX512BW, Panel}
	halfOffsetAVX512BW = passes{tileQ1HalfOffsetAVX512BW, tileQ2HalfOffsetAVX512BW, tileQ4HalfOffsetAVX512BW, tileQ12HalfOffsetAVX512BW, Panel}
)

// tileQAVX512BW is as tileQAVX2.
func tileQAVX512BW(t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int) {
	p := &anyAVX512BW
	if t >= 8 && isCentredAVX2(codes, nb) {
		p = &centredAVX512BW
	}
	p.tile(t, out, codes, scales, offs, x, xe, nb, cont)
}
