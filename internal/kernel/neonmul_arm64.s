//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"
#include "neontile_arm64.h"

// The quantised tiles without SDOT, for 8 rows. A product of two bytes is at
// most 2^14 - 128 in magnitude, so that two of them fit into 16 bits; pairs of
// those go into the sums, which hold half a row a lane until VADDP joins them.

// PAIR multiplies columns a and b, two vectors of column groups, with the
// weights w and v of four rows, into the sums lo and hi.
#define PAIR(w, a, v, b, lo, hi) \
	SMULL8B(a, w, 30)  \
	SMULL16B(a, w, 31) \
	SMLAL8B(b, v, 30)  \
	SMLAL16B(b, v, 31) \
	SADALP8H(30, lo)   \
	SADALP8H(31, hi)

// WEIGHTSMUL loads the codes of 8 rows of the column groups at off and off+64
// into V16-19.
#define WEIGHTSMUL(off) \
	FLDPQ (off+64)(R1), (F16, F17)  \
	VEOR  V22.B16, V16.B16, V18.B16 \
	VEOR  V22.B16, V17.B16, V19.B16 \
	WEIGHTS2(off)

// MUL2 takes two column groups with two vectors, which lie side by side.
#define MUL2(off) \
	WEIGHTSMUL(off)               \
	FMOVD (R4), F26               \
	FMOVD (R4)(R11), F27          \
	ADD   R12, R4                 \
	VDUP  V26.S[0], V20.S4        \
	VDUP  V27.S[0], V21.S4        \
	PAIR(16, 20, 18, 21, 0, 1)    \
	PAIR(17, 20, 19, 21, 2, 3)    \
	VDUP  V26.S[1], V20.S4        \
	VDUP  V27.S[1], V21.S4        \
	PAIR(16, 20, 18, 21, 4, 5)    \
	PAIR(17, 20, 19, 21, 6, 7)

// func tileQx2NEON(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, t, half int)
// 8 rows with two vectors of a tile of t.
TEXT ·tileQx2NEON(SB), NOSPLIT, $0-80
	TILEQ_BEGIN
	CBNZ  R7, load
	VMOVI $0, V8.B16
	VMOVI $0, V9.B16
	VMOVI $0, V10.B16
	VMOVI $0, V11.B16
	B     loop
load:
	FLDPQ (R0), (F8, F9)
	FLDPQ 64(R0), (F10, F11)
loop:
	ZERO8
	MUL2(0)
	MUL2(128)
	ADD   $256, R1
	CBNZ  R9, scale
	MUL2(0)
	MUL2(128)
	ADD   $256, R1
scale:
	VADDP V1.S4, V0.S4, V0.S4
	VADDP V3.S4, V2.S4, V1.S4
	VADDP V5.S4, V4.S4, V2.S4
	VADDP V7.S4, V6.S4, V3.S4
	FLDPQ (R2), (F24, F25)
	FMOVD (R10), F28
	ADD   $64, R2
	SCALED(24, 28, 0, 0, 8)
	SCALED(25, 28, 0, 1, 9)
	SCALED(24, 28, 1, 2, 10)
	SCALED(25, 28, 1, 3, 11)
	CBZ   R3, end
	FLDPQ (R3), (F24, F25)
	FMOVD (R5), F28
	ADD   $64, R3
	OFFSET(24, 28, 0, 0, 8)
	OFFSET(25, 28, 0, 1, 9)
	OFFSET(24, 28, 1, 2, 10)
	OFFSET(25, 28, 1, 3, 11)
end:
	TILEQ_END
done:
	FSTPQ (F8, F9), (R0)
	FSTPQ (F10, F11), 64(R0)
	RET

// MUL1 takes two column groups with one vector.
#define MUL1(off) \
	WEIGHTSMUL(off)            \
	VLD1R.P 4(R4), [V20.S4]    \
	VLD1R.P 4(R4), [V21.S4]    \
	PAIR(16, 20, 18, 21, 0, 1) \
	PAIR(17, 20, 19, 21, 2, 3)

// func tileQx1NEON(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, t, half int)
// 8 rows with one vector; t is 1.
TEXT ·tileQx1NEON(SB), NOSPLIT, $0-80
	TILEQ_BEGIN
	CBNZ  R7, load
	VMOVI $0, V8.B16
	VMOVI $0, V9.B16
	B     loop
load:
	FLDPQ (R0), (F8, F9)
loop:
	ZERO8
	MUL1(0)
	MUL1(128)
	ADD   $256, R1
	CBNZ  R9, scale
	MUL1(0)
	MUL1(128)
	ADD   $256, R1
scale:
	VADDP V1.S4, V0.S4, V0.S4
	VADDP V3.S4, V2.S4, V1.S4
	FLDPQ (R2), (F24, F25)
	FMOVS (R10), F28
	ADD   $64, R2
	SCALED(24, 28, 0, 0, 8)
	SCALED(25, 28, 0, 1, 9)
	CBZ   R3, end
	FLDPQ (R3), (F24, F25)
	FMOVS (R5), F28
	ADD   $64, R3
	OFFSET(24, 28, 0, 0, 8)
	OFFSET(25, 28, 0, 1, 9)
end:
	TILEQ_END
done:
	FSTPQ (F8, F9), (R0)
	RET
