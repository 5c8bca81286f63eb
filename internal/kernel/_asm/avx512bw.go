package main

// setAVX512BW emits what AVX-512 without VNNI needs in place of the functions
// of AVX-512 with it.
func setAVX512BW() {
	tileSet(unit{suffix: "AVX512BW", wide: true})
}
