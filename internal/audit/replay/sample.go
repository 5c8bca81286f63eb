package replay

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt/training"
)

// Stretch is the steps From to To-1 between two neighbouring checkpoints.
type Stretch struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// span is a stretch with the states at its ends.
type span struct{ from, to training.Checkpoint }

// spans lists the stretches between the checkpoints that are shown.
func spans(o *training.Opening) []span {
	var out []span
	for _, run := range o.Points() {
		for i := 1; i < len(run); i++ {
			out = append(out, span{run[i-1], run[i]})
		}
	}
	slices.SortFunc(out, func(a, b span) int { return a.from.Step - b.from.Step })
	return slices.CompactFunc(out, func(a, b span) bool { return a.from.Step == b.from.Step })
}

// Choose draws n of all stretches without replacement (Floyd's algorithm;
// Bentley 1987): the same ones for everybody who knows the receipt and the
// random number, which must come after the receipt. They are in ascending order.
func Choose(receipt training.Hash, random [32]byte, all, n int) []int {
	n = min(n, all)
	var list []int
	chosen := map[int]bool{}
	for j := all - n; j < all; j++ {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(j))
		h := canon.Sum("aval training audit/1", receipt[:], random[:], b[:])
		hi, _ := bits.Mul64(binary.LittleEndian.Uint64(h[:8]), uint64(j)+1) // 0 to j
		t := int(hi)
		if chosen[t] {
			t = j
		}
		chosen[t] = true
		list = append(list, t)
	}
	slices.Sort(list)
	return list
}

// Chance is the probability that a sample of so many of all stretches holds one
// of the wrong ones.
func Chance(all, wrong, sample int) float64 { return audit.Detection(all, wrong, sample) }

// claim says what it means that nothing is wrong with what was computed.
func claim(steps, stretches, all int, byChance bool) string {
	switch {
	case stretches >= all:
		return fmt.Sprintf("all %d steps were computed again, and every number is equal", steps)
	case !byChance:
		return fmt.Sprintf("%d steps were computed again, %d of %d stretches, and every number is equal; the others were not looked at", steps, stretches, all)
	}
	tenth := max((all+9)/10, 1)
	return fmt.Sprintf("%d steps were computed again, %d of %d stretches, and every number is equal; had one stretch been wrong, it would have been found with probability %.4f; had %d been wrong, with %.4f",
		steps, stretches, all, Chance(all, 1, stretches), tenth, Chance(all, tenth, stretches))
}
