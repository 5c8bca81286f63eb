package report

// Words gives the words of a check to the tests.
func Words(name string) (passed, failed, open string, ok bool) {
	w, ok := wording[name]
	return w.passed, w.failed, w.open, ok
}

// TrainingWords is Words for the checks of training receipts.
func TrainingWords(name string) (passed, failed, open string, ok bool) {
	w, ok := trainingWording[name]
	if !ok {
		w, ok = wording[name]
	}
	return w.passed, w.failed, w.open, ok
}
