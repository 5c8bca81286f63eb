package web

import (
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// blocksShown is how many blocks a page has.
const blocksShown = 20

// ledgerData is the page of the ledger.
type ledgerData struct {
	None   bool
	Status LedgerStatus
	Blocks []Block
	Next   uint64 // before which the next page begins; 0: there is none
	Nodes  []NodeRecord
}

func (s *Server) ledgerPage(w http.ResponseWriter, r *http.Request) {
	p := s.page(r, "ledger")
	if s.cfg.Ledger == nil {
		p.Data = ledgerData{None: true}
		s.render(w, http.StatusOK, "ledger", p)
		return
	}
	if q := strings.TrimSpace(r.URL.Query().Get("q")); q != "" {
		http.Redirect(w, r, lookup(q), http.StatusSeeOther)
		return
	}
	before, _ := strconv.ParseUint(r.URL.Query().Get("before"), 10, 64) // 0 is the latest
	var d ledgerData
	var err error
	if d.Status, err = s.cfg.Ledger.Status(r.Context()); err == nil {
		d.Blocks, err = s.cfg.Ledger.Blocks(r.Context(), before, blocksShown)
	}
	if err == nil {
		d.Nodes, err = s.cfg.Ledger.Nodes(r.Context())
	}
	if err != nil {
		s.failed(w, r, "ledger", err)
		return
	}
	if n := len(d.Blocks); n == blocksShown && d.Blocks[n-1].Height > 1 {
		d.Next = d.Blocks[n-1].Height
	}
	p.Data = d
	s.render(w, http.StatusOK, "ledger", p)
}

// lookup is the page of what a person typed: a height, a hash, or an account.
func lookup(q string) string {
	if _, err := strconv.ParseUint(q, 10, 64); err == nil {
		return "/ledger/block/" + q
	}
	if raw, err := hex.DecodeString(q); err == nil && len(raw) != 32 { // a key begins with the byte of its table
		return "/ledger/entry?key=" + strings.ToLower(q)
	}
	return "/ledger/find/" + url.PathEscape(strings.ToLower(q))
}

// findPage finds what a hash is of: a transaction, or else an account, which are
// there even if nobody paid them.
func (s *Server) findPage(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Ledger == nil {
		s.ledgerPage(w, r)
		return
	}
	hash := r.PathValue("hash")
	_, err := s.cfg.Ledger.Tx(r.Context(), hash)
	switch {
	case err == nil:
		http.Redirect(w, r, "/ledger/tx/"+url.PathEscape(hash), http.StatusSeeOther)
	case errors.Is(err, ErrNotThere):
		http.Redirect(w, r, "/ledger/account/"+url.PathEscape(hash), http.StatusSeeOther)
	default:
		s.failed(w, r, "ledger", err)
	}
}

func (s *Server) blockPage(w http.ResponseWriter, r *http.Request) {
	height, err := strconv.ParseUint(r.PathValue("height"), 10, 64)
	if err != nil {
		s.failed(w, r, "ledger", ErrNotThere)
		return
	}
	s.ledgerThing(w, r, "block", func() (any, error) { return s.cfg.Ledger.Block(r.Context(), height) })
}

func (s *Server) txPage(w http.ResponseWriter, r *http.Request) {
	s.ledgerThing(w, r, "tx", func() (any, error) { return s.cfg.Ledger.Tx(r.Context(), r.PathValue("hash")) })
}

func (s *Server) accountPage(w http.ResponseWriter, r *http.Request) {
	s.ledgerThing(w, r, "account", func() (any, error) { return s.cfg.Ledger.Account(r.Context(), r.PathValue("id")) })
}

func (s *Server) entryPage(w http.ResponseWriter, r *http.Request) {
	s.ledgerThing(w, r, "entry", func() (any, error) { return s.cfg.Ledger.Entry(r.Context(), r.URL.Query().Get("key")) })
}

func (s *Server) ledgerThing(w http.ResponseWriter, r *http.Request, kind string, get func() (any, error)) {
	p := s.page(r, "ledger")
	if s.cfg.Ledger == nil {
		p.Data = ledgerData{None: true}
		s.render(w, http.StatusNotFound, "ledger", p)
		return
	}
	v, err := get()
	if err != nil {
		s.failed(w, r, "ledger", err)
		return
	}
	p.Title = p.T("ledger." + kind)
	p.Data = v
	s.render(w, http.StatusOK, kind, p)
}

// Hex writes bytes.
func (p *page) Hex(b []byte) string { return hex.EncodeToString(b) }
