package report

// Words gives the words of a check to the tests.
func Words(name string) (passed, failed, open string, ok bool) {
	w, ok := wording[name]
	return w.passed, w.failed, w.open, ok
}
