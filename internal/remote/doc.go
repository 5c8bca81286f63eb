// Package remote asks models on other people's devices, and lets others ask the
// models of this one (spec/wire.md, part 9). [New] makes the serving side from a
// [Host], [Server.Register] puts it on a node; [Client.Ask] asks, and [Play] plays
// a dispute about what was answered, at a table that [Client.Dispute] opens.
//
// A peer may say anything. The caller gives a nonce, of which the seed of the
// answer is made, and checks as the answer comes: that it keeps to what was asked,
// that its receipt is of this very request, signed by the peer that was called,
// and names the tokens that came. That the model really gives these tokens is
// for those who have the model: packages audit and dispute, which this one
// carries the messages of.
//
// It loads no models, keeps no receipts on disk, and decides nothing about who
// may call but what [Config.Allow] says.
package remote
