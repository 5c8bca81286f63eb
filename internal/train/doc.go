// Package train is the machine that trains: parameters, optimisers, schedules,
// the order of the examples, checkpoints and the step log. Every step is
// exact: the same configuration, data and starting parameters give the same
// bits on every machine and with any number of threads, so that a stretch of
// steps can be executed again and compared (spec/training.md).
//
// Implement [Learner] for what is trained (packages net and lm do) and [Data]
// for the examples, fill in a [Config], call [NewTrainer] and then
// [Trainer.Step] until [Trainer.Done] is [Config.Steps]. [Trainer.WriteTo] writes
// a checkpoint, [OpenCheckpoint] and [Trainer.Restore] take it back: the run
// goes on with the same bits. [Trainer.Root] is the hash of everything that a
// checkpoint holds. Keep the [StepRecord] of every step in a [Log].
//
// The package has no clock, opens no file, prints nothing and starts no
// goroutine: the threads are those of the tensor.Machine. When to stop early,
// when to evaluate and where to save are up to the caller.
package train
