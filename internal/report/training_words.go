package report

import (
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

const settings = "What was trained, and how, is what was signed."

// CheckAtHand is the name of the check that compares the file of a result that
// somebody has with the one that a training receipt names. It is made by who has
// the file.
const CheckAtHand = "file at hand"

// trainingWording has the checks of package receipt/training and of
// internal/audit/replay; those of the signed form are in wording.
var trainingWording = map[string]words{
	training.CheckBase: {
		passed: "The model that the training began with is the one you expected.",
		failed: "The training began with another model than the one given here.",
		open:   "Which model the training began with. " + expected,
	},
	training.CheckData: {
		passed: "The examples given here are the ones that the receipt stands for.",
		failed: "The examples given here are not the ones that the receipt stands for.",
		open:   "The examples could not be compared with those of the training.",
	},
	training.CheckResult: {
		passed: "The file that the receipt names is what the training led to.",
		failed: "The file that the receipt names is not what the training led to.",
		open:   "Whether the training led to the file that the receipt names.",
	},
	CheckAtHand: {
		passed: "The file of the result at hand is the one that the receipt names.",
		failed: "The file of the result at hand is not the one that the receipt names. It was changed, or is that of another training.",
		open:   "Whether the file of the result at hand is the one that the receipt names.",
	},
	training.CheckNonce: {
		passed: "The training was made for your order: its random numbers come from your value.",
		failed: "The training was not made for your order: an older receipt, or another one.",
		open:   "Whether the training was made for your order.",
	},
	training.CheckSetup: {
		passed: settings,
		failed: "What was trained is not what was signed.",
		open:   "What exactly was trained is hidden.",
	},
	training.CheckConfig: {
		passed: settings,
		failed: "The settings of the training are not the ones that were signed, or not possible.",
		open:   "The settings of the training are hidden. They were not compared.",
	},
	training.CheckCheckpoints: {
		passed: "The list of saved states on the way is the one that was signed.",
		failed: "The list of saved states is not the one that was signed, or has a gap.",
		open:   "The saved states on the way are hidden.",
	},
	training.CheckLog: {
		passed: "The record of the steps is the one that was signed.",
		failed: "The record of the steps is not the one that was signed, or has a gap.",
		open:   "The record of the steps is hidden.",
	},
	training.CheckLogRange: {
		passed: "The steps that are shown are the ones that were signed.",
		failed: "A step that is shown is not the one that was signed.",
		open:   "Some steps are hidden.",
	},
	training.CheckPointRange: {
		passed: "The saved states that are listed are the ones that were signed.",
		failed: "A saved state that is listed is not the one that was signed.",
		open:   "Some saved states are hidden.",
	},
	training.CheckValidation: {
		passed: "The examples for the test at the end are the ones that the receipt stands for.",
		failed: "The examples for the test at the end are not the ones that the receipt stands for.",
		open:   "The examples for the test at the end could not be compared.",
	},
	training.CheckRates: {
		passed: "The speed of learning at every step is the one that the settings give.",
		failed: "The speed of learning is not the one that the settings give.",
		open:   "The speed of learning could not be compared.",
	},
	training.CheckStart: {
		passed: "What was computed again began with the state that was signed.",
		failed: "The training did not begin with what the receipt says, or a saved state given here is another one.",
		open:   "The state at the beginning could not be compared.",
	},
	training.CheckSteps: {
		passed: "Every step that was computed again has the numbers that were signed.",
		failed: "A step, computed again, gives other numbers than the ones that were signed.",
		open:   "The steps were not computed again.",
	},
	training.CheckState: {
		passed: "The steps lead to the state that was signed.",
		failed: "The steps do not lead to the state that was signed: something was changed in between.",
		open:   "Where the steps lead was not compared.",
	},
	training.CheckEvaluation: {
		passed: "The test at the end was made again, with the same result.",
		failed: "The test at the end, made again, has another result.",
		open:   "The test at the end was not made again.",
	},
	training.CheckComputation: {
		passed: "The training was computed again, and every number is equal.",
		failed: "The training, computed again, gives something else.",
		open:   "Whether these steps lead to this result: nothing was computed again.",
	},
}

// trainingWords gives the words for a check of a training receipt.
func trainingWords(name string) words {
	if w, ok := trainingWording[name]; ok {
		return w
	}
	return wordsOf(name)
}

// trainingBounds says what no training receipt shows.
func trainingBounds() []string {
	return []string{
		"That the examples were good, lawful or true. It only holds them to one list.",
		"That there was no other training. Whoever trains can try many times and show one.",
		"That this device did the work itself, or that its clock was right.",
		"Who sat at the device. It shows a key, not a person.",
	}
}

// misfit names the checks that fail if something else was given than the receipt
// is about, with what to say then.
var misfit = map[string][2]string{
	training.CheckBase: {
		"This is another base model",
		"The receipt names a different model than the one given here. If you were told that this one was trained further, that is not so. If you took the wrong file, take the right one.",
	},
	training.CheckData: {
		"These are other examples",
		"The receipt stands for different examples than the ones given here. If you were told that it was trained on these, that is not so. If you took the wrong files, take the right ones.",
	},
	receipt.CheckSuite: {"Could not be checked", wording[receipt.CheckSuite].failed},
}
