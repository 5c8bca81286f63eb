package main

// setAVX2 emits the functions of AVX2 with F16C.
func setAVX2() {
	tileSet(unit{suffix: "AVX2"})
}
