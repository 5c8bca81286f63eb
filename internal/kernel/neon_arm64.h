// Instructions that Go's assembler has no mnemonic for, as their encodings
// (Arm Architecture Reference Manual, C7.2). Arguments are register numbers in
// the order of Go's assembler: second operand m, first operand n, destination
// d last. Floats are four lanes of binary32. There is no fused multiply-add:
// every product is rounded before it is added.

#define RRR(op, m, n, d) WORD $((op) | (m)<<16 | (n)<<5 | (d))
#define RR(op, n, d)     WORD $((op) | (n)<<5 | (d))
// Lane i of m: i is split into the bits H (11) and L (21).
#define RRE(op, m, i, n, d) WORD $((op) | ((i)&1)<<21 | (m)<<16 | ((i)>>1)<<11 | (n)<<5 | (d))

#define FADD(m, n, d)     RRR(0x4E20D400, m, n, d)    // d = n + m
#define FSUB(m, n, d)     RRR(0x4EA0D400, m, n, d)    // d = n - m
#define FMUL(m, n, d)     RRR(0x6E20DC00, m, n, d)    // d = n * m
#define FDIV(m, n, d)     RRR(0x6E20FC00, m, n, d)    // d = n / m
#define FMULE(m, i, n, d) RRE(0x4F809000, m, i, n, d) // d = n * m[i]
#define FCMGT(m, n, d)    RRR(0x6EA0E400, m, n, d)    // d = n > m, as a mask
#define FCMEQ0(n, d)      RR(0x4EA0D800, n, d)        // d = n == 0, as a mask
#define FNEG(n, d)        RR(0x6EA0F800, n, d)
#define FSQRT(n, d)       RR(0x6EA1F800, n, d)

#define SCVTF(n, d)  RR(0x4E21D800, n, d) // int32 to float
#define UCVTF(n, d)  RR(0x6E21D800, n, d) // uint32 to float
#define FCVTNS(n, d) RR(0x4E21A800, n, d) // float to int32, half to even
#define FCVTL(n, d)  RR(0x0E217800, n, d) // lower four binary16 to float
#define FCVTL2(n, d) RR(0x4E217800, n, d) // upper four

#define AND(m, n, d)     RRR(0x4E201C00, m, n, d)
#define BIT(m, n, d)     RRR(0x6EA01C00, m, n, d)       // the bits of n where m has ones, else those of d
#define SUB4S(m, n, d)   RRR(0x6EA08400, m, n, d)       // d = n - m, int32
#define SHL4S(k, n, d)   RR(0x4F205400 | (k)<<16, n, d) // int32
#define UMAXV(n, d)      RR(0x6EB0A800, n, d)           // d[0] = the greatest uint32 of n

#define SXTL8B(n, d)   RR(0x0F08A400, n, d) // lower eight int8 to int16
#define SXTL16B(n, d)  RR(0x4F08A400, n, d) // upper eight
#define SXTL4H(n, d)   RR(0x0F10A400, n, d) // lower four int16 to int32
#define SXTL8H(n, d)   RR(0x4F10A400, n, d) // upper four
#define XTN4H(n, d)    RR(0x0E612800, n, d) // int32 to int16, into the lower half
#define XTN8H(n, d)    RR(0x4E612800, n, d) // into the upper half
#define XTN8B(n, d)    RR(0x0E212800, n, d) // int16 to int8, into the lower half
#define XTN16B(n, d)   RR(0x4E212800, n, d) // into the upper half

#define SDOT(m, i, n, d)   RRE(0x4F80E000, m, i, n, d) // d[j] += n[4j..4j+3] . m[4i..4i+3], int8 to int32
#define SMULL8B(m, n, d)   RRR(0x0E20C000, m, n, d)    // d = n * m, lower eight int8 to int16
#define SMULL16B(m, n, d)  RRR(0x4E20C000, m, n, d)    // upper eight
#define SMLAL8B(m, n, d)   RRR(0x0E208000, m, n, d)    // d += n * m
#define SMLAL16B(m, n, d)  RRR(0x4E208000, m, n, d)
#define SADALP8H(n, d)     RR(0x4E606800, n, d)        // d[j] += n[2j] + n[2j+1], int16 to int32
