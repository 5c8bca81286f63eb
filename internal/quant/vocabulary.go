package quant

import "fmt"

// The token kinds that a SentencePiece vocabulary in a GGUF file has.
const (
	kindNormal  int32 = 1
	kindUnknown int32 = 2
	kindControl int32 = 3
	kindByte    int32 = 6
)

// vocabulary is a SentencePiece vocabulary as GGUF stores it.
type vocabulary struct {
	pieces []string
	scores []float32
	kinds  []int32
}

func (v *vocabulary) add(piece string, score float32, kind int32) {
	v.pieces = append(v.pieces, piece)
	v.scores = append(v.scores, score)
	v.kinds = append(v.kinds, kind)
}

// makeVocabulary makes up n pieces that can spell any text: the control pieces,
// all bytes, all printable ASCII characters, then runs of letters in order of
// length, each with and without a word start before it. Shorter runs have
// higher scores, so merging always goes through pieces that exist.
func makeVocabulary(n int) vocabulary {
	const wordStart = "\u2581"
	var v vocabulary
	v.add("<unk>", 0, kindUnknown)
	v.add("<s>", 0, kindControl)
	v.add("</s>", 0, kindControl)
	for b := range 256 {
		v.add(fmt.Sprintf("<0x%02X>", b), 0, kindByte)
	}
	add := func(piece string) {
		v.add(piece, -float32(len(v.pieces)-259), kindNormal)
	}
	add(wordStart)
	for c := '!'; c <= '~'; c++ {
		add(string(c))
	}
	for c := 'a'; c <= 'z'; c++ {
		add(wordStart + string(c))
	}
	for length := 2; len(v.pieces) < n; length++ {
		run := make([]byte, length)
		for i := range run {
			run[i] = 'a'
		}
		for more := true; more && len(v.pieces) < n; more = nextRun(run) {
			add(string(run))
			if len(v.pieces) < n {
				add(wordStart + string(run))
			}
		}
	}
	return v
}

// nextRun steps to the next run of letters of the same length, if there is one.
func nextRun(run []byte) bool {
	for i := len(run) - 1; i >= 0; i-- {
		if run[i] < 'z' {
			run[i]++
			return true
		}
		run[i] = 'a'
	}
	return false
}
