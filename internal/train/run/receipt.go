package run

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/store"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
	"github.com/avalnetwork/aval/internal/train/record"
	"github.com/avalnetwork/aval/receipt/training"
)

// The files of a run's receipt. Both hold salts, so only their owner may read
// them.
const (
	fileReceipt = "training.aval"
	fileRecord  = "training.state" // the recorder's, as old as the checkpoint or younger
	permPrivate = 0o600
)

// Signing makes a run write a training receipt.
type Signing struct {
	Key ed25519.PrivateKey
	// Nonce, if not nil, is from whoever ordered the run. The seed of the
	// configuration must follow from it: training.NonceSeed.
	Nonce []byte
}

// description is the learner of a setup, in the words of this package: all that
// makes it again besides files whose fingerprints are stated.
type description struct {
	// Config is the complete configuration with no path in it.
	Config string `json:"config"`
	// Tokenizer is the fingerprint of the file with a new model's vocabulary.
	Tokenizer training.Hash   `json:"tokenizer,omitzero"`
	Template  string          `json:"template,omitempty"` // text of a template that was a file
	Net       json.RawMessage `json:"net,omitempty"`      // a net as it was built
}

// sources says which files the examples came from, without naming them.
type sources struct {
	Data       int  `json:"data"`
	Validation int  `json:"validation_data,omitempty"`
	Labels     bool `json:"labels,omitempty"`
}

// setup describes the run for its receipt.
func (r *runner) setup(ctx context.Context) (s training.Setup, err error) {
	d := description{}
	bare := r.config
	bare.Data, bare.ValidationData, bare.Model, bare.Tokenizer, bare.Labels, bare.Net = nil, nil, "", "", "", ""
	if isFile(bare.Template) {
		b, err := os.ReadFile(bare.Template)
		if err != nil {
			return s, err
		}
		bare.Template, d.Template = "", string(b)
	}
	text, err := bare.Marshal()
	if err != nil {
		return s, err
	}
	d.Config = string(text)
	if r.config.fresh() {
		path := r.config.Tokenizer
		if path == "" {
			path = r.path(fileTokenizer)
		}
		a, err := record.FileOf(ctx, path)
		if err != nil {
			return s, err
		}
		d.Tokenizer = a.Hash
	}
	if n, ok := r.task.learner.(*net.Net); ok {
		if d.Net, err = json.Marshal(n.Spec()); err != nil {
			return s, err
		}
	}
	s.Seed = r.config.Seed
	if s.Learner, err = json.Marshal(&d); err == nil {
		s.Data, err = json.Marshal(&sources{len(r.config.Data), len(r.config.ValidationData), r.config.Labels != ""})
	}
	return s, err
}

var kinds = map[Kind]training.Kind{LM: training.Full, LoRA: training.LoRA, Classifier: training.Net}

// record begins to record the run, or goes on with it.
func (r *runner) record(ctx context.Context) error {
	sign := r.opt.Sign
	if sign == nil {
		return nil
	}
	r.opt.Events.stage("recording the data")
	o := record.Options{Kind: kinds[r.config.Kind], Nonce: sign.Nonce}
	var err error
	if o.Setup, err = r.setup(ctx); err != nil {
		return err
	}
	if r.config.Model != "" {
		a, err := record.FileOf(ctx, r.config.Model)
		if err != nil {
			return err
		}
		o.Base = a.Hash
	}
	var validation record.Examples
	if r.task.validation.Len() > 0 {
		validation = r.task.validation
	}
	if r.trainer.Done() == 0 {
		r.recorder, err = record.New(r.trainer, r.task.data, validation, o)
		return err
	}
	state, err := os.ReadFile(r.path(fileRecord))
	if errors.Is(err, fs.ErrNotExist) {
		r.opt.Events.note(fmt.Sprintf("there will be no receipt, as the run went on without one so far (there is no %s)", r.path(fileRecord)))
		return nil
	}
	if err == nil {
		r.recorder, err = record.Resume(state, r.trainer, r.task.data, validation, o)
	}
	return err
}

// saveRecord writes the recorder's state; the checkpoint comes after it.
func (r *runner) saveRecord() error {
	if r.recorder == nil {
		return nil
	}
	b, err := r.recorder.MarshalBinary()
	if err != nil {
		return err
	}
	return r.putPrivate(fileRecord, b)
}

func (r *runner) putPrivate(name string, data []byte) error {
	return store.WriteFile(store.OS{}, r.path(name), permPrivate, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// note gives the recorder the step that was just taken.
func (r *runner) note(rec train.StepRecord) error {
	if r.recorder == nil {
		return nil
	}
	return r.recorder.Add(r.trainer, rec)
}

// mark lets the recorder keep the state as it is.
func (r *runner) mark() error {
	if r.recorder == nil {
		return nil
	}
	return r.recorder.Keep(r.trainer)
}

// format names how the result's file is made.
func (c *Config) format() string {
	switch c.Kind {
	case LM:
		return c.Export
	case LoRA:
		return "lora"
	}
	return "net"
}

// receipt writes the receipt of the run. loss is that of the result on the
// validation examples.
func (r *runner) receipt(ctx context.Context, out *Result, loss train.Loss) error {
	if r.recorder == nil {
		return nil
	}
	res := record.Result{Step: out.Step, Format: r.config.format()}
	var err error
	if res.File, err = record.FileOf(ctx, out.File); err != nil {
		return err
	}
	if r.task.validation.Len() > 0 {
		res.Evaluation = &record.Evaluation{Batch: evaluationBatch, Loss: loss}
	}
	f, err := r.recorder.Finish(res, r.opt.Sign.Key, r.opt.Events.now())
	if err != nil {
		return err
	}
	b, err := f.Marshal()
	if err != nil {
		return err
	}
	out.Receipt = r.path(fileReceipt)
	return r.putPrivate(fileReceipt, b)
}

var (
	// ErrContradiction says that a receipt's setup is not that of its run.
	ErrContradiction = errors.New("the setup contradicts the receipt")
	errSettings      = fmt.Errorf("%w: its settings are not those of the configuration", ErrContradiction)
	// ErrOtherData says that the data given is not that of the run.
	ErrOtherData = errors.New("the data is not that of the run")
)

// Files are the files of a run that somebody has who checks its receipt, in the
// order in which the run was given them. Data may be missing; a model's file may
// not.
type Files struct {
	Data, ValidationData     []string
	Model, Tokenizer, Labels string
}

// Rebuild makes again what a run was made of, as its receipt's setup describes
// it. folder is for a few small files that live as long as the subject; the
// caller removes it.
func Rebuild(ctx context.Context, c *training.Claims, s *training.Setup, config train.Config, f Files, folder string, o Options) (*record.Subject, error) {
	d, rc, err := f.config(ctx, c, s, folder)
	if err != nil {
		return nil, err
	}
	if len(rc.Data) == 0 && rc.Kind == Classifier {
		if rc.training(rc.Steps) != config {
			return nil, errSettings
		}
		return rebuildNet(d, s.Seed, o)
	}
	t, err := newTask(ctx, rc, o)
	if err != nil {
		return nil, err
	}
	if err := t.fits(ctx, d, rc, config, folder); err != nil {
		t.close()
		return nil, err
	}
	sub := &record.Subject{
		Machine: t.machine, Learner: t.learner, Decode: dataset.ParseCanonical,
		Export: func(path, format string) error {
			if want := rc.format(); format != want {
				return fmt.Errorf("the format is %q, the setup says %q", format, want)
			}
			return t.export(path)
		},
		Release: func() error { t.close(); return nil },
	}
	if t.data != nil {
		sub.Data = t.data
	}
	if t.validation != nil && t.validation.Len() > 0 {
		sub.Validation = t.validation
	}
	return sub, nil
}

// fits reports whether what was made is what the setup describes.
func (t *task) fits(ctx context.Context, d *description, c *Config, config train.Config, folder string) error {
	if c.training(c.Steps) != config {
		return errSettings
	}
	if t.vocabulary == nil {
		return nil
	}
	path := filepath.Join(folder, fileTokenizer)
	if err := t.vocabulary.WriteFile(path, "llama", "tokenizer"); err != nil {
		return err
	}
	a, err := record.FileOf(ctx, path)
	if err == nil && a.Hash != d.Tokenizer {
		err = fmt.Errorf("%w: the vocabulary that is learned from it has the fingerprint %v, the setup has %v", ErrOtherData, a.Hash, d.Tokenizer)
	}
	return err
}

// rebuildNet makes a net without its data, which its file would describe too.
func rebuildNet(d *description, seed uint64, o Options) (*record.Subject, error) {
	spec := new(net.Spec)
	if err := json.Unmarshal(d.Net, spec); err != nil {
		return nil, fmt.Errorf("%w: its net: %w", ErrContradiction, err)
	}
	k, err := kernel.Named(o.Kernel)
	if err != nil {
		return nil, err
	}
	m := tensor.New(threads(o.Threads), k)
	n, err := net.New(m, spec, seed)
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("%w: its net: %w", ErrContradiction, err)
	}
	return &record.Subject{Machine: m, Learner: n, Decode: dataset.ParseCanonical, Release: func() error { m.Close(); return nil }}, nil
}

// config is the configuration of the run, with the files that are at hand.
func (f *Files) config(ctx context.Context, c *training.Claims, s *training.Setup, folder string) (*description, *Config, error) {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrContradiction}, args...)...)
	}
	d := new(description)
	if err := decodeWhole(s.Learner, d); err != nil {
		return nil, nil, wrong("its learner cannot be read: %w", err)
	}
	var from sources
	if err := decodeWhole(s.Data, &from); err != nil {
		return nil, nil, wrong("its data cannot be read: %w", err)
	}
	rc := Config{}
	for kind, k := range kinds {
		if k == c.Kind {
			rc.Kind = kind
		}
	}
	if err := rc.Parse([]byte(d.Config)); err != nil {
		return nil, nil, wrong("its configuration cannot be read: %w", err)
	}
	if rc.Seed != s.Seed {
		return nil, nil, wrong("the seed is %d, its configuration says %d", s.Seed, rc.Seed)
	}
	if rc.Net != "" || isFile(rc.Template) { // nothing of this machine is read for a stranger
		return nil, nil, wrong("its configuration names a file")
	}
	if rc.Kind == Classifier && !c.Base.IsZero() {
		return nil, nil, wrong("a net begins with random numbers, and the receipt names the model %v", c.Base)
	}
	rc.Data, rc.ValidationData, rc.Model, rc.Tokenizer, rc.Labels = f.Data, f.ValidationData, f.Model, f.Tokenizer, f.Labels
	if n := len(f.Data); n > 0 && (n != from.Data || len(f.ValidationData) != from.Validation || (f.Labels != "") != from.Labels) {
		return nil, nil, fmt.Errorf("the run read %s; given are %s", counted(from.Data, from.Validation, from.Labels), counted(n, len(f.ValidationData), f.Labels != ""))
	}
	if !c.Base.IsZero() && f.Model == "" {
		return nil, nil, errors.New("the run began with a model, which is needed")
	}
	if rc.Kind != Classifier && c.Base.IsZero() {
		if err := f.checkTokenizer(ctx, d, &rc); err != nil {
			return nil, nil, err
		}
	}
	for name, text := range map[*string]string{&rc.Template: d.Template, &rc.Net: string(d.Net)} {
		if text == "" {
			continue
		}
		*name = filepath.Join(folder, "template")
		if name == &rc.Net {
			*name = filepath.Join(folder, "net")
		}
		if err := os.WriteFile(*name, []byte(text), permPrivate); err != nil {
			return nil, nil, err
		}
	}
	return d, &rc, nil
}

// counted says for people what files of a run there are.
func counted(data, validation int, labels bool) string {
	s := fmt.Sprintf("%d files of data", data)
	if validation > 0 {
		s += fmt.Sprintf(", %d of validation data", validation)
	}
	if labels {
		s += ", one of labels"
	}
	return s
}

// decodeWhole reads one JSON value and refuses what it would leave unread: a
// setup must not say what nobody checks.
func decodeWhole(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its end")
	}
	return nil
}

// checkTokenizer checks the file of a new model's vocabulary. One that was
// learned can be learned again from the data.
func (f *Files) checkTokenizer(ctx context.Context, d *description, c *Config) error {
	if f.Tokenizer == "" {
		if c.VocabSize == 0 || len(f.Data) == 0 {
			return errors.New("the run began with a tokenizer's file, which is needed")
		}
		return nil
	}
	a, err := record.FileOf(ctx, f.Tokenizer)
	if err == nil && a.Hash != d.Tokenizer {
		err = fmt.Errorf("%s is not the tokenizer of the run: its fingerprint is %v, the setup has %v", f.Tokenizer, a.Hash, d.Tokenizer)
	}
	return err
}

// Receipt finds the receipt of the run in a folder, the file of its result, which
// may not be there any more, and the files that its configuration names, as they
// were given to it.
func Receipt(dir string) (path, result string, f Files, err error) {
	path = filepath.Join(dir, fileReceipt)
	data, err := os.ReadFile(filepath.Join(dir, fileConfig))
	if errors.Is(err, fs.ErrNotExist) {
		return path, "", f, fmt.Errorf("%w in %s (%w)", ErrNoRun, dir, err)
	}
	if err != nil {
		return path, "", f, err
	}
	var head struct {
		Kind Kind `yaml:"kind"`
	}
	if err := yaml.Unmarshal(data, &head); err != nil {
		return path, "", f, fmt.Errorf("%w: %s: %w", ErrConfig, filepath.Join(dir, fileConfig), err)
	}
	c := Config{Kind: head.Kind}
	if err := c.Parse(data); err != nil {
		return path, "", f, fmt.Errorf("%w: %s: %w", ErrConfig, filepath.Join(dir, fileConfig), err)
	}
	return path, filepath.Join(dir, c.Kind.result()), Files{Data: c.Data, ValidationData: c.ValidationData, Model: c.Model, Tokenizer: c.Tokenizer, Labels: c.Labels}, nil
}
