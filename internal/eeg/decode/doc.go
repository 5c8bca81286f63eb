// Package decode tells from an epoch of the electroencephalogram what the
// person perceived: whether a flash was the rare one (P300), or a picture a
// face (N170).
//
// [Train] makes a convolutional net of at most 5,000 parameters in the manner
// of EEGNet (Lawhern et al. 2018) from epochs that internal/eeg/signal cut; a
// [Classifier] is such a net with the recipe of its epochs, in one file.
// [TrainLDA] is the baseline that every decoder must be measured against:
// shrinkage linear discriminant analysis. [WithinPersons] and [AcrossPersons]
// measure both on the same splits, in which the tested recording is never
// trained on.
//
// spec/eeg.md defines every number to the bit. Scores order epochs; they are
// no probabilities. Nothing here tells anything about health, identity or
// thoughts.
package decode
