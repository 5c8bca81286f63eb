//go:build (!amd64 && !arm64) || purego

package kernel

func machineKernels() []*Kernel { return []*Kernel{&portable} }
