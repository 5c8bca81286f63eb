package service_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/internal/receiptlog/archive"
	"github.com/avalnetwork/aval/internal/receiptlog/service"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
	"github.com/avalnetwork/aval/receipt"
)

func key(b byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, 32)) }

// file is the file of a receipt that a key gave.
func file(t testing.TB, k ed25519.PrivateKey, i int) *receipt.File {
	t.Helper()
	o, err := receipt.Commit(receipt.NewSalt(), &receipt.Transcript{
		Source: receipt.Source{Kind: receipt.SourceText, Text: []byte("a secret question"), AddSpecial: true},
		Prompt: []int32{1, 450, int32(i)}, Output: []int32{7254, 2}, Text: strings.Repeat(" blue", 1+i*100),
	})
	if err != nil {
		t.Fatal(err)
	}
	claims := receipt.Claims{
		Model: receipt.Hash{1}, Params: receipt.Params{Temperature: 0.7}, Seed: receipt.SelfSeed(uint64(i)), Stop: receipt.StopEOS, Time: 1_790_000_000,
	}
	o.Fill(&claims)
	r, err := receipt.Sign(claims, k)
	if err != nil {
		t.Fatal(err)
	}
	return &receipt.File{Receipt: r, Opening: o.Select(receipt.WholeOutput | receipt.PartSource)}
}

func entryOf(t testing.TB, f *receipt.File) receiptlog.Entry {
	t.Helper()
	data, err := f.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return receiptlog.Entry{Receipt: f.Receipt.Hash(), File: data}
}

// serve serves a log to a peer, which it returns a client of.
func serve(t testing.TB, cfg service.Config) *service.Client {
	t.Helper()
	net := memory.New()
	here := peer.FromPrivate(key(1))
	everybody := func(context.Context, *rpc.Call) error { return nil }
	server, err := rpc.New(rpc.Config{Network: net.Join(here), Authorize: everybody, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = service.Register(server, cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	asker, err := rpc.New(rpc.Config{Network: net.Join(peer.ID{2}), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	asker.Start()
	t.Cleanup(func() { asker.Close(); server.Close() })
	return &service.Client{Peer: here, Conn: asker.To(here, rpc.Normal)}
}

func open(t testing.TB) *archive.Log {
	t.Helper()
	l, err := archive.Open(t.TempDir(), archive.Config{Key: key(1), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestService(t *testing.T) {
	l := open(t)
	var files []*receipt.File
	for i := range 300 {
		files = append(files, file(t, key(1), i))
		if _, err := l.Append(t.Context(), entryOf(t, files[i])); err != nil {
			t.Fatal(err)
		}
	}
	allowed, allowedOpened := false, false
	c := serve(t, service.Config{Log: l, Every: time.Millisecond, Logger: slog.New(slog.DiscardHandler), Allow: func(_ context.Context, who peer.ID, _ [][]byte, _ uint64, opened bool) error {
		if who == (peer.ID{2}) && (opened && allowedOpened || !opened && allowed) {
			return nil
		}
		return errors.New("not you")
	}})
	ctx := t.Context()

	cp, note, err := c.Checkpoint(ctx, 0) // the first that is signed
	if err != nil || cp.Size != 300 || note == nil {
		t.Fatalf("%+v, %v", cp, err)
	}
	for i := 300; i < 310; i++ {
		files = append(files, file(t, key(1), i))
		if _, err := l.Append(ctx, entryOf(t, files[i])); err != nil {
			t.Fatal(err)
		}
	}
	if again, _, err := c.Checkpoint(ctx, 0); err != nil || again.Size != 300 {
		t.Errorf("signed without need: %+v, %v", again, err)
	}
	p, _, err := c.ProveReceipt(ctx, files[17].Receipt.Hash())
	if err != nil || p.Index != 17 {
		t.Errorf("the receipt 17: %+v, %v", p, err)
	}
	p, newer, err := c.ProveReceipt(ctx, files[305].Receipt.Hash()) // that no checkpoint has
	if err != nil || p.Index != 305 || newer.Size != 310 {
		t.Fatalf("the receipt 305: %+v, %+v, %v", p, newer, err)
	}
	if _, err := p.Verify(key(1).Public().(ed25519.PublicKey), files[305].Receipt.Hash()); err != nil {
		t.Error(err)
	}
	_, _, id, err := c.ProveIndex(ctx, 200)
	if err != nil || id != files[200].Receipt.Hash() {
		t.Errorf("the entry 200: %v, %v", id, err)
	}
	id, proof, err := c.Inclusion(ctx, cp.Size, cp.Root, 299) // in a log that is not the newest
	if err != nil || id != files[299].Receipt.Hash() || receiptlog.VerifyInclusion(cp.Root, cp.Size, 299, receiptlog.Leaf(id), proof) != nil {
		t.Errorf("the entry 299 of 300: %v, %v", id, err)
	}
	if proof, err := c.Consistency(ctx, cp.Size, cp.Root, newer.Size, newer.Root); err != nil || len(proof) == 0 {
		t.Errorf("from %d to %d: %v", cp.Size, newer.Size, err)
	}

	// Receipts are for those who may have them, and what was asked and answered is
	// for fewer.
	for _, opened := range []bool{false, true} {
		if _, err := c.Receipt(ctx, 200, files[200].Receipt.Hash(), opened); rpc.CodeOf(err) != rpc.PermissionDenied {
			t.Errorf("shown to everybody: %v", err)
		}
	}
	allowed = true
	f, err := c.Receipt(ctx, 200, files[200].Receipt.Hash(), false)
	if err != nil || f.Opening != nil {
		t.Errorf("the receipt alone: %+v, %v", f, err)
	}
	if _, err := c.Receipt(ctx, 200, files[200].Receipt.Hash(), true); rpc.CodeOf(err) != rpc.PermissionDenied {
		t.Errorf("opened to one who may have receipts: %v", err)
	}
	allowedOpened = true
	if f, err = c.Receipt(ctx, 200, files[200].Receipt.Hash(), true); err != nil || f.Opening == nil {
		t.Errorf("the opened receipt: %v", err)
	}

	for name, c := range map[string]struct {
		err  error
		want rpc.Code
	}{
		"a larger checkpoint": {third(c.Checkpoint(ctx, 311)), rpc.NotFound},
		"another receipt":     {third(c.ProveReceipt(ctx, canon.Hash{1})), rpc.NotFound},
		"another entry":       {second(c.Receipt(ctx, 310, id, false)), rpc.NotFound},
		"beyond the size":     {third(c.Inclusion(ctx, 300, cp.Root, 300)), rpc.InvalidArgument},
		"a larger log":        {third(c.Inclusion(ctx, 311, cp.Root, 3)), rpc.InvalidArgument},
		"back":                {second(c.Consistency(ctx, 310, newer.Root, 300, cp.Root)), rpc.InvalidArgument},
	} {
		if rpc.CodeOf(c.err) != c.want {
			t.Errorf("%s: %v", name, c.err)
		}
	}
}

func second[A any](_ A, err error) error { return err }

func third[A, B any](_ A, _ B, err error) error { return err }

// liar is a log that is not the one that was signed.
type liar struct {
	service.Log
	other service.Log
	what  string
}

func (l liar) Latest() (receiptlog.Checkpoint, []byte) {
	if l.what == "checkpoint" {
		note, _ := receiptlog.SignCheckpoint(key(9), 300, canon.Hash{})
		return receiptlog.Checkpoint{Size: 300}, note
	}
	return l.Log.Latest()
}

func (l liar) Inclusion(size, index uint64) ([]canon.Hash, error) {
	p, err := l.Log.Inclusion(size, index)
	switch l.what {
	case "proof":
		p[0][0] ^= 1
	case "long proof":
		p = append(p, make([]canon.Hash, 60)...)
	}
	return p, err
}

func (l liar) Consistency(a, b uint64) ([]canon.Hash, error) {
	if l.what == "consistency" {
		return l.other.Consistency(a, b)
	}
	return l.Log.Consistency(a, b)
}

func (l liar) File(i uint64) (receiptlog.Entry, error) {
	if l.what == "receipt" {
		return l.Log.File(i + 1)
	}
	return l.Log.File(i)
}

// TestLies holds that a client believes nothing that was not signed.
func TestLies(t *testing.T) {
	l, other := open(t), open(t)
	var ids []canon.Hash
	for i := range 20 {
		e := entryOf(t, file(t, key(1), i))
		if i == 7 {
			e = entryOf(t, file(t, key(3), i)) // of another
		}
		ids = append(ids, e.Receipt)
		if _, err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Append(t.Context(), entryOf(t, file(t, key(1), 100+i))); err != nil {
			t.Fatal(err)
		}
	}
	old, _ := l.Root(9)
	if _, err := l.Checkpoint(20); err != nil {
		t.Fatal(err)
	}
	cp, _ := l.Latest()
	everybody := func(context.Context, peer.ID, [][]byte, uint64, bool) error { return nil }
	for _, c := range []struct {
		what string
		ask  func(ctx context.Context, c *service.Client) error
	}{
		{"checkpoint", func(ctx context.Context, c *service.Client) error { return third(c.Checkpoint(ctx, 0)) }},
		{"proof", func(ctx context.Context, c *service.Client) error { return third(c.ProveReceipt(ctx, ids[3])) }},
		{"long proof", func(ctx context.Context, c *service.Client) error { return third(c.ProveReceipt(ctx, ids[3])) }},
		{"proof", func(ctx context.Context, c *service.Client) error { return third(c.Inclusion(ctx, 20, cp.Root, 3)) }},
		{"consistency", func(ctx context.Context, c *service.Client) error {
			return second(c.Consistency(ctx, 9, old, 20, cp.Root))
		}},
		{"receipt", func(ctx context.Context, c *service.Client) error { return second(c.Receipt(ctx, 3, ids[3], false)) }},
		{"another's receipt", func(ctx context.Context, c *service.Client) error {
			return second(c.Receipt(ctx, 7, ids[7], false))
		}},
	} {
		client := serve(t, service.Config{Log: liar{l, other, c.what}, Allow: everybody, Every: time.Millisecond})
		var lie *service.Lie
		if err := c.ask(t.Context(), client); !errors.As(err, &lie) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// TestSigningIsRare holds that many who ask at once get one checkpoint.
func TestSigningIsRare(t *testing.T) {
	l := open(t)
	c := serve(t, service.Config{Log: l, Every: 50 * time.Millisecond})
	var sizes []uint64
	for i := range 4 {
		if _, err := l.Append(t.Context(), entryOf(t, file(t, key(1), i))); err != nil {
			t.Fatal(err)
		}
		cp, _, err := c.Checkpoint(t.Context(), uint64(i)+1)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, cp.Size)
	}
	if !slices.Equal(sizes, []uint64{1, 2, 3, 4}) {
		t.Errorf("sizes %v", sizes)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := l.Append(t.Context(), entryOf(t, file(t, key(1), 9))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Checkpoint(ctx, 5); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("one who cannot wait: %v", err)
	}
}
