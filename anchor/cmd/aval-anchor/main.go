// Command aval-anchor posts application hashes of a ledger to a contract on an
// EVM chain, and checks proofs against it. Begin with aval-anchor key and
// aval-anchor deploy; aval-anchor post keeps the contract up to date. It reads
// the ledger from a node on this machine, and does not run one.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/avalnetwork/aval/anchor"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := &program{
		out: os.Stdout, err: os.Stderr, getenv: os.Getenv, now: time.Now,
		dial: func(ctx context.Context, url string) (anchor.Backend, error) { return ethclient.DialContext(ctx, url) },
	}
	code := p.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
