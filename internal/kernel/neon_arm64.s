//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// Quantisation and the functions of vectors. Comparisons are FCMGT masks, not
// FMAX: a NaN compares false, as in Go.

// The constants of exp.go, in the order of V16-30.
DATA expConst<>+0(SB)/4, $1.44269504088896341 // V16 log2 e
DATA expConst<>+4(SB)/4, $0x4b400000          // V17 1.5 * 2^23
DATA expConst<>+8(SB)/4, $0.693359375         // V18 ln 2, high part
DATA expConst<>+12(SB)/4, $-2.12194440e-4     // V19 and low
DATA expConst<>+16(SB)/4, $1.9875691500e-4    // V20-25 polynomial
DATA expConst<>+20(SB)/4, $1.3981999507e-3
DATA expConst<>+24(SB)/4, $8.3334519073e-3
DATA expConst<>+28(SB)/4, $4.1665795894e-2
DATA expConst<>+32(SB)/4, $1.6666665459e-1
DATA expConst<>+36(SB)/4, $5.0000001201e-1
DATA expConst<>+40(SB)/4, $1.0                // V26
DATA expConst<>+44(SB)/4, $-87.33654          // V27 at or below: 0
DATA expConst<>+48(SB)/4, $88.37626           // V28 above: infinity
DATA expConst<>+52(SB)/4, $0x4b3fff81         // V29 expBias, an integer
DATA expConst<>+56(SB)/4, $0x7f800000         // V30 infinity
DATA expConst<>+60(SB)/4, $0
GLOBL expConst<>(SB), RODATA|NOPTR, $64

#define EXP_BEGIN(p) \
	MOVD    $expConst<>(SB), p \
	VLD1R.P 4(p), [V16.S4] \
	VLD1R.P 4(p), [V17.S4] \
	VLD1R.P 4(p), [V18.S4] \
	VLD1R.P 4(p), [V19.S4] \
	VLD1R.P 4(p), [V20.S4] \
	VLD1R.P 4(p), [V21.S4] \
	VLD1R.P 4(p), [V22.S4] \
	VLD1R.P 4(p), [V23.S4] \
	VLD1R.P 4(p), [V24.S4] \
	VLD1R.P 4(p), [V25.S4] \
	VLD1R.P 4(p), [V26.S4] \
	VLD1R.P 4(p), [V27.S4] \
	VLD1R.P 4(p), [V28.S4] \
	VLD1R.P 4(p), [V29.S4] \
	VLD1R.P 4(p), [V30.S4]

// EXP is Exp, step by step: y = exp(x), with m, r and V31 for itself. y must
// not be x.
#define EXP(x, y, m, r) \
	FMUL(16, x, m) ; FADD(17, m, m)  \
	FSUB(17, m, y)                   \
	FMUL(18, y, r) ; FSUB(r, x, r)   \
	FMUL(19, y, y) ; FSUB(y, r, r)   \
	FMUL(20, r, y) ; FADD(21, y, y)  \
	FMUL(r, y, y) ; FADD(22, y, y)   \
	FMUL(r, y, y) ; FADD(23, y, y)   \
	FMUL(r, y, y) ; FADD(24, y, y)   \
	FMUL(r, y, y) ; FADD(25, y, y)   \
	FMUL(r, r, 31)                   \
	FMUL(31, y, y) ; FADD(r, y, y)   \
	FADD(26, y, y)                   \
	SUB4S(29, m, m) ; SHL4S(23, m, m) \
	FMUL(m, y, y)                    \
	FCMGT(28, x, m) ; BIT(m, 30, y)  \
	FCMGT(27, x, m) ; AND(m, y, y)

// FOLD adds the sixteen lanes of V8-11 as the reference does: l and l+8, then
// 4, 2, 1. The sum is lane 0 of V8.
#define FOLD \
	FADD(10, 8, 8) ; FADD(11, 9, 9) \
	FADD(9, 8, 8)                   \
	VEXT $8, V8.B16, V8.B16, V9.B16 \
	FADD(9, 8, 8)                   \
	VEXT $4, V8.B16, V8.B16, V9.B16 \
	FADD(9, 8, 8)

// GATEBACK_BEGIN and the rest compute the gradients of a gate: V0 is its value,
// V1 that of the gradient, V2 what is gated, V3 what is exponentiated. V5 gets
// the value of the activation, V6 the sigmoid and V7 one less the sigmoid.
#define GATEBACK_BEGIN \
	MOVD dg+0(FP), R0    \
	MOVD du+8(FP), R1    \
	MOVD dh+16(FP), R2   \
	MOVD gate+24(FP), R3 \
	MOVD up+32(FP), R4   \
	MOVD n+40(FP), R5    \
	EXP_BEGIN(R6)

#define GATEBACK_LOAD \
	VLD1.P 16(R3), [V0.S4] \
	VLD1.P 16(R2), [V1.S4] \
	VLD1.P 16(R4), [V2.S4]

#define GATEBACK_SIGMOID \
	FNEG(3, 3)       \
	EXP(3, 4, 5, 6)  \
	FADD(26, 4, 4)   \
	FDIV(4, 0, 5)    \
	FDIV(4, 26, 6)   \
	FSUB(6, 26, 7)

// GATEBACK_STORE takes the derivative in V7.
#define GATEBACK_STORE \
	FMUL(5, 1, 5)          \
	FMUL(2, 1, 1)          \
	FMUL(7, 1, 1)          \
	VST1.P [V5.S4], 16(R1) \
	VST1.P [V1.S4], 16(R0)

// func sumSquaresNEON(x *float32, n int) float32
TEXT ·sumSquaresNEON(SB), NOSPLIT, $0-20
	MOVD  x+0(FP), R0
	MOVD  n+8(FP), R1
	VMOVI $0, V8.B16
	VMOVI $0, V9.B16
	VMOVI $0, V10.B16
	VMOVI $0, V11.B16
loop:
	VLD1.P 64(R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	FMUL(0, 0, 0) ; FMUL(1, 1, 1) ; FMUL(2, 2, 2) ; FMUL(3, 3, 3)
	FADD(0, 8, 8) ; FADD(1, 9, 9) ; FADD(2, 10, 10) ; FADD(3, 11, 11)
	SUBS   $16, R1, R1
	BNE    loop
	FOLD
	FMOVS  F8, ret+16(FP)
	RET

// func scaleMulNEON(dst, x, w *float32, r float32, n int)
TEXT ·scaleMulNEON(SB), NOSPLIT, $0-40
	MOVD  dst+0(FP), R0
	MOVD  x+8(FP), R1
	MOVD  w+16(FP), R2
	FMOVS r+24(FP), F16
	MOVD  n+32(FP), R3
loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R2), [V4.S4, V5.S4, V6.S4, V7.S4]
	FMULE(16, 0, 0, 0) ; FMULE(16, 0, 1, 1) ; FMULE(16, 0, 2, 2) ; FMULE(16, 0, 3, 3)
	FMUL(4, 0, 0) ; FMUL(5, 1, 1) ; FMUL(6, 2, 2) ; FMUL(7, 3, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS   $16, R3, R3
	BNE    loop
	RET

// func siluNEON(dst, gate, up *float32, n int)
TEXT ·siluNEON(SB), NOSPLIT, $0-32
	MOVD dst+0(FP), R0
	MOVD gate+8(FP), R1
	MOVD up+16(FP), R2
	MOVD n+24(FP), R3
	EXP_BEGIN(R4)
loop:
	VLD1.P 16(R1), [V0.S4]
	VLD1.P 16(R2), [V1.S4]
	FNEG(0, 2)
	EXP(2, 3, 4, 5)
	FADD(26, 3, 3)
	FDIV(3, 0, 0)
	FMUL(1, 0, 0)
	VST1.P [V0.S4], 16(R0)
	SUBS   $4, R3, R3
	BNE    loop
	RET

// func geluNEON(dst, gate, up *float32, n int)
TEXT ·geluNEON(SB), NOSPLIT, $0-32
	MOVD  dst+0(FP), R0
	MOVD  gate+8(FP), R1
	MOVD  up+16(FP), R2
	MOVD  n+24(FP), R3
	EXP_BEGIN(R4)
	FMOVS $0.044715, F6
	FMOVS $1.5957691216057308, F7
loop:
	VLD1.P 16(R1), [V0.S4]
	VLD1.P 16(R2), [V1.S4]
	FMUL(0, 0, 2)
	FMUL(0, 2, 2)
	FMULE(6, 0, 2, 2)
	FADD(0, 2, 2)
	FMULE(7, 0, 2, 2)
	FNEG(2, 2)
	EXP(2, 3, 4, 5)
	FADD(26, 3, 3)
	FDIV(3, 0, 0)
	FMUL(1, 0, 0)
	VST1.P [V0.S4], 16(R0)
	SUBS   $4, R3, R3
	BNE    loop
	RET

// TOP makes t the greater of t and v in each lane; m is the mask of v > t.
#define TOP(v, t, m) \
	FCMGT(t, v, m) \
	BIT(m, v, t)

// func softmaxNEON(s *float32, stride, panels int, scale float32) float32
TEXT ·softmaxNEON(SB), NOSPLIT, $0-36
	MOVD  s+0(FP), R0
	MOVD  stride+8(FP), R1
	MOVD  panels+16(FP), R2
	FMOVS scale+24(FP), F16
	LSL   $2, R1
	MOVD  R0, R3
	MOVD  R2, R4
	MOVD  $0xff800000, R5
	VDUP  R5, V8.S4
	VDUP  R5, V9.S4
	VDUP  R5, V10.S4
	VDUP  R5, V11.S4
top:
	VLD1   (R3), [V0.S4, V1.S4, V2.S4, V3.S4]
	FMULE(16, 0, 0, 0) ; FMULE(16, 0, 1, 1) ; FMULE(16, 0, 2, 2) ; FMULE(16, 0, 3, 3)
	VST1   [V0.S4, V1.S4, V2.S4, V3.S4], (R3)
	TOP(0, 8, 4)
	TOP(1, 9, 5)
	TOP(2, 10, 6)
	TOP(3, 11, 7)
	ADD    R1, R3
	SUBS   $1, R4, R4
	BNE    top
	TOP(9, 8, 4)
	TOP(11, 10, 5)
	TOP(10, 8, 4)
	VEXT   $8, V8.B16, V8.B16, V9.B16
	TOP(9, 8, 4)
	VEXT   $4, V8.B16, V8.B16, V9.B16
	TOP(9, 8, 4)
	VDUP   V8.S[0], V7.S4

	EXP_BEGIN(R5)
	VMOVI  $0, V8.B16
	VMOVI  $0, V9.B16
	VMOVI  $0, V10.B16
	VMOVI  $0, V11.B16
exp:
	VLD1   (R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	FSUB(7, 0, 0) ; FSUB(7, 1, 1) ; FSUB(7, 2, 2) ; FSUB(7, 3, 3)
	EXP(0, 12, 4, 5)
	EXP(1, 13, 4, 5)
	EXP(2, 14, 4, 5)
	EXP(3, 15, 4, 5)
	VST1   [V12.S4, V13.S4, V14.S4, V15.S4], (R0)
	FADD(12, 8, 8) ; FADD(13, 9, 9) ; FADD(14, 10, 10) ; FADD(15, 11, 11)
	ADD    R1, R0
	SUBS   $1, R2, R2
	BNE    exp
	FOLD
	FMOVS  F8, ret+32(FP)
	RET

// func quantizeNEON(x *float32, nb int, codes *int8, scale *float32, sums *int32)
TEXT ·quantizeNEON(SB), NOSPLIT, $0-40
	MOVD  x+0(FP), R0
	MOVD  nb+8(FP), R1
	MOVD  codes+16(FP), R2
	MOVD  scale+24(FP), R3
	MOVD  sums+32(FP), R4
	MOVD  $0x7fffffff, R5
	VDUP  R5, V30.S4
	MOVD  $0x0d800000, R6 // quantTiny
	MOVD  $0x7f800000, R7 // infinity
	MOVD  $0x7fc00000, R8 // quietNaN
	FMOVS $127.0, F31
loop:
	VLD1.P 64(R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R0), [V4.S4, V5.S4, V6.S4, V7.S4]

	// The bits of the greatest magnitude.
	VAND  V30.B16, V0.B16, V16.B16
	VAND  V30.B16, V1.B16, V17.B16
	VAND  V30.B16, V2.B16, V18.B16
	VAND  V30.B16, V3.B16, V19.B16
	VAND  V30.B16, V4.B16, V20.B16
	VAND  V30.B16, V5.B16, V21.B16
	VAND  V30.B16, V6.B16, V22.B16
	VAND  V30.B16, V7.B16, V23.B16
	VUMAX V17.S4, V16.S4, V16.S4
	VUMAX V19.S4, V18.S4, V18.S4
	VUMAX V21.S4, V20.S4, V20.S4
	VUMAX V23.S4, V22.S4, V22.S4
	VUMAX V18.S4, V16.S4, V16.S4
	VUMAX V22.S4, V20.S4, V20.S4
	VUMAX V20.S4, V16.S4, V16.S4
	UMAXV(16, 16)
	FMOVS F16, R5
	CMPW  R6, R5
	BLO   zero
	CMPW  R7, R5
	BHS   nan
	FDIVS F31, F16, F17
	FDIVS F16, F31, F16
	FMOVS.P F17, 4(R3)
	FMULE(16, 0, 0, 0) ; FMULE(16, 0, 1, 1) ; FMULE(16, 0, 2, 2) ; FMULE(16, 0, 3, 3)
	FMULE(16, 0, 4, 4) ; FMULE(16, 0, 5, 5) ; FMULE(16, 0, 6, 6) ; FMULE(16, 0, 7, 7)
	FCVTNS(0, 0) ; FCVTNS(1, 1) ; FCVTNS(2, 2) ; FCVTNS(3, 3)
	FCVTNS(4, 4) ; FCVTNS(5, 5) ; FCVTNS(6, 6) ; FCVTNS(7, 7)
	XTN4H(0, 16) ; XTN8H(1, 16) ; XTN4H(2, 17) ; XTN8H(3, 17)
	XTN4H(4, 18) ; XTN8H(5, 18) ; XTN4H(6, 19) ; XTN8H(7, 19)
	XTN8B(16, 16) ; XTN16B(17, 16) ; XTN8B(18, 17) ; XTN16B(19, 17)
	VST1.P [V16.B16, V17.B16], 32(R2)

	VADD  V1.S4, V0.S4, V0.S4
	VADD  V3.S4, V2.S4, V2.S4
	VADD  V2.S4, V0.S4, V0.S4
	VADDV V0.S4, V0
	VADD  V5.S4, V4.S4, V4.S4
	VADD  V7.S4, V6.S4, V6.S4
	VADD  V6.S4, V4.S4, V4.S4
	VADDV V4.S4, V4
	FMOVS.P F0, 4(R4)
	FMOVS.P F4, 4(R4)
next:
	SUBS  $1, R1, R1
	BNE   loop
	RET
zero:
	MOVW.P ZR, 4(R3)
	B      clear
nan:
	MOVW.P R8, 4(R3)
clear:
	STP.P (ZR, ZR), 16(R2)
	STP.P (ZR, ZR), 16(R2)
	MOVD.P ZR, 8(R4)
	B     next

// func streamNEON(p *byte, n int) uint64
TEXT ·streamNEON(SB), NOSPLIT, $0-24
	MOVD  p+0(FP), R0
	MOVD  n+8(FP), R1
	VMOVI $0, V16.B16
	VMOVI $0, V17.B16
	VMOVI $0, V18.B16
	VMOVI $0, V19.B16
loop:
	VLD1.P 64(R0), [V0.B16, V1.B16, V2.B16, V3.B16]
	VLD1.P 64(R0), [V4.B16, V5.B16, V6.B16, V7.B16]
	VEOR   V0.B16, V16.B16, V16.B16
	VEOR   V1.B16, V17.B16, V17.B16
	VEOR   V2.B16, V18.B16, V18.B16
	VEOR   V3.B16, V19.B16, V19.B16
	VEOR   V4.B16, V16.B16, V16.B16
	VEOR   V5.B16, V17.B16, V17.B16
	VEOR   V6.B16, V18.B16, V18.B16
	VEOR   V7.B16, V19.B16, V19.B16
	SUBS   $128, R1, R1
	BNE    loop
	VEOR   V17.B16, V16.B16, V16.B16
	VEOR   V19.B16, V18.B16, V18.B16
	VEOR   V18.B16, V16.B16, V16.B16
	FMOVD  F16, ret+16(FP)
	RET

// func peakDOT(rounds int) uint64
// A round is sixteen independent dot products of sixteen bytes.
TEXT ·peakDOT(SB), NOSPLIT, $0-16
	MOVD  rounds+0(FP), R0
	VMOVI $1, V16.B16
	VMOVI $2, V17.B16
loop:
	SDOT(16, 0, 17, 0) ; SDOT(16, 0, 17, 1) ; SDOT(16, 0, 17, 2) ; SDOT(16, 0, 17, 3)
	SDOT(16, 0, 17, 4) ; SDOT(16, 0, 17, 5) ; SDOT(16, 0, 17, 6) ; SDOT(16, 0, 17, 7)
	SDOT(16, 0, 17, 8) ; SDOT(16, 0, 17, 9) ; SDOT(16, 0, 17, 10) ; SDOT(16, 0, 17, 11)
	SDOT(16, 0, 17, 12) ; SDOT(16, 0, 17, 13) ; SDOT(16, 0, 17, 14) ; SDOT(16, 0, 17, 15)
	SUBS  $1, R0, R0
	BNE   loop
	FMOVD F0, ret+8(FP)
	RET

// func expSumNEON(dst, x *float32, top float32, n int, parts *float32)
TEXT ·expSumNEON(SB), NOSPLIT, $0-40
	MOVD  dst+0(FP), R0
	MOVD  x+8(FP), R1
	FMOVS top+16(FP), F6
	VDUP  V6.S[0], V7.S4
	MOVD  n+24(FP), R2
	MOVD  parts+32(FP), R3
	EXP_BEGIN(R5)
	VLD1  (R3), [V8.S4, V9.S4, V10.S4, V11.S4]
loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	FSUB(7, 0, 0) ; FSUB(7, 1, 1) ; FSUB(7, 2, 2) ; FSUB(7, 3, 3)
	EXP(0, 12, 4, 5)
	EXP(1, 13, 4, 5)
	EXP(2, 14, 4, 5)
	EXP(3, 15, 4, 5)
	VST1.P [V12.S4, V13.S4, V14.S4, V15.S4], 64(R0)
	FADD(12, 8, 8) ; FADD(13, 9, 9) ; FADD(14, 10, 10) ; FADD(15, 11, 11)
	SUBS   $16, R2, R2
	BNE    loop
	VST1   [V8.S4, V9.S4, V10.S4, V11.S4], (R3)
	RET

// func largestNEON(x *float32, n int) (top float32, magnitude uint32)
TEXT ·largestNEON(SB), NOSPLIT, $0-24
	MOVD  x+0(FP), R0
	MOVD  n+8(FP), R1
	MOVD  $0xff800000, R2
	VDUP  R2, V8.S4
	VDUP  R2, V9.S4
	MOVD  $0x7fffffff, R2
	VDUP  R2, V10.S4
	VMOVI $0, V11.B16
loop:
	VLD1.P 32(R0), [V0.S4, V1.S4]
	TOP(0, 8, 4)
	TOP(1, 9, 5)
	VAND   V10.B16, V0.B16, V0.B16
	VAND   V10.B16, V1.B16, V1.B16
	VUMAX  V0.S4, V11.S4, V11.S4
	VUMAX  V1.S4, V11.S4, V11.S4
	SUBS   $8, R1, R1
	BNE    loop
	TOP(9, 8, 4)
	VEXT   $8, V8.B16, V8.B16, V9.B16
	TOP(9, 8, 4)
	VEXT   $4, V8.B16, V8.B16, V9.B16
	TOP(9, 8, 4)
	UMAXV(11, 11)
	FMOVS  F8, top+16(FP)
	FMOVS  F11, magnitude+20(FP)
	RET

// func divScaleNEON(dst, x *float32, d, s float32, n int)
TEXT ·divScaleNEON(SB), NOSPLIT, $0-32
	MOVD  dst+0(FP), R0
	MOVD  x+8(FP), R1
	FMOVS d+16(FP), F6
	FMOVS s+20(FP), F7
	MOVD  n+24(FP), R2
	VDUP  V6.S[0], V6.S4
loop:
	VLD1.P 32(R1), [V0.S4, V1.S4]
	FDIV(6, 0, 0) ; FDIV(6, 1, 1)
	FMULE(7, 0, 0, 0) ; FMULE(7, 0, 1, 1)
	VST1.P [V0.S4, V1.S4], 32(R0)
	SUBS   $8, R2, R2
	BNE    loop
	RET

// func siluBackNEON(dg, du, dh, gate, up *float32, n int)
TEXT ·siluBackNEON(SB), NOSPLIT, $0-48
	GATEBACK_BEGIN
loop:
	GATEBACK_LOAD
	VMOV V0.B16, V3.B16
	GATEBACK_SIGMOID
	FMUL(0, 7, 7)
	FADD(26, 7, 7)
	FMUL(6, 7, 7)
	GATEBACK_STORE
	SUBS $4, R5, R5
	BNE  loop
	RET

// func geluBackNEON(dg, du, dh, gate, up *float32, n int)
TEXT ·geluBackNEON(SB), NOSPLIT, $0-48
	GATEBACK_BEGIN
	FMOVS $0.044715, F10
	FMOVS $1.5957691216057308, F11
	FMOVS $0.134145, F12
loop:
	GATEBACK_LOAD
	FMUL(0, 0, 9)
	FMUL(0, 9, 3)
	FMULE(10, 0, 3, 3)
	FADD(0, 3, 3)
	FMULE(11, 0, 3, 3)
	GATEBACK_SIGMOID
	FMUL(7, 6, 7)
	FCMEQ0(7, 8)
	FMULE(12, 0, 9, 9)
	FADD(26, 9, 9)
	FMULE(11, 0, 9, 9)
	FMUL(9, 7, 7)
	FMUL(0, 7, 7)
	FADD(6, 7, 7)
	BIT(8, 6, 7)
	GATEBACK_STORE
	SUBS $4, R5, R5
	BNE  loop
	RET

// func combineNEON(y *float32, a float32, x *float32, b, c float32, n int)
TEXT ·combineNEON(SB), NOSPLIT, $0-40
	MOVD  y+0(FP), R0
	FMOVS a+8(FP), F5
	MOVD  x+16(FP), R1
	FMOVS b+24(FP), F6
	FMOVS c+28(FP), F7
	MOVD  n+32(FP), R2
loop:
	VLD1.P 32(R1), [V0.S4, V1.S4]
	VLD1   (R0), [V2.S4, V3.S4]
	FMULE(7, 0, 0, 0) ; FMULE(7, 0, 1, 1)
	FMULE(6, 0, 0, 0) ; FMULE(6, 0, 1, 1)
	FMULE(5, 0, 2, 2) ; FMULE(5, 0, 3, 3)
	FADD(0, 2, 2) ; FADD(1, 3, 3)
	VST1.P [V2.S4, V3.S4], 32(R0)
	SUBS   $8, R2, R2
	BNE    loop
	RET

// func adamWNEON(w, grad, m, v, constants *float32, n int)
TEXT ·adamWNEON(SB), NOSPLIT, $0-48
	MOVD    w+0(FP), R0
	MOVD    grad+8(FP), R1
	MOVD    m+16(FP), R2
	MOVD    v+24(FP), R3
	MOVD    constants+32(FP), R4
	MOVD    n+40(FP), R5
	VLD1R.P 4(R4), [V16.S4] // Scale
	VLD1R.P 4(R4), [V17.S4] // Beta1, Rest1
	VLD1R.P 4(R4), [V18.S4]
	VLD1R.P 4(R4), [V19.S4] // Beta2, Rest2
	VLD1R.P 4(R4), [V20.S4]
	VLD1R.P 4(R4), [V21.S4] // Root
	VLD1R.P 4(R4), [V22.S4] // Epsilon
	VLD1R.P 4(R4), [V23.S4] // Keep
	VLD1R.P 4(R4), [V24.S4] // Rate
loop:
	VLD1.P 16(R1), [V0.S4]
	VLD1   (R2), [V1.S4]
	VLD1   (R3), [V2.S4]
	VLD1   (R0), [V3.S4]
	FMUL(16, 0, 0)
	FMUL(17, 1, 1)
	FMUL(18, 0, 4)
	FADD(4, 1, 1)
	VST1.P [V1.S4], 16(R2)
	FMUL(0, 0, 0)
	FMUL(20, 0, 0)
	FMUL(19, 2, 2)
	FADD(0, 2, 2)
	VST1.P [V2.S4], 16(R3)
	FSQRT(2, 2)
	FMUL(21, 2, 2)
	FADD(22, 2, 2)
	FMUL(24, 1, 1)
	FDIV(2, 1, 1)
	FMUL(23, 3, 3)
	FSUB(1, 3, 3)
	VST1.P [V3.S4], 16(R0)
	SUBS   $4, R5, R5
	BNE    loop
	RET
