package consensus_test

import "syscall"

func mount(dir string) error { return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m") }

func unmount(dir string) error { return syscall.Unmount(dir, 0) }
