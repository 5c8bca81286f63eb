package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/receipt"
)

// told is a peer that answers with the built-in model, and lies as the test
// wants.
type told struct {
	peerAsker // not called
	t         *testing.T
	engine    *engine.Engine
	key       ed25519.PrivateKey
	lie       int  // token that is another one; -1: none
	stay      bool // the answer does not end before it is given up
	silent    bool // nothing is heard before the end
	prompt    bool // other tokens than the prompt's are told
	given     bool // it was given up
}

func (p *told) Ask(ctx context.Context, in node.AskRequest, on func(remote.Delta)) (out node.Asked, err error) {
	var r remote.Request
	if err := r.UnmarshalBinary(in.Request); err != nil {
		return out, err
	}
	prompt, err := p.engine.Tokenize(r.Text, true)
	if err != nil {
		return out, err
	}
	root := builtinRoot(ctx)
	req := engine.Request{Prompt: prompt, Params: r.Params, MaxTokens: r.MaxTokens}
	seed, err := issuer.Nonce(r.Nonce)
	if err != nil {
		return out, err
	}
	sign := issuer.New(issuer.Config{Key: p.key, Model: issuer.Known(root), Context: p.engine.Context()})
	draft, err := sign.Begin(&req, issuer.Prompt{Source: issuer.Text(r.Text, true)}, issuer.Options{Seed: seed})
	if err != nil {
		return out, err
	}
	res, err := p.engine.Generate(ctx, req, nil)
	if err != nil {
		return out, err
	}
	if p.lie >= 0 {
		res.IDs[p.lie] ^= 1
	}
	model := remote.Model{Name: "mini", Root: root, Context: p.engine.Context()}
	if p.prompt {
		prompt = append([]int32{}, prompt...)
		prompt[1] ^= 1
	}
	if !p.silent {
		on(remote.Delta{Start: &remote.Start{Model: model, PromptIDs: prompt, MaxTokens: r.MaxTokens, Receipt: true}})
		for _, id := range res.IDs {
			on(remote.Delta{IDs: []int32{id}, Text: string(p.engine.Tokenizer().Piece(id))})
		}
	}
	if p.stay {
		select {
		case <-ctx.Done():
			p.given = true
			return out, ctx.Err()
		case <-time.After(20 * time.Second):
			p.t.Error("the false answer was not given up")
		}
	}
	draft.Finish(res)
	f, err := draft.File(ctx)
	if err != nil {
		return out, err
	}
	out = node.Asked{Model: model, PromptIDs: prompt, IDs: res.IDs, Text: res.Text, Stop: string(res.Stop)}
	out.Receipt, err = f.Marshal()
	return out, err
}

// TestFollowing holds that a false token ends an answer while it comes, and what
// is said then; and that the check of a true one is the one made meanwhile.
func TestFollowing(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"AVAL_MODELS": filepath.Join(dir, "models")}
	base := &app{getenv: func(k string) string { return env[k] }}
	where, err := base.locateBuiltin()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(where.path, engine.Options{Context: builtinContext})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for name, c := range map[string]struct {
		peer    told
		receipt bool
		code    int
		says    []string
		given   bool
	}{
		"true":                      {told{lie: -1}, false, exitOK, []string{"checked: mini gives this answer"}, false},
		"true, heard at the end":    {told{lie: -1, silent: true}, false, exitOK, []string{"checked: mini gives this answer"}, false},
		"a lie":                     {told{lie: 9, stay: true}, false, exitInvalid, []string{"its token 9 is", "It was given up there"}, true},
		"the first token":           {told{lie: 0, stay: true}, false, exitInvalid, []string{"its token 0 is"}, true},
		"a lie, heard at the end":   {told{lie: 9, silent: true}, false, exitInvalid, []string{"token 9: expected id"}, false},
		"another prompt":            {told{lie: -1, prompt: true, stay: true}, false, exitInvalid, []string{"rendering: token 1 of the prompt", "It was given up there"}, true},
		"the receipt is to be kept": {told{lie: 9}, true, exitInvalid, []string{"its token 9 is", "receipt"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			a := &app{in: strings.NewReader(""), out: &out, err: &errs, getenv: base.getenv}
			c.peer.t, c.peer.engine, c.peer.key = t, e, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
			o := &runOptions{verify: verifyFull, json: true}
			if c.receipt {
				o.path = filepath.Join(t.TempDir(), "out.aval")
			}
			p := &peerRun{app: a, o: o, n: &c.peer, at: peerModel{link: node.Link{Peer: peer.FromPrivate(c.peer.key)}}}
			p.r = remote.Request{Model: "mini", Text: "It was in July", MaxTokens: 16, Nonce: []byte("12345678"), Receipt: true}
			err := p.run(t.Context())
			code := exitOK
			if err != nil {
				var v *verdictError
				if !errors.As(err, &v) {
					t.Fatal(err)
				}
				code = v.code
			}
			if code != c.code || c.peer.given != c.given {
				t.Errorf("exit code %d, given up %v\n%s", code, c.peer.given, &errs)
			}
			for _, s := range c.says {
				if !strings.Contains(errs.String(), s) {
					t.Errorf("it does not say %q:\n%s", s, &errs)
				}
			}
			var j peerRunJSON
			if err := json.Unmarshal(out.Bytes(), &j); err != nil {
				t.Fatalf("%v: %s", err, &out)
			}
			want := receipt.Valid
			if c.code == exitInvalid {
				want = receipt.Invalid
			}
			if j.Verdict != want {
				t.Errorf("the verdict is %v", j.Verdict)
			}
			if c.peer.lie >= 0 && !c.peer.silent {
				if f := j.False; f == nil || f.Index != c.peer.lie || f.ToldID != f.Expected^1 || f.Told == f.Text {
					t.Errorf("the false token is %+v", f)
				}
			} else if j.False != nil {
				t.Errorf("a false token %+v", j.False)
			}
		})
	}
}

// TestKeptModel holds that a chat opens the model once, and again only for an
// answer that needs more of it.
func TestKeptModel(t *testing.T) {
	dir := t.TempDir()
	a := &app{out: io.Discard, err: io.Discard, getenv: func(k string) string { return map[string]string{"AVAL_MODELS": dir}[k] }}
	where, err := a.locateBuiltin()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(where.path, engine.Options{Context: builtinContext})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	kept := &keptModel{}
	defer kept.close()
	var models []*checkedModel
	for _, text := range []string{"It was in July", "It was in May", strings.Repeat("It was in July ", 25)} {
		p := &peerRun{
			app: a, o: &runOptions{verify: verifyFull}, kept: kept, n: &told{t: t, engine: e, key: key, lie: -1},
			at: peerModel{link: node.Link{Peer: peer.FromPrivate(key)}},
			r:  remote.Request{Model: "mini", Text: text, MaxTokens: 8, Nonce: []byte("12345678"), Receipt: true},
		}
		if err := p.run(t.Context()); err != nil || !p.computed {
			t.Fatalf("%v, computed again: %v", err, p.computed)
		}
		models = append(models, kept.model)
	}
	if models[0] == nil || models[1] != models[0] || models[2] == models[0] || models[2] == nil {
		t.Errorf("the models are %p", models)
	}
}

// typed are the lines of a person.
type typed struct{ left []string }

func (l *typed) line(string) (string, error) {
	if len(l.left) == 0 {
		return "", io.EOF
	}
	text := l.left[0]
	l.left = l.left[1:]
	return text, nil
}

// listener is a peer that remembers what it is asked.
type listener struct {
	peerAsker // not called
	asked     [][]chat.Message
}

func (p *listener) Ask(_ context.Context, in node.AskRequest, on func(remote.Delta)) (out node.Asked, err error) {
	var r remote.Request
	if err := r.UnmarshalBinary(in.Request); err != nil {
		return out, err
	}
	p.asked = append(p.asked, r.Messages)
	switch last := r.Messages[len(r.Messages)-1].Content; last {
	case "lie":
		out.Lie = "it is not what was asked"
	case "fail":
		return out, errors.New("the line is dead")
	default:
		out.Text = "<think>hm</think>" + last + "!"
		on(remote.Delta{Text: out.Text})
	}
	return out, nil
}

// TestPeerChat holds that each question to a peer has the conversation before it,
// without what was false or did not come.
func TestPeerChat(t *testing.T) {
	var out, errs bytes.Buffer
	a := &app{out: &out, err: &errs, getenv: func(string) string { return "" }}
	n := &listener{}
	o := &runOptions{verify: verifyNone}
	p := &peerRun{app: a, o: o, n: n, r: remote.Request{Model: "m"}}
	c := &conversation{app: a, options: o}
	c.setSystem("be brief")
	lied := false
	p.replyIn(c, &lied)
	if err := c.talk(t.Context(), &typed{[]string{"one", "lie", "fail", "two", "/clear", "three", "/system be long", "four", "/bye", "five"}}); err != nil {
		t.Fatal(err)
	}
	flat := func(list []chat.Message) (s string) {
		for _, m := range list {
			s += m.Role[:1] + ":" + m.Content + "(" + m.Reasoning + ") "
		}
		return strings.TrimSpace(s)
	}
	want := []string{
		"s:be brief() u:one()",
		"s:be brief() u:one() a:one!(hm) u:lie()",
		"s:be brief() u:one() a:one!(hm) u:fail()",
		"s:be brief() u:one() a:one!(hm) u:two()",
		"s:be brief() u:three()",
		"s:be long() u:four()",
	}
	var got []string
	for _, list := range n.asked {
		got = append(got, flat(list))
	}
	if !slices.Equal(got, want) {
		t.Errorf("asked was\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !lied || !strings.Contains(errs.String(), "do not believe this answer") || !strings.Contains(errs.String(), "the line is dead") {
		t.Errorf("a lie was told: %v\n%s", lied, &errs)
	}
}
