package record

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

// Options say what a run is. Kind and Setup are required.
type Options struct {
	Kind training.Kind
	// Base is the fingerprint of the file that the run begins with; zero: it
	// begins with random numbers.
	Base  training.Hash
	Setup training.Setup
	// Nonce, if not nil, is from whoever ordered the run: the seeds of the
	// configuration and of the setup must be training.NonceSeed of it.
	Nonce []byte
	// Salt is the master salt; zero: a new one is drawn. Tests set it.
	Salt receipt.Salt
}

// point is a state whose roots were taken.
type point struct {
	_          struct{} `cbor:",toarray"`
	Step       int
	Root       canon.Hash
	Parameters canon.Hash
}

// Recorder keeps what a receipt will state. It is for one goroutine.
type Recorder struct {
	opt    Options
	config train.Config
	salts  training.Salts

	data       training.Commitment
	validation *training.Commitment
	points     []point
	log        []training.Entry
}

// New begins to record a run whose trainer has not stepped yet. It reads all
// examples once, to commit to them. validation may be nil.
func New(t *train.Trainer, data, validation Examples, o Options) (*Recorder, error) {
	if t.Done() != 0 {
		return nil, fmt.Errorf("recording a run: %d steps are behind already, and their records are missing", t.Done())
	}
	if o.Salt == (receipt.Salt{}) {
		o.Salt = receipt.NewSalt()
	}
	r := &Recorder{opt: o, config: t.Config(), salts: training.SaltsOf(o.Salt)}
	if o.Nonce != nil && (r.config.Seed != training.NonceSeed(o.Nonce) || o.Setup.Seed != r.config.Seed) {
		return nil, errors.New("recording a run: with a nonce, the seed must be the one that follows from it")
	}
	if err := r.commit(data, validation); err != nil {
		return nil, err
	}
	r.take(t)
	return r, nil
}

// commit reads the examples.
func (r *Recorder) commit(data, validation Examples) (err error) {
	if r.data, err = Commit(r.salts.Data, data); err != nil {
		return fmt.Errorf("recording a run: the examples: %w", err)
	}
	if validation == nil || validation.Len() == 0 {
		return nil
	}
	c, err := Commit(r.salts.Validation, validation)
	if err != nil {
		return fmt.Errorf("recording a run: the validation examples: %w", err)
	}
	r.validation = &c
	return nil
}

// take notes the roots of the trainer's state.
func (r *Recorder) take(t *train.Trainer) {
	if n := len(r.points); n > 0 && r.points[n-1].Step == t.Done() {
		return
	}
	p := point{Step: t.Done()}
	p.Root, p.Parameters = Roots(t.Leaves())
	r.points = append(r.points, p)
}

// Add notes the record of the step that the trainer has just taken.
func (r *Recorder) Add(t *train.Trainer, rec train.StepRecord) error {
	if rec.Step != len(r.log) || t.Done() != len(r.log)+1 {
		return fmt.Errorf("recording a run: step %d with %d steps behind, after %d records", rec.Step, t.Done(), len(r.log))
	}
	r.log = append(r.log, rec.Bytes())
	if every := r.config.CheckpointEvery; t.Done() == r.config.Steps || every > 0 && t.Done()%every == 0 {
		r.take(t)
	}
	return nil
}

// Keep also notes the roots of the state as it is now, so that it can be the
// result: the best one so far, between two checkpoints.
func (r *Recorder) Keep(t *train.Trainer) error {
	if t.Done() != len(r.log) {
		return fmt.Errorf("recording a run: %d steps behind, after %d records", t.Done(), len(r.log))
	}
	r.take(t)
	return nil
}

// state is what a recorder keeps across an interruption.
type state struct {
	Name       string               `cbor:"1,keyasint"`
	Salt       receipt.Salt         `cbor:"2,keyasint"`
	Config     []byte               `cbor:"3,keyasint"`
	Setup      training.Setup       `cbor:"4,keyasint"`
	Data       training.Commitment  `cbor:"5,keyasint"`
	Validation *training.Commitment `cbor:"6,keyasint,omitempty"`
	Points     []point              `cbor:"7,keyasint"`
	Log        []byte               `cbor:"8,keyasint"`
	Nonce      []byte               `cbor:"9,keyasint,omitempty"`
}

const (
	stateName = "aval training recorder/1"
	// maxState bounds a state in CBOR items: a point has four.
	maxState = 8 * training.MaxCheckpoints
)

// MarshalBinary gives all that Resume needs. It holds the salts: whoever has it
// can test guesses of the examples.
func (r *Recorder) MarshalBinary() ([]byte, error) {
	config, err := r.config.Marshal()
	if err != nil {
		return nil, err
	}
	s := state{stateName, r.opt.Salt, config, r.opt.Setup, r.data, r.validation, r.points, make([]byte, 0, train.RecordSize*len(r.log)), r.opt.Nonce}
	for i := range r.log {
		s.Log = append(s.Log, r.log[i][:]...)
	}
	return canon.Marshal(&s)
}

// Resume goes on with a run from what MarshalBinary gave. The trainer is where
// its checkpoint was written; what was recorded after that is forgotten. The
// examples must be those of the run. Nonce and Salt of the options are not used.
func Resume(b []byte, t *train.Trainer, data, validation Examples, o Options) (*Recorder, error) {
	const what = "resuming the record of a run: "
	var s state
	if err := canon.UnmarshalMax(b, &s, maxState); err != nil {
		return nil, fmt.Errorf(what+"%w", err)
	}
	config, err := t.Config().Marshal()
	switch {
	case err != nil:
		return nil, err
	case s.Name != stateName:
		return nil, fmt.Errorf(what+"it is of the form %.40q, want %q", s.Name, stateName)
	case !bytes.Equal(s.Config, config), !bytes.Equal(s.Setup.Learner, o.Setup.Learner), !bytes.Equal(s.Setup.Data, o.Setup.Data), s.Setup.Seed != o.Setup.Seed:
		return nil, errors.New(what + "it is of another configuration or setup")
	case len(s.Log) < t.Done()*train.RecordSize || len(s.Log)%train.RecordSize != 0:
		return nil, fmt.Errorf(what+"the trainer has %d steps behind, the record %d", t.Done(), len(s.Log)/train.RecordSize)
	}
	o.Salt, o.Nonce = s.Salt, s.Nonce
	r := &Recorder{opt: o, config: t.Config(), salts: training.SaltsOf(o.Salt), points: s.Points}
	if err := r.commit(data, validation); err != nil {
		return nil, err
	}
	if r.data != s.Data || (r.validation == nil) != (s.Validation == nil) || r.validation != nil && *r.validation != *s.Validation {
		return nil, errors.New(what + "the examples are not those that it began with: files were changed")
	}
	for i := range t.Done() {
		r.log = append(r.log, training.Entry(s.Log[i*train.RecordSize:]))
	}
	r.points = slices.DeleteFunc(r.points, func(p point) bool { return p.Step > t.Done() })
	if n := len(r.points); n == 0 || r.points[0].Step != 0 {
		return nil, errors.New(what + "the root of the start is missing")
	} else if last := r.points[n-1]; last.Step == t.Done() {
		if root, _ := Roots(t.Leaves()); root != last.Root {
			return nil, fmt.Errorf(what+"the state after step %d is not the one that was recorded", last.Step)
		}
	}
	return r, nil
}

// Result is what came of a run.
type Result struct {
	Step int // steps behind the exported state; 0: all that were taken
	File Artefact
	// Format names how the parameters became the file; it is given to
	// Subject.Export when the result is checked.
	Format     string
	Evaluation *Evaluation // of that state on the validation examples; nil: none
}

// Evaluation is what train.Evaluate gave.
type Evaluation struct {
	Batch int
	Loss  train.Loss
}

// Finish makes the receipt's file, which shows all but the examples. Where a
// run stops before its last configured step, Keep must have noted its end.
func (r *Recorder) Finish(res Result, key ed25519.PrivateKey, now time.Time) (*training.File, error) {
	if len(r.log) == 0 {
		return nil, errors.New("the receipt of a run: no step was recorded")
	}
	if res.Step == 0 {
		res.Step = len(r.log)
	}
	config, err := r.config.Marshal()
	if err != nil {
		return nil, err
	}
	o := &training.Opening{
		Setup:  &training.OpenedSetup{Salt: r.salts.Setup, Setup: r.opt.Setup},
		Config: &training.OpenedConfig{Salt: r.salts.Config, Config: config},
		Log:    &training.List{Salt: r.salts.Log, Entries: r.log},
		Data:   &r.salts.Data,
	}
	c := training.Claims{Kind: r.opt.Kind, Base: r.opt.Base, Data: r.data, Nonce: r.opt.Nonce, Time: now.Unix()}
	parameters, err := r.checkpoints(o, res.Step)
	if err != nil {
		return nil, err
	}
	c.Result = training.Result{Step: res.Step, Parameters: parameters, Identity: res.File.Identity, File: res.File.Hash, Format: res.Format}
	if e := res.Evaluation; e != nil {
		if r.validation == nil {
			return nil, errors.New("the receipt of a run: an evaluation without validation examples")
		}
		c.Evaluation = &training.Evaluation{Data: *r.validation, Batch: e.Batch, Loss: e.Loss.Sum, Count: e.Loss.Count, Correct: e.Loss.Correct}
		o.Validation = &r.salts.Validation
	}
	if err := o.Fill(&c); err != nil {
		return nil, err
	}
	signed, err := training.Sign(c, key)
	if err != nil {
		return nil, err
	}
	return &training.File{Receipt: signed, Opening: o}, nil
}

// checkpoints puts those into the opening that belong there, and gives the root
// of the parameters of the result.
func (r *Recorder) checkpoints(o *training.Opening, result int) (canon.Hash, error) {
	config := training.Config(r.config)
	o.Checkpoints = &training.List{Salt: r.salts.Checkpoints}
	var parameters canon.Hash
	for _, step := range config.Checkpoints(len(r.log), result) {
		i := slices.IndexFunc(r.points, func(p point) bool { return p.Step == step })
		if i < 0 {
			return parameters, fmt.Errorf("the receipt of a run: there is no root of the state after step %d: call Keep there", step)
		}
		p := r.points[i]
		o.Checkpoints.Entries = append(o.Checkpoints.Entries, training.Checkpoint{Step: p.Step, Root: p.Root}.Entry())
		if step == result {
			parameters = p.Parameters
		}
	}
	return parameters, nil
}
