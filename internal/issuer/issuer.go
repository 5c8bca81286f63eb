package issuer

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/receipt"
)

// Config shapes an issuer. Key and Model are required.
type Config struct {
	Key   ed25519.PrivateKey
	Model *Identity
	// Adapters are those of the engine, in its order.
	Adapters []Adapter
	// Context is how many tokens a prompt and its answer may have together in
	// the engine that answers.
	Context int
	// Now is the clock of the receipts. nil: time.Now.
	Now func() time.Time
	// Salt draws the salts of the receipts; tests replace it. nil:
	// receipt.NewSalt.
	Salt func() receipt.Salt
}

// Adapter is an adapter that changes the model.
type Adapter struct {
	File  *Identity
	Scale float32
}

// Issuer makes the receipts of one model's answers. Its methods may be called
// from any goroutine.
type Issuer struct{ cfg Config }

// New returns an issuer.
func New(cfg Config) *Issuer {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Salt == nil {
		cfg.Salt = receipt.NewSalt
	}
	return &Issuer{cfg}
}

// Model is the identity of the model.
func (i *Issuer) Model() *Identity { return i.cfg.Model }

// Adapters are those of the model, as receipts name them. It waits for their
// fingerprints.
func (i *Issuer) Adapters(ctx context.Context) ([]receipt.Adapter, error) {
	var list []receipt.Adapter
	for _, a := range i.cfg.Adapters {
		file, err := a.File.Root(ctx)
		if err != nil {
			return nil, fmt.Errorf("issuer: the identity of an adapter: %w", err)
		}
		list = append(list, receipt.Adapter{File: file, Scale: a.Scale})
	}
	return list, nil
}

// Options say what receipt is wanted. The zero value is one that shows all, for
// an answer whose seed whoever computes has chosen.
type Options struct {
	// Seed, if not nil, is the source of the request's seed: a nonce or a
	// beacon.
	Seed *receipt.Seed
	// Trace commits to all that the model computes.
	Trace bool
	// Hide names the parts that the receipt's file does not show.
	Hide receipt.Part
	// Auditors get everything, each in a box that only they can open.
	Auditors []receipt.AuditorKey
}

// Prompt is a prompt as it was given.
type Prompt struct {
	Source   receipt.Source
	Template *chat.Template // instead of the model's own; may be nil
}

// Draft is a receipt whose answer is not written yet, or that nobody has asked
// for yet. Its methods may be called from any goroutine.
type Draft struct {
	issuer *Issuer
	salt   receipt.Salt
	opt    Options
	// known holds what is known of the transcript before the answer.
	known  receipt.Transcript
	claims receipt.Claims

	mu         sync.Mutex
	transcript *receipt.Transcript // nil until Finish
	trace      *traced
	file       *receipt.File
	err        error
}

// traced is what a receipt says of a trace.
type traced struct {
	root              receipt.Hash
	layers, positions int
}

// Begin drafts the receipt of a request whose prompt tokens are set. It sets
// the seed of the request if that follows from a nonce or a beacon, and
// refuses what no receipt can state.
func (i *Issuer) Begin(r *engine.Request, p Prompt, o Options) (*Draft, error) {
	d := &Draft{issuer: i, salt: i.cfg.Salt(), opt: o}
	d.known = receipt.Transcript{Source: p.Source, Bias: r.Params.LogitBias, Extra: Extra(r, p.Template)}
	if o.Seed != nil {
		r.Params.Seed = o.Seed.Derive(r.Prompt)
		d.claims.Seed = *o.Seed
	} else {
		d.claims.Seed = receipt.SelfSeed(r.Params.Seed)
	}
	r.Trace = o.Trace
	d.claims.Params = Params(r, i.cfg.Context)
	// What is known already must be such as can be committed to.
	probe := d.known
	probe.Prompt, probe.Output = []int32{0}, []int32{0}
	if _, err := receipt.Commit(d.salt, &probe); err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrRequest, err)
	}
	return d, nil
}

// Finish completes the draft with the answer. A result that was cancelled has
// no receipt: do not call Finish for one.
func (d *Draft) Finish(res *engine.Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.known
	t.Prompt, t.Output, t.Text, t.StopText = res.PromptIDs, res.Drawn(), res.Text, res.StopText
	switch res.Stop {
	case engine.StopEOS:
		d.claims.Stop = receipt.StopEOS
	case engine.StopString:
		d.claims.Stop = receipt.StopString
	default:
		d.claims.Stop = receipt.StopLength
	}
	if res.Trace != nil {
		d.trace = &traced{res.Trace.Root(), res.Trace.Layers(), res.Trace.Positions()}
	}
	d.claims.Time = d.issuer.cfg.Now().Unix()
	d.transcript = &t
}

// Size is about how many bytes of memory the finished draft and its file take.
func (d *Draft) Size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.transcript
	if t == nil {
		return 0
	}
	n := 4*(len(t.Prompt)+len(t.Output)) + len(t.Text) + len(t.Source.Text) + len(t.Extra.Template)
	for _, m := range t.Source.Messages {
		n += len(m.Content) + len(m.Reasoning)
		for _, c := range m.ToolCalls {
			n += len(c.Arguments)
		}
	}
	for _, s := range t.Source.Tools {
		n += len(s)
	}
	if t.Extra.Grammar != nil {
		n += len(t.Extra.Grammar.Text)
	}
	const fixed = 2 << 10
	return int64(fixed + n*(2+len(d.opt.Auditors)))
}

// File is the receipt with what it shows. It waits for the model's identity if
// need be, and is made once.
func (d *Draft) File(ctx context.Context) (*receipt.File, error) {
	root, err := d.issuer.cfg.Model.Root(ctx)
	if err != nil {
		return nil, fmt.Errorf("issuer: the identity of the model: %w", err)
	}
	adapters, err := d.issuer.Adapters(ctx)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil && d.err == nil {
		d.file, d.err = d.make(root, adapters)
	}
	return d.file, d.err
}

// Ready reports whether File would not wait.
func (d *Draft) Ready() bool {
	for _, a := range d.issuer.cfg.Adapters {
		if !a.File.Ready() {
			return false
		}
	}
	return d.issuer.cfg.Model.Ready()
}

func (d *Draft) make(root receipt.Hash, adapters []receipt.Adapter) (*receipt.File, error) {
	o, err := receipt.Commit(d.salt, d.transcript)
	if err != nil {
		return nil, err
	}
	c := d.claims
	c.Model, c.Adapters = root, adapters
	o.Fill(&c)
	shown := receipt.Whole &^ d.opt.Hide
	if d.trace != nil {
		c.Trace = receipt.TraceCommitment(*o.Trace, d.trace.root, d.trace.layers, d.trace.positions)
	} else {
		shown &^= receipt.PartTrace
		o.Trace = nil
	}
	r, err := receipt.Sign(c, d.issuer.cfg.Key)
	if err != nil {
		return nil, err
	}
	f := &receipt.File{Receipt: r}
	if shown != 0 {
		f.Opening = o.Select(shown)
	}
	for _, key := range d.opt.Auditors {
		box, err := receipt.Seal(o, r.Hash(), key)
		if err != nil {
			return nil, err
		}
		f.Sealed = append(f.Sealed, box)
	}
	return f, nil
}
