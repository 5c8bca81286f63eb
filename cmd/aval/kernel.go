package main

import "github.com/avalnetwork/aval/internal/kernel"

// kernelName tells which implementation of the arithmetic will be used.
func (a *app) kernelName() (string, error) {
	name := a.getenv("AVAL_KERNEL")
	if name == "" {
		return kernel.Best().Name(), nil
	}
	k, err := kernel.Named(name)
	if err != nil {
		return "", usageErrorf("AVAL_KERNEL: %w", err)
	}
	return k.Name(), nil
}
