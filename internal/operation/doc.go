// Package operation cuts the computation of a model into pieces so small that
// someone without the model can repeat any one of them: what a referee
// evaluates in a dispute (spec/trace.md, section 4).
//
// A cell is one layer at one position, [PlanLayer], or the choice of one token,
// [PlanOutput]. Its [Plan] is the canonical list of its operations. Each is a
// list of leaves; a leaf has a value, a short byte string, that follows from
// the inputs that [Plan.Inputs] names: leaves before it, values of other cells
// (the tree of states), ids, tiles of the model. A plan depends on the model's
// header alone, so whoever has the header proved knows which evidence to ask
// for; [Plan.Eval] computes the value, in plain Go.
//
// Whoever has the model calls [Compute] for all values of a cell: in place of
// most of the work it takes the engine's kernels, whose bits are the same.
//
// The package proves and hashes nothing but its own values, plays no game and
// does no I/O.
package operation
