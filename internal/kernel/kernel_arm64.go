//go:build !purego

package kernel

import (
	"unsafe"

	"github.com/avalnetwork/aval/internal/cpu"
)

func machineKernels() []*Kernel {
	var ks []*Kernel
	if cpu.DotProd {
		ks = append(ks, &neonDot)
	}
	if cpu.NEON {
		ks = append(ks, &neon)
	}
	return ks
}

// neon needs what every arm64 processor has.
var neon = newNEON("neon", [4]func(int, *float32, *byte, *float32, *float32, *byte, *byte, int, int){
	tileQNEON[plainBlocks], tileQNEON[offsetBlocks], tileQNEON[halfBlocks], tileQNEON[halfOffsetBlocks],
})

// neonDot needs the dot products of bytes, SDOT (FEAT_DotProd).
var neonDot = newNEONDot()

func newNEONDot() Kernel {
	k := newNEON("neondot", [4]func(int, *float32, *byte, *float32, *float32, *byte, *byte, int, int){
		tileQDot[plainBlocks], tileQDot[offsetBlocks], tileQDot[halfBlocks], tileQDot[halfOffsetBlocks],
	})
	for f := range formats {
		if !f.Float() {
			k.gemv[f] = func(out *float32, w *byte, x, xe *byte, nb int) { gemvDot(f, out, w, x, xe, nb) }
		}
	}
	k.peak, k.peakOps = peakDOT, 16*16
	return k
}

// newNEON is a kernel whose quantised tiles are tileQ.
func newNEON(name string, tileQ [4]func(int, *float32, *byte, *float32, *float32, *byte, *byte, int, int)) Kernel {
	return Kernel{
		name:    name,
		tileQ:   tileQ,
		tileF16: tileF16NEON,
		tileF32: tileF32NEON,
		unpack: [planeKinds]func(dst, src *byte, nb int, bias byte){
			bytePlane:  unpackBytesNEON,
			nibbles:    unpackNibblesNEON,
			nibblesBit: unpackNibblesBitNEON,
			nibbles2:   unpackNibbles2NEON,
			pairs:      unpackPairsNEON,
			pairsBit:   unpackPairsBitNEON,
			table4:     unpackTable4NEON,
		},
		scales: [scalingKinds]func(scales, offs *float32, src *byte, nb int){
			scale16:  scales16NEON,
			scale16M: scales16MNEON,
			scaleK:   scalesKNEON,
			scaleK16: scalesK16NEON,
			scaleK2:  scalesK2NEON,
			scaleKT:  scalesKTNEON,
		},
		quantize:   quantizeNEON,
		sumSquares: sumSquaresNEON,
		scaleMul:   scaleMulNEON,
		addScaled:  addScaledNEON,
		silu:       siluNEON,
		gelu:       geluNEON,
		softmax:    softmaxNEON,
		stream:     streamNEON,
		train: trainSet{
			expSum:   expSumNEON,
			largest:  largestNEON,
			divScale: divScaleNEON,
			siluBack: siluBackNEON,
			geluBack: geluBackNEON,
			combine:  combineNEON,
			adamW:    adamWNEON,
		},
		products:   wideProducts([4]productFunc{nil, product4x16NEON, product2x16NEON, product1x16NEON}),
		transpose8: transpose8NEON,
		copyRows8:  copyRows8NEON,
		copyRows32: copyRows32NEON,

		peakFloat:    peakFloatNEON,
		peakFloatOps: 16 * 4,
	}
}

// at returns the address n bytes after p.
func at[T any](p *T, n int) *T { return (*T)(unsafe.Add(unsafe.Pointer(p), n)) }

// halfPanel is the rows of a panel that some tiles take at a time.
const halfPanel = Panel / 2

// tileQDot cuts a tile into fours of vectors and halves of the panel, so that
// sums and results of a piece fit the registers. One and two vectors take the
// whole panel.
func tileQDot[F blockForm](t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int) {
	half, offs := formOf[F](offs)
	switch t {
	case 1:
		tileQx1DOT(out, codes, scales, offs, x, xe, nb, cont, t, half)
	case 2:
		tileQx2DOT(out, codes, scales, offs, x, xe, nb, cont, t, half)
	default:
		for r := 0; r < Panel; r += halfPanel {
			for i := 0; i < t; i += 4 {
				tileQx4DOT(at(out, (i*Panel+r)*4), at(codes, r*4), at(scales, r*4), rowsOf(offs, r), at(x, i*4), at(xe, i*4), nb, cont, t, half)
			}
		}
	}
}

// tileQNEON cuts a tile into pairs of vectors and halves of the panel.
func tileQNEON[F blockForm](t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int) {
	half, offs := formOf[F](offs)
	for r := 0; r < Panel; r += halfPanel {
		codes, scales, offs := at(codes, r*4), at(scales, r*4), rowsOf(offs, r)
		if t == 1 {
			tileQx1NEON(at(out, r*4), codes, scales, offs, x, xe, nb, cont, t, half)
			continue
		}
		for i := 0; i < t; i += 2 {
			tileQx2NEON(at(out, (i*Panel+r)*4), codes, scales, offs, at(x, i*4), at(xe, i*4), nb, cont, t, half)
		}
	}
}

// formOf gives the assembly's arguments for a form of blocks: half as a number,
// and nil for the offsets of a form without.
func formOf[F blockForm](offs *float32) (int, *float32) {
	var f F
	half, offset := f.form()
	if !offset {
		offs = nil
	}
	if half {
		return 1, offs
	}
	return 0, offs
}

// rowsOf returns the offsets from row r on, nil if there are none.
func rowsOf(offs *float32, r int) *float32 {
	if offs == nil {
		return nil
	}
	return at(offs, r*4)
}

func tileF16NEON(t int, out *float32, w *uint16, x *float32, k, cont int) {
	switch t {
	case 1:
		tileF16x1NEON(out, w, x, k, cont, t)
	case 2:
		tileF16x2NEON(out, w, x, k, cont, t)
	default:
		for i := 0; i < t; i += 4 {
			tileF16x4NEON(at(out, i*Panel*4), w, at(x, i*Panel*4), k, cont, t)
		}
	}
}

func tileF32NEON(t int, out *float32, w *float32, x *float32, k, cont int) {
	switch t {
	case 1:
		tileF32x1NEON(out, w, x, k, cont, t)
	case 2:
		tileF32x2NEON(out, w, x, k, cont, t)
	default:
		for i := 0; i < t; i += 4 {
			tileF32x4NEON(at(out, i*Panel*4), w, at(x, i*Panel*4), k, cont, t)
		}
	}
}

// gemvDot multiplies a panel of nb blocks with one vector: it expands the
// scales of a group of blocks, and takes the codes as they are packed.
func gemvDot(f Format, out *float32, w *byte, x, xe *byte, nb int) {
	l := &layouts[f]
	panel := unsafe.Slice(w, f.panelBytes(nb*Block))
	var buf [2][2 * groupBlocks * Panel]float32
	scales, offs := &buf[0][0], (*float32)(nil)
	if l.offset {
		offs = &buf[1][0]
	}
	half, zero := 0, l.zero
	if l.half {
		half = 1
	}
	for b := 0; b < nb; b += groupBlocks {
		codes, packed, n := l.group(panel, b/groupBlocks, nb)
		switch l.scaling {
		case scale16:
			scales16NEON(scales, offs, &packed[0], n)
		case scale16M:
			scales16MNEON(scales, offs, &packed[0], n)
		case scaleK:
			scalesKNEON(scales, offs, &packed[0], n)
		case scaleK16:
			scalesK16NEON(scales, offs, &packed[0], n)
		case scaleK2:
			scalesK2NEON(scales, offs, &packed[0], n)
		case scaleKT:
			scalesKTNEON(scales, offs, &packed[0], n)
		}
		x, xe := at(x, b*actBytes), at(xe, b*actExtraBytes)
		switch l.planes {
		case bytePlane: // made signed on the way
			gemvBytesDOT(out, &codes[0], scales, offs, x, xe, n, b, half, 0)
		case nibbles:
			gemvNibblesDOT(out, &codes[0], scales, offs, x, xe, n, b, half, zero)
		case nibblesBit:
			gemvNibblesBitDOT(out, &codes[0], scales, offs, x, xe, n, b, half, zero)
		case nibbles2:
			gemvNibbles2DOT(out, &codes[0], scales, offs, x, xe, n, b, half, zero)
		case pairs:
			gemvPairsDOT(out, &codes[0], scales, offs, x, xe, n, b, half, zero)
		case pairsBit:
			gemvPairsBitDOT(out, &codes[0], scales, offs, x, xe, n, b, half, zero)
		case table4:
			gemvTable4DOT(out, &codes[0], scales, offs, x, xe, n, b, half, zero)
		}
	}
}
