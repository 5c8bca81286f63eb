package run

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/quant"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/lm"
)

// Kind is what a run trains.
type Kind string

// The kinds of runs.
const (
	LM         Kind = "lm"         // a language model, from random numbers or from a file
	LoRA       Kind = "lora"       // an adapter beside a frozen language model
	Classifier Kind = "classifier" // a small net on numbers
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{LM, LoRA, Classifier} }

// result is the name of the file that comes of a run.
func (k Kind) result() string {
	switch k {
	case LM:
		return "model.gguf"
	case LoRA:
		return "adapter.gguf"
	}
	return "net.gguf"
}

// ErrConfig says that a configuration cannot be run.
var ErrConfig = errors.New("wrong configuration")

// Config is everything that determines a run. Every field is a key of the
// configuration file, by its yaml tag, and a flag of the command, with dashes.
// The tag kinds names the kinds of runs that have the field, if not all. Zero
// values are replaced by what is usual when a run starts; help says by what.
type Config struct {
	Kind Kind `yaml:"kind"`

	Data           []string `yaml:"data" help:"-"`
	ValidationData []string `yaml:"validation_data" help:"files to validate with, instead of a part of the data"`
	Validation     float64  `yaml:"validation" help:"the share of the examples that is kept for validation, chosen by their hashes"`

	// Language models.
	Model     string `yaml:"model" kinds:"lm lora" help:"train this model (a GGUF file) further, all of it, instead of a new one"`
	Tokenizer string `yaml:"tokenizer" kinds:"lm" help:"vocabulary of a new model: a file of \"aval train tokenizer\", or any model (default: one that is learned from the data)"`
	VocabSize int    `yaml:"vocab_size" kinds:"lm" help:"tokens of a vocabulary that is learned from the data (0: 512 to 8192, by how much there is)"`
	Name      string `yaml:"name" kinds:"lm lora" help:"the name in the result's file"`
	Template  string `yaml:"template" kinds:"lm lora" help:"chat template for prompts and messages: a file, the name of a built-in one, or \"none\" (default: the model's own)"`
	Separator string `yaml:"separator" kinds:"lm lora" help:"text between two documents of a text file (default: the token that ends a text)"`

	Dim     int     `yaml:"dim" kinds:"lm" help:"new model: elements of the residual stream"`
	Layers  int     `yaml:"layers" kinds:"lm" help:"new model: layers"`
	Heads   int     `yaml:"heads" kinds:"lm" help:"new model: query heads (0: one for each 32 of --dim)"`
	KVHeads int     `yaml:"kv_heads" kinds:"lm" help:"new model: heads of keys and values (0: as many as --heads)"`
	FFN     int     `yaml:"ffn" kinds:"lm" help:"new model: elements of the feed-forward layers (0: 8/3 of --dim)"`
	Arch    string  `yaml:"arch" kinds:"lm" help:"new model: its architecture (default llama)"`
	Untied  bool    `yaml:"untied" kinds:"lm" help:"new model: give the output a matrix of its own"`
	Rope    float32 `yaml:"rope" kinds:"lm" help:"new model: base of the rotary frequencies (0: 10000)"`
	Context int     `yaml:"context" kinds:"lm lora" help:"the most tokens of an example (0: 256, or what the model was trained for if that is less)"`

	Rank      int      `yaml:"rank" kinds:"lora" help:"rank of the updates"`
	Alpha     float32  `yaml:"alpha" kinds:"lora" help:"the updates are multiplied by alpha / rank (0: twice the rank)"`
	Targets   []string `yaml:"targets" kinds:"lora" help:"matrices that get an update, such as attn_q"`
	Recompute bool     `yaml:"recompute" kinds:"lm lora" help:"save memory by computing layers twice; no bit depends on it"`

	// Nets.
	Label      string   `yaml:"label" kinds:"classifier" help:"the column with the label, by name or number (default: label, class, target or y, else the last)"`
	Labels     string   `yaml:"labels" kinds:"classifier" help:"NPY file with the labels of data in an NPY file"`
	Ignore     []string `yaml:"ignore" kinds:"classifier" help:"columns that are neither input nor label"`
	Regression bool     `yaml:"regression" kinds:"classifier" help:"predict the label as a number instead of a class"`
	Hidden     []int    `yaml:"hidden,flow" kinds:"classifier" help:"units of each hidden layer"`
	Net        string   `yaml:"net" kinds:"classifier" help:"JSON file that describes the net, instead of --hidden, --activation and --dropout"`
	Activation string   `yaml:"activation" kinds:"classifier" help:"relu, elu, gelu, silu or tanh"`
	Dropout    float32  `yaml:"dropout" kinds:"classifier" help:"probability of dropping a hidden unit while training"`
	Raw        bool     `yaml:"raw" kinds:"classifier" help:"take inputs as they are, not scaled to mean 0 and deviation 1"`

	// Training.
	Seed            uint64  `yaml:"seed" help:"chooses starting weights, order and split; the same seed gives the same run"`
	Epochs          float64 `yaml:"epochs" help:"how often each example is used (a fraction is allowed)"`
	Steps           int     `yaml:"steps" help:"optimiser steps (0: as many as --epochs takes)"`
	Batch           int     `yaml:"batch" help:"examples of a step"`
	MicroBatch      int     `yaml:"micro_batch" help:"examples computed at a time; less takes less memory (0: the whole batch)"`
	Optimizer       string  `yaml:"optimizer" help:"adamw or sgd"`
	LearningRate    float32 `yaml:"learning_rate" help:"the largest learning rate"`
	MinLearningRate float32 `yaml:"min_learning_rate" help:"the learning rate at the end (0: a tenth of the largest; with constant: none)"`
	Schedule        string  `yaml:"schedule" help:"constant, linear or cosine"`
	Warmup          int     `yaml:"warmup" help:"steps until the learning rate is reached (-1: a twentieth of all, at most 200)"`
	Beta1           float32 `yaml:"beta1" help:"adamw: share of the old mean of gradients"`
	Beta2           float32 `yaml:"beta2" help:"adamw: share of the old mean of squares"`
	Epsilon         float32 `yaml:"epsilon" help:"adamw: added to the root of the mean of squares"`
	Momentum        float32 `yaml:"momentum" help:"sgd: share of the old step"`
	WeightDecay     float32 `yaml:"weight_decay" help:"weights shrink by the learning rate times this"`
	Clip            float32 `yaml:"clip" help:"bound of the norm of a step's gradient (0: none)"`
	ExampleClip     float32 `yaml:"example_clip" help:"bound of the norm of each example's gradient (0: none)"`

	// Around it.
	EvaluateEvery     int     `yaml:"evaluate_every" help:"steps between two validations (0: a twentieth of all)"`
	Patience          int     `yaml:"patience" help:"stop after so many validations without a lower loss (0: never)"`
	Keep              string  `yaml:"keep" help:"which state becomes the result: best (by validation loss) or last"`
	CheckpointEvery   int     `yaml:"checkpoint_every" help:"steps between two checkpoints (0: a tenth of all)"`
	CheckpointMinutes float64 `yaml:"checkpoint_minutes" help:"minutes after which a checkpoint is written in any case"`
	KeepCheckpoints   bool    `yaml:"keep_checkpoints" help:"keep the checkpoint of every --checkpoint-every steps, so that any stretch can be computed again"`
	Export            string  `yaml:"export" kinds:"lm" help:"format of the result: F32, F16, Q8_0, ..."`
	SampleEvery       int     `yaml:"sample_every" kinds:"lm" help:"steps between two samples of what the model writes (0: as often as it is validated)"`
	SamplePrompt      string  `yaml:"sample_prompt" kinds:"lm" help:"what samples begin with"`
}

// Defaults is the configuration of a kind of runs without data.
func Defaults(k Kind) Config {
	c := Config{
		Kind: k, Validation: 0.05, Optimizer: train.AdamW, Schedule: train.Cosine, Warmup: -1,
		Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, Clip: 1, Keep: "best", CheckpointMinutes: 5,
	}
	switch k {
	case LM:
		c.Dim, c.Layers = 192, 6
		c.Epochs, c.Batch, c.LearningRate, c.WeightDecay = 10, 16, 2e-3, 0.1
		c.Beta2, c.Export = 0.95, "F32"
	case LoRA:
		c.Rank, c.Targets = 8, slices.Clone(lm.DefaultTargets)
		c.Epochs, c.Batch, c.LearningRate = 3, 8, 5e-4
	case Classifier:
		c.Hidden, c.Activation = []int{64}, "relu"
		c.Epochs, c.Batch, c.LearningRate, c.WeightDecay = 30, 32, 1e-3, 0.01
		c.Validation = 0.2
	}
	return c
}

// fresh reports whether a language model begins with random numbers.
func (c *Config) fresh() bool { return c.Kind == LM && c.Model == "" }

// Check reports what is wrong with the configuration by itself, before any file
// is read. The errors wrap [ErrConfig].
func (c *Config) Check() error {
	err := c.check()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

func (c *Config) check() error {
	if !slices.Contains(Kinds(), c.Kind) {
		return fmt.Errorf("kind is %q, want one of %q", c.Kind, Kinds())
	}
	for _, f := range fields(c) {
		if !f.belongs(c.Kind) && !f.value.IsZero() {
			return fmt.Errorf("%s does not belong to a run of kind %s", f.key, c.Kind)
		}
	}
	switch {
	case len(c.Data) == 0:
		return errors.New("there is no data")
	case !(c.Validation >= 0 && c.Validation < 1):
		return fmt.Errorf("validation is %v, want a share from 0 to below 1", c.Validation)
	case c.Steps < 0 || c.Steps > train.MaxSteps:
		return fmt.Errorf("steps is %d, want 1 to %d, or 0 for those of the epochs", c.Steps, train.MaxSteps)
	case c.Steps == 0 && !(c.Epochs > 0 && c.Epochs <= 1e6):
		return fmt.Errorf("epochs is %v, want more than 0 and at most a million", c.Epochs)
	case c.Warmup < -1:
		return fmt.Errorf("warmup is %d, want 0 or more, or -1 for what is usual", c.Warmup)
	case c.EvaluateEvery < 0 || c.CheckpointEvery < 0 || c.SampleEvery < 0 || c.Patience < 0 || !(c.CheckpointMinutes >= 0):
		return errors.New("evaluate_every, checkpoint_every, checkpoint_minutes, sample_every and patience must be 0 or more")
	case c.Keep != "best" && c.Keep != "last":
		return fmt.Errorf("keep is %q, want best or last", c.Keep)
	}
	if err := c.checkKind(); err != nil {
		return err
	}
	steps := c.Steps
	if steps == 0 {
		steps = max(c.Warmup, 1000) // it is not known yet
	}
	return c.training(steps).Validate()
}

func (c *Config) checkKind() error {
	if c.Context != 0 && (c.Context < dataset.MinContext || c.Context > dataset.MaxContext) {
		return fmt.Errorf("context is %d, want %d to %d, or 0 for what is usual", c.Context, dataset.MinContext, dataset.MaxContext)
	}
	switch c.Kind {
	case LM:
		if c.VocabSize != 0 && (c.Model != "" || c.Tokenizer != "") {
			return errors.New("vocab_size is that of a vocabulary that is learned; a model or tokenizer has its own")
		}
		if c.Model != "" && c.Tokenizer != "" {
			return errors.New("model and tokenizer exclude each other: a model has its vocabulary")
		}
		if _, err := quant.ParseRecipe(c.Export); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	case LoRA:
		if c.Model == "" {
			return errors.New("there is no model to train beside")
		}
		if c.Rank < 1 || c.Rank > adapter.MaxRank {
			return fmt.Errorf("rank is %d, want 1 to %d", c.Rank, adapter.MaxRank)
		}
	case Classifier:
		if (c.Labels != "") != isNPY(c.Data[0]) {
			return errors.New("data in an NPY file needs labels in another one (--labels), and other data has its labels with it")
		}
		return c.checkNet()
	}
	return nil
}

// training is the configuration of a run of so many steps for package train.
func (c *Config) training(steps int) train.Config {
	t := train.Config{
		Seed: c.Seed, Steps: steps, Batch: c.Batch, MicroBatch: c.MicroBatch, Optimizer: c.Optimizer,
		LearningRate: c.LearningRate, MinLearningRate: c.MinLearningRate, Schedule: c.Schedule, Warmup: c.Warmup,
		WeightDecay: c.WeightDecay, Clip: c.Clip, ExampleClip: c.ExampleClip, CheckpointEvery: c.CheckpointEvery,
	}
	// The fields of the other optimiser have defaults here and mean nothing.
	switch c.Optimizer {
	case train.AdamW:
		t.Beta1, t.Beta2, t.Epsilon = c.Beta1, c.Beta2, c.Epsilon
	case train.SGD:
		t.Momentum = c.Momentum
	}
	if t.Warmup < 0 {
		t.Warmup = min(steps/20, 200)
	}
	if t.MinLearningRate == 0 && t.Schedule != train.Constant {
		t.MinLearningRate = t.LearningRate / 10
	}
	if t.CheckpointEvery == 0 {
		t.CheckpointEvery = max(steps/10, 1)
	}
	return t
}

// complete puts in place what is usual, for so many training examples.
func (c *Config) complete(examples int) {
	if c.Steps == 0 {
		steps := float64(c.Epochs*float64(examples)) / float64(c.Batch)
		c.Steps = max(int(min(steps, train.MaxSteps)), 1)
	}
	c.Epochs = 0 // the steps say it
	t := c.training(c.Steps)
	c.Warmup, c.MinLearningRate, c.CheckpointEvery = t.Warmup, t.MinLearningRate, t.CheckpointEvery
	c.MicroBatch = t.Complete().MicroBatch
	if !c.fresh() {
		c.Dim, c.Layers, c.Heads, c.KVHeads, c.FFN, c.Arch, c.Untied, c.Rope = 0, 0, 0, 0, 0, "", false, 0
	}
	if c.EvaluateEvery == 0 {
		c.EvaluateEvery = max(c.Steps/20, 1)
	}
	if c.Kind == LM && c.SampleEvery == 0 {
		c.SampleEvery = c.EvaluateEvery
	}
}

// architecture is the shape of a new model.
func (c *Config) architecture() lm.Architecture {
	return lm.Architecture{
		Arch: c.Arch, Name: c.Name, Dim: c.Dim, Layers: c.Layers, Heads: c.Heads, KVHeads: c.KVHeads,
		FFN: c.FFN, Context: c.Context, Untied: c.Untied, Rope: c.Rope,
	}.Complete()
}

func isNPY(path string) bool { return strings.HasSuffix(strings.ToLower(path), ".npy") }
