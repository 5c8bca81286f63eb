//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// The scales of a panel: R0 scales, R1 offs, R2 src, R3 blocks left. d is
// V4-7, m V8-11, one lane a row.
#define SCALES_BEGIN \
	MOVD scales+0(FP), R0 \
	MOVD offs+8(FP), R1   \
	MOVD src+16(FP), R2   \
	MOVD nb+24(FP), R3

#define SCALES_D \
	VLD1.P 32(R2), [V0.B16, V1.B16] \
	FCVTL(0, 4) ; FCVTL2(0, 5) ; FCVTL(1, 6) ; FCVTL2(1, 7)

#define SCALES_M \
	VLD1.P 32(R2), [V0.B16, V1.B16] \
	FCVTL(0, 8) ; FCVTL2(0, 9) ; FCVTL(1, 10) ; FCVTL2(1, 11)

// UNSIGNED and SIGNED make sixteen bytes, V0, floats in V16-19.
#define UNSIGNED \
	VUXTL  V0.B8, V1.H8    \
	VUXTL2 V0.B16, V2.H8   \
	VUXTL  V1.H4, V16.S4   \
	VUXTL2 V1.H8, V17.S4   \
	VUXTL  V2.H4, V18.S4   \
	VUXTL2 V2.H8, V19.S4   \
	UCVTF(16, 16) ; UCVTF(17, 17) ; UCVTF(18, 18) ; UCVTF(19, 19)

#define SIGNED \
	SXTL8B(0, 1) ; SXTL16B(0, 2) \
	SXTL4H(1, 16) ; SXTL8H(1, 17) ; SXTL4H(2, 18) ; SXTL8H(2, 19) \
	SCVTF(16, 16) ; SCVTF(17, 17) ; SCVTF(18, 18) ; SCVTF(19, 19)

// PUT_SCALES stores d * V16-19, PUT_OFFSETS -(m * V16-19).
#define PUT_SCALES \
	FMUL(4, 16, 16) ; FMUL(5, 17, 17) ; FMUL(6, 18, 18) ; FMUL(7, 19, 19) \
	VST1.P [V16.S4, V17.S4, V18.S4, V19.S4], 64(R0)

#define PUT_OFFSETS \
	FMUL(8, 16, 16) ; FMUL(9, 17, 17) ; FMUL(10, 18, 18) ; FMUL(11, 19, 19) \
	FNEG(16, 16) ; FNEG(17, 17) ; FNEG(18, 18) ; FNEG(19, 19) \
	VST1.P [V16.S4, V17.S4, V18.S4, V19.S4], 64(R1)

// func scales16NEON(scales, offs *float32, src *byte, nb int)
TEXT ·scales16NEON(SB), NOSPLIT, $0-32
	SCALES_BEGIN
loop:
	SCALES_D
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R0)
	SUBS   $1, R3, R3
	BNE    loop
	RET

// func scales16MNEON(scales, offs *float32, src *byte, nb int)
TEXT ·scales16MNEON(SB), NOSPLIT, $0-32
	SCALES_BEGIN
loop:
	SCALES_D
	SCALES_M
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R0)
	VST1.P [V8.S4, V9.S4, V10.S4, V11.S4], 64(R1)
	SUBS   $1, R3, R3
	BNE    loop
	RET

// func scalesKNEON(scales, offs *float32, src *byte, nb int)
TEXT ·scalesKNEON(SB), NOSPLIT, $0-32
	SCALES_BEGIN
super:
	SCALES_D
	SCALES_M
	MOVD $8, R4
loop:
	VLD1.P 16(R2), [V0.B16]
	UNSIGNED
	PUT_SCALES
	VLD1.P 16(R2), [V0.B16]
	UNSIGNED
	PUT_OFFSETS
	SUBS $1, R4, R4
	BNE  loop
	SUBS $8, R3, R3
	BNE  super
	RET

// func scalesK16NEON(scales, offs *float32, src *byte, nb int)
TEXT ·scalesK16NEON(SB), NOSPLIT, $0-32
	SCALES_BEGIN
super:
	SCALES_D
	MOVD $16, R4
loop:
	VLD1.P 16(R2), [V0.B16]
	SIGNED
	PUT_SCALES
	SUBS $1, R4, R4
	BNE  loop
	SUBS $8, R3, R3
	BNE  super
	RET

// func scalesK2NEON(scales, offs *float32, src *byte, nb int)
TEXT ·scalesK2NEON(SB), NOSPLIT, $0-32
	SCALES_BEGIN
super:
	SCALES_D
	SCALES_M
	MOVD $16, R4
loop:
	VLD1.P 16(R2), [V3.B16]
	VMOVI $15, V0.B16
	VAND  V3.B16, V0.B16, V0.B16
	UNSIGNED
	PUT_SCALES
	VUSHR $4, V3.B16, V0.B16
	UNSIGNED
	PUT_OFFSETS
	SUBS $1, R4, R4
	BNE  loop
	SUBS $8, R3, R3
	BNE  super
	RET

// func scalesKTNEON(scales, offs *float32, src *byte, nb int)
TEXT ·scalesKTNEON(SB), NOSPLIT, $0-32
	SCALES_BEGIN
super:
	SCALES_D
	MOVD $8, R4
loop:
	VLD1.P 16(R2), [V0.B16]
	SIGNED
	PUT_SCALES
	SUBS $1, R4, R4
	BNE  loop
	SUBS $8, R3, R3
	BNE  super
	RET
