// Package payment is what is said between who pays for answers and who gives
// them: vouchers for a session of the ledger, each for more than the one before
// (spec/ledger.md, part 12). [Purse] signs them on the payer's side, as tokens
// come; [Till] takes them on the node's and says what they cover. Both are
// bounded by one step: the node gives nothing that is not paid for, and the
// payer pays for nothing but what it has and the next few tokens.
//
// It knows no ledger, no call and no file: [Terms] come from who has them, and
// vouchers are carried and kept by others.
package payment
