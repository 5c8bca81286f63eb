//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// The tiles of floating-point weights: 16 rows with one, two or four vectors
// of a tile of t. V0-15 are the partial sums of a block of 32 columns, vector
// i in V(4i) to V(4i+3); V16-19 a column of weights; V20-23 four columns of
// each vector.
//
//	R0 out  R1 w  R2 x  R6 columns left  R7 of the block  R8 of the panel of x
//	R9 from the end of a vector's panel to its next one

#define TILEF_BEGIN \
	MOVD out+0(FP), R0  \
	MOVD w+8(FP), R1    \
	MOVD x+16(FP), R2   \
	MOVD k+24(FP), R6   \
	MOVD cont+32(FP), R7 \
	MOVD t+40(FP), R9   \
	LSL  $6, R9         \
	SUB  $64, R9

// WEIGHTSF loads a column of weights; it is one of these two.
#define WEIGHTS_F16 \
	VLD1.P 32(R1), [V30.B16, V31.B16] \
	FCVTL(30, 16)  \
	FCVTL2(30, 17) \
	FCVTL(31, 18)  \
	FCVTL2(31, 19)

#define WEIGHTS_F32 \
	VLD1.P 64(R1), [V16.S4, V17.S4, V18.S4, V19.S4]

// MULADD adds the column of weights times x[i] to sums a to d.
#define MULADD(x, i, a, b, c, d) \
	FMULE(x, i, 16, 24) ; FMULE(x, i, 17, 25) ; FMULE(x, i, 18, 26) ; FMULE(x, i, 19, 27) \
	FADD(24, a, a) ; FADD(25, b, b) ; FADD(26, c, c) ; FADD(27, d, d)

#define COLUMN1(i) \
	WEIGHTSF                    \
	MULADD(20, i, 0, 1, 2, 3)

#define COLUMN2(i) \
	COLUMN1(i)                  \
	MULADD(21, i, 4, 5, 6, 7)

#define COLUMN4(i) \
	COLUMN2(i)                  \
	MULADD(22, i, 8, 9, 10, 11) \
	MULADD(23, i, 12, 13, 14, 15)

#define X1 \
	FMOVQ (R2), F20
#define X2 \
	X1 \
	FMOVQ 64(R2), F21
#define X4 \
	X2 \
	FMOVQ 128(R2), F22 \
	FMOVQ 192(R2), F23

#define ZEROS(a, b, c, d) \
	VMOVI $0, a.B16 \
	VMOVI $0, b.B16 \
	VMOVI $0, c.B16 \
	VMOVI $0, d.B16

#define CLEAR1 \
	ZEROS(V0, V1, V2, V3)
#define CLEAR2 \
	CLEAR1 \
	ZEROS(V4, V5, V6, V7)
#define CLEAR4 \
	CLEAR2 \
	ZEROS(V8, V9, V10, V11) \
	ZEROS(V12, V13, V14, V15)

// ADDOUT adds sums a to d to the results of vector i.
#define ADDOUT(i, a, b, c, d) \
	FLDPQ (64*i)(R0), (F24, F25)    \
	FLDPQ (64*i+32)(R0), (F26, F27) \
	FADD(a, 24, 24) ; FADD(b, 25, 25) ; FADD(c, 26, 26) ; FADD(d, 27, 27) \
	FSTPQ (F24, F25), (64*i)(R0)    \
	FSTPQ (F26, F27), (64*i+32)(R0)

#define ADDOUT1 \
	ADDOUT(0, 0, 1, 2, 3)
#define ADDOUT2 \
	ADDOUT1 \
	ADDOUT(1, 4, 5, 6, 7)
#define ADDOUT4 \
	ADDOUT2 \
	ADDOUT(2, 8, 9, 10, 11) \
	ADDOUT(3, 12, 13, 14, 15)

// TILEF is the body of a tile function: blocks of 32 columns, in panels of 16,
// in fours of columns. The last panel may be shorter; x is padded, w is not.
#define TILEF(CLEAR, X, COLUMN, ADDOUTS) \
block: \
	CLEAR              \
	MOVD $32, R7       \
	CMP  R7, R6        \
	CSEL LT, R6, R7, R7 \
	SUB  R7, R6        \
panel: \
	MOVD $16, R8       \
	CMP  R8, R7        \
	CSEL LT, R7, R8, R8 \
	SUB  R8, R7        \
four: \
	X                  \
	SUBS $4, R8        \
	BLT  rest          \
	COLUMN(0)          \
	COLUMN(1)          \
	COLUMN(2)          \
	COLUMN(3)          \
	ADD  $16, R2       \
	CBNZ R8, four      \
	ADD  R9, R2        \
	CBNZ R7, panel     \
	B    sum           \
rest: \
	COLUMN(0)          \
	CMP  $-3, R8       \
	BEQ  sum           \
	COLUMN(1)          \
	CMP  $-2, R8       \
	BEQ  sum           \
	COLUMN(2)          \
sum: \
	ADDOUTS            \
	CBNZ R6, block     \
	RET

#define WEIGHTSF WEIGHTS_F16

// func tileF16x1NEON(out *float32, w *uint16, x *float32, k, cont, t int)
TEXT ·tileF16x1NEON(SB), NOSPLIT, $0-48
	TILEF_BEGIN
	CBNZ R7, block
	VMOVI $0, V0.B16
	FSTPQ (F0, F0), 0(R0)
	FSTPQ (F0, F0), 32(R0)
	TILEF(CLEAR1, X1, COLUMN1, ADDOUT1)

// func tileF16x2NEON(out *float32, w *uint16, x *float32, k, cont, t int)
TEXT ·tileF16x2NEON(SB), NOSPLIT, $0-48
	TILEF_BEGIN
	CBNZ R7, block
	VMOVI $0, V0.B16
	FSTPQ (F0, F0), 0(R0)
	FSTPQ (F0, F0), 32(R0)
	FSTPQ (F0, F0), 64(R0)
	FSTPQ (F0, F0), 96(R0)
	TILEF(CLEAR2, X2, COLUMN2, ADDOUT2)

// func tileF16x4NEON(out *float32, w *uint16, x *float32, k, cont, t int)
TEXT ·tileF16x4NEON(SB), NOSPLIT, $0-48
	TILEF_BEGIN
	CBNZ R7, block
	VMOVI $0, V0.B16
	FSTPQ (F0, F0), 0(R0)
	FSTPQ (F0, F0), 32(R0)
	FSTPQ (F0, F0), 64(R0)
	FSTPQ (F0, F0), 96(R0)
	FSTPQ (F0, F0), 128(R0)
	FSTPQ (F0, F0), 160(R0)
	FSTPQ (F0, F0), 192(R0)
	FSTPQ (F0, F0), 224(R0)
	TILEF(CLEAR4, X4, COLUMN4, ADDOUT4)

#undef WEIGHTSF
#define WEIGHTSF WEIGHTS_F32

// func tileF32x1NEON(out *float32, w *float32, x *float32, k, cont, t int)
TEXT ·tileF32x1NEON(SB), NOSPLIT, $0-48
	TILEF_BEGIN
	CBNZ R7, block
	VMOVI $0, V0.B16
	FSTPQ (F0, F0), 0(R0)
	FSTPQ (F0, F0), 32(R0)
	TILEF(CLEAR1, X1, COLUMN1, ADDOUT1)

// func tileF32x2NEON(out *float32, w *float32, x *float32, k, cont, t int)
TEXT ·tileF32x2NEON(SB), NOSPLIT, $0-48
	TILEF_BEGIN
	CBNZ R7, block
	VMOVI $0, V0.B16
	FSTPQ (F0, F0), 0(R0)
	FSTPQ (F0, F0), 32(R0)
	FSTPQ (F0, F0), 64(R0)
	FSTPQ (F0, F0), 96(R0)
	TILEF(CLEAR2, X2, COLUMN2, ADDOUT2)

// func tileF32x4NEON(out *float32, w *float32, x *float32, k, cont, t int)
TEXT ·tileF32x4NEON(SB), NOSPLIT, $0-48
	TILEF_BEGIN
	CBNZ R7, block
	VMOVI $0, V0.B16
	FSTPQ (F0, F0), 0(R0)
	FSTPQ (F0, F0), 32(R0)
	FSTPQ (F0, F0), 64(R0)
	FSTPQ (F0, F0), 96(R0)
	FSTPQ (F0, F0), 128(R0)
	FSTPQ (F0, F0), 160(R0)
	FSTPQ (F0, F0), 192(R0)
	FSTPQ (F0, F0), 224(R0)
	TILEF(CLEAR4, X4, COLUMN4, ADDOUT4)
