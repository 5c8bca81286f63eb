package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/receipt"
)

// following computes an answer of another device again while it comes, with the
// model of this machine. What was told waits here, so that a slow machine holds
// up neither the peer nor the screen: an answer's own bound bounds what waits.
type following struct {
	app     *app
	options modelOptions
	request *remote.Request
	kept    *keptModel // nil: the model is not kept
	lied    func()     // is called when a token is false
	end     context.CancelFunc
	done    chan struct{} // closed when nothing more is computed
	wake    chan struct{}
	checked atomic.Int64 // tokens that are right
	false   atomic.Pointer[audit.Wrong]

	mu    sync.Mutex
	told  []int32
	whole bool // nothing more is told

	// These are set when done is closed.
	name     string // of the model here
	model    *checkedModel
	follower *audit.Follower
	err      error // why the answer is not followed to its end
}

// errNotHere says that this machine does not have the model.
var errNotHere = errors.New("this machine does not know the model")

// follow begins to follow an answer that has begun. lied is called from another
// goroutine, once at most.
func (p *peerRun) follow(ctx context.Context, start *remote.Start, lied func()) *following {
	ctx, cancel := context.WithCancel(ctx)
	f := &following{
		app: p.app, options: p.o.modelOptions, request: &p.r, kept: p.kept, lied: lied, end: cancel,
		done: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	go func() {
		defer close(f.done)
		f.err = f.run(ctx, start)
	}()
	return f
}

// tell takes tokens that came.
func (f *following) tell(ids []int32, whole bool) {
	f.mu.Lock()
	f.told = append(f.told, ids...)
	f.whole = f.whole || whole
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *following) run(ctx context.Context, start *remote.Start) error {
	if err := f.open(ctx, start); err != nil {
		return f.found(err)
	}
	for at := 0; ; {
		f.mu.Lock()
		ids, whole := f.told[at:len(f.told):len(f.told)], f.whole
		f.mu.Unlock()
		switch {
		case len(ids) > 0:
			at += len(ids)
			err := f.follower.Add(ctx, ids...)
			f.checked.Store(int64(f.follower.Followed()))
			if err != nil {
				return f.found(err)
			}
		case whole:
			return nil
		default:
			select {
			case <-f.wake:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// found keeps that a token is false, which is a result; other errors are returned.
func (f *following) found(err error) error {
	var wrong *audit.Wrong
	if !errors.As(err, &wrong) {
		return err
	}
	f.false.Store(wrong)
	f.lied()
	return nil
}

// open finds the model that the peer names, and opens it for the answer.
func (f *following) open(ctx context.Context, start *remote.Start) error {
	e, err := start.Expect(f.request)
	if err != nil {
		return err
	}
	seed, err := f.request.Seed()
	if err != nil {
		return err
	}
	claims := receipt.Claims{Model: e.Model, Params: *e.Params, PromptTokens: len(e.Prompt), OutputTokens: start.MaxTokens}
	if have := e.Params.Context; have > 0 {
		claims.OutputTokens = max(1, min(claims.OutputTokens, have-claims.PromptTokens))
	}
	if f.model, f.name = f.kept.take(&claims); f.model == nil {
		if err := f.load(ctx, &claims); err != nil {
			return err
		}
	}
	f.follower, err = f.model.auditor().Follow(e, seed, f.request.Trace)
	return err
}

// load opens the model of an answer.
func (f *following) load(ctx context.Context, c *receipt.Claims) error {
	where, found, err := f.app.modelFor(ctx, "", c.Model)
	if err != nil {
		return err
	}
	if !found {
		return errNotHere
	}
	if f.kept != nil { // the conversation will be longer
		c.OutputTokens = max(c.OutputTokens, min(c.Params.Context, 4*(c.PromptTokens+c.OutputTokens))-c.PromptTokens)
	}
	m, check, err := f.app.openModel(ctx, where, c, f.options, &loraOptions{})
	switch {
	case err != nil:
		return err
	case check != nil || m.engine == nil: // the file changed since its fingerprint was noted
		return errNotHere
	}
	f.name, f.model = where.name, m
	return nil
}

// keptModel is a model that was opened for an answer, for the answers after it in
// the same conversation.
type keptModel struct {
	model *checkedModel
	name  string
}

// take gives the model, if it is the one of an answer and open with enough.
func (k *keptModel) take(c *receipt.Claims) (*checkedModel, string) {
	if k == nil || k.model == nil {
		return nil, ""
	}
	m, name := k.model, k.name
	k.model = nil
	if m.root != c.Model || m.engine.Context() < c.PromptTokens+c.OutputTokens {
		m.close()
		return nil, ""
	}
	return m, name
}

// put keeps a model; without a place for it, it is closed.
func (k *keptModel) put(m *checkedModel, name string) {
	if k == nil {
		m.close()
		return
	}
	k.close()
	k.model, k.name = m, name
}

func (k *keptModel) close() {
	if k.model != nil {
		k.model.close()
		k.model = nil
	}
}

// report waits until everything is computed, and says what came of it. Without
// ok the answer was not followed: it has to be computed again as a whole.
func (f *following) report(ctx context.Context, file *receipt.File, o receipt.Options) (r receipt.Report, ok bool, err error) {
	if file.Opening == nil || file.Opening.Output == nil {
		return r, false, nil
	}
	drawn := file.Opening.Output.IDs
	f.mu.Lock()
	told := len(f.told)
	gap := told > len(drawn) || !slices.Equal(f.told, drawn[:told])
	f.mu.Unlock()
	if gap { // what was heard is not all that came
		return r, false, nil
	}
	f.tell(drawn[told:], true) // the token that ended the model's turn is not heard
	show, end := f.app.counting("computing the answer again")
	defer end()
	for waiting := true; waiting; {
		select {
		case <-f.done:
			waiting = false
		case <-ctx.Done():
			return r, false, ctx.Err()
		case <-time.After(100 * time.Millisecond):
			show(int(f.checked.Load()), len(drawn))
		}
	}
	if f.err != nil || f.follower == nil {
		return r, false, nil
	}
	r, err = f.follower.Report(ctx, file, o)
	return r, err == nil, err
}

// close gives everything up that is not computed yet.
func (f *following) close() {
	f.end()
	<-f.done
	if f.follower != nil {
		f.follower.Close()
	}
	if f.model != nil {
		f.kept.put(f.model, f.name)
	}
}

// falseTokenJSON is the first token of an answer that is not the model's.
type falseTokenJSON struct {
	Index    int    `json:"index"`       // from 0 on
	ToldID   int32  `json:"told_id"`     // what came
	Told     string `json:"told"`        // as text
	Expected int32  `json:"expected_id"` // what the model gives; -1 if that is not known
	Text     string `json:"expected"`
}

// falseToken is what the peer told first that is false; nil if nothing is, or if
// it is not a token that is false.
func (f *following) falseToken() *falseTokenJSON {
	w := f.false.Load()
	if w == nil || w.Token < 0 {
		return nil
	}
	j := &falseTokenJSON{Index: w.Token, ToldID: w.Told, Expected: w.Gives}
	j.Told, j.Text = f.piece(w.Told), f.piece(w.Gives)
	return j
}

// piece is the text of a token.
func (f *following) piece(id int32) string {
	<-f.done
	if f.model == nil || id < 0 || int(id) >= f.model.engine.Config().Vocab {
		return ""
	}
	return string(f.model.engine.Tokenizer().Piece(id))
}

// why says what is false.
func (f *following) why() string {
	w := f.false.Load()
	if w == nil {
		return ""
	}
	j := f.falseToken()
	switch {
	case j == nil:
		return w.Check.Name + ": " + w.Check.Detail
	case j.Expected < 0:
		return fmt.Sprintf("its token %d, %q (id %d), cannot stand there: %s", j.Index, j.Told, j.ToldID, w.Check.Detail)
	}
	return fmt.Sprintf("its token %d is %q (id %d), and the model gives %q (id %d)", j.Index, j.Told, j.ToldID, j.Text, j.Expected)
}
