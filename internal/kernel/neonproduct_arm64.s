//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// The tiles of products of float32 matrices: one, two or four rows by 16
// columns. V0-15 are the sums of a block of 32 of k, row i in V(4i) to V(4i+3);
// V16-19 a row of b; V20-23 an element of each row of a.
//
//	R0 c  R1 its stride  R2-R5 rows of a  R6 from an element to the next
//	R7 b  R8 its stride  R9 k left  R10 whether c continues  R11 of the block
//	R12 the row of c

#define PRODUCT_BEGIN \
	MOVD c+0(FP), R0     \
	MOVD cs+8(FP), R1    \
	MOVD a+16(FP), R2    \
	MOVD ar+24(FP), R3   \
	MOVD ak+32(FP), R6   \
	MOVD b+40(FP), R7    \
	MOVD bk+48(FP), R8   \
	MOVD k+56(FP), R9    \
	MOVD cont+64(FP), R10 \
	LSL  $2, R1          \
	LSL  $2, R3          \
	LSL  $2, R6          \
	LSL  $2, R8          \
	ADD  R3, R3, R5      \
	ADD  R2, R3, R3      \
	ADD  R2, R5, R4      \
	ADD  R3, R5, R5

// TERMS adds x times the row of b to sums a to d.
#define TERMS(x, a, b, c, d) \
	FMULE(x, 0, 16, 24) ; FMULE(x, 0, 17, 25) ; FMULE(x, 0, 18, 26) ; FMULE(x, 0, 19, 27) \
	FADD(24, a, a) ; FADD(25, b, b) ; FADD(26, c, c) ; FADD(27, d, d)

#define STEP1 \
	FMOVS (R2), F20          \
	ADD   R6, R2             \
	TERMS(20, 0, 1, 2, 3)
#define STEP2 \
	FMOVS (R3), F21          \
	ADD   R6, R3             \
	STEP1                    \
	TERMS(21, 4, 5, 6, 7)
#define STEP4 \
	FMOVS (R4), F22          \
	FMOVS (R5), F23          \
	ADD   R6, R4             \
	ADD   R6, R5             \
	STEP2                    \
	TERMS(22, 8, 9, 10, 11)  \
	TERMS(23, 12, 13, 14, 15)

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

// ADDROW adds a row of c to sums a to d.
#define ADDROW(a, b, c, d) \
	FLDPQ 0(R12), (F24, F25)  \
	FLDPQ 32(R12), (F26, F27) \
	FADD(a, 24, a) ; FADD(b, 25, b) ; FADD(c, 26, c) ; FADD(d, 27, d) \
	ADD   R1, R12

#define ADD1 \
	MOVD R0, R12 \
	ADDROW(0, 1, 2, 3)
#define ADD2 \
	ADD1 \
	ADDROW(4, 5, 6, 7)
#define ADD4 \
	ADD2 \
	ADDROW(8, 9, 10, 11) \
	ADDROW(12, 13, 14, 15)

#define STOREROW(a, b, c, d) \
	FSTPQ (a, b), 0(R12)  \
	FSTPQ (c, d), 32(R12) \
	ADD   R1, R12

#define STORE1 \
	MOVD R0, R12 \
	STOREROW(F0, F1, F2, F3)
#define STORE2 \
	STORE1 \
	STOREROW(F4, F5, F6, F7)
#define STORE4 \
	STORE2 \
	STOREROW(F8, F9, F10, F11) \
	STOREROW(F12, F13, F14, F15)

// PRODUCT is the body of a tile. The sums of the first block are stored as they
// are if c does not continue.
#define PRODUCT(CLEAR, STEP, ADDROWS, STORE) \
block: \
	CLEAR                     \
	MOVD  $32, R11            \
	CMP   R11, R9             \
	CSEL  LT, R9, R11, R11    \
	SUB   R11, R9             \
column: \
	FLDPQ 0(R7), (F16, F17)   \
	FLDPQ 32(R7), (F18, F19)  \
	ADD   R8, R7              \
	STEP                      \
	SUBS  $1, R11             \
	BNE   column              \
	CBZ   R10, store          \
	ADDROWS                   \
store: \
	STORE                     \
	MOVD  $1, R10             \
	CBNZ  R9, block           \
	RET

// FOUR transposes four columns of four rows, the first at src, the next ones
// R3 bytes apart, to dst and on, R1 bytes apart.
#define FOUR(src, dst) \
	MOVD  src, R6               \
	FMOVQ (R6), F0              \
	ADD   R3, R6                \
	FMOVQ (R6), F1              \
	ADD   R3, R6                \
	FMOVQ (R6), F2              \
	ADD   R3, R6                \
	FMOVQ (R6), F3              \
	VZIP1 V2.S4, V0.S4, V4.S4   \
	VZIP2 V2.S4, V0.S4, V5.S4   \
	VZIP1 V3.S4, V1.S4, V6.S4   \
	VZIP2 V3.S4, V1.S4, V7.S4   \
	VZIP1 V6.S4, V4.S4, V0.S4   \
	VZIP2 V6.S4, V4.S4, V1.S4   \
	VZIP1 V7.S4, V5.S4, V2.S4   \
	VZIP2 V7.S4, V5.S4, V3.S4   \
	MOVD  dst, R6               \
	FMOVQ F0, (R6)              \
	ADD   R1, R6                \
	FMOVQ F1, (R6)              \
	ADD   R1, R6                \
	FMOVQ F2, (R6)              \
	ADD   R1, R6                \
	FMOVQ F3, (R6)

#define ROWS_BEGIN \
	MOVD dst+0(FP), R0  \
	MOVD ds+8(FP), R1   \
	MOVD src+16(FP), R2 \
	MOVD ss+24(FP), R3  \
	MOVD n+32(FP), R4   \
	LSL  $2, R1         \
	LSL  $2, R3

// func product1x16NEON(c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int)
TEXT ·product1x16NEON(SB), NOSPLIT, $0-72
	PRODUCT_BEGIN
	PRODUCT(CLEAR1, STEP1, ADD1, STORE1)

// func product2x16NEON(c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int)
TEXT ·product2x16NEON(SB), NOSPLIT, $0-72
	PRODUCT_BEGIN
	PRODUCT(CLEAR2, STEP2, ADD2, STORE2)

// func product4x16NEON(c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int)
TEXT ·product4x16NEON(SB), NOSPLIT, $0-72
	PRODUCT_BEGIN
	PRODUCT(CLEAR4, STEP4, ADD4, STORE4)

// func transpose8NEON(dst *float32, ds int, src *float32, ss, n int)
TEXT ·transpose8NEON(SB), NOSPLIT, $0-40
	ROWS_BEGIN
	ADD  R3<<2, R2, R5
	ADD  $16, R0, R7
loop:
	FOUR(R2, R0)
	FOUR(R5, R7)
	ADD  $16, R2
	ADD  $16, R5
	ADD  R1<<2, R0
	ADD  R1<<2, R7
	SUBS $4, R4
	BNE  loop
	RET

// func copyRows8NEON(dst *float32, ds int, src *float32, ss, n int)
TEXT ·copyRows8NEON(SB), NOSPLIT, $0-40
	ROWS_BEGIN
loop:
	FLDPQ 0(R2), (F0, F1)
	FSTPQ (F0, F1), 0(R0)
	ADD   R3, R2
	ADD   R1, R0
	SUBS  $1, R4
	BNE   loop
	RET

// func copyRows32NEON(dst *float32, ds int, src *float32, ss, n int)
TEXT ·copyRows32NEON(SB), NOSPLIT, $0-40
	ROWS_BEGIN
loop:
	FLDPQ 0(R2), (F0, F1)
	FLDPQ 32(R2), (F2, F3)
	FLDPQ 64(R2), (F4, F5)
	FLDPQ 96(R2), (F6, F7)
	FSTPQ (F0, F1), 0(R0)
	FSTPQ (F2, F3), 32(R0)
	FSTPQ (F4, F5), 64(R0)
	FSTPQ (F6, F7), 96(R0)
	ADD   R3, R2
	ADD   R1, R0
	SUBS  $1, R4
	BNE   loop
	RET

// func peakFloatNEON(rounds int) float32
TEXT ·peakFloatNEON(SB), NOSPLIT, $0-12
	MOVD  rounds+0(FP), R0
	FMOVS $1.5, F20
	VDUP  V20.S[0], V16.S4
	VMOV  V16.B16, V17.B16
	VMOV  V16.B16, V18.B16
	VMOV  V16.B16, V19.B16
	CLEAR4
loop:
	TERMS(20, 0, 1, 2, 3)
	TERMS(20, 4, 5, 6, 7)
	TERMS(20, 8, 9, 10, 11)
	TERMS(20, 12, 13, 14, 15)
	SUBS  $1, R0
	BNE   loop
	FADD(4, 0, 0)
	FMOVS F0, ret+8(FP)
	RET
