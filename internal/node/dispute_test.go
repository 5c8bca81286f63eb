package node_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/models"
	"github.com/avalnetwork/aval/receipt"
)

// liarHost serves the built-in model and lies about its computation in disputes.
type liarHost struct {
	*engine.Engine
	file  *gguf.File
	print *fingerprint.Tree
	key   ed25519.PrivateKey
	runs  atomic.Int64 // that are open
}

func newLiarHost(t *testing.T, key ed25519.PrivateKey) *liarHost {
	t.Helper()
	h := &liarHost{key: key}
	path := filepath.Join(t.TempDir(), "mini.gguf")
	err := os.WriteFile(path, []byte(models.Mini()), 0o600)
	if err == nil {
		h.Engine, err = engine.Open(path, engine.Options{Context: 256})
	}
	if err == nil {
		h.file, err = gguf.Open(path)
	}
	if err == nil {
		h.print, err = fingerprint.Of(t.Context(), h.file, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(h.Engine.Close(), h.file.Close()) })
	return h
}

func (h *liarHost) Models(context.Context) ([]remote.Model, error) {
	return []remote.Model{{Name: "mini", Root: h.print.Root(), Context: 256, Receipts: true}}, nil
}

func (h *liarHost) Open(context.Context, string) (remote.Lease, error) { return liarLease{h}, nil }

type liarLease struct{ *liarHost }

func (l liarLease) Close() {} // not of the engine

func (l liarLease) Issuer() *issuer.Issuer {
	return issuer.New(issuer.Config{Key: l.key, Model: issuer.Known(l.print.Root()), Context: l.Context()})
}

func (l liarLease) OpenTrace(context.Context, *receipt.File, *audit.Challenge) (*trace.Opening, error) {
	return nil, errors.New("not here")
}

// run computes the run of a receipt.
func (h *liarHost) run(ctx context.Context, f *receipt.File) (*rerun.Run, error) {
	cfg := rerun.Config{Compute: h.Compute, File: h.file, Print: h.print, Claims: f.Receipt.Claims(), Opening: f.Opening}
	if err := h.Compute(ctx, func(m *model.Model) error { cfg.Model = m; return nil }); err != nil {
		return nil, err
	}
	return rerun.New(ctx, cfg)
}

type lyingRun struct {
	dispute.Source
	close func()
}

func (r lyingRun) Close() { r.close() }

func (l liarLease) Rerun(ctx context.Context, f *receipt.File) (remote.Rerun, error) {
	r, err := l.run(ctx, f)
	if err != nil {
		return nil, err
	}
	l.runs.Add(1)
	lie := &rerun.Liar{Source: r, At: dispute.Cell{Layer: 1, Position: 2}, Op: 3}
	return lyingRun{lie, func() { r.Close(); l.runs.Add(-1) }}, nil
}

// TestDisputeByDoor plays a dispute as commands do, by the door of the node that
// runs; and leaves nothing behind of one that is given up.
func TestDisputeByDoor(t *testing.T) {
	dir, err := os.MkdirTemp("", "aval") // with a name short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	key := ed25519.NewKeyFromSeed(slices.Repeat([]byte{2}, 32))
	h := newLiarHost(t, key)
	asker := run(t, 1, filepath.Join(dir, "a"), anyPort)
	liar, err := node.New(t.Context(), node.Config{
		Friends: []peer.ID{asker.Mesh.Self()}, Models: h,
		Mesh: mesh.Config{Key: key, Mode: doctor.LAN, Bare: true, Listen: []string{anyPort}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = liar.Close() })
	door, err := node.Dial(t.Context(), filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	question := remote.Request{Model: "mini", Text: "It was in July", MaxTokens: 8, Nonce: []byte("12345678"), Receipt: true}
	data, err := question.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := door.Ask(t.Context(), node.AskRequest{Link: link(liar), Request: data}, nil)
	if err != nil || answer.Lie != "" {
		t.Fatalf("%+v, %v", answer, err)
	}
	file, err := receipt.ParseFile(answer.Receipt)
	if err != nil {
		t.Fatal(err)
	}
	claim, err := dispute.NewRun(file.Receipt)
	if err != nil {
		t.Fatal(err)
	}
	own, err := h.run(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	call := node.DisputeRequest{Link: link(liar), Receipt: file.Receipt.Hash(), Challenger: public}
	with := remote.Challenge{Run: claim, Key: private, Witness: own}

	table, err := door.Dispute(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	played, err := remote.Play(t.Context(), table, with)
	if err != nil || played.Proof == nil {
		t.Fatalf("%+v, %v", played, err)
	}
	if finding, err := dispute.JudgeFile(answer.Receipt, played.Proof); err != nil || finding.Cell != (dispute.Cell{Layer: 1, Position: 2}) {
		t.Errorf("%s, %v", finding, err)
	}
	if err := table.Close(); err != nil {
		t.Error(err)
	}
	if _, err := table.Exchange(t.Context(), nil); rpc.CodeOf(err) != rpc.NotFound {
		t.Errorf("a game that is over: %v", err)
	}
	if err := table.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}

	// A command that is gone in the middle, or without a word, leaves no run open.
	for name, leave := range map[string]func(remote.Table){
		"closed": func(table remote.Table) { _ = table.Close() },
		"in the middle of a move": func(table remote.Table) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := table.Exchange(ctx, []byte("noise")); !errors.Is(err, context.Canceled) {
				t.Errorf("given up: %v", err)
			}
			_ = table.Close()
		},
	} {
		table, err := door.Dispute(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		if h.runs.Load() != 1 {
			t.Errorf("%s: %d runs are open", name, h.runs.Load())
		}
		leave(table)
		within(t, "the run of "+name+" is closed", func() bool { return h.runs.Load() == 0 })
	}

	// What the peer says comes by the door with its code.
	call.Receipt[0] ^= 1
	if _, err := door.Dispute(t.Context(), call); rpc.CodeOf(err) != rpc.NotFound {
		t.Errorf("a receipt that nobody has: %v", err)
	}
}
