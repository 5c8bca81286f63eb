package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
			if c.peer.lie >= 0 {
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
