package report

import "github.com/avalnetwork/aval/receipt"

// words say what one check means, to a person who has never seen its name.
// Checks that passed with the same words share one line.
type words struct {
	passed string
	failed string
	// open is for a check that could not be made: what is not known, and what
	// is needed to know it.
	open string
	// under names the check whose passing says this one's too.
	under string
}

const (
	wellFormed = "The receipt is complete, and written as it must be."
	signed     = "One device’s key signed this receipt, and nothing in it was changed since."
	question   = "The question shown here is the one that was signed."
	answer     = "The answer shown here is the one that was signed."
	expected   = "It could not be compared with what you expected."
)

// wording has every check of package receipt and internal/audit; a test finds
// those that are missing.
var wording = map[string]words{
	receipt.CheckFile: {
		passed: wellFormed, under: receipt.CheckSignature,
		failed: "This file is not a receipt, or it is damaged.",
		open:   "A part of the file could not be read.",
	},
	receipt.CheckForm: {
		passed: wellFormed, under: receipt.CheckSignature,
		failed: "The receipt is damaged: it is not written as a receipt must be.",
		open:   "The form of the receipt could not be checked.",
	},
	receipt.CheckAlgorithm: {
		passed: wellFormed, under: receipt.CheckSignature,
		failed: "The receipt is signed in a way that receipts do not allow.",
		open:   "The kind of signature could not be checked.",
	},
	receipt.CheckHeaders: {
		passed: wellFormed, under: receipt.CheckSignature,
		failed: "The receipt carries something that does not belong in one.",
		open:   "The form of the receipt could not be checked.",
	},
	receipt.CheckPayload: {
		passed: wellFormed, under: receipt.CheckSignature,
		failed: "The receipt is empty: what was signed is missing.",
		open:   "The form of the receipt could not be checked.",
	},
	receipt.CheckClaims: {
		passed: wellFormed, under: receipt.CheckSignature,
		failed: "What the receipt says is damaged or incomplete.",
		open:   "What the receipt says could not be read.",
	},
	receipt.CheckSuite: {
		passed: wellFormed, under: receipt.CheckSignature,
		failed: "The receipt follows rules that this program does not know. A newer program may know them.",
		open:   "The rules that the receipt follows could not be checked.",
	},
	receipt.CheckRanges: {
		passed: wellFormed, under: receipt.CheckSignature,
		failed: "The receipt says something impossible, or contradicts itself.",
		open:   "Whether the receipt contradicts itself could not be checked.",
	},
	receipt.CheckKey: {
		passed: signed,
		failed: "The key that signed it is not a proper one: with such a key, anyone can sign.",
		open:   "The key could not be checked.",
	},
	receipt.CheckSignature: {
		passed: signed,
		failed: "The signature does not fit: the receipt was changed after it was signed, or this key never signed it.",
		open:   "The signature could not be checked.",
	},
	receipt.CheckTime: {
		passed: "Its date lies neither in the future nor too far back.",
		failed: "Its date lies in the future, or too far back.",
		open:   "Its date was not compared with today’s.",
	},
	receipt.CheckModel: {
		passed: "The model’s file at hand is the one that the receipt names.",
		failed: "This is another model: the receipt names a different one.",
		open:   "No model’s file was at hand to compare with the one that the receipt names.",
	},
	receipt.CheckAdapters: {
		passed: "The adapters at hand are the ones that the receipt names, with its scales.",
		failed: "The adapters are not the ones that the receipt names, or have other scales.",
		open:   "Adapters changed the model, and their files were not at hand.",
	},
	receipt.CheckSigner: {
		passed: "The key is that of the device you expected.",
		failed: "Another device signed it: the key is not the one you expected.",
		open:   "Whose key it is. " + expected,
	},
	receipt.CheckParams: {
		passed: "The settings are the ones you asked for.",
		failed: "The settings are not the ones you asked for.",
		open:   "The settings. " + expected,
	},
	receipt.CheckSeed: {
		passed: "The random numbers come from the value you expected.",
		failed: "The random numbers do not come from the value you expected.",
		open:   "Where the random numbers come from. " + expected,
	},
	receipt.CheckTranscript: {
		passed: "What is shown here belongs to this receipt.",
		failed: "What is shown is not what was signed: the question or the answer was exchanged or changed.",
		open:   "The question and the answer are hidden, so they were not compared with what was signed.",
	},
	receipt.CheckSource: {
		passed: question,
		failed: "The question shown is not the one that was signed.",
		open:   "The question is hidden. It was not compared with the one that was signed.",
	},
	receipt.CheckBias: {
		passed: "The favoured or forbidden words are the ones that were signed.",
		failed: "The favoured or forbidden words are not the ones that were signed.",
		open:   "Some words were favoured or forbidden; which ones is hidden.",
	},
	receipt.CheckExtra: {
		passed: "The extra rules for the answer are the ones that were signed.",
		failed: "The extra rules for the answer are not the ones that were signed.",
		open:   "There were extra rules for the answer, such as words to stop at; they are hidden.",
	},
	receipt.CheckPrompt: {
		passed: "The question, as the model read it, is the one that was signed.", under: receipt.CheckSource,
		failed: "The question, as the model read it, is not the one that was signed.",
		open:   "How the model read the question, piece by piece, is hidden.",
	},
	receipt.CheckOutput: {
		passed: "The answer, as the model wrote it, is the one that was signed.", under: receipt.CheckText,
		failed: "The answer, as the model wrote it, is not the one that was signed.",
		open:   "How the model wrote the answer, piece by piece, is hidden.",
	},
	receipt.CheckText: {
		passed: answer,
		failed: "The answer shown is not the one that was signed.",
		open:   "The answer is hidden. It was not compared with the one that was signed.",
	},
	receipt.CheckStop: {
		passed: "The answer ends as the receipt says.", under: receipt.CheckText,
		failed: "The answer does not end as the receipt says.",
		open:   "How the answer ended could not be compared.",
	},
	receipt.CheckPromptRange: {
		passed: "The parts of the question that are shown are the ones that were signed.",
		failed: "A shown part of the question is not the one that was signed.",
		open:   "Parts of the question are hidden.",
	},
	receipt.CheckOutputRange: {
		passed: "The parts of the answer that are shown are the ones that were signed.",
		failed: "A shown part of the answer is not the one that was signed.",
		open:   "Parts of the answer are hidden.",
	},
	receipt.CheckTrace: {
		passed: "The record of the computation is the one that was signed.",
		failed: "The record of the computation is not the one that was signed.",
		open:   "The receipt also vouches for a record of every step of the computation. That record was not looked at.",
	},
	receipt.CheckSeal: {
		passed: "The sealed copy in the file is whole and belongs to this receipt.",
		failed: "The sealed copy in the file is damaged, or belongs to another receipt.",
		open:   "The file has a sealed copy that only its addressee can open.",
	},
	// Those of internal/audit.
	"rendering": {
		passed: "The model was asked exactly the question shown here.",
		failed: "The model was asked something else than the question shown here.",
		open:   "Whether the model was asked exactly the question shown here.",
	},
	"context": {
		passed: "The model was opened as the receipt requires.",
		failed: "There are more word pieces than the model was set up to take.",
		open:   "The model was not opened as the receipt requires.",
	},
	"answer": {
		passed: "Put together, the word pieces give this text, and it ends where the receipt says.",
		failed: "Put together, the word pieces give another text, or it ends elsewhere.",
		open:   "Whether the word pieces, put together, give this text.",
	},
	receipt.CheckComputation: {
		passed: "This model, with this question and these settings, gives exactly this answer: all of it was computed again.",
		failed: "This model does not give this answer.",
		open:   "Whether the model really gives this answer: it was not computed again.",
	},
}

// wordsOf gives the words for a check. One without words is a mistake that a
// test finds; until then a report says what it can.
func wordsOf(name string) words {
	if w, ok := wording[name]; ok {
		return w
	}
	name = clean(name)
	return words{
		passed: "The check “" + name + "” passed.",
		failed: "The check “" + name + "” failed.",
		open:   "The check “" + name + "” was not made.",
	}
}
