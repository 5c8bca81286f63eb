package replay

import (
	"encoding/binary"
	"fmt"
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

// span is a stretch with the states at its ends, and its number: it is the one
// between entries index and index+1 of the list of checkpoints.
type span struct {
	index    int
	from, to training.Checkpoint
}

// spans lists the stretches whose ends are shown, in ascending order.
func spans(o *training.Opening) []span {
	var out []span
	add := func(first int, entries []training.Entry) {
		for i := 1; i < len(entries); i++ {
			from, err1 := entries[i-1].Checkpoint()
			to, err2 := entries[i].Checkpoint()
			if err1 == nil && err2 == nil { // they were checked
				out = append(out, span{first + i - 1, from, to})
			}
		}
	}
	if o.Checkpoints != nil {
		add(0, o.Checkpoints.Entries)
	} else {
		for i := range o.PointRanges {
			add(o.PointRanges[i].From, o.PointRanges[i].Entries)
		}
	}
	slices.SortFunc(out, func(a, b span) int { return a.index - b.index })
	return slices.CompactFunc(out, func(a, b span) bool { return a.index == b.index })
}

// Choose draws n of all stretches without replacement: the same ones for
// everybody who knows the receipt and the random number, which must come after
// the receipt. They are in ascending order.
func Choose(receipt training.Hash, random [32]byte, all, n int) []int {
	return audit.Draw(all, n, func(j uint64) uint64 {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], j)
		h := canon.Sum("aval training audit/1", receipt[:], random[:], b[:])
		return binary.LittleEndian.Uint64(h[:8])
	})
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
