// Package grammar keeps a model's output inside a formal language: before each
// token it tells which tokens may come next.
//
// Get a [Grammar] from a JSON schema ([FromJSONSchema]), from a GBNF text
// ([FromGBNF]) or for any JSON object ([JSON]). Build a [Vocabulary] once per
// model and a [Matcher] once per grammar and model; both are safe for
// concurrent use. Then, for each sequence, [Matcher.NewState], and in turn
// [State.Mask] and [State.Accept].
//
// How it works. A grammar is compiled to automata over bytes, one a rule, that
// call each other; a rule that calls itself needs a stack. What has been
// written so far leads to a set of pairs (automaton state, stack), a
// configuration; transitions between configurations are found when first
// needed and kept. The tokens that a pair allows without leaving its rule do
// not depend on its stack: they are found once per automaton state, by a walk
// of the vocabulary's trie, and shared by all sequences; only tokens that run
// over the end of the rule are looked at again for each stack.
//
// Whitespace in JSON: none is needed; one space, or a line break and up to
// twenty spaces or tabs, may follow "{", "[" and "," and precede "}" and "]",
// one space may follow ":", and nothing else is allowed anywhere, so a model
// cannot go on writing blanks for ever.
//
// The package does not see logits, does not choose tokens and does not check
// a finished text against a schema.
package grammar
