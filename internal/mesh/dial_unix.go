//go:build unix

package mesh

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// resetOnClose makes closing a connection reset it, at once and in any state.
// What is sent before is sent in streams that end in good order of their own.
func resetOnClose(c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}); e != nil {
		return e
	}
	return err
}
