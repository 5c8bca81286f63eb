//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"
#include "neontile_arm64.h"

// The quantised tiles with SDOT. Sums V0-7, results V8-15.

// DOT4 multiplies a column group of 8 rows with four vectors. x holds the codes
// of a group vector by vector, so lane i of V20 is vector i. Its sums are V(2i)
// and V(2i+1).
#define DOT4(off) \
	WEIGHTS2(off)               \
	VLD1.P (R4)(R11), [V20.B16] \
	SDOT(20, 0, 16, 0) ; SDOT(20, 0, 17, 1) \
	SDOT(20, 1, 16, 2) ; SDOT(20, 1, 17, 3) \
	SDOT(20, 2, 16, 4) ; SDOT(20, 2, 17, 5) \
	SDOT(20, 3, 16, 6) ; SDOT(20, 3, 17, 7)

// func tileQx4DOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, t, half int)
// 8 rows with four vectors of a tile of t.
TEXT ·tileQx4DOT(SB), NOSPLIT, $0-80
	TILEQ_BEGIN
	CBNZ  R7, load
	VMOVI $0, V8.B16
	VMOVI $0, V9.B16
	VMOVI $0, V10.B16
	VMOVI $0, V11.B16
	VMOVI $0, V12.B16
	VMOVI $0, V13.B16
	VMOVI $0, V14.B16
	VMOVI $0, V15.B16
	B     loop
load:
	FLDPQ (R0), (F8, F9)
	FLDPQ 64(R0), (F10, F11)
	FLDPQ 128(R0), (F12, F13)
	FLDPQ 192(R0), (F14, F15)
loop:
	ZERO8
	DOT4(0)
	DOT4(64)
	DOT4(128)
	DOT4(192)
	ADD   $256, R1
	CBNZ  R9, scale
	DOT4(0)
	DOT4(64)
	DOT4(128)
	DOT4(192)
	ADD   $256, R1
scale:
	FLDPQ (R2), (F24, F25)
	FMOVQ (R10), F28
	ADD   $64, R2
	SCALED(24, 28, 0, 0, 8)
	SCALED(25, 28, 0, 1, 9)
	SCALED(24, 28, 1, 2, 10)
	SCALED(25, 28, 1, 3, 11)
	SCALED(24, 28, 2, 4, 12)
	SCALED(25, 28, 2, 5, 13)
	SCALED(24, 28, 3, 6, 14)
	SCALED(25, 28, 3, 7, 15)
	CBZ   R3, end
	FLDPQ (R3), (F26, F27)
	FMOVQ (R5), F29
	ADD   $64, R3
	OFFSET(26, 29, 0, 0, 8)
	OFFSET(27, 29, 0, 1, 9)
	OFFSET(26, 29, 1, 2, 10)
	OFFSET(27, 29, 1, 3, 11)
	OFFSET(26, 29, 2, 4, 12)
	OFFSET(27, 29, 2, 5, 13)
	OFFSET(26, 29, 3, 6, 14)
	OFFSET(27, 29, 3, 7, 15)
end:
	TILEQ_END
done:
	FSTPQ (F8, F9), (R0)
	FSTPQ (F10, F11), 64(R0)
	FSTPQ (F12, F13), 128(R0)
	FSTPQ (F14, F15), 192(R0)
	RET

// DOT2 multiplies a column group of 16 rows with two vectors, lanes i and i+1
// of V20.
#define DOT2(off, i, j) \
	WEIGHTS4(off) \
	SDOT(20, i, 16, 0) ; SDOT(20, i, 17, 1) ; SDOT(20, i, 18, 2) ; SDOT(20, i, 19, 3) \
	SDOT(20, j, 16, 4) ; SDOT(20, j, 17, 5) ; SDOT(20, j, 18, 6) ; SDOT(20, j, 19, 7)

#define DOT2X4 \
	FMOVQ (R4), F20   \
	DOT2(0, 0, 1)     \
	DOT2(64, 2, 3)    \
	FMOVQ 16(R4), F20 \
	DOT2(128, 0, 1)   \
	DOT2(192, 2, 3)   \
	ADD   $32, R4     \
	ADD   $256, R1

// func tileQx2DOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, t, half int)
// 16 rows with a tile of two vectors; t is 2.
TEXT ·tileQx2DOT(SB), NOSPLIT, $0-80
	TILEQ_BEGIN
	CBNZ  R7, load
	VMOVI $0, V8.B16
	VMOVI $0, V9.B16
	VMOVI $0, V10.B16
	VMOVI $0, V11.B16
	VMOVI $0, V12.B16
	VMOVI $0, V13.B16
	VMOVI $0, V14.B16
	VMOVI $0, V15.B16
	B     loop
load:
	FLDPQ (R0), (F8, F9)
	FLDPQ 32(R0), (F10, F11)
	FLDPQ 64(R0), (F12, F13)
	FLDPQ 96(R0), (F14, F15)
loop:
	ZERO8
	DOT2X4
	CBNZ  R9, scale
	DOT2X4
scale:
	FLDPQ (R2), (F24, F25)
	FLDPQ 32(R2), (F26, F27)
	FMOVD (R10), F28
	ADD   $64, R2
	SCALED(24, 28, 0, 0, 8)
	SCALED(25, 28, 0, 1, 9)
	SCALED(26, 28, 0, 2, 10)
	SCALED(27, 28, 0, 3, 11)
	SCALED(24, 28, 1, 4, 12)
	SCALED(25, 28, 1, 5, 13)
	SCALED(26, 28, 1, 6, 14)
	SCALED(27, 28, 1, 7, 15)
	CBZ   R3, end
	FLDPQ (R3), (F24, F25)
	FLDPQ 32(R3), (F26, F27)
	FMOVD (R5), F28
	ADD   $64, R3
	OFFSET(24, 28, 0, 0, 8)
	OFFSET(25, 28, 0, 1, 9)
	OFFSET(26, 28, 0, 2, 10)
	OFFSET(27, 28, 0, 3, 11)
	OFFSET(24, 28, 1, 4, 12)
	OFFSET(25, 28, 1, 5, 13)
	OFFSET(26, 28, 1, 6, 14)
	OFFSET(27, 28, 1, 7, 15)
end:
	TILEQ_END
done:
	FSTPQ (F8, F9), (R0)
	FSTPQ (F10, F11), 32(R0)
	FSTPQ (F12, F13), 64(R0)
	FSTPQ (F14, F15), 96(R0)
	RET

// DOT1 multiplies a column group of 16 rows with lane i of V20, into sums a to d.
#define DOT1(off, i, a, b, c, d) \
	WEIGHTS4(off) \
	SDOT(20, i, 16, a) ; SDOT(20, i, 17, b) ; SDOT(20, i, 18, c) ; SDOT(20, i, 19, d)

// Two sets of sums keep the chains of additions short.
#define DOT1X4 \
	VLD1.P 16(R4), [V20.B16] \
	DOT1(0, 0, 0, 1, 2, 3)   \
	DOT1(64, 1, 4, 5, 6, 7)  \
	DOT1(128, 2, 0, 1, 2, 3) \
	DOT1(192, 3, 4, 5, 6, 7) \
	ADD    $256, R1

// func tileQx1DOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, t, half int)
// 16 rows with one vector; t is 1.
TEXT ·tileQx1DOT(SB), NOSPLIT, $0-80
	TILEQ_BEGIN
	CBNZ  R7, load
	VMOVI $0, V8.B16
	VMOVI $0, V9.B16
	VMOVI $0, V10.B16
	VMOVI $0, V11.B16
	B     loop
load:
	FLDPQ (R0), (F8, F9)
	FLDPQ 32(R0), (F10, F11)
loop:
	ZERO8
	DOT1X4
	CBNZ  R9, scale
	DOT1X4
scale:
	VADD  V4.S4, V0.S4, V0.S4
	VADD  V5.S4, V1.S4, V1.S4
	VADD  V6.S4, V2.S4, V2.S4
	VADD  V7.S4, V3.S4, V3.S4
	FLDPQ (R2), (F24, F25)
	FLDPQ 32(R2), (F26, F27)
	FMOVS (R10), F28
	ADD   $64, R2
	SCALED(24, 28, 0, 0, 8)
	SCALED(25, 28, 0, 1, 9)
	SCALED(26, 28, 0, 2, 10)
	SCALED(27, 28, 0, 3, 11)
	CBZ   R3, end
	FLDPQ (R3), (F24, F25)
	FLDPQ 32(R3), (F26, F27)
	FMOVS (R5), F28
	ADD   $64, R3
	OFFSET(24, 28, 0, 0, 8)
	OFFSET(25, 28, 0, 1, 9)
	OFFSET(26, 28, 0, 2, 10)
	OFFSET(27, 28, 0, 3, 11)
end:
	TILEQ_END
done:
	FSTPQ (F8, F9), (R0)
	FSTPQ (F10, F11), 32(R0)
	RET
