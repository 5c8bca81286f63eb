// Command aval runs language models on plain CPUs, with the same bits on every
// machine. See "aval help" and docs/. It is thin: flags, the terminal and exit
// codes are here, everything else is in the packages below.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ask := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		ask = append(ask, syscall.SIGHUP) // the terminal is gone: what is running saves
	}
	ctx, stop := signal.NotifyContext(context.Background(), ask...)
	go func() {
		<-ctx.Done()
		stop() // the first signal asks, the second ends
	}()
	code := execute(ctx, newApp(), os.Args[1:])
	stop()
	os.Exit(code)
}
