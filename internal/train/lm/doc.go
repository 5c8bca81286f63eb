// Package lm trains language models: every architecture that internal/model
// runs, all parameters or a low-rank adapter on a frozen and perhaps quantised
// model (LoRA, Hu et al. 2021). Call [Open] for a GGUF file, or [Init] for a
// model that begins with random numbers; [Model] is a train.Learner, for
// train.NewTrainer. Afterwards [Model.Export] writes a GGUF file and
// [Model.Adapter] gives what was trained beside a frozen model.
//
// The forward pass is that of the engine: for the same weights the logits have
// the same bits, with quantised activations, keys and values in f16 and all.
// The backward pass is written by hand, layer.go beside backward.go. Every sum
// has one order (spec/training.md, part 4), so that a step gives the
// same bits with any number of threads, on any processor, with activations kept
// or computed twice, and however the examples are cut into micro-batches.
//
// The package does not read text, choose examples or change a parameter: those
// are internal/dataset and internal/train.
package lm
