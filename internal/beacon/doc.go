// Package beacon draws the randomness that decides which receipts are opened and
// who audits: signatures by a threshold of the validators, on BLS12-381
// (spec/beacon.md). It is pure; the ledger is the board on which validators
// publish, and the consensus carries their shares.
//
// A validator derives its [Secret] from its node key ([NewSecret]) and publishes
// a [Registration]. The ledger makes a [Group] of the registered. Each member
// publishes a [Dealing] ([Group.Deal], [Group.Check]); who was dealt a wrong
// share publishes a [Complaint] ([Group.Complain], [Group.Judge]); after that
// [Group.Combine] makes the [Key] of the dealings that stand, and the members
// confirm that they have their shares of it ([Signer.Confirm],
// [Key.CheckConfirmation]). Once [Group.Enough] have, the key serves. Nothing
// secret is stored: [Key.Signer] computes a member's share from the key's bytes
// and its own secret. Other validators make another group, and until its key
// serves the old one does. A validator alone is a group of one.
//
// In each round, the height of a block, members sign ([Signer.Sign]) and check
// the shares of others ([Key.VerifyShare]); a threshold of them gives the
// signature ([Key.Recover]), everybody can verify that ([NewVerifier],
// [Verifier.Verify]), and its hash is the round's randomness
// ([Signature.Output]).
//
// Of the power less than a third may be faulty, as in the consensus. Of n members
// these can be f at most: (n-1)/3 if all have the same power. The threshold is
// t = n-2f, and [NewGroup] refuses powers with which t would not be more than f.
//
//   - No coalition of fewer than t predicts an output, and so not that of all the
//     faulty: it would have to forge a BLS signature. A key has t dealings or
//     more, so there is one that such a coalition doesn't know.
//   - Nobody biases it. The signature of a round is unique, so who recovers it
//     can't choose among several. The last dealer can choose among public keys,
//     but knows the outputs of none, so it can't choose outputs.
//   - Nobody withholds it. Those who didn't vote for a block have less than a
//     third of the power, and those who didn't confirm the key too: f members at
//     most each. The vote of one that has confirmed counts only with its share:
//     so each block brings t shares. Whoever leaves a signature out of a block
//     delays it: a draw must name its round, so that a late output is the same
//     output.
//
// A coalition of t or more knows each output in advance, and can arrange what is
// drawn about. It can choose outputs only by choosing the key: if one of it deals
// last, it knows what each of its dealings would lead to. Whoever carries shares
// must hold [Share.Member] to who sent it.
//
// Shares of a round become known while its block is decided, and that decision
// may fall on another block of the same height. So an output must only decide
// about what was settled before its round: what is in blocks below its height.
//
// The library's arithmetic doesn't take constant time; numbers that are secret
// are split before they meet it, so that its time depends on others for each
// input. The package has no clock, network or disk, and draws no randomness.
package beacon
