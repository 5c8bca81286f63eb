//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// Codes: from the planes of a panel to a code a byte.

// An unpacking function takes sixteen bytes of each column group at a time:
// R0 dst, R1 src, R2 blocks left, R3 chunks of the block left. V31 is the
// bias, V30 the mask of a field, V29 the mask of a high bit where there is one.
#define UNPACK_BEGIN \
	MOVD  dst+0(FP), R0   \
	MOVD  src+8(FP), R1   \
	MOVD  nb+16(FP), R2   \
	MOVBU bias+24(FP), R3 \
	VDUP  R3, V31.B16

// UNPACK_END goes on to the next chunk, at label chunk, or block, at label
// block, whose planes take size bytes.
#define UNPACK_END(size) \
	ADD  $16, R0            \
	ADD  $16, R1            \
	SUBS $1, R3, R3         \
	BNE  chunk              \
	ADD  $(512-64), R0      \
	ADD  $(size-64), R1     \
	SUBS $1, R2, R2         \
	BNE  block              \
	RET

// HIGHBITS puts a field of V20, shifted into place, on top of the code v.
#define HIGHBITS(shift, k, v) \
	shift k, V20.B16, V21.B16       \
	VAND  V29.B16, V21.B16, V21.B16 \
	VORR  V21.B16, v.B16, v.B16
#define HIGHBITS0(v) \
	VAND  V29.B16, V20.B16, V21.B16 \
	VORR  V21.B16, v.B16, v.B16

// PUT stores the code v of column group g.
#define PUT(v, f, g) \
	VADD  V31.B16, v.B16, v.B16 \
	FMOVQ f, (64*g)(R0)

// NIBBLES takes column groups j and j+4 of a chunk into V(j), V(j+4).
#define NIBBLES(off, lo, f, hi) \
	FMOVQ off(R1), f              \
	VUSHR $4, lo.B16, hi.B16      \
	VAND  V30.B16, lo.B16, lo.B16

#define NIBBLES8 \
	NIBBLES(0, V0, F0, V4)   \
	NIBBLES(64, V1, F1, V5)  \
	NIBBLES(128, V2, F2, V6) \
	NIBBLES(192, V3, F3, V7)

// PAIRS takes four column groups of two bits each.
#define PAIRS(off, a, b, c, d) \
	FMOVQ off(R1), F20            \
	VUSHR $2, V20.B16, b.B16      \
	VUSHR $4, V20.B16, c.B16      \
	VUSHR $6, V20.B16, d.B16      \
	VAND  V30.B16, V20.B16, a.B16 \
	VAND  V30.B16, b.B16, b.B16   \
	VAND  V30.B16, c.B16, c.B16

#define PAIRS8 \
	PAIRS(0, V0, V1, V2, V3) \
	PAIRS(64, V4, V5, V6, V7)

#define PUT8 \
	PUT(V0, F0, 0) \
	PUT(V1, F1, 1) \
	PUT(V2, F2, 2) \
	PUT(V3, F3, 3) \
	PUT(V4, F4, 4) \
	PUT(V5, F5, 5) \
	PUT(V6, F6, 6) \
	PUT(V7, F7, 7)

// func unpackBytesNEON(dst, src *byte, nb int, bias byte)
// The planes are the codes.
TEXT ·unpackBytesNEON(SB), NOSPLIT, $0-25
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD nb+16(FP), R2
	LSL  $3, R2
loop:
	VLD1.P 64(R1), [V0.B16, V1.B16, V2.B16, V3.B16]
	VST1.P [V0.B16, V1.B16, V2.B16, V3.B16], 64(R0)
	SUBS   $1, R2, R2
	BNE    loop
	RET

// func unpackNibblesNEON(dst, src *byte, nb int, bias byte)
TEXT ·unpackNibblesNEON(SB), NOSPLIT, $0-25
	UNPACK_BEGIN
	VMOVI $15, V30.B16
block:
	MOVD $4, R3
chunk:
	NIBBLES8
	PUT8
	UNPACK_END(256)

// func unpackNibblesBitNEON(dst, src *byte, nb int, bias byte)
TEXT ·unpackNibblesBitNEON(SB), NOSPLIT, $0-25
	UNPACK_BEGIN
	VMOVI $15, V30.B16
	VMOVI $16, V29.B16
block:
	MOVD $4, R3
chunk:
	NIBBLES8
	FMOVQ 256(R1), F20
	HIGHBITS(VSHL, $4, V0)
	HIGHBITS(VSHL, $3, V1)
	HIGHBITS(VSHL, $2, V2)
	HIGHBITS(VSHL, $1, V3)
	HIGHBITS0(V4)
	HIGHBITS(VUSHR, $1, V5)
	HIGHBITS(VUSHR, $2, V6)
	HIGHBITS(VUSHR, $3, V7)
	PUT8
	UNPACK_END(320)

// func unpackNibbles2NEON(dst, src *byte, nb int, bias byte)
TEXT ·unpackNibbles2NEON(SB), NOSPLIT, $0-25
	UNPACK_BEGIN
	VMOVI $15, V30.B16
	VMOVI $48, V29.B16
block:
	MOVD $4, R3
chunk:
	NIBBLES8
	FMOVQ 256(R1), F20
	HIGHBITS(VSHL, $4, V0)
	HIGHBITS(VSHL, $2, V1)
	HIGHBITS0(V2)
	HIGHBITS(VUSHR, $2, V3)
	FMOVQ 320(R1), F20
	HIGHBITS(VSHL, $4, V4)
	HIGHBITS(VSHL, $2, V5)
	HIGHBITS0(V6)
	HIGHBITS(VUSHR, $2, V7)
	PUT8
	UNPACK_END(384)

// func unpackPairsNEON(dst, src *byte, nb int, bias byte)
TEXT ·unpackPairsNEON(SB), NOSPLIT, $0-25
	UNPACK_BEGIN
	VMOVI $3, V30.B16
block:
	MOVD $4, R3
chunk:
	PAIRS8
	PUT8
	UNPACK_END(128)

// func unpackPairsBitNEON(dst, src *byte, nb int, bias byte)
TEXT ·unpackPairsBitNEON(SB), NOSPLIT, $0-25
	UNPACK_BEGIN
	VMOVI $3, V30.B16
	VMOVI $4, V29.B16
block:
	MOVD $4, R3
chunk:
	PAIRS8
	FMOVQ 128(R1), F20
	HIGHBITS(VSHL, $2, V0)
	HIGHBITS(VSHL, $1, V1)
	HIGHBITS0(V2)
	HIGHBITS(VUSHR, $1, V3)
	HIGHBITS(VUSHR, $2, V4)
	HIGHBITS(VUSHR, $3, V5)
	HIGHBITS(VUSHR, $4, V6)
	HIGHBITS(VUSHR, $5, V7)
	PUT8
	UNPACK_END(192)

// func unpackTable4NEON(dst, src *byte, nb int, bias byte)
// Nibbles choose a byte of the code book.
TEXT ·unpackTable4NEON(SB), NOSPLIT, $0-25
	UNPACK_BEGIN
	MOVD  $·codeTable(SB), R4
	VLD1  (R4), [V28.B16]
	VMOVI $15, V30.B16
	VMOVI $0, V31.B16
block:
	MOVD $4, R3
chunk:
	NIBBLES8
	VTBL  V0.B16, [V28.B16], V0.B16
	VTBL  V1.B16, [V28.B16], V1.B16
	VTBL  V2.B16, [V28.B16], V2.B16
	VTBL  V3.B16, [V28.B16], V3.B16
	VTBL  V4.B16, [V28.B16], V4.B16
	VTBL  V5.B16, [V28.B16], V5.B16
	VTBL  V6.B16, [V28.B16], V6.B16
	VTBL  V7.B16, [V28.B16], V7.B16
	PUT8
	UNPACK_END(256)
