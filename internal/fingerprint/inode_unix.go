//go:build unix

package fingerprint

import (
	"io/fs"
	"syscall"
)

// inode tells a file from another that took its name.
func inode(st fs.FileInfo) uint64 {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}
