// Package record keeps, while a run trains, what its training receipt will
// state: the records of the steps, the roots of the checkpoints, commitments to
// the examples. Call [New] before the first step, [Recorder.Add] after every
// step and [Recorder.Finish] at the end; [Recorder.MarshalBinary] and [Resume]
// take a recorder across an interruption.
//
// [Subject] is the other side: what a run was made of, as somebody who checks
// its receipt has it. internal/audit/replay computes steps of one again.
//
// The package reads no clock; it opens only the file of a result. It decides
// nothing about the run.
package record
