package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/bpe"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
)

// Options are what a run may differ in without a difference in its result.
type Options struct {
	Threads int    // 0: one a processor
	Kernel  string // "": the best
	Events  Events
	// Sign makes the run write a training receipt; nil: none.
	Sign *Signing
}

// task is what a kind of runs makes of a configuration.
type task struct {
	learner          train.Learner
	machine          *tensor.Machine
	data, validation *dataset.Set
	tokens           bool // the learner predicts tokens
	unit             string
	result           string // name of the file
	parameters       int
	notes            []string
	export           func(path string) error
	sample           func(prompt string, tokens int) (string, error) // nil: none
	vocabulary       *bpe.Vocabulary                                 // that was learned for the run; nil: none
	close            func()
}

// newTask reads the data and makes the learner.
func newTask(ctx context.Context, c *Config, o Options) (*task, error) {
	o.Events.stage("reading")
	switch c.Kind {
	case LM, LoRA:
		return newLanguage(ctx, c, o)
	default:
		return newNet(ctx, c, o)
	}
}

// split divides the examples, or takes those of other files for validation.
func (t *task) split(c *Config, all, other *dataset.Set) error {
	if other != nil {
		t.data, t.validation = all, other
		if err := disjoint(all, other); err != nil {
			return err
		}
	} else {
		t.data, t.validation = all.Split(c.Validation, c.Seed)
	}
	switch {
	case all.Len() == 0:
		return fmt.Errorf("%w: there are no examples in %s", dataset.ErrData, strings.Join(c.Data, ", "))
	case t.data.Len() == 0:
		return fmt.Errorf("%w: only %d examples, all of them for validation; give more data, or a smaller --validation", dataset.ErrData, all.Len())
	case c.Validation > 0 && t.validation.Len() == 0:
		t.notes = append(t.notes, fmt.Sprintf("none of the %d examples is for validation; the loss will be that of training only", all.Len()))
	}
	if all.Cut > 0 {
		t.notes = append(t.notes, fmt.Sprintf("%d examples are longer than the context and lose their end (--context)", all.Cut))
	}
	if all.Dropped > 0 {
		t.notes = append(t.notes, fmt.Sprintf("%d examples have nothing to learn within the context and are left out", all.Dropped))
	}
	return nil
}

// disjoint refuses validation examples that are trained on.
func disjoint(data, validation *dataset.Set) error {
	seen := map[canon.Hash]bool{}
	for i := range data.Examples {
		seen[canon.Sum("aval-data-same/1", dataset.Canonical(&data.Examples[i]))] = true
	}
	for i := range validation.Examples {
		if seen[canon.Sum("aval-data-same/1", dataset.Canonical(&validation.Examples[i]))] {
			return fmt.Errorf("%w: example %d of the validation data is trained on too; keep the files apart", dataset.ErrData, i+1)
		}
	}
	return nil
}

// Input is a file that a run has read.
type Input struct {
	Role   string      `json:"role"` // the configuration's key
	Path   string      `json:"path"`
	Size   int64       `json:"size"`
	SHA256 hexadecimal `json:"sha256"`
}

type hexadecimal string

// inputs hashes the files that a configuration names.
func (c *Config) inputs(ctx context.Context) ([]Input, error) {
	var out []Input
	var err error
	add := func(role string, paths ...string) { // after an error: nothing
		for _, p := range paths {
			if p == "" || err != nil {
				continue
			}
			in := Input{Role: role, Path: p}
			if in.Size, in.SHA256, err = hashFile(ctx, p); err == nil {
				out = append(out, in)
			}
		}
	}
	add("data", c.Data...)
	add("validation_data", c.ValidationData...)
	add("model", c.Model)
	add("tokenizer", c.Tokenizer)
	add("labels", c.Labels)
	add("net", c.Net)
	if isFile(c.Template) {
		add("template", c.Template)
	}
	return out, err
}

// isFile reports whether a value that can be a name is a file.
func isFile(s string) bool {
	info, err := os.Stat(s)
	return s != "" && err == nil && info.Mode().IsRegular()
}

func hashFile(ctx context.Context, path string) (int64, hexadecimal, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h, buf, size := sha256.New(), make([]byte, 1<<20), int64(0)
	for {
		if err := ctx.Err(); err != nil {
			return 0, "", err
		}
		n, err := f.Read(buf)
		h.Write(buf[:n])
		size += int64(n)
		if errors.Is(err, io.EOF) {
			return size, hexadecimal(hex.EncodeToString(h.Sum(nil))), nil
		}
		if err != nil {
			return 0, "", fmt.Errorf("%s: %w", path, err)
		}
	}
}

// sameInputs reports the first file that is not what it was when the run began.
func sameInputs(was, is []Input) error {
	if len(was) != len(is) {
		return fmt.Errorf("the run began with %d files, the configuration names %d", len(was), len(is))
	}
	for i := range was {
		if was[i] != is[i] {
			return fmt.Errorf("%s has changed since the run began (SHA-256 %.12s, was %.12s); a run goes on only with what it began with", is[i].Path, is[i].SHA256, was[i].SHA256)
		}
	}
	return nil
}

// byFormat divides paths into texts and JSONL.
func byFormat(paths []string) (texts, lines []string) {
	for _, p := range paths {
		if slices.Contains([]string{".jsonl", ".ndjson", ".json"}, strings.ToLower(filepath.Ext(p))) {
			lines = append(lines, p)
		} else {
			texts = append(texts, p)
		}
	}
	return texts, lines
}
