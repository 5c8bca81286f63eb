package web

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/report"
)

// Limits of a conversation.
const (
	maxMessages = 256
	maxText     = 256 << 10 // bytes of all messages
	maxTokens   = 1 << 20
	maxAsking   = 4 // answers at a time
	maxKept     = 256
	keptBytes   = 64 << 20
)

// kept are the answers of this console, the last ones, so that their proofs can be
// looked at. They are nowhere else.
type kept struct {
	mu       sync.Mutex
	order    []string // ids, the oldest first
	answers  map[string]*Answer
	disputes map[string]*Dispute
	games    []string // ids of disputes, the oldest first
	size     int
	asking   int
}

func (k *kept) put(a *Answer) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.answers == nil {
		k.answers = map[string]*Answer{}
	}
	id := rand.Text()
	k.answers[id] = a
	k.order = append(k.order, id)
	k.size += weight(a)
	for len(k.order) > 1 && (len(k.order) > maxKept || k.size > keptBytes) {
		k.size -= weight(k.answers[k.order[0]])
		delete(k.answers, k.order[0])
		k.order = k.order[1:]
	}
	return id
}

func weight(a *Answer) int { return 1<<10 + len(a.Question) + len(a.Text) + 2*len(a.Data) }

func (k *kept) get(id string) (*Answer, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.answers[id]
	if !ok {
		return nil, false
	}
	c := *a
	return &c, true
}

// found replaces what is known of an answer.
func (k *kept) found(id string, r Result) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if a, ok := k.answers[id]; ok {
		changed := *a
		changed.Result = r
		k.answers[id] = &changed
	}
}

// list gives the answers, the latest first.
func (k *kept) list() (ids []string, answers []*Answer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := len(k.order) - 1; i >= 0; i-- {
		ids = append(ids, k.order[i])
		answers = append(answers, k.answers[k.order[i]])
	}
	return ids, answers
}

// enter takes one of the places of answers that are being written.
func (k *kept) enter() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asking >= maxAsking {
		return false
	}
	k.asking++
	return true
}

func (k *kept) leave() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asking--
}

// chatView is the page of conversations.
type chatView struct {
	Targets []Target
	Chosen  string
	None    bool
}

func (s *Server) chatPage(w http.ResponseWriter, r *http.Request) {
	p := s.page(r, "chat")
	v := chatView{Chosen: r.URL.Query().Get("model"), None: s.cfg.Chat == nil}
	if s.cfg.Chat != nil {
		var err error
		if v.Targets, err = s.cfg.Chat.Targets(r.Context()); err != nil {
			p.Problem = err.Error()
		}
	}
	p.Data = v
	s.render(w, http.StatusOK, "chat", p)
}

func (s *Server) targets(w http.ResponseWriter, r *http.Request) {
	p := s.page(r, "chat")
	v := chatView{Chosen: r.URL.Query().Get("model")}
	if s.cfg.Chat != nil {
		v.Targets, _ = s.cfg.Chat.Targets(r.Context()) // the page told of an error
	}
	p.Data = v
	s.render(w, http.StatusOK, "targets", p)
}

// askJSON is what the script sends.
type askJSON struct {
	Target      string    `json:"target"`
	Messages    []Message `json:"messages"`
	Temperature float32   `json:"temperature"`
	MaxTokens   int       `json:"max_tokens"`
	Compute     bool      `json:"compute"`
}

func (a *askJSON) validate() error {
	n := 0
	for _, m := range a.Messages {
		n += len(m.Content)
		if m.Role != "system" && m.Role != "user" && m.Role != "assistant" {
			return fmt.Errorf("a message of %.20q, want system, user or assistant", m.Role)
		}
	}
	switch {
	case a.Target == "" || len(a.Target) > 8<<10:
		return errors.New("no model is named")
	case len(a.Messages) == 0 || len(a.Messages) > maxMessages:
		return fmt.Errorf("%d messages, want 1 to %d", len(a.Messages), maxMessages)
	case n > maxText:
		return fmt.Errorf("the conversation has %d bytes, want at most %d", n, maxText)
	case a.Messages[len(a.Messages)-1].Role != "user" || a.Messages[len(a.Messages)-1].Content == "":
		return errors.New("the last message must be yours, and not empty")
	case !(a.Temperature >= 0 && a.Temperature <= 5):
		return fmt.Errorf("a temperature of %g, want 0 to 5", a.Temperature)
	case a.MaxTokens < 0 || a.MaxTokens > maxTokens:
		return fmt.Errorf("an answer of %d tokens, want at most %d", a.MaxTokens, maxTokens)
	}
	return nil
}

// line is one line of what the script hears.
type line struct {
	Text    string `json:"text,omitempty"`
	Phase   string `json:"phase,omitempty"` // in words
	Checked int    `json:"checked,omitempty"`
	False   bool   `json:"false,omitempty"`
	Error   string `json:"error,omitempty"`
	ID      string `json:"id,omitempty"`   // of the answer, at its end
	HTML    string `json:"html,omitempty"` // its badge
	Whole   string `json:"whole,omitempty"`
}

// lines writes them as they come.
type lines struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Accel-Buffering", "no")
	return &lines{w, http.NewResponseController(w)}
}

func (l *lines) send(v line) error {
	data, err := json.Marshal(v)
	if err != nil {
		panic("web: internal error: " + err.Error())
	}
	_ = l.rc.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := l.w.Write(append(data, '\n')); err != nil {
		return err
	}
	return l.rc.Flush()
}

// ask has a model answer, and streams what comes.
func (s *Server) ask(w http.ResponseWriter, r *http.Request) {
	p := s.page(r, "chat")
	var in askJSON
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(&in)
	if err == nil {
		err = in.validate()
	}
	switch {
	case s.cfg.Chat == nil:
		s.json(w, http.StatusNotFound, line{Error: p.T("chat.none")})
		return
	case err != nil:
		s.json(w, http.StatusBadRequest, line{Error: err.Error()})
		return
	case !s.kept.enter():
		s.json(w, http.StatusTooManyRequests, line{Error: p.T("chat.busy", maxAsking)})
		return
	}
	defer s.kept.leave()
	ctx, cancel := s.with(r.Context())
	defer cancel()
	out := newLines(w)
	var mu sync.Mutex // sources may tell from several goroutines
	a, err := s.cfg.Chat.Ask(ctx, Question(in), func(st Step) error {
		mu.Lock()
		defer mu.Unlock()
		l := line{Text: st.Text, Checked: st.Checked, False: st.False}
		if st.Phase != "" {
			l.Phase = p.T("phase." + string(st.Phase))
		}
		return out.send(l)
	})
	if err != nil {
		if ctx.Err() == nil {
			_ = out.send(line{Error: err.Error()})
		}
		return
	}
	a.Asked = s.cfg.Now()
	id := s.kept.put(a)
	_ = out.send(line{ID: id, HTML: s.badgeOf(p, id, a), Whole: a.Text})
}

// with is a context that ends with the server too.
func (s *Server) with(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.running, cancel)
	return ctx, func() { stop(); cancel() }
}

// badgeView is the sign below an answer.
type badgeView struct {
	ID      string
	Status  report.Status
	Title   string
	Who     string // checked it
	Why     string // it is false
	Checked int    // how many checks passed
	Facts   string
	Local   bool // this device answered
	Again   bool // it can be computed again
	Dispute bool
	Receipt bool
}

// reportOf is what internal/report says of an answer.
func reportOf(l Lang, r *Result) *report.Report {
	rep := report.New(report.Input{File: r.File, Checks: r.Checks, Model: r.Model, Trouble: r.Trouble})
	if r.Lie != "" && rep.Status != report.Invalid {
		rep.Status, rep.Title, rep.Summary = report.Invalid, say(l, "lie.title"), r.Lie
	}
	return rep
}

func (s *Server) badgeView(p *page, id string, a *Answer) badgeView {
	rep := reportOf(p.Lang, &a.Result)
	v := badgeView{ID: id, Status: rep.Status, Local: a.Target.Peer == "", Receipt: a.File != nil}
	if rep.Status == report.Invalid {
		v.Why = rep.Summary
		if a.Lie != "" {
			v.Why = a.Lie
		}
		if p.Lang == Portuguese {
			v.Why = portuguese(v.Why)
		}
	} else {
		for _, l := range rep.Checked {
			if l.Mark == report.Yes {
				v.Checked++
			}
		}
	}
	v.Title = p.T("badge." + string(rep.Status))
	switch {
	case a.File == nil && a.Lie == "":
		v.Title, v.Who = p.T("badge.none"), p.T("who.none")
	case rep.Computed && a.Model != "":
		v.Who = p.T("who.here", a.Model)
	case a.Lie != "" || rep.Status == report.Invalid:
		v.Who = p.T("who.false")
	case v.Local:
		v.Who = p.T("who.own")
	default:
		v.Who = p.T("who.signed", a.Target.Short)
	}
	v.Again = a.File != nil && rep.Computable && !rep.Computed && rep.Status != report.Invalid
	v.Dispute = s.cfg.Audits != nil && a.Target.Peer != "" && a.File != nil && rep.Status == report.Invalid
	if a.Took > 0 {
		v.Facts = p.T("badge.speed", number(p.Lang, int64(a.Tokens)), long(p.Lang, a.Took))
	}
	return v
}

func (s *Server) badgeOf(p *page, id string, a *Answer) string {
	q := *p
	q.Data = s.badgeView(p, id, a)
	return s.part("badge", &q)
}

// badge is that of an answer that was given before, in the language of now.
func (s *Server) badge(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	a, ok := s.kept.get(id)
	if !ok {
		s.refuse(w, r, http.StatusNotFound, "proof.gone")
		return
	}
	p := s.page(r, "chat")
	p.Data = s.badgeView(p, id, a)
	s.render(w, http.StatusOK, "badge", p)
}

// proofView is what is known of one answer.
type proofView struct {
	ID       string
	Badge    badgeView
	Target   Target
	Asked    time.Time
	Report   template.HTML
	Lie      string
	Download bool
}

func (s *Server) proof(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	a, ok := s.kept.get(id)
	if !ok {
		s.refuse(w, r, http.StatusNotFound, "proof.gone")
		return
	}
	p := s.page(r, "audits")
	p.Title = p.T("proof.title")
	rep := reportOf(p.Lang, &a.Result)
	lie := a.Lie
	if p.Lang == Portuguese {
		rep.Translate(portuguese)
		lie = portuguese(lie)
	}
	p.Data = proofView{
		ID: id, Badge: s.badgeView(p, id, a), Target: a.Target, Asked: a.Asked,
		// The fragment is made of text that was escaped there.
		Report: template.HTML(rep.Fragment()), Lie: lie, Download: len(a.Data) > 0,
	}
	s.render(w, http.StatusOK, "proof", p)
}

// receiptType is the media type of receipts' files.
const receiptType = "application/vnd.aval.receipt"

func (s *Server) receipt(w http.ResponseWriter, r *http.Request) {
	a, ok := s.kept.get(r.PathValue("id"))
	if !ok || len(a.Data) == 0 {
		s.refuse(w, r, http.StatusNotFound, "proof.gone")
		return
	}
	w.Header().Set("Content-Type", receiptType)
	w.Header().Set("Content-Disposition", `attachment; filename="answer.aval"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.Data))
}

// check computes an answer again because a person wants it.
func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	a, ok := s.kept.get(id)
	if !ok || s.cfg.Chat == nil || a.File == nil {
		s.refuse(w, r, http.StatusNotFound, "proof.gone")
		return
	}
	ctx, cancel := s.with(r.Context())
	defer cancel()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // it may take minutes
	res, err := s.cfg.Chat.Check(ctx, a)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		res = a.Result
		res.Trouble = err.Error()
	}
	s.kept.found(id, res)
	a.Result = res
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
	if r.Header.Get("Accept") == "text/html+part" {
		p := s.page(r, "chat")
		p.Data = s.badgeView(p, id, a)
		s.render(w, http.StatusOK, "badge", p)
		return
	}
	http.Redirect(w, r, "/proof/"+id, http.StatusSeeOther)
}
