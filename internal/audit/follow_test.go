package audit_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/receipt"
)

// expected is what one who asked for an answer knows of its receipt.
func expected(f *receipt.File) receipt.Expect {
	c := f.Receipt.Claims()
	return receipt.Expect{
		Nonce: []byte("a nonce of mine"), Params: &c.Params, Source: &f.Opening.Source.Source,
		Prompt: f.Opening.Prompt.IDs, Bias: f.Opening.Bias.Bias, Extra: &f.Opening.Extra.Extra,
	}
}

// TestFollow follows answers of all kinds, told in pieces of several sizes.
func TestFollow(t *testing.T) {
	prover := open(t, "Q4_K_M", engine.Options{Threads: 1, Batch: 5})
	small := open(t, "Q4_K_M", engine.Options{Threads: 1, Context: 60})
	a := &audit.Auditor{Engine: open(t, "Q4_K_M", engine.Options{Threads: 2}), Model: fingerprint}
	for name, q := range requests {
		t.Run(name, func(t *testing.T) {
			e, req := prover, q()
			if req.params.Context != 0 {
				e = small
			}
			file := answer(t, e, req).sign(t)
			ids := file.Opening.Output.IDs
			for _, size := range []int{1, 5, 100} {
				f, err := a.Follow(expected(file), req.seed, req.trace)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				for at := 0; at < len(ids); at += size {
					if err := f.Add(t.Context(), ids[at:min(at+size, len(ids))]...); err != nil {
						t.Fatal(err)
					}
				}
				if f.Followed() != len(ids) {
					t.Errorf("%d of %d tokens were followed", f.Followed(), len(ids))
				}
				r, err := f.Report(t.Context(), file, options().Options)
				if err != nil {
					t.Fatal(err)
				}
				expect(t, &r, receipt.Valid, receipt.CheckComputation, "positions computed again while the answer came")
				if req.trace {
					expect(t, &r, receipt.Valid, receipt.CheckTrace, "states are the receipt's")
				}
			}
		})
	}
}

// TestFollowLies notices a wrong token when it is told, and a receipt of
// something else at the end.
func TestFollowLies(t *testing.T) {
	e := open(t, "Q4_K_M", engine.Options{})
	a := &audit.Auditor{Engine: e, Model: fingerprint}
	file := answer(t, e, story()).sign(t)
	ids := file.Opening.Output.IDs
	begin := func(t *testing.T) *audit.Follower {
		t.Helper()
		f, err := a.Follow(expected(file), story().seed, true)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Close)
		return f
	}
	for at := range ids {
		f := begin(t)
		told := append([]int32{}, ids[:at+1]...)
		told[at] ^= 1
		err := f.Add(t.Context(), told...)
		var wrong *audit.Wrong
		if !errors.As(err, &wrong) || wrong.Check.Verdict != receipt.Invalid || f.Followed() != at ||
			wrong.Token != at || wrong.Told != told[at] || wrong.Gives != ids[at] {
			t.Fatalf("token %d was altered: %v after %d", at, err, f.Followed())
		}
		if again := f.Add(t.Context(), 5); again == nil || again.Error() != err.Error() {
			t.Errorf("what was wrong is forgotten: %v", again)
		}
		r, err := f.Report(t.Context(), file, options().Options)
		if err != nil || r.Verdict() != receipt.Invalid {
			t.Errorf("a receipt after a lie: %v, %v", r.Verdict(), err)
		}
	}
	for name, c := range map[string]struct {
		ids  []int32
		says string
	}{
		"after the end":     {append(append([]int32{}, ids...), 5), "after the end"},
		"not a token":       {[]int32{-1}, "vocabulary"},
		"beyond the tokens": {[]int32{1 << 30}, "vocabulary"},
	} {
		if err := begin(t).Add(t.Context(), c.ids...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}

	reports := map[string]func(t *testing.T, f *audit.Follower) (*receipt.File, []int32, string){
		"only a part was told": func(*testing.T, *audit.Follower) (*receipt.File, []int32, string) {
			return file, ids[:len(ids)-1], "those 23 that were followed"
		},
		"of another prompt": func(t *testing.T, _ *audit.Follower) (*receipt.File, []int32, string) {
			q := story()
			q.source.Text = []byte("Once there was a")
			return answer(t, e, q).sign(t), ids, "not the expected prompt"
		},
		"with other parameters": func(t *testing.T, _ *audit.Follower) (*receipt.File, []int32, string) {
			q := story()
			q.params.Temperature = 0.9
			return answer(t, e, q).sign(t), ids, "temperature is 0.9"
		},
		"with another nonce": func(t *testing.T, _ *audit.Follower) (*receipt.File, []int32, string) {
			q := story()
			q.seed = receipt.NonceSeed([]byte("a nonce of yours"))
			return answer(t, e, q).sign(t), ids, "not the expected nonce"
		},
		"with another text": func(t *testing.T, _ *audit.Follower) (*receipt.File, []int32, string) {
			x := answer(t, e, story())
			x.transcript.Text += "!"
			return x.sign(t), ids, "another text"
		},
		"with another trace": func(t *testing.T, _ *audit.Follower) (*receipt.File, []int32, string) {
			x := answer(t, e, story())
			x.claims.Trace[0] ^= 1
			return x.sign(t), ids, "another trace"
		},
	}
	for name, change := range reports {
		t.Run(name, func(t *testing.T) {
			f := begin(t)
			other, told, says := change(t, f)
			if err := f.Add(t.Context(), told...); err != nil {
				t.Fatal(err)
			}
			r, err := f.Report(t.Context(), other, options().Options)
			if err != nil || r.Verdict() != receipt.Invalid || !strings.Contains(r.String(), says) {
				t.Errorf("%v, %v\n%s", r.Verdict(), err, &r)
			}
		})
	}

	t.Run("prompt", func(t *testing.T) {
		e := expected(file)
		e.Prompt = append([]int32{}, e.Prompt...)
		e.Prompt[1] ^= 1
		var wrong *audit.Wrong
		if _, err := a.Follow(e, story().seed, false); !errors.As(err, &wrong) || wrong.Check.Name != audit.CheckRendering {
			t.Errorf("other tokens than the prompt's: %v", err)
		}
		if _, err := a.Follow(receipt.Expect{}, story().seed, false); err == nil || errors.As(err, &wrong) {
			t.Errorf("nothing is known: %v", err)
		}
	})
	t.Run("given up", func(t *testing.T) {
		f := begin(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.Add(ctx, ids[:3]...); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		// It goes on where it was.
		if err := f.Add(t.Context(), ids[3:]...); err != nil || f.Followed() != len(ids) {
			t.Errorf("%v after %d", err, f.Followed())
		}
	})
}
