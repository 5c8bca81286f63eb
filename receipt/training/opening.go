package training

import (
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// Opening shows parts of what a receipt hides; the others are nil. None of them
// shows an example.
type Opening struct {
	Setup       *OpenedSetup  `cbor:"1,keyasint,omitempty"`
	Config      *OpenedConfig `cbor:"2,keyasint,omitempty"`
	Checkpoints *List         `cbor:"3,keyasint,omitempty"`
	Log         *List         `cbor:"4,keyasint,omitempty"`
	// Data and Validation are the salts of the examples: whoever has the
	// examples can find their root with them, and whoever has not can test a
	// guess of all of them.
	Data       *receipt.Salt `cbor:"5,keyasint,omitempty"`
	Validation *receipt.Salt `cbor:"6,keyasint,omitempty"`
	// Ranges of the step log and of the checkpoints.
	LogRanges   []Range `cbor:"7,keyasint,omitempty"`
	PointRanges []Range `cbor:"8,keyasint,omitempty"`
}

// OpenedSetup shows what was trained on what.
type OpenedSetup struct {
	_     struct{} `cbor:",toarray"`
	Salt  receipt.Salt
	Setup Setup
}

// OpenedConfig shows the hyper-parameters in their encoding.
type OpenedConfig struct {
	_      struct{} `cbor:",toarray"`
	Salt   receipt.Salt
	Config []byte
}

// Salts are all salts of a receipt, made from one master salt.
type Salts struct{ Setup, Config, Checkpoints, Log, Data, Validation receipt.Salt }

// SaltsOf derives the salts. The master salt is for one receipt only, and as
// secret as the data.
func SaltsOf(master receipt.Salt) Salts {
	return Salts{
		Setup: derive(master, "setup"), Config: derive(master, "config"), Checkpoints: derive(master, "checkpoints"),
		Log: derive(master, "log"), Data: derive(master, "data"), Validation: derive(master, "validation"),
	}
}

func (o *OpenedSetup) digest() (Hash, error) {
	b, err := canon.Marshal(&o.Setup)
	return canon.Sum("aval training setup/1", o.Salt[:], b), err
}

func (o *OpenedConfig) digest() Hash {
	return canon.Sum("aval training config/1", o.Salt[:], o.Config)
}

// Fill sets the claims that follow from an opening of setup, configuration,
// checkpoints and log, all of which must be shown.
func (o *Opening) Fill(c *Claims) error {
	if o.Setup == nil || o.Config == nil || o.Checkpoints == nil || o.Log == nil {
		panic("training: internal error: claims filled from an opening that does not show all")
	}
	if err := o.Setup.Setup.validate(); err != nil {
		return err
	}
	var err error
	if c.Setup, err = o.Setup.digest(); err != nil {
		return &receipt.Error{Check: CheckSetup, Detail: "encode", Err: err}
	}
	c.Config = o.Config.digest()
	c.Checkpoints = o.Checkpoints.Commitment()
	log := o.Log.Commitment()
	c.Steps, c.Log = log.Count, log.Root
	return nil
}

// Part is a set of the parts that an opening can show.
type Part uint8

// The parts, and the sets of them that have a use.
const (
	PartSetup Part = 1 << iota
	PartConfig
	PartCheckpoints
	PartLog
	PartData
	PartValidation

	// Whole shows all.
	Whole = PartSetup | PartConfig | PartCheckpoints | PartLog | PartData | PartValidation
	// Settings shows what was trained and how.
	Settings = PartSetup | PartConfig
	// Course shows how it went.
	Course = PartCheckpoints | PartLog
)

// Parts is what the opening shows whole.
func (o *Opening) Parts() Part {
	var p Part
	if o == nil {
		return p
	}
	for i, shown := range []bool{o.Setup != nil, o.Config != nil, o.Checkpoints != nil, o.Log != nil, o.Data != nil, o.Validation != nil} {
		if shown {
			p |= 1 << i
		}
	}
	return p
}

// Select is an opening that shows only these parts of what o shows, and no
// ranges. It shares their memory.
func (o *Opening) Select(p Part) *Opening {
	s := &Opening{}
	if p&PartSetup != 0 {
		s.Setup = o.Setup
	}
	if p&PartConfig != 0 {
		s.Config = o.Config
	}
	if p&PartCheckpoints != 0 {
		s.Checkpoints = o.Checkpoints
	}
	if p&PartLog != 0 {
		s.Log = o.Log
	}
	if p&PartData != 0 {
		s.Data = o.Data
	}
	if p&PartValidation != 0 {
		s.Validation = o.Validation
	}
	return s
}

// Check compares what the opening shows with the claims of a receipt. Every
// part that is shown gives one check; the claims' signature is not looked at.
func (o *Opening) Check(c *Claims) []receipt.Check {
	var checks []receipt.Check
	if o.Setup != nil {
		checks = append(checks, o.Setup.check(c))
	}
	var config *Config
	if o.Config != nil {
		check, parsed := o.Config.check(c)
		if checks = append(checks, check); check.Passed() {
			config = parsed
		}
	}
	if o.Checkpoints != nil {
		checks = append(checks, checkPoints(o.Checkpoints, c, config))
	}
	if o.Log != nil {
		checks = append(checks, checkLog(o.Log, c))
	}
	if o.Validation != nil && c.Evaluation == nil {
		checks = append(checks, failed(CheckValidation, "there is a salt for validation examples, and the receipt has no evaluation"))
	}
	return append(checks, o.checkRanges(c, config)...)
}

func (o *OpenedSetup) check(c *Claims) receipt.Check {
	if err := o.Setup.validate(); err != nil {
		return checkOf(err, CheckSetup)
	}
	switch got, err := o.digest(); {
	case err != nil:
		return checkOf(err, CheckSetup)
	case !sameHash(got, c.Setup):
		return failed(CheckSetup, "what is shown, with its salt, does not hash to the receipt's digest")
	case c.Nonce != nil && o.Setup.Seed != NonceSeed(c.Nonce):
		return failed(CheckSetup, "the seed of the start is not the one that follows from the nonce")
	}
	return passed(CheckSetup, "is what the receipt commits to")
}

func (o *OpenedConfig) check(c *Claims) (receipt.Check, *Config) {
	if !sameHash(o.digest(), c.Config) {
		return failed(CheckConfig, "what is shown, with its salt, does not hash to the receipt's digest"), nil
	}
	config, err := ParseConfig(o.Config)
	switch {
	case err != nil:
		return checkOf(err, CheckConfig), nil
	case c.Steps > config.Steps:
		return failed(CheckConfig, "the run took %d steps, and was configured for %d", c.Steps, config.Steps), nil
	case c.Nonce != nil && config.Seed != NonceSeed(c.Nonce):
		return failed(CheckConfig, "the seed is not the one that follows from the nonce"), nil
	}
	return passed(CheckConfig, "is what the receipt commits to"), &config
}

// checkPoints checks the whole list of checkpoints.
func checkPoints(l *List, c *Claims, config *Config) receipt.Check {
	if n := len(l.Entries); n != c.Checkpoints.Count {
		return failed(CheckCheckpoints, "the opening shows %d, the receipt says %d", n, c.Checkpoints.Count)
	}
	if !sameHash(l.Commitment().Root, c.Checkpoints.Root) {
		return failed(CheckCheckpoints, "the %d checkpoints shown, with their salt, do not hash to the receipt's root", len(l.Entries))
	}
	steps := make([]int, len(l.Entries))
	for i, e := range l.Entries {
		p, err := e.Checkpoint()
		if err != nil {
			return checkOf(err, CheckCheckpoints)
		}
		steps[i] = p.Step
		if i > 0 && p.Step <= steps[i-1] {
			return failed(CheckCheckpoints, "the one after step %d follows the one after step %d", p.Step, steps[i-1])
		}
	}
	result := false
	for _, s := range steps {
		result = result || s == c.Result.Step
	}
	switch last := steps[len(steps)-1]; {
	case steps[0] != 0:
		return failed(CheckCheckpoints, "the first is after step %d: the start is missing", steps[0])
	case last != c.Steps:
		return failed(CheckCheckpoints, "the last is after step %d of %d: the end is missing", last, c.Steps)
	case !result:
		return failed(CheckCheckpoints, "there is none after step %d, which the result comes from", c.Result.Step)
	}
	if config != nil {
		if bad := unscheduled(steps, config, c); bad != "" {
			return failed(CheckCheckpoints, "%s", bad)
		}
	}
	return passed(CheckCheckpoints, "%d, as the receipt commits to, from the start to step %d", len(steps), c.Steps)
}

// unscheduled compares the steps of the checkpoints with those that the
// configuration asks for.
func unscheduled(steps []int, config *Config, c *Claims) string {
	const text = "the configuration asks for a checkpoint after step %d, and the list has one after step %d in its place"
	if every := config.CheckpointEvery; every > 0 && c.Steps/every > MaxCheckpoints {
		return "the configuration asks for more checkpoints than a receipt can list"
	}
	want := config.Checkpoints(c.Steps, c.Result.Step)
	for i := range min(len(want), len(steps)) {
		if steps[i] != want[i] {
			return sprintf(text, want[i], steps[i])
		}
	}
	if len(steps) != len(want) {
		return sprintf("the configuration asks for %d checkpoints, the list has %d", len(want), len(steps))
	}
	return ""
}

// offSchedule compares the number of checkpoints and the steps of those that are
// shown with what the configuration asks for: more of them would make a sample
// of stretches worth less.
func offSchedule(r *Range, config *Config, c *Claims) string {
	if config == nil {
		return ""
	}
	if every := config.CheckpointEvery; every > 0 && c.Steps/every > MaxCheckpoints {
		return "the configuration asks for more checkpoints than a receipt can list"
	}
	want := config.Checkpoints(c.Steps, c.Result.Step)
	if len(want) != c.Checkpoints.Count {
		return sprintf("the configuration asks for %d checkpoints, the receipt has %d", len(want), c.Checkpoints.Count)
	}
	for i, e := range r.Entries {
		if p, err := e.Checkpoint(); err == nil && r.From+i < len(want) && p.Step != want[r.From+i] {
			return sprintf("the configuration asks for a checkpoint after step %d, and there is one after step %d in its place", want[r.From+i], p.Step)
		}
	}
	return ""
}

// checkLog checks the records of all steps.
func checkLog(l *List, c *Claims) receipt.Check {
	if n := len(l.Entries); n != c.Steps {
		return failed(CheckLog, "the opening shows %d steps, the receipt says %d", n, c.Steps)
	}
	if !sameHash(l.Commitment().Root, c.Log) {
		return failed(CheckLog, "the %d records shown, with their salt, do not hash to the receipt's root", c.Steps)
	}
	for i, e := range l.Entries {
		if r, err := e.Record(); err != nil {
			return checkOf(err, CheckLog)
		} else if r.Step != i {
			return failed(CheckLog, "the record at place %d is of step %d", i, r.Step)
		}
	}
	return passed(CheckLog, "%d steps, as the receipt commits to", c.Steps)
}

func (o *Opening) checkRanges(c *Claims, config *Config) []receipt.Check {
	if len(o.LogRanges) > MaxRanges {
		return []receipt.Check{failed(CheckLogRange, "%d ranges, want at most %d", len(o.LogRanges), MaxRanges)}
	}
	if len(o.PointRanges) > MaxRanges {
		return []receipt.Check{failed(CheckPointRange, "%d ranges, want at most %d", len(o.PointRanges), MaxRanges)}
	}
	var checks []receipt.Check
	for i := range o.LogRanges {
		r := &o.LogRanges[i]
		check := r.check(CheckLogRange, Commitment{Count: c.Steps, Root: c.Log})
		for j, e := range r.Entries {
			if rec, err := e.Record(); check.Passed() && err != nil {
				check = failed(CheckLogRange, "%v", err)
			} else if check.Passed() && rec.Step != r.From+j {
				check = failed(CheckLogRange, "the record at place %d is of step %d", r.From+j, rec.Step)
			}
		}
		checks = append(checks, check)
	}
	for i := range o.PointRanges {
		r := &o.PointRanges[i]
		check := r.check(CheckPointRange, c.Checkpoints)
		if bad := offSchedule(r, config, c); check.Passed() && bad != "" {
			check = failed(CheckPointRange, "%s", bad)
		}
		last := -1
		for _, e := range r.Entries {
			if p, err := e.Checkpoint(); check.Passed() && (err != nil || p.Step <= last || p.Step > c.Steps) {
				check = failed(CheckPointRange, "a checkpoint after step %d follows one after step %d of %d", p.Step, last, c.Steps)
			} else {
				last = p.Step
			}
		}
		checks = append(checks, check)
	}
	return checks
}

// Record gives the record of a step, if it is shown. That it is shown rightly
// is for Check.
func (o *Opening) Record(step int) (Entry, bool) {
	if o == nil {
		return Entry{}, false
	}
	if o.Log != nil && step >= 0 && step < len(o.Log.Entries) {
		return o.Log.Entries[step], true
	}
	for i := range o.LogRanges {
		if r := &o.LogRanges[i]; step >= r.From && step < r.From+len(r.Entries) {
			return r.Entries[step-r.From], true
		}
	}
	return Entry{}, false
}

// Points gives the checkpoints that are shown, in runs without a gap: two that
// follow each other in a run are neighbours.
func (o *Opening) Points() [][]Checkpoint {
	if o == nil {
		return nil
	}
	list := [][]Entry{}
	if o.Checkpoints != nil {
		list = append(list, o.Checkpoints.Entries)
	} else {
		for i := range o.PointRanges {
			list = append(list, o.PointRanges[i].Entries)
		}
	}
	var out [][]Checkpoint
	for _, entries := range list {
		var run []Checkpoint
		for _, e := range entries {
			if p, err := e.Checkpoint(); err == nil {
				run = append(run, p)
			}
		}
		out = append(out, run)
	}
	return out
}
