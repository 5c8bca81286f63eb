package sample_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/avalnetwork/aval/internal/sample"
)

// TestGolden pins tokens and log probabilities, bit for bit, so that every
// architecture is compared with the one this was recorded on.
func TestGolden(t *testing.T) {
	const want = "6ab6f24008d83bb7ea9b700a332d39cb9246b3f44241782253629d754dcfc946"
	h := sha256.New()
	r := rand.New(rand.NewPCG(11, 12))
	logits := make([]float32, 3000)
	history := make([]int32, 200)
	var b []byte
	for round := range 300 {
		for i := range logits {
			logits[i] = float32(r.Float32()*24) - 12
		}
		for i := range history {
			history[i] = int32(r.IntN(len(logits)))
		}
		p := sample.Params{
			Temperature:      []float32{0, 0.3, 1, 1.7}[round%4],
			TopK:             []int{0, 40, 0}[round%3],
			TopP:             []float32{0, 0.95, 0.5, 0, 0.9}[round%5],
			MinP:             []float32{0, 0.05}[round/2%2],
			RepeatPenalty:    []float32{0, 1.1}[round/4%2],
			FrequencyPenalty: 0.1,
			RepeatLastN:      -1,
			LogitBias:        map[int32]float32{7: 3.3},
			Seed:             uint64(round),
		}
		id, err := mustNew(t, p, len(logits)).Sample(logits, history, round*1000, nil)
		if err != nil {
			t.Fatal(err)
		}
		one, top, err := sample.Logprobs(nil, logits, id, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range append(top, one) {
			b = binary.LittleEndian.AppendUint32(b[:0], uint32(l.ID))
			h.Write(binary.LittleEndian.AppendUint64(b, math.Float64bits(l.Logprob)))
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}
