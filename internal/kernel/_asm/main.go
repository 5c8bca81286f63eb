// Command _asm writes the amd64 assembly of the kernel package, one
// instruction set a file. The package's go:generate lines call it.
package main

import (
	"flag"
	"log"

	. "github.com/mmcloughlin/avo/build"
)

func main() {
	set := flag.String("set", "avx512", "instruction `set`: avx512, avx512bw or avx2, or add: what both larger ones have of one kind")
	flag.Parse()
	ConstraintExpr("!purego")
	switch *set {
	case "avx512":
		setAVX512()
	case "avx512bw":
		setAVX512BW()
	case "avx2":
		setAVX2()
	case "add":
		setAdd()
	default:
		log.Fatalf("no instruction set %q", *set)
	}
	Generate()
}

func setAVX512() {
	for _, t := range tiles {
		tileQ512(t, false, false, t == 1)
		tileQ512(t, false, true, false)
		tileQ512(t, true, false, false)
		tileQ512(t, true, true, false)
	}
	for _, t := range tiles {
		tileF512(t, false)
		tileF512(t, true)
	}
	codeBook()
	unpackBytes512()
	unpack512("Nibbles", 4, 0, false)
	unpack512("NibblesBit", 4, 1, false)
	unpack512("Nibbles2", 4, 2, false)
	unpack512("Pairs", 2, 0, false)
	unpack512("PairsBit", 2, 1, false)
	unpack512("Table4", 4, 0, true)
	gemv512("W8", 8, 0, "16")
	gemv512("W4", 4, 0, "16")
	gemv512("W5", 4, 1, "16")
	gemv512("K4", 4, 0, "K")
	gemv512("K5", 4, 1, "K")
	gemv512("K6", 4, 2, "K16")
	for _, kind := range []string{"16", "16M", "K", "K16", "K2", "KT"} {
		scales512(kind)
	}
	sumSquares512()
	scaleMul512()
	gate512("silu", false)
	gate512("gelu", true)
	softmax512()
	quantize512()
	stream512()
	peak512()
	for _, rows := range productRows {
		product512(rows, 1)
		product512(rows, 2)
	}
	peakFloat512()
	train512()
}
