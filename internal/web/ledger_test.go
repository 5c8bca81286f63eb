package web_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/web"
)

// book is a ledger of 45 blocks with one transaction.
type book struct{}

var txHash, account = strings.Repeat("0f", 32), strings.Repeat("a1", 32)

func (book) Status(context.Context) (web.LedgerStatus, error) {
	return web.LedgerStatus{Chain: "clinic", Height: 45, Root: strings.Repeat("77", 32), Time: time.Now(), Validators: 4, Halted: "two are away", Account: account, Balance: "12.5"}, nil
}

func (book) Blocks(_ context.Context, before uint64, most int) ([]web.Block, error) {
	if before == 0 {
		before = 46
	}
	var out []web.Block
	for h := before - 1; h >= 1 && len(out) < most; h-- {
		out = append(out, web.Block{Height: h, Time: time.Now(), Hash: strings.Repeat("b", 64), Count: int(h % 2)})
	}
	return out, nil
}

func (book) Block(_ context.Context, height uint64) (*web.Block, error) {
	if height > 45 {
		return nil, web.ErrNotThere
	}
	t, _ := book{}.Tx(context.Background(), txHash)
	return &web.Block{Height: height, Hash: strings.Repeat("b", 64), Proposer: "aval-node-1", Count: 1, Txs: []web.Tx{*t}}, nil
}

func (book) Tx(_ context.Context, hash string) (*web.Tx, error) {
	if hash != txHash {
		return nil, web.ErrNotThere
	}
	return &web.Tx{
		Hash: hash, Height: 3, Kind: "transfer", From: account, Fee: "0.0003", Bytes: 217, Known: true, OK: true,
		Fields: []web.Field{{"To", "<script>"}}, Events: []web.Event{{"transfer", []web.Field{{"amount", "7"}}}},
	}, nil
}

func (book) Account(_ context.Context, address string) (*web.Account, error) {
	if len(address) != 64 {
		return nil, web.ErrNotThere
	}
	e, _ := book{}.Entry(context.Background(), "61"+address)
	return &web.Account{Address: address, Balance: "12.5", Nonce: 3, Entry: e}, nil
}

func (book) Entry(_ context.Context, key string) (*web.Entry, error) {
	e := &web.Entry{Key: key, Table: "account", Present: key[:2] == "61", Value: []byte{0xab, 0xcd}, Height: 45, Root: strings.Repeat("77", 32), Siblings: []string{"s1", "s2"}, Checked: key != "ff"}
	return e, nil
}

func (book) Nodes(context.Context) ([]web.NodeRecord, error) {
	return []web.NodeRecord{{Key: "aval-node-1", Account: account, Bond: "100", Validator: true, Power: 10, Audited: 7, Failed: 1, Slashed: "3"}}, nil
}

func (book) Disputes(context.Context) ([]web.Dispute, error) {
	d := *story()
	d.ID, d.Winner, d.Finding, d.Proof, d.Deadline = "on-ledger", "", nil, nil, 1234
	return []web.Dispute{d}, nil
}

func TestLedger(t *testing.T) {
	p := open(t, web.Config{Ledger: book{}})
	p.enter()
	for path, wants := range map[string][]string{
		"/ledger":                    {"clinic", "two are away", "12.5 units", `href="/ledger/block/45"`, `href="/ledger?before=26"`, "validator, power 10", "audited 7 times, failed 1"},
		"/ledger?before=26":          {`href="/ledger/block/25"`, `href="/ledger?before=6"`},
		"/ledger?before=6":           {`href="/ledger/block/1"`},
		"/ledger/block/3":            {"aval-node-1", "transfer", "/ledger/tx/" + txHash},
		"/ledger/tx/" + txHash:       {"transfer", "done", "&lt;script&gt;", "0.0003 units", "amount"},
		"/ledger/account/" + account: {"12.5 units", "its proof was checked here", "2 hashes on the way", "abcd"},
		"/ledger/entry?key=6200":     {"has nothing at this key"},
		"/ledger/entry?key=ff":       {"was not checked"},
		"/audits":                    {"/dispute/on-ledger", "Not decided"},
		"/dispute/on-ledger":         {"Next move until block", "1,234", "<svg"},
	} {
		body := p.get(path)
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s is without %q", path, want)
			}
		}
	}
	if strings.Contains(p.get("/ledger?before=6"), "Older blocks") {
		t.Error("there is more after the first block")
	}
	for path, want := range map[string]string{
		"/ledger?q=12": "/ledger/block/12", "/ledger?q=" + txHash: "/ledger/find/" + txHash, "/ledger?q=61FF": "/ledger/entry?key=61ff",
		"/ledger/find/" + txHash: "/ledger/tx/" + txHash, "/ledger/find/" + account: "/ledger/account/" + account,
		"/ledger?q=%2F%2Fevil.example": "/ledger/find/%2F%2Fevil.example",
	} {
		if res, _ := p.do("GET", path, "", nil); res.StatusCode != 303 || res.Header.Get("Location") != want {
			t.Errorf("%s leads to %q (%d), want %q", path, res.Header.Get("Location"), res.StatusCode, want)
		}
	}
	for _, path := range []string{"/ledger/block/99", "/ledger/block/x", "/ledger/tx/00", "/ledger/account/x", "/dispute/none", "/dispute/on-ledger/proof"} {
		if res, _ := p.do("GET", path, "", nil); res.StatusCode != 404 {
			t.Errorf("%s: status %d", path, res.StatusCode)
		}
	}
}
