package operation

import "github.com/avalnetwork/aval/internal/model"

// PlanChoice is the plan of an output cell from its logits on, which stand in
// the place of x.
func PlanChoice(vocab int, logitCap float32, c OutputCell) (*Plan, error) {
	b := newBuilder(&model.Description{Config: model.Config{Dim: vocab, KVHeads: 1, HeadDim: 1}, LogitCap: logitCap}, nil)
	b.choose(vector{in: Input{Kind: X}, layout: tiles(vocab), n: vocab}, c)
	return b.done()
}
