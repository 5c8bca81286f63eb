package node_test

import (
	"crypto/ed25519"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/receipt"
)

// TestReceiptLog asks a model elsewhere and holds its owner to the log, by the door
// and across a restart of the one that answered.
func TestReceiptLog(t *testing.T) {
	dir, err := os.MkdirTemp("", "aval")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	key := ed25519.NewKeyFromSeed(slices.Repeat([]byte{2}, 32))
	h := newLiarHost(t, key)
	asker := run(t, 1, filepath.Join(dir, "a"), anyPort)
	provide := func() *node.Node {
		n, err := node.New(t.Context(), node.Config{
			Models: h, Receipts: node.ReceiptsConfig{Folder: filepath.Join(dir, "log")},
			Mesh: mesh.Config{Key: key, Mode: doctor.LAN, Bare: true, Listen: []string{anyPort}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		return n
	}
	grant := func(n *node.Node, rights ...access.Right) {
		t.Helper()
		if _, err := n.Grant(t.Context(), node.GrantRequest{Holder: asker.Mesh.Self(), Rights: rights, Life: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	door, err := node.Dial(t.Context(), filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	ask := func(n *node.Node, withReceipt bool) node.Asked {
		t.Helper()
		question := remote.Request{Model: "mini", Text: "It was in July", MaxTokens: 4, Nonce: []byte("12345678"), Receipt: withReceipt}
		data, err := question.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		a, err := door.Ask(t.Context(), node.AskRequest{Link: link(n), Request: data}, nil)
		if err != nil || a.Lie != "" {
			t.Fatalf("%+v, %v", a, err)
		}
		return a
	}

	provider := provide()
	grant(provider, access.Right{Action: access.Ask, Resource: "*"})
	first := ask(provider, true)
	if first.Logged != 1 {
		t.Fatalf("%d answers are logged", first.Logged)
	}
	file, err := receipt.ParseFile(first.Receipt)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := door.LogProof(t.Context(), node.LogRequest{Link: link(provider), Receipt: file.Receipt.Hash()})
	if err != nil || proof.Lie != "" || proof.Index != 0 || proof.Size != 1 {
		t.Fatalf("%+v, %v", proof, err)
	}
	p, err := receiptlog.ParseProof(proof.Proof)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Verify(file.Receipt.Claims().Key, file.Receipt.Hash()); err != nil {
		t.Error(err)
	}
	if second := ask(provider, false); second.Logged != 2 || second.Receipt != nil {
		t.Errorf("without a receipt: %d are logged", second.Logged)
	}

	// Receipts are for auditors.
	r := node.LogRequest{Link: link(provider), Index: 1}
	if _, err := door.LogReceipt(t.Context(), r); rpc.CodeOf(err) != rpc.PermissionDenied {
		t.Errorf("shown to everybody: %v", err)
	}
	grant(provider, access.Right{Action: access.Audit, Resource: access.Receipts})
	data, err := door.LogReceipt(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := receipt.ParseFile(data); err != nil || f.Opening != nil || f.Receipt.Verify() != nil {
		t.Errorf("the receipt alone: %v", err)
	}
	r.Opened = true
	if _, err := door.LogReceipt(t.Context(), r); rpc.CodeOf(err) != rpc.PermissionDenied {
		t.Errorf("opened to one who may have receipts: %v", err)
	}
	grant(provider, access.Right{Action: access.Audit, Resource: access.Openings})
	if data, err = door.LogReceipt(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if f, err := receipt.ParseFile(data); err != nil || f.Opening == nil || f.Opening.Text == nil {
		t.Errorf("the opened receipt: %v", err)
	}

	// A node without a log says so; and another log is not the one that grew.
	if _, err := door.LogCheckpoint(t.Context(), node.LogRequest{}); rpc.CodeOf(err) != rpc.FailedPrecondition {
		t.Errorf("a node without a log: %v", err)
	}
	if err := provider.Close(); err != nil {
		t.Fatal(err)
	}
	provider = provide()
	grant(provider, access.Right{Action: access.Ask, Resource: "*"})
	if third := ask(provider, true); third.Logged != 3 {
		t.Errorf("after a restart %d are logged", third.Logged)
	}
	newest, err := door.LogCheckpoint(t.Context(), node.LogRequest{Link: link(provider), After: proof.Checkpoint})
	if err != nil || newest.Lie != "" || newest.Size < 1 || newest.Old != 1 {
		t.Errorf("%+v, %v", newest, err)
	}
	forked, err := receiptlog.SignCheckpoint(key, newest.Size, receipt.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := door.LogCheckpoint(t.Context(), node.LogRequest{Link: link(provider), After: forked}); err != nil || !out.Conflict {
		t.Errorf("two roots of one size: %+v, %v", out, err)
	}
	longer, err := receiptlog.SignCheckpoint(key, 100, receipt.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := door.LogCheckpoint(t.Context(), node.LogRequest{Link: link(provider), After: longer}); err != nil || !strings.Contains(out.Lie, "fewer") {
		t.Errorf("a shorter log: %+v, %v", out, err)
	}

	// The log can be read when the node does not run.
	if err := provider.Close(); err != nil {
		t.Fatal(err)
	}
	own, err := node.OpenOwnLog(filepath.Join(dir, "log"), key)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	again, err := own.LogProof(t.Context(), node.LogRequest{Receipt: file.Receipt.Hash()})
	if err != nil || again.Size != 3 {
		t.Fatalf("%+v, %v", again, err)
	}
	if p, err = receiptlog.ParseProof(again.Proof); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Verify(peer.FromPrivate(key).Public(), file.Receipt.Hash()); err != nil {
		t.Error(err)
	}
	if out, err := own.LogCheckpoint(t.Context(), node.LogRequest{After: proof.Checkpoint}); err != nil || out.Lie != "" || out.Size != 3 {
		t.Errorf("%+v, %v", out, err)
	}
	if out, err := own.LogCheckpoint(t.Context(), node.LogRequest{After: forked}); err != nil || out.Lie == "" {
		t.Errorf("a log that is not this one: %+v, %v", out, err)
	}
	if data, err := own.LogReceipt(t.Context(), node.LogRequest{Index: 0, Opened: true}); err != nil || string(data) != string(first.Receipt) {
		t.Errorf("the receipt of the first answer: %v", err)
	}
}
