//go:build !unix

package mesh

import "syscall"

// resetOnClose is not there on this system; libp2p does it once a connection is
// made.
func resetOnClose(syscall.RawConn) error { return nil }
