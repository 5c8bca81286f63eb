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
	nulls := make([]bool, len(g.rules))
	for changed := true; changed; {
		changed = false
		for r := len(g.rules) - 1; r >= 0; r-- {
			if nulls[r] {
				continue
			}
			g.reach(int32(r), nulls, func(s int32) {
				if s == g.rules[r].end {
					nulls[r], changed = true, true
				}
			})
		}
	}
	return nulls
}

// prune removes what cannot lead to the end of its rule, so that every
// configuration has a way to finish.
func (g *Grammar) prune() error {
	alive := make([]bool, len(g.states))
	for _, r := range g.rules {
		alive[r.end] = true
	}
	for changed := true; changed; {
		changed = false
		for i := len(g.states) - 1; i >= 0; i-- {
			if !alive[i] && g.canEnd(&g.states[i], alive) {
				alive[i], changed = true, true
			}
		}
		for i := range g.states {
			if !alive[i] && g.canEnd(&g.states[i], alive) {
				alive[i], changed = true, true
			}
		}
	}
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
	for i := range g.states {
		g.states[i].tail = g.states[i].end
	}
	for changed := true; changed; {
		changed = false
		for i := len(g.states) - 1; i >= 0; i-- {
			st := &g.states[i]
			if st.tail || st.call >= 0 || st.loop >= 0 || len(st.edges) > 0 || len(st.eps) == 0 {
				continue
			}
			tail := true
			for _, to := range st.eps {
				tail = tail && g.states[to].tail
			}
			if tail {
				st.tail, changed = true, true
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
