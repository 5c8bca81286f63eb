// Package run is what a training run is on disk: a configuration, a folder, and
// what it takes to go on after any interruption with the same bits.
//
// Start with [Defaults] of a [Kind], change the [Config] or read it with
// [Config.ReadFile], then [Start] the run in a folder of its own, or [Resume]
// one. What happens is told through [Events]. The folder holds
//
//	config.yaml      the configuration, complete: "aval train KIND --config" repeats the run
//	inputs.json      the files that were read, with their SHA-256
//	tokenizer.gguf   the vocabulary, if it was learned for the run
//	log.jsonl        a line for each step, and one for each validation
//	timing.jsonl     how fast it went, the only file with a clock
//	checkpoint.gguf  the newest state, all of it
//	best.gguf        the state with the lowest validation loss
//	checkpoints/     all of them, if they are to be kept
//	curve.svg, .png  the losses
//	report.json      the last evaluation
//	model.gguf, adapter.gguf or net.gguf: the result
//
// Every file but the logs appears in one piece or not at all, and the logs are
// cut back to the checkpoint when a run is resumed: a run that was killed at any
// moment and resumed leaves the same bytes as one that was not, but for
// timing.jsonl. The package trains nothing itself: that is what train, lm and
// net do.
package run
