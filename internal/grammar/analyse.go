package grammar

import "fmt"

// Passes over the automata after they are built.

// checkLeftRecursion refuses rules that call themselves before they read a
// byte: matching them would not end.
func (g *Grammar) checkLeftRecursion() error {
	nulls := g.nullRules()
	const (
		open = 1
		done = 2
	)
	mark := make([]uint8, len(g.rules))
	var visit func(r int32, depth int) error
	visit = func(r int32, depth int) error {
		if mark[r] == done {
			return nil
		}
		if mark[r] == open {
			return fmt.Errorf("grammar: rule %q refers to itself before it reads anything (left recursion); "+
				"rewrite it with a repetition", g.rules[r].name)
		}
		if depth > maxRules {
			return fmt.Errorf("grammar: rules start with each other more than %d deep", maxRules)
		}
		mark[r] = open
		for _, callee := range g.firstCalls(r, nulls) {
			if err := visit(callee, depth+1); err != nil {
				return err
			}
		}
		mark[r] = done
		return nil
	}
	for r := range g.rules {
		if err := visit(int32(r), 0); err != nil {
			return err
		}
	}
	return nil
}

// reach calls visit once for each state that a rule gets to without reading.
func (g *Grammar) reach(r int32, nulls []bool, visit func(s int32)) {
	seen := map[int32]bool{}
	work := []int32{g.rules[r].start}
	for len(work) > 0 {
		s := work[len(work)-1]
		work = work[:len(work)-1]
		if seen[s] {
			continue
		}
		seen[s] = true
		visit(s)
		st := &g.states[s]
		work = append(work, st.eps...)
		if st.call >= 0 && nulls[st.call] {
			work = append(work, st.ret)
		}
		if st.loop >= 0 && (g.loops[st.loop].min == 0 || nulls[g.loops[st.loop].body]) {
			work = append(work, st.ret)
		}
	}
}

func (g *Grammar) firstCalls(r int32, nulls []bool) []int32 {
	var calls []int32
	g.reach(r, nulls, func(s int32) {
		if c := g.states[s].call; c >= 0 {
			calls = append(calls, c)
		}
		if l := g.states[s].loop; l >= 0 {
			calls = append(calls, g.loops[l].body)
		}
	})
	return calls
}

// nullRules tells for each rule whether it matches the empty text.
func (g *Grammar) nullRules() []bool {
	calls := make([][]int32, len(g.rules))
	for r := range g.rules {
		calls[r] = g.allCalls(int32(r))
	}
	order := calleesFirst(calls)
	nulls := make([]bool, len(g.rules))
	for changed := true; changed; {
		changed = false
		for _, r := range order {
			if nulls[r] {
				continue
			}
			g.reach(r, nulls, func(s int32) {
				if s == g.rules[r].end {
					nulls[r], changed = true, true
				}
			})
		}
	}
	return nulls
}

// allCalls lists the rules that a rule calls anywhere.
func (g *Grammar) allCalls(r int32) []int32 {
	var calls []int32
	seen := map[int32]bool{}
	work := []int32{g.rules[r].start}
	for len(work) > 0 {
		s := work[len(work)-1]
		work = work[:len(work)-1]
		if seen[s] {
			continue
		}
		seen[s] = true
		st := &g.states[s]
		for _, e := range st.edges {
			work = append(work, e.to)
		}
		work = append(work, st.eps...)
		if st.call >= 0 {
			calls, work = append(calls, st.call), append(work, st.ret)
		}
		if st.loop >= 0 {
			calls, work = append(calls, g.loops[st.loop].body), append(work, st.ret)
		}
	}
	return calls
}

// calleesFirst orders rules so that most come after those they call: all, if
// there is no recursion. A pass in this order settles most of a fixed point.
func calleesFirst(calls [][]int32) []int32 {
	order := make([]int32, 0, len(calls))
	seen := make([]bool, len(calls))
	type visit struct{ rule, next int32 }
	for r := range calls {
		if seen[r] {
			continue
		}
		seen[r] = true
		stack := []visit{{int32(r), 0}}
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if int(top.next) == len(calls[top.rule]) {
				order = append(order, top.rule)
				stack = stack[:len(stack)-1]
				continue
			}
			callee := calls[top.rule][top.next]
			top.next++
			if !seen[callee] {
				seen[callee] = true
				stack = append(stack, visit{callee, 0})
			}
		}
	}
	return order
}

// prune removes what cannot lead to the end of its rule, so that every
// configuration has a way to finish.
func (g *Grammar) prune() error {
	alive := g.findAlive()
	if !alive[g.rules[g.root].start] {
		return fmt.Errorf("grammar: no text matches it (rule %q cannot be completed)", g.rules[g.root].name)
	}
	for i := range g.states {
		st := &g.states[i]
		edges, eps := st.edges[:0], st.eps[:0]
		for _, e := range st.edges {
			if alive[e.to] {
				edges = append(edges, e)
			}
		}
		for _, to := range st.eps {
			if alive[to] {
				eps = append(eps, to)
			}
		}
		st.edges, st.eps = edges, eps
		if st.call >= 0 && !alive[i] {
			st.call = -1
		}
		if st.loop >= 0 && !alive[i] {
			st.loop = -1
		}
	}
	for i := range g.loops {
		if l := &g.loops[i]; !alive[g.rules[l.body].start] {
			l.min, l.max = 0, 0
		}
	}
	return nil
}

// findAlive finds the states from which the end of their rule can be reached.
func (g *Grammar) findAlive() []bool {
	needs := make([][]int32, len(g.states)) // by state: those to look at when it is alive
	need := func(s, by int32) { needs[s] = append(needs[s], by) }
	alive := make([]bool, len(g.states))
	var work []int32
	for i := range g.states {
		st, by := &g.states[i], int32(i)
		for _, e := range st.edges {
			need(e.to, by)
		}
		for _, to := range st.eps {
			need(to, by)
		}
		if st.call >= 0 {
			need(g.rules[st.call].start, by)
			need(st.ret, by)
		}
		if st.loop >= 0 {
			need(g.rules[g.loops[st.loop].body].start, by)
			need(st.ret, by)
		}
	}
	for _, r := range g.rules {
		alive[r.end] = true
		work = append(work, r.end)
	}
	for len(work) > 0 {
		s := work[len(work)-1]
		work = work[:len(work)-1]
		for _, by := range needs[s] {
			if !alive[by] && g.canEnd(&g.states[by], alive) {
				alive[by] = true
				work = append(work, by)
			}
		}
	}
	return alive
}

func (g *Grammar) canEnd(st *state, alive []bool) bool {
	for _, e := range st.edges {
		if alive[e.to] {
			return true
		}
	}
	for _, to := range st.eps {
		if alive[to] {
			return true
		}
	}
	if st.call >= 0 {
		return alive[g.rules[st.call].start] && alive[st.ret]
	}
	if st.loop >= 0 {
		l := g.loops[st.loop]
		return alive[st.ret] && (l.min == 0 || alive[g.rules[l.body].start])
	}
	return false
}

// markTails finds the states that only lead silently to the end of their rule.
func (g *Grammar) markTails() {
	left := make([]int, len(g.states)) // silent edges to states not known as tails
	from := make([][]int32, len(g.states))
	var work []int32
	for i := range g.states {
		st := &g.states[i]
		left[i] = len(st.eps)
		for _, to := range st.eps {
			from[to] = append(from[to], int32(i))
		}
		if st.end {
			st.tail = true
			work = append(work, int32(i))
		}
	}
	for len(work) > 0 {
		s := work[len(work)-1]
		work = work[:len(work)-1]
		for _, i := range from[s] {
			st := &g.states[i]
			if left[i]--; left[i] == 0 && !st.tail && st.call < 0 && st.loop < 0 && len(st.edges) == 0 {
				st.tail = true
				work = append(work, i)
			}
		}
	}
}

// classify numbers the classes of bytes that no edge tells apart. Each class
// is a range, and classes ascend with their bytes.
func (g *Grammar) classify() {
	var first [257]bool
	for i := range g.states {
		for _, e := range g.states[i].edges {
			first[e.lo], first[int(e.hi)+1] = true, true
		}
	}
	class := uint8(0)
	for b := range 256 {
		if b > 0 && first[b] {
			class++
		}
		g.classOf[b] = class
	}
	g.classes = int(class) + 1
	for i := range g.states {
		for j := range g.states[i].edges {
			e := &g.states[i].edges[j]
			e.loClass, e.hiClass = g.classOf[e.lo], g.classOf[e.hi]
		}
	}
}
