// Package dispute decides who is wrong when somebody computed a receipt again
// and found something else: a game of messages between a prover, a challenger
// and a referee who has no model (spec/dispute.md).
//
// What the prover committed to convicts it: a leaf of its own trees that is not
// the function of its own committed inputs is a [Proof] of fraud by itself, and
// an honest prover has no such leaf. [Judge] checks such a proof by evaluating
// the one leaf. The game around it only makes the prover show enough of its
// trees for a challenger to find that leaf: [NewReferee], [NewProver] and
// [NewChallenger] are its three machines. A prover that hands its trees over
// ([ServeTrace], [ServeCell]) needs no game; [Accuse] makes the proof at once.
//
// The machines are pure: no clock, goroutine or I/O. Whoever runs them gives
// every message that the referee takes to all three, in the same order, the
// sender's own included, tells them how much time passes, and sends what a
// party's Move returns to the referee. What is computed, and how a leaf is
// evaluated, comes in through [Run] and [Plan]; what a party knows, through
// [Source] and [Witness].
package dispute
