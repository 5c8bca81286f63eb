// Package cpu tells which instruction sets this machine has, as far as the
// kernels care. Read the flags; nothing here chooses a kernel (see
// internal/kernel) and nothing reads the environment.
package cpu

import "golang.org/x/sys/cpu"

// Features of the processor and the operating system's support for them. A
// flag of another architecture is false.
var (
	// AVX2 is amd64's 256-bit integer set with F16C conversions.
	AVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA // F16C came with every processor that has both
	// AVX512 is the server subset F, BW, DQ, VL.
	AVX512 = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL
	// VNNI is AVX-512's byte dot product, VPDPBUSD.
	VNNI = AVX512 && cpu.X86.HasAVX512VNNI
	// NEON is arm64's 128-bit set; every arm64 machine has it.
	NEON = cpu.ARM64.HasASIMD
	// DotProd is arm64's byte dot product, SDOT.
	DotProd = cpu.ARM64.HasASIMDDP
)
