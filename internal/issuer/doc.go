// Package issuer makes the receipts of answers: it turns what an engine was
// asked and what it answered into a signed [receipt.File].
//
// Open the node's key with [LoadKey] and the model's identity with [Identify],
// and make an [Issuer] for each model in memory. For each answer call
// [Issuer.Begin] on the request, which also settles the seed, generate, and
// hand the result to [Draft.Finish]. [Draft.File] is the receipt.
//
// Making a receipt costs the answer nothing: a draft only keeps what the
// receipt will commit to, and hashes and signs when it is first asked for. The
// identity of a model takes as long as reading its file once, and is computed
// beside the answers.
//
// The package checks no receipts (package receipt and internal/audit do), keeps
// none, and reads no environment.
package issuer
