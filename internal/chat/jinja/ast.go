package jinja

// Expressions.
type (
	expr any

	constant struct{ val Value }
	name     struct{ id string }
	nsAttr   struct{ ns, attr string } // only as a target of set
	tupleLit struct{ items []expr }
	listLit  struct{ items []expr }
	dictLit  struct{ keys, vals []expr }
	attr     struct {
		x    expr
		name string
	}
	item struct{ x, index expr }
	// slicing has nil where a bound is left out.
	slicing struct{ from, to, step expr }
	call    struct {
		fn   expr
		args arguments
	}
	// filter and test have no x where they apply to a block.
	filter struct {
		x    expr
		name string
		args arguments
		line int
	}
	test struct {
		x    expr
		name string
		args arguments
		line int
	}
	unary struct {
		op string // "-", "+" or "not"
		x  expr
	}
	binary struct {
		op   string // arithmetic, "and" or "or"
		l, r expr
	}
	concat  struct{ items []expr }
	compare struct {
		x   expr
		ops []comparison
	}
	comparison struct {
		op string
		x  expr
	}
	// ternary has a nil no where else is left out.
	ternary struct{ cond, yes, no expr }
)

// arguments of a call; rest and kwRest stand for *x and **x.
type arguments struct {
	pos          []expr
	kw           []kwArg
	rest, kwRest expr
}

type kwArg struct {
	name string
	x    expr
}

// Statements.
type (
	stmt any

	output struct {
		items []expr // a textPiece or an expression each
		lines []int
	}
	textPiece string
	assign    struct {
		target, x expr
		line      int
	}
	assignBlock struct {
		target expr
		filter expr // a chain of filters, or nil
		body   *scopeBody
		line   int
	}
	ifStmt struct {
		cond expr
		body []stmt
		// elifs have no elifs or else of their own.
		elifs []*ifStmt
		els   []stmt
		line  int
	}
	forStmt struct {
		target, iter, cond expr
		recursive          bool
		body, els          *scopeBody
		line               int
	}
	macroDef struct {
		name   string // empty for a call block
		params []string
		// defaults belong to the last parameters.
		defaults []expr
		body     *scopeBody
		// which of the special names the body reads without setting them
		caller, kwargs, varargs bool
		line                    int
	}
	callBlock struct {
		def  *macroDef
		call *call
		line int
	}
	filterBlock struct {
		filter expr
		body   *scopeBody
		line   int
	}
	withStmt struct {
		targets, vals []expr
		body          *scopeBody
		line          int
	}
	// block sees the template's top-level variables only.
	block struct {
		body *scopeBody
		line int
	}
	// generation is a macro without a name that is called where it stands.
	generation struct {
		def  *macroDef
		line int
	}
	loopControl struct {
		breaks bool
		line   int
	}
	unsupported struct {
		what string
		line int
	}
)

// scopeBody is a list of statements with variables of its own.
type scopeBody struct {
	stmts []stmt
	// hidden names are set somewhere in this body before they are read and
	// known nowhere around it: they start undefined even where the caller
	// passed a variable of that name.
	hidden []string
}
