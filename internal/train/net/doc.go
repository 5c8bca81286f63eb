// Package net trains and runs small nets: layers one after the other, with
// exact arithmetic in both directions (spec/training.md). They learn from
// examples of numbers, classes or vectors.
//
// Describe a net by a [Spec], make it by [New] (random weights, a function of a
// seed) or [Read] (a GGUF file that [Net.Write] wrote). A [Net] is a
// train.Learner: give it to train.NewTrainer. [Net.Forward] computes outputs.
// [Quantize] turns a trained net into one of int8 weights and exact integer
// sums, which [Int8.Write] saves.
//
// It has no graph, no branches and no automatic differentiation: every layer's
// backward pass is written by hand beside its forward pass. Language models are
// package lm's.
package net
