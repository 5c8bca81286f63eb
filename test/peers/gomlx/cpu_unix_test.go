//go:build unix

package gomlx_test

import (
	"syscall"
	"testing"
	"time"
)

// cpu returns the time that this process has spent on processors: others may
// use the machine, too.
func cpu(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
