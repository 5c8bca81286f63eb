package grammar

// Limits. Schemas and GBNF texts come from the network.
const (
	maxSource    = 1 << 20 // bytes of a schema or GBNF text
	maxNesting   = 128     // levels of groups, of schema values, and of inlined rules
	maxRepeat    = 1 << 30 // largest finite number in {m,n}, minLength, maxItems, ...
	maxEmpty     = 1_000   // the same for what may be empty
	maxRules     = 20_000
	maxStates    = 200_000 // automaton states
	maxExprs     = 200_000 // parts of a grammar before compilation
	maxAlts      = 1_000   // combinations that anyOf beside other keywords leads to
	maxSchemas   = 50_000  // parts of a schema, counted again in each alternative
	maxProps     = 5_000   // properties of an object in a schema, and names in required
	maxDigits    = 64      // digits and exponent of a bound in a schema
	maxName      = 200     // characters of a property name beside additionalProperties
	maxDepth     = 512     // stack frames while matching, about the depth of nesting
	maxElems     = 1 << 15 // pairs in one configuration
	maxWork      = 1 << 24 // pairs visited for one mask
	maxTable     = 1 << 23 // entries of a State's transition table, four bytes each
	maxMasks     = 64      // finished masks a State keeps
	maxVocab     = 1 << 22
	maxPiece     = 1 << 12 // bytes of one vocabulary piece
	shortPiece   = 16      // pieces up to this many bytes are in the first trie
	expandRepeat = 64      // a repetition with fewer parts than this is written out
	inlineSize   = 40      // rules smaller than this, without loops, are inlined
)
