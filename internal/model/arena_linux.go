package model

import "golang.org/x/sys/unix"

// newArena asks for huge pages: a pass reads every weight once, and the fewer
// pages the fewer times the processor looks one up.
func newArena(n int) (*arena, error) {
	mem, err := unix.Mmap(-1, 0, max(n, 1), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	_ = unix.Madvise(mem, unix.MADV_HUGEPAGE) // a kernel without them is slower, not wrong
	return &arena{mem: mem}, nil
}

func (a *arena) free() error {
	if a == nil || a.mem == nil {
		return nil
	}
	mem := a.mem
	a.mem = nil
	return unix.Munmap(mem)
}
