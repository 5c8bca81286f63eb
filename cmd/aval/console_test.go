package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/web"
	"github.com/avalnetwork/aval/receipt"
)

// shelfNode has entries of a ledger, as they come from another process.
type shelfNode struct {
	ledgerNode
	entries map[string][]node.Entry // by table
}

func (n shelfNode) LedgerEntries(_ context.Context, r node.EntriesRequest) ([]node.Entry, error) {
	var out []node.Entry
	for _, e := range n.entries[r.Table] {
		if strings.HasPrefix(e.Key[2:], r.Prefix) {
			out = append(out, e)
		}
	}
	text, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	out = nil
	return out, json.Unmarshal(text, &out)
}

func TestConsoleShowsDisputesOfTheLedger(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	o, err := receipt.Commit(receipt.Salt{1}, &receipt.Transcript{
		Source: receipt.Source{Kind: receipt.SourceText, Text: []byte("Once")}, Prompt: []int32{1}, Output: []int32{2}, Text: "upon",
	})
	if err != nil {
		t.Fatal(err)
	}
	c := receipt.Claims{Model: receipt.Hash{1}, Params: receipt.Params{MaxTokens: 1}, Seed: receipt.SelfSeed(1), Time: 1_795_000_000, Stop: receipt.StopLength}
	o.Fill(&c)
	r, err := receipt.Sign(c, key)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(id byte, j *ledger.Judgment) node.Entry {
		return node.Entry{Key: "64" + strings.Repeat(string("0123456789abcdef"[id]), 64), Table: "dispute", Value: ledger.Dispute{
			Receipt: r.Bytes(), Prover: key.Public().(ed25519.PublicKey), Challenger: key.Public().(ed25519.PublicKey), Deadline: 99, Judgment: j,
		}}
	}
	junk := entry(9, nil)
	junk.Value = ledger.Dispute{Receipt: []byte("junk")}
	list, err := (&consoleLedger{shelfNode{entries: map[string][]node.Entry{
		"dispute": {
			entry(1, nil), entry(2, &ledger.Judgment{Winner: dispute.ProverParty, Reason: dispute.Accusation}),
			entry(3, &ledger.Judgment{Winner: dispute.ChallengerParty, Reason: dispute.Silence}), entry(4, &ledger.Judgment{}), junk,
		},
		"move": {{Key: "6d" + strings.Repeat("1", 80), Table: "move", Value: ledger.Move{Message: []byte("no message")}}},
	}}}).Disputes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range list {
		got = append(got, d.ID[:1]+" "+d.Winner+" "+d.Reason)
		if d.Receipt != r.Hash().String() || d.Prover != receipt.FormatNodeKey(key.Public().(ed25519.PublicKey)) || d.Deadline != 99 {
			t.Errorf("dispute %s: %+v", d.ID, d)
		}
	}
	want := "1  |2 prover false accusation|3 challenger silence|4  void"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("got %q, want %q", s, want)
	}
}

func TestConsoleTellsWays(t *testing.T) {
	for address, want := range map[string]web.Way{
		"/ip4/192.168.1.7/udp/4710/quic-v1": web.Local, "/ip4/127.0.0.1/tcp/1": web.Local, "/ip6/fe80::1/tcp/1": web.Local,
		"/ip4/203.0.113.7/tcp/4710": web.Direct, "/ip6/2001:db8::1/tcp/1": web.Direct, "/dns/example.org/tcp/1": web.Direct, "": web.Direct,
	} {
		if got := wayOf(mesh.PeerInfo{Address: address}); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	if got := wayOf(mesh.PeerInfo{Address: "/ip4/192.168.1.7/tcp/1/p2p-circuit", Relayed: true}); got != web.Relayed {
		t.Errorf("through a relay: %s", got)
	}
}

// The usual port may be taken; one that was asked for is not replaced.
func TestConsolePort(t *testing.T) {
	first, err := listenConsole(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := listenConsole(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	at := netip.MustParseAddrPort(first.Addr().String())
	if !at.Addr().IsLoopback() || first.Addr().String() == second.Addr().String() {
		t.Errorf("listening on %s and %s", first.Addr(), second.Addr())
	}
	if third, err := listenConsole(t.Context(), int(at.Port())); err == nil {
		third.Close()
		t.Error("a port that is taken was taken again")
	}
}

func TestFieldsOfJSON(t *testing.T) {
	got := fields(json.RawMessage(`{"To":"ab","Amount":25,"List":[1,2],"b":{"c":null}}`))
	want := []web.Field{{Name: "To", Value: "ab"}, {Name: "Amount", Value: "25"}, {Name: "List", Value: "[1,2]"}, {Name: "b", Value: `{"c":null}`}}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("field %d is %v, want %v", i, got[i], want[i])
		}
	}
	for _, bad := range []string{"", "null", "[1]", "{", `{"a":`} {
		if list := fields(json.RawMessage(bad)); len(list) != 0 {
			t.Errorf("%q: %v", bad, list)
		}
	}
}
