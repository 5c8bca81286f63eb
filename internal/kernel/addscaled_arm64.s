//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// func addScaledNEON(dst, x *float32, s float32, n int)
TEXT ·addScaledNEON(SB), NOSPLIT, $0-32
	MOVD  dst+0(FP), R0
	MOVD  x+8(FP), R1
	FMOVS s+16(FP), F16
	MOVD  n+24(FP), R3
loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1   (R0), [V4.S4, V5.S4, V6.S4, V7.S4]
	FMULE(16, 0, 0, 0) ; FMULE(16, 0, 1, 1) ; FMULE(16, 0, 2, 2) ; FMULE(16, 0, 3, 3)
	FADD(4, 0, 0) ; FADD(5, 1, 1) ; FADD(6, 2, 2) ; FADD(7, 3, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS   $16, R3, R3
	BNE    loop
	RET
