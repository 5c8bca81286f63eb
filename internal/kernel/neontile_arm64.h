// What the tile functions of neontile_arm64.s share.

// A quantised tile function has these registers:
//
//	R0 out  R1 codes  R2 scales  R3 offsets or nil  R4 codes of x
//	R5 scale*sum of x  R6 blocks or half blocks left  R7 cont
//	R9 half  R10 scales of x  R11 4t  R12 8t  R13 20t  R14 40t
//
// and goes over the blocks (half blocks, if R9 is not 0) in a loop:
//
//	loop: zero sums, four column groups, four more if R9 is 0, TILEQ_END
//
// V22 is 0x80 in every byte: it turns code + 128 into a signed code.
#define TILEQ_BEGIN \
	MOVD out+0(FP), R0       \
	MOVD codes+8(FP), R1     \
	MOVD scales+16(FP), R2   \
	MOVD offs+24(FP), R3     \
	MOVD x+32(FP), R4        \
	MOVD xe+40(FP), R5       \
	MOVD nb+48(FP), R6       \
	MOVD cont+56(FP), R7     \
	MOVD t+64(FP), R11       \
	MOVD half+72(FP), R9     \
	LSL  $2, R11             \
	LSL  $1, R11, R12        \
	ADD  R11<<2, R11, R13    \
	LSL  $1, R13, R14        \
	ADD  R11<<3, R4, R10     \
	ADD  R12, R5             \
	LSL  R9, R6              \
	MUL  R9, R11, R15        \
	ADD  R15, R5             \
	VMOVI $128, V22.B16

// TILEQ_END goes on to the next block or half block, at label loop, or to
// label done.
#define TILEQ_END \
	SUBS $1, R6, R6          \
	BEQ  done                \
	CBZ  R9, next            \
	TBZ  $0, R6, whole       \
	ADD  R11, R5             \
	B    loop                \
whole:                           \
	SUB  R11, R5             \
next:                            \
	ADD  R13, R5             \
	ADD  R12, R4             \
	ADD  R14, R10            \
	B    loop

// SCALED adds the sums d of four rows, times the scales w of the rows and the
// scale x[i] of the vector, to acc.
#define SCALED(w, x, i, d, acc) \
	SCVTF(d, d)       \
	FMUL(w, d, d)     \
	FMULE(x, i, d, d) \
	FADD(d, acc, acc)

// OFFSET adds the offsets w times x[i], the scaled sum of the vector, to acc.
#define OFFSET(w, x, i, tmp, acc) \
	FMULE(x, i, w, tmp) \
	FADD(tmp, acc, acc)

// WEIGHTS2 and WEIGHTS4 load the codes of 8 and 16 rows of a column group at
// off, signed, into V16-17 and V16-19.
#define WEIGHTS2(off) \
	FLDPQ off(R1), (F16, F17)       \
	VEOR  V22.B16, V16.B16, V16.B16 \
	VEOR  V22.B16, V17.B16, V17.B16

#define WEIGHTS4(off) \
	WEIGHTS2(off)                   \
	FLDPQ (off+32)(R1), (F18, F19)  \
	VEOR  V22.B16, V18.B16, V18.B16 \
	VEOR  V22.B16, V19.B16, V19.B16

// ZERO8 clears V0-7, the sums.
#define ZERO8 \
	VMOVI $0, V0.B16 \
	VMOVI $0, V1.B16 \
	VMOVI $0, V2.B16 \
	VMOVI $0, V3.B16 \
	VMOVI $0, V4.B16 \
	VMOVI $0, V5.B16 \
	VMOVI $0, V6.B16 \
	VMOVI $0, V7.B16
