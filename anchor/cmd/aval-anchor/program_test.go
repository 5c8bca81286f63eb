package main

import (
	"context"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient/simulated"

	"github.com/avalnetwork/aval/anchor"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// TestCommands goes the whole way, as docs/anchors.md does.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	var out, errs strings.Builder
	p := &program{out: &out, err: &errs, getenv: func(string) string { return "" }, now: time.Now}
	run := func(want int, args ...string) string {
		t.Helper()
		out.Reset()
		errs.Reset()
		if got := p.run(t.Context(), args); got != want {
			t.Fatalf("%v: exit %d, want %d\n%s%s", args, got, want, out.String(), errs.String())
		}
		return strings.TrimSpace(out.String())
	}
	var addresses []string
	for _, name := range []string{"payer", "a", "b", "c"} {
		addresses = append(addresses, run(0, "key", file(name)))
	}
	run(1, "key", file("a"))

	chain := simulated.NewBackend(types.GenesisAlloc{common.HexToAddress(addresses[0]): {Balance: big.NewInt(1e18)}})
	defer chain.Close()
	client := chain.Client()
	p.dial = func(context.Context, string) (anchor.Backend, error) { return client, nil }
	done := make(chan struct{})
	blocks := make(chan struct{})
	go func() { // a block, again and again
		defer close(blocks)
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				chain.Commit()
			}
		}
	}()
	defer func() { close(done); <-blocks }()

	signers := strings.Join(addresses[1:], ",")
	run(2, "deploy", "--rpc", "x", "--key", file("payer"), "--ledger", "l", "--signers", signers, "--threshold", "1")
	contract := run(0, "deploy", "--rpc", "x", "--key", file("payer"), "--ledger", "l", "--signers", signers, "--threshold", "2")
	with := func(command string, args ...string) []string {
		return append([]string{command, "--rpc", "x", "--contract", contract}, args...)
	}
	var tr tree.Tree
	node, id := make([]byte, 32), canon.Hash{5}
	log := canon.Leaf(id[:])
	entry, err := canon.Marshal(map[uint64]any{2: uint64(7), 5: []any{uint64(1), log[:]}})
	if err != nil {
		t.Fatal(err)
	}
	tr.Set(anchor.NodeKey(node), entry)
	tr.Set([]byte("key"), []byte("value"))
	write := func(name string, v any) {
		t.Helper()
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("state", anchor.State{Chain: "l", Height: 9, Root: tr.Root()})
	if got := run(0, with("status")...); !strings.Contains(got, "latest     none") {
		t.Errorf("status: %s", got)
	}
	post := with("post", "--key", file("payer"), "--state", file("state"), "--signer", file("a"), "--journal", file("journal"), "--once", "--interval", "20ms", "--confirmations", "2")
	run(1, post...)
	if err := os.WriteFile(file("b.json"), []byte(run(0, with("sign", "--state", file("state"), "--signer", file("b"))...)), 0o600); err != nil {
		t.Fatal(err)
	}
	post = append(post, "--attestations", file("b.json"))
	if got := run(0, post...); got != "done" {
		t.Errorf("post: %s", got)
	}
	if got := run(0, post...); got != "idle" {
		t.Errorf("post again: %s", got)
	}
	if got := run(0, with("status", "--state", file("state"))...); !strings.Contains(got, "height 9, root "+tr.Root().String()) {
		t.Errorf("status: %s", got)
	}

	prove := func(name string, key []byte, x shown) {
		t.Helper()
		data, err := tr.Prove(key).Encode()
		if err != nil {
			t.Fatal(err)
		}
		x.Key, x.Proof = key, data
		if x.Height == 0 {
			x.Height = 9
		}
		write(name, x)
	}
	verify := func(want int, text string) {
		t.Helper()
		if got := run(want, append(with("verify"), file("proof"))...) + errs.String(); !strings.Contains(got, text) {
			t.Errorf("verify: %s, want %q", got, text)
		}
	}
	prove("proof", []byte("key"), shown{Value: hexed("value")})
	verify(0, "present at the height 9")
	prove("proof", []byte("key"), shown{Value: hexed("valuf")})
	verify(1, "does not have this value")
	prove("proof", []byte("kez"), shown{})
	verify(0, "absent at the height 9")
	prove("proof", []byte("key"), shown{Height: 8})
	verify(1, "no root of this height")
	receipt := shown{Value: entry}
	if err := json.Unmarshal([]byte(`{"receipt":{"id":"`+id.String()+`","index":0,"path":[]}}`), &receipt); err != nil {
		t.Fatal(err)
	}
	prove("proof", anchor.NodeKey(node), receipt)
	verify(0, "in the log of the node")
	receipt.Receipt.ID[0]++
	prove("proof", anchor.NodeKey(node), receipt)
	verify(1, "does not have the receipt")

	// Two of three exchange the set for one.
	next := []string{"--signers", addresses[3], "--threshold", "1"}
	word := run(0, with("change", append(next, "--signer", file("a"))...)...)
	run(1, with("change", append(next, "--signature", word, "--key", file("payer"))...)...)
	run(0, with("change", append(next, "--signature", word, "--signer", file("c"), "--key", file("payer"))...)...)
	if got := run(0, with("status")...); !strings.Contains(got, "1 of these 1, epoch 1") {
		t.Errorf("status: %s", got)
	}
}

func TestUsage(t *testing.T) {
	var out, errs strings.Builder
	env := map[string]string{}
	p := &program{out: &out, err: &errs, getenv: func(s string) string { return env[s] }, now: time.Now, dial: func(context.Context, string) (anchor.Backend, error) {
		t.Error("a chain is asked before the flags are right")
		return nil, context.Canceled
	}}
	for _, c := range commands() {
		errs.Reset()
		if p.run(t.Context(), []string{c.name, "-h"}) != 0 || !strings.Contains(errs.String(), "aval-anchor "+c.name) || !strings.Contains(errs.String(), "Examples:") {
			t.Errorf("%s -h: %s", c.name, errs.String())
		}
		if code := p.run(t.Context(), []string{c.name, "--no-such-flag"}); code != 2 {
			t.Errorf("%s --no-such-flag: %d", c.name, code)
		}
		if c.name != "key" {
			if code := p.run(t.Context(), append([]string{c.name}, make([]string, len(c.args)/4)...)); code == 0 {
				t.Errorf("%s without flags: %d", c.name, code)
			}
		}
	}
	if p.run(t.Context(), nil) != 0 || !strings.Contains(out.String(), "deploy") || p.run(t.Context(), []string{"x"}) != 2 {
		t.Error("help")
	}
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	env["AVAL_ANCHOR_KEY"] = common.Bytes2Hex(crypto.FromECDSA(key))
	o := options{getenv: p.getenv}
	if got, err := o.payer(); err != nil || !got.Equal(key) {
		t.Errorf("the key of the environment: %v", err)
	}
}
