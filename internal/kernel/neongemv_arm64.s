//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"
#include "neontile_arm64.h"

// The product of up to eight blocks of a panel with one vector, straight from
// the planes of the codes. The scales come expanded.
//
//	R0 out  R1 codes  R2 scales  R3 offsets or nil  R4 x  R5 extra of x
//	R6 blocks left  R7 what the stored codes are too high by  R9 half
//
// Sums: V0-3 of the column groups 0 to 3 for the sixteen rows, V4-7 of 4 to 7,
// which are the two half blocks. Results V8-11. V20 and V21 are the codes of x,
// a column group a lane. Four rows are taken at a time: their codes of the
// eight groups in V16-19 and V24-27. V28-30 are constants.
#define GEMV_BEGIN \
	MOVD  out+0(FP), R0    \
	MOVD  codes+8(FP), R1  \
	MOVD  scales+16(FP), R2 \
	MOVD  offs+24(FP), R3  \
	MOVD  x+32(FP), R4     \
	MOVD  xe+40(FP), R5    \
	MOVD  nb+48(FP), R6    \
	MOVD  cont+56(FP), R8  \
	MOVD  half+64(FP), R9  \
	MOVD  zero+72(FP), R7  \
	VMOVI $0, V8.B16       \
	VMOVI $0, V9.B16       \
	VMOVI $0, V10.B16      \
	VMOVI $0, V11.B16      \
	CBZ   R8, block        \
	FLDPQ (R0), (F8, F9)   \
	FLDPQ 32(R0), (F10, F11)

// GEMV_BLOCK begins a block. extra holds -128 times the sums of the halves of
// x: R7 times these sums is taken off in advance.
#define GEMV_BLOCK \
	FLDPQ (R4), (F20, F21)  \
	LDPSW (R5), (R10, R11)  \
	ASR   $7, R10           \
	ASR   $7, R11           \
	MUL   R7, R10           \
	MUL   R7, R11           \
	VDUP  R10, V0.S4        \
	VDUP  R11, V4.S4        \
	VMOV  V0.B16, V1.B16    \
	VMOV  V0.B16, V2.B16    \
	VMOV  V0.B16, V3.B16    \
	VMOV  V4.B16, V5.B16    \
	VMOV  V4.B16, V6.B16    \
	VMOV  V4.B16, V7.B16

// GEMV_DOT multiplies the codes of rows 4q to 4q+3 into their sums, a and b.
#define GEMV_DOT(a, b) \
	SDOT(20, 0, 16, a) ; SDOT(21, 0, 24, b) \
	SDOT(20, 1, 17, a) ; SDOT(21, 1, 25, b) \
	SDOT(20, 2, 18, a) ; SDOT(21, 2, 26, b) \
	SDOT(20, 3, 19, a) ; SDOT(21, 3, 27, b)

// GEMV_SCALES adds the sums a to d, scaled, and GEMV_OFFSETS the offsets times
// the sum of x at off.
#define GEMV_SCALES(a, b, c, d) \
	VLD1.P 64(R2), [V12.S4, V13.S4, V14.S4, V15.S4] \
	SCALED(12, 22, 0, a, 8)  \
	SCALED(13, 22, 0, b, 9)  \
	SCALED(14, 22, 0, c, 10) \
	SCALED(15, 22, 0, d, 11)

#define GEMV_OFFSETS(off) \
	VLD1.P 64(R3), [V12.S4, V13.S4, V14.S4, V15.S4] \
	FMOVS  off(R5), F23       \
	OFFSET(12, 23, 0, 16, 8)  \
	OFFSET(13, 23, 0, 17, 9)  \
	OFFSET(14, 23, 0, 18, 10) \
	OFFSET(15, 23, 0, 19, 11)

// GEMV_END ends a block whose codes take size bytes, and the function. Its
// labels are halves and next; the loop's is block.
#define GEMV_END(size) \
	ADD   $size, R1           \
	FMOVS 32(R4), F22         \
	CBNZ  R9, halves          \
	VADD  V4.S4, V0.S4, V0.S4 \
	VADD  V5.S4, V1.S4, V1.S4 \
	VADD  V6.S4, V2.S4, V2.S4 \
	VADD  V7.S4, V3.S4, V3.S4 \
	GEMV_SCALES(0, 1, 2, 3)   \
	CBZ   R3, next            \
	GEMV_OFFSETS(8)           \
	B     next                \
halves:                           \
	GEMV_SCALES(0, 1, 2, 3)   \
	CBZ   R3, second          \
	GEMV_OFFSETS(12)          \
second:                           \
	GEMV_SCALES(4, 5, 6, 7)   \
	CBZ   R3, next            \
	GEMV_OFFSETS(16)          \
next:                             \
	ADD   $40, R4             \
	ADD   $20, R5             \
	SUBS  $1, R6, R6          \
	BNE   block               \
	FSTPQ (F8, F9), (R0)      \
	FSTPQ (F10, F11), 32(R0)  \
	RET

// NIBBLES loads the nibbles of four rows, at off, and leaves the other nibble
// above the lower ones.
#define NIBBLES(off) \
	FMOVQ off(R1), F16         \
	FMOVQ (off+64)(R1), F17    \
	FMOVQ (off+128)(R1), F18   \
	FMOVQ (off+192)(R1), F19   \
	VUSHR $4, V16.B16, V24.B16 \
	VUSHR $4, V17.B16, V25.B16 \
	VUSHR $4, V18.B16, V26.B16 \
	VUSHR $4, V19.B16, V27.B16

// MASK4 clears what is above the lower nibbles.
#define MASK4 \
	VAND V28.B16, V16.B16, V16.B16 \
	VAND V28.B16, V17.B16, V17.B16 \
	VAND V28.B16, V18.B16, V18.B16 \
	VAND V28.B16, V19.B16, V19.B16

// PAIRS loads two bits of four rows, at off: the codes a to d of four groups,
// the first three with others above.
#define PAIRS(off, f, a, b, c, d) \
	FMOVQ off(R1), f         \
	VUSHR $2, a.B16, b.B16   \
	VUSHR $4, a.B16, c.B16   \
	VUSHR $6, a.B16, d.B16

#define PAIRS8(off) \
	PAIRS(off, F16, V16, V17, V18, V19) \
	PAIRS(off+64, F24, V24, V25, V26, V27)

// HIGH puts the field of V22 at bit k, V29 wide, above the lowest n bits of the
// code v, in place of what is there.
#define HIGH(k, n, v) \
	VUSHR k, V22.B16, V23.B16       \
	VAND  V29.B16, V23.B16, V23.B16 \
	VSLI  n, V23.B16, v.B16
#define HIGH0(n, v) \
	VAND  V29.B16, V22.B16, V23.B16 \
	VSLI  n, V23.B16, v.B16

// HIGHBITS does so with a bit for each of the eight groups, HIGHPAIRS with two
// for each of four.
#define HIGHBITS(n) \
	HIGH0(n, V16)    \
	HIGH($1, n, V17) \
	HIGH($2, n, V18) \
	HIGH($3, n, V19) \
	HIGH($4, n, V24) \
	HIGH($5, n, V25) \
	HIGH($6, n, V26) \
	HIGH($7, n, V27)

#define HIGHPAIRS(a, b, c, d) \
	HIGH0($4, a)    \
	HIGH($2, $4, b) \
	HIGH($4, $4, c) \
	HIGH($6, $4, d)

#define TABLE(v) \
	VTBL v.B16, [V30.B16], v.B16

#define SIGNED(v) \
	VEOR V30.B16, v.B16, v.B16

// BYTES4: a byte a code, plus 128
#define BYTES4(off, a, b) \
	FMOVQ (off+0)(R1), F16 \
	FMOVQ (off+64)(R1), F17 \
	FMOVQ (off+128)(R1), F18 \
	FMOVQ (off+192)(R1), F19 \
	FMOVQ (off+256)(R1), F24 \
	FMOVQ (off+320)(R1), F25 \
	FMOVQ (off+384)(R1), F26 \
	FMOVQ (off+448)(R1), F27 \
	SIGNED(V16) \
	SIGNED(V17) \
	SIGNED(V18) \
	SIGNED(V19) \
	SIGNED(V24) \
	SIGNED(V25) \
	SIGNED(V26) \
	SIGNED(V27) \
	GEMV_DOT(a, b)

// func gemvBytesDOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)
TEXT ·gemvBytesDOT(SB), NOSPLIT, $0-80
	VMOVI $128, V30.B16
	GEMV_BEGIN
block:
	GEMV_BLOCK
	BYTES4(0, 0, 4)
	BYTES4(16, 1, 5)
	BYTES4(32, 2, 6)
	BYTES4(48, 3, 7)
	GEMV_END(512)

// NIBBLES4: nibbles
#define NIBBLES4(off, a, b) \
	NIBBLES(off) \
	MASK4 \
	GEMV_DOT(a, b)

// func gemvNibblesDOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)
TEXT ·gemvNibblesDOT(SB), NOSPLIT, $0-80
	VMOVI $15, V28.B16
	GEMV_BEGIN
block:
	GEMV_BLOCK
	NIBBLES4(0, 0, 4)
	NIBBLES4(16, 1, 5)
	NIBBLES4(32, 2, 6)
	NIBBLES4(48, 3, 7)
	GEMV_END(256)

// NIBBLESBIT4: nibbles and a bit
#define NIBBLESBIT4(off, a, b) \
	NIBBLES(off) \
	FMOVQ (off+256)(R1), F22 \
	HIGHBITS($4) \
	GEMV_DOT(a, b)

// func gemvNibblesBitDOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)
TEXT ·gemvNibblesBitDOT(SB), NOSPLIT, $0-80
	VMOVI $1, V29.B16
	GEMV_BEGIN
block:
	GEMV_BLOCK
	NIBBLESBIT4(0, 0, 4)
	NIBBLESBIT4(16, 1, 5)
	NIBBLESBIT4(32, 2, 6)
	NIBBLESBIT4(48, 3, 7)
	GEMV_END(320)

// NIBBLES24: nibbles and two bits
#define NIBBLES24(off, a, b) \
	NIBBLES(off) \
	FMOVQ (off+256)(R1), F22 \
	HIGHPAIRS(V16, V17, V18, V19) \
	FMOVQ (off+320)(R1), F22 \
	HIGHPAIRS(V24, V25, V26, V27) \
	GEMV_DOT(a, b)

// func gemvNibbles2DOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)
TEXT ·gemvNibbles2DOT(SB), NOSPLIT, $0-80
	VMOVI $3, V29.B16
	GEMV_BEGIN
block:
	GEMV_BLOCK
	NIBBLES24(0, 0, 4)
	NIBBLES24(16, 1, 5)
	NIBBLES24(32, 2, 6)
	NIBBLES24(48, 3, 7)
	GEMV_END(384)

// PAIRS4: pairs of bits
#define PAIRS4(off, a, b) \
	PAIRS8(off) \
	VAND V28.B16, V16.B16, V16.B16 \
	VAND V28.B16, V17.B16, V17.B16 \
	VAND V28.B16, V18.B16, V18.B16 \
	VAND V28.B16, V24.B16, V24.B16 \
	VAND V28.B16, V25.B16, V25.B16 \
	VAND V28.B16, V26.B16, V26.B16 \
	GEMV_DOT(a, b)

// func gemvPairsDOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)
TEXT ·gemvPairsDOT(SB), NOSPLIT, $0-80
	VMOVI $3, V28.B16
	GEMV_BEGIN
block:
	GEMV_BLOCK
	PAIRS4(0, 0, 4)
	PAIRS4(16, 1, 5)
	PAIRS4(32, 2, 6)
	PAIRS4(48, 3, 7)
	GEMV_END(128)

// PAIRSBIT4: pairs and a bit
#define PAIRSBIT4(off, a, b) \
	PAIRS8(off) \
	FMOVQ (off+128)(R1), F22 \
	HIGHBITS($2) \
	GEMV_DOT(a, b)

// func gemvPairsBitDOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)
TEXT ·gemvPairsBitDOT(SB), NOSPLIT, $0-80
	VMOVI $1, V29.B16
	GEMV_BEGIN
block:
	GEMV_BLOCK
	PAIRSBIT4(0, 0, 4)
	PAIRSBIT4(16, 1, 5)
	PAIRSBIT4(32, 2, 6)
	PAIRSBIT4(48, 3, 7)
	GEMV_END(192)

// TABLE4: nibbles through the code book
#define TABLE4(off, a, b) \
	NIBBLES(off) \
	MASK4 \
	TABLE(V16) \
	TABLE(V17) \
	TABLE(V18) \
	TABLE(V19) \
	TABLE(V24) \
	TABLE(V25) \
	TABLE(V26) \
	TABLE(V27) \
	GEMV_DOT(a, b)

// func gemvTable4DOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)
TEXT ·gemvTable4DOT(SB), NOSPLIT, $0-80
	MOVD  $·codeTable(SB), R8
	VLD1  (R8), [V30.B16]
	VMOVI $128, V28.B16
	VEOR  V28.B16, V30.B16, V30.B16
	VMOVI $15, V28.B16
	GEMV_BEGIN
block:
	GEMV_BLOCK
	TABLE4(0, 0, 4)
	TABLE4(16, 1, 5)
	TABLE4(32, 2, 6)
	TABLE4(48, 3, 7)
	GEMV_END(256)
