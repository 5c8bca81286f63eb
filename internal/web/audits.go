package web

import (
	"crypto/rand"
	"errors"
	"html/template"
	"io"
	"net/http"
	"time"
)

// maxGames bounds the disputes that are remembered.
const maxGames = 64

// checkedView is one answer in the list.
type checkedView struct {
	ID       string
	Badge    badgeView
	Target   Target
	Question string
	Asked    time.Time
}

// auditsData is the page of audits and disputes.
type auditsData struct {
	Answers  []checkedView
	Disputes []disputeRow
	None     bool // no source of audits
}

type disputeRow struct {
	ID string
	*Dispute
}

func (s *Server) auditsPage(w http.ResponseWriter, r *http.Request) {
	p := s.page(r, "audits")
	d := auditsData{None: s.cfg.Audits == nil}
	ids, list := s.kept.list()
	for i, a := range list {
		d.Answers = append(d.Answers, checkedView{ids[i], s.badgeView(p, ids[i], a), a.Target, cutText(a.Question), a.Asked})
	}
	d.Disputes = s.kept.played()
	if s.cfg.Ledger != nil {
		list, err := s.cfg.Ledger.Disputes(r.Context())
		if err != nil {
			p.Problem = err.Error()
		}
		for i := range list {
			d.Disputes = append(d.Disputes, disputeRow{list[i].ID, &list[i]})
		}
	}
	p.Data = d
	s.render(w, http.StatusOK, "audits", p)
}

// cutText is the beginning of a text, for a list.
func cutText(s string) string {
	r := []rune(s)
	if len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}

// played are the disputes of this console, the latest first.
func (k *kept) played() []disputeRow {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []disputeRow
	for i := len(k.games) - 1; i >= 0; i-- {
		out = append(out, disputeRow{k.games[i], k.disputes[k.games[i]]})
	}
	return out
}

func (k *kept) putDispute(d *Dispute) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.disputes == nil {
		k.disputes = map[string]*Dispute{}
	}
	id := rand.Text()
	k.disputes[id] = d
	k.games = append(k.games, id)
	if len(k.games) > maxGames {
		delete(k.disputes, k.games[0])
		k.games = k.games[1:]
	}
	return id
}

// disputeOf finds a dispute, of this console or of the ledger.
func (s *Server) disputeOf(r *http.Request) (*Dispute, error) {
	id := r.PathValue("id")
	s.kept.mu.Lock()
	d := s.kept.disputes[id]
	s.kept.mu.Unlock()
	if d != nil {
		return d, nil
	}
	if s.cfg.Ledger == nil {
		return nil, ErrNotThere
	}
	list, err := s.cfg.Ledger.Disputes(r.Context())
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].ID == id {
			return &list[i], nil
		}
	}
	return nil, ErrNotThere
}

// disputeData is the page of one dispute.
type disputeData struct {
	ID string
	*Dispute
	Picture template.HTML
	Words   string
}

func (s *Server) disputePage(w http.ResponseWriter, r *http.Request) {
	d, err := s.disputeOf(r)
	if err != nil {
		s.failed(w, r, "audits", err)
		return
	}
	p := s.page(r, "audits")
	p.Title = p.T("dispute.title")
	p.Data = disputeData{r.PathValue("id"), d, drawDispute(p, d), findingWords(p, d.Finding)}
	s.render(w, http.StatusOK, "dispute", p)
}

// findingWords says what a proof shows.
func findingWords(p *page, f *Finding) string {
	if f == nil {
		return ""
	}
	// People count from 1, as the picture does.
	where := p.T("finding.cell", number(p.Lang, int64(f.Layer)+1), number(p.Lang, int64(f.Position)+1))
	if f.Output {
		where = p.T("finding.token", number(p.Lang, int64(f.Position)+1))
	}
	switch f.Fault {
	case "wrong leaf":
		return p.T("finding.leaf", where, f.Operation)
	case "wrong result of a cell":
		return p.T("finding.closing", where)
	case "wrong trace", "wrong size of the trace":
		return p.T("finding.trace")
	case "two traces", "two statements of one cell":
		return p.T("finding.two")
	case "impossible run":
		return p.T("finding.run", where)
	}
	return where + ": " + f.Fault
}

func (s *Server) disputeProof(w http.ResponseWriter, r *http.Request) {
	d, err := s.disputeOf(r)
	if err == nil && len(d.Proof) == 0 {
		err = ErrNotThere
	}
	if err != nil {
		s.failed(w, r, "audits", err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="proof-of-fraud"`)
	_, _ = w.Write(d.Proof)
}

// upload reads a file of a form.
func upload(r *http.Request, field string) ([]byte, error) {
	f, _, err := r.FormFile(field)
	if errors.Is(err, http.ErrMissingFile) {
		return nil, errors.New("no file was chosen")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f) // the form as a whole is bounded
}

// verify checks a receipt that a person hands in.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Audits == nil {
		s.refuse(w, r, http.StatusNotFound, "audits.none")
		return
	}
	data, err := upload(r, "receipt")
	if err != nil {
		s.done(w, r, "audits", "", "", err)
		return
	}
	ctx, cancel := s.with(r.Context())
	defer cancel()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	res, err := s.cfg.Audits.Verify(ctx, data)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
	if err != nil {
		s.done(w, r, "audits", "", "", err)
		return
	}
	id := s.kept.put(&Answer{Target: Target{Name: say(chosen(r), "audits.file"), Peer: "file"}, Asked: s.cfg.Now(), Result: res})
	http.Redirect(w, r, "/proof/"+id, http.StatusSeeOther)
}

// judge says what a proof shows that a person hands in.
func (s *Server) judge(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Audits == nil {
		s.refuse(w, r, http.StatusNotFound, "audits.none")
		return
	}
	data, err := upload(r, "receipt")
	var proof []byte
	if err == nil {
		proof, err = upload(r, "proof")
	}
	var d *Dispute
	if err == nil {
		d, err = s.cfg.Audits.Judge(r.Context(), data, proof)
	}
	if err != nil {
		s.done(w, r, "audits", "", "", err)
		return
	}
	http.Redirect(w, r, "/dispute/"+s.kept.putDispute(d), http.StatusSeeOther)
}

// dispute plays one about an answer.
func (s *Server) dispute(w http.ResponseWriter, r *http.Request) {
	a, ok := s.kept.get(r.PathValue("id"))
	if !ok || s.cfg.Audits == nil || a.File == nil {
		s.refuse(w, r, http.StatusNotFound, "proof.gone")
		return
	}
	ctx, cancel := s.with(r.Context())
	defer cancel()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // both sides compute
	d, err := s.cfg.Audits.Dispute(ctx, a, nil)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
	if err != nil {
		s.done(w, r, "audits", "", "", err)
		return
	}
	if d.Opened.IsZero() {
		d.Opened = s.cfg.Now()
	}
	http.Redirect(w, r, "/dispute/"+s.kept.putDispute(d), http.StatusSeeOther)
}
