//go:build !linux

package model

func newArena(n int) (*arena, error) { return &arena{mem: make([]byte, n)}, nil }

func (a *arena) free() error {
	if a != nil {
		a.mem = nil
	}
	return nil
}
