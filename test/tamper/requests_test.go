package tamper_test

import (
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/receipt"
)

// stopped is a request that a stop string ends.
func stopped() ask {
	q := story()
	q.extra.Stop = []string{"the b", "in s", "n s"}
	return q
}

// ended is a request that the model ends by itself.
func ended() ask {
	q := story()
	q.bias = receipt.Bias{1: 5}
	return q
}

// bounded is a request with a grammar.
func bounded() ask {
	q := story()
	q.extra.Grammar = &receipt.Grammar{Kind: receipt.GrammarGBNF, Text: `root ::= ("a" | "b" | "the" | "in" | " ")+ "."`}
	return q
}

// biased is a request with a logit bias.
func biased() ask {
	q := story()
	q.bias = receipt.Bias{46: -100, 7: 3}
	return q
}

// templated is a conversation with a template of its own.
func templated() ask {
	q := talk()
	q.extra.Template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
	return q
}

// byIDs is a request whose prompt is tokens.
func byIDs() ask {
	q := story()
	q.source = receipt.Source{Kind: receipt.SourceIDs}
	return q
}

// engineRequest is the request of a run as its claims have it.
func engineRequest(r *run) engine.Request {
	p := r.claims.Params
	return engine.Request{
		Prompt: r.transcript.Prompt, MaxTokens: p.MaxTokens, Stop: r.transcript.Extra.Stop, IgnoreEOS: p.IgnoreEOS,
		Params: sample.Params{Temperature: p.Temperature},
	}
}
