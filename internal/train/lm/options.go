package lm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/tensor"
)

// Options of [Open] and [Init]. The zero value trains all parameters, with one
// thread a processor and the context that the model was trained for.
type Options struct {
	// LoRA, if not nil, freezes the model and trains low-rank updates of some
	// of its matrices. If it is nil all tensors are trained, as F32.
	LoRA *LoRA
	// Context is the number of positions that an example may have, its tokens
	// less one; 0 means what the model was trained for. As in the engine it
	// changes bits in one architecture only, phi3.
	Context int
	// Recompute keeps only what enters each layer and computes the layer a
	// second time on the way back (gradient checkpointing, Chen et al. 2016).
	// It takes a third more time, a fraction of the memory, and changes no bit.
	Recompute bool
	// Threads is the number of threads; 0 means one a processor. It changes no
	// bit.
	Threads int
	// Kernel names the implementation of the arithmetic (kernel.Named); empty
	// means the best. It changes no bit.
	Kernel string
}

// LoRA says what is trained beside a frozen model.
type LoRA struct {
	// Rank is the number of rows of A, 1 to adapter.MaxRank.
	Rank int
	// Alpha divided by Rank is the factor of the update; 0 means twice the
	// rank.
	Alpha float32
	// Targets are the matrices that get an update, by the middle of their
	// names: "attn_q" stands for blk.0.attn_q.weight and so on, "all" for every
	// matrix of the layers, "output" for that of the logits, where the model
	// has one of its own. In phi3, which has queries, keys and values in one,
	// attn_q, attn_k and attn_v each stand for attn_qkv. Empty means
	// [DefaultTargets].
	Targets []string
	// Seed is that of the random numbers in A; B begins with zeros, so that
	// the model is unchanged at first.
	Seed uint64
	// From, if not nil, is an adapter to go on with. Rank, Alpha and Targets
	// must be zero then, as it has its own.
	From *adapter.Adapter
}

// DefaultTargets are the matrices of queries and values, which the authors of
// LoRA found to do most (Hu et al. 2021, section 7.1).
var DefaultTargets = []string{"attn_q", "attn_v"}

// maxThreads bounds Options.Threads.
const maxThreads = 1024

func (o *Options) validate() error {
	if o.Threads < 0 || o.Threads > maxThreads {
		return fmt.Errorf("training: %d threads, want 0 to %d", o.Threads, maxThreads)
	}
	if o.Context < 0 || o.Context > model.MaxContext {
		return fmt.Errorf("training: a context of %d positions, want 0 to %d", o.Context, model.MaxContext)
	}
	l := o.LoRA
	if l == nil {
		return nil
	}
	if l.From != nil {
		if l.Rank != 0 || l.Alpha != 0 || len(l.Targets) != 0 {
			return fmt.Errorf("training: rank, alpha and targets are those of the adapter to go on with, and cannot be set too")
		}
		return nil
	}
	if l.Rank < 1 || l.Rank > adapter.MaxRank {
		return fmt.Errorf("training: rank %d, want 1 to %d", l.Rank, adapter.MaxRank)
	}
	if !(l.Alpha >= 0 && l.Alpha <= 1<<20) {
		return fmt.Errorf("training: alpha is %v, want a number from 0 to %d", l.Alpha, 1<<20)
	}
	return nil
}

// wants tells whether a matrix gets an update, by the name of its tensor.
func (l *LoRA) wants(tensor string) bool {
	targets := l.Targets
	if len(targets) == 0 {
		targets = DefaultTargets
	}
	name := strings.TrimSuffix(tensor, ".weight")
	rest, inLayer := strings.CutPrefix(name, "blk.")
	if inLayer {
		_, name, _ = strings.Cut(rest, ".")
	}
	return slices.ContainsFunc(targets, func(t string) bool {
		whole := name == "attn_qkv" && (t == "attn_q" || t == "attn_k" || t == "attn_v")
		return t == name || whole || t == "all" && inLayer
	})
}

// newMachine makes the threads that the options ask for.
func (o *Options) newMachine() (*tensor.Machine, error) {
	k, err := kernel.Named(o.Kernel)
	if err != nil {
		return nil, err
	}
	return tensor.New(threads(o.Threads), k), nil
}
