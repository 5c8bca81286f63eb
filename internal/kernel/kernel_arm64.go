//go:build !purego

package kernel

func machineKernels() []*Kernel { return nil }
