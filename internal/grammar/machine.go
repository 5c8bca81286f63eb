package grammar

import (
	"encoding/binary"
	"errors"
	"slices"
)

// errBudget says that a grammar is too ambiguous for the limits.
var errBudget = errors.New("grammar: too ambiguous: more parses at once than the limits allow; simplify the grammar")

// Stacks are linked frames, each known by a number, equal frames by the same
// one, so that stacks compare as numbers. Two numbers have no frame.
const (
	stackEnd    int32 = 0 // below the root rule
	stackEscape int32 = 1 // below a local walk: what is there does not matter
)

// frame is the top of a stack: where to go on when the current rule ends.
type frame struct {
	parent int32
	ret    int32 // state to go on at, or -1 for a loop
	loop   int32 // loop that goes on, or -1
	count  int32 // its repetitions so far, with the current one
}

// elem is an automaton state that has byte edges, and its stack.
type elem struct{ state, stack int32 }

// Configurations are known by numbers too.
const (
	dead    int32 = 0
	unknown int32 = -1
)

// machine finds configurations and their transitions when they are needed, and
// keeps them. It belongs to one State.
type machine struct {
	g        *Grammar
	frames   []frame
	depths   []int32
	frameIDs map[frame]int32
	elems    [][]elem // by configuration, sorted
	accept   []bool   // by configuration: the text may end here
	escape   []bool   // by configuration: the local walk left its rule here
	deepest  []int32  // by configuration: depth of stack needed to get to it
	ids      map[string]int32
	next     []int32 // by configuration and class
	work     int     // pairs visited, for maxWork
	err      error   // sticky until reset

	// scratch of one transition
	seen      []elem            // pairs visited, while few
	seenMany  map[elem]struct{} // the same, when there are more
	stack     []elem
	out       []elem
	outAccept bool
	outEscape bool
	outDepth  int32
	key       []byte
}

func newMachine(g *Grammar) *machine {
	m := &machine{g: g, seenMany: map[elem]struct{}{}}
	m.reset()
	return m
}

// reset forgets all configurations and stacks.
func (m *machine) reset() {
	m.frames = append(m.frames[:0], frame{ret: -1, loop: -1}, frame{ret: -1, loop: -1})
	m.depths = append(m.depths[:0], 0, 0)
	m.frameIDs = map[frame]int32{}
	m.elems, m.accept, m.escape = m.elems[:0], m.accept[:0], m.escape[:0]
	m.deepest = m.deepest[:0]
	m.ids = map[string]int32{}
	m.next = m.next[:0]
	m.begin()
	if m.intern() != dead {
		panic("grammar: internal error: the first configuration is not the dead one")
	}
}

// full reports whether it is time to reset.
func (m *machine) full() bool { return len(m.next) > maxTable/2 || len(m.frames) > maxTable/8 }

// begin starts collecting the pairs of a configuration; visit adds to it;
// intern ends it.
func (m *machine) begin() {
	if len(m.seen) > seenFew {
		clear(m.seenMany)
	}
	m.seen, m.out = m.seen[:0], m.out[:0]
	m.outAccept, m.outEscape, m.outDepth = false, false, 0
}

// visit adds what is reached from a state, with a stack, without reading.
func (m *machine) visit(s, stack int32) {
	m.stack = append(m.stack[:0], elem{s, stack})
	for len(m.stack) > 0 && m.err == nil {
		e := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		if m.visited(e) {
			continue
		}
		if m.work++; m.work > maxWork {
			m.err = errBudget
		}
		st := &m.g.states[e.state]
		if len(st.edges) > 0 {
			if m.out = append(m.out, e); len(m.out) > maxElems {
				m.err = errBudget
			}
		}
		for _, to := range st.eps {
			m.stack = append(m.stack, elem{to, e.stack})
		}
		switch {
		case st.call >= 0 && m.g.states[st.ret].tail:
			m.stack = append(m.stack, elem{m.g.rules[st.call].start, e.stack})
		case st.call >= 0:
			m.enter(st.call, frame{parent: e.stack, ret: st.ret, loop: -1})
		case st.loop >= 0:
			m.repeat(st.loop, st.ret, 0, e.stack)
		case st.end:
			m.leave(e.stack)
		}
	}
}

// seenFew is how many pairs are looked for one by one; usually there are fewer.
const seenFew = 24

// visited reports whether a pair was visited since begin, and notes that it is.
func (m *machine) visited(e elem) bool {
	if len(m.seen) <= seenFew {
		if slices.Contains(m.seen, e) {
			return true
		}
		m.seen = append(m.seen, e)
		if len(m.seen) > seenFew {
			for _, e := range m.seen {
				m.seenMany[e] = struct{}{}
			}
		}
		return false
	}
	if _, ok := m.seenMany[e]; ok {
		return true
	}
	m.seenMany[e] = struct{}{}
	return false
}

// enter pushes a frame and goes to the start of a rule. Nesting beyond the
// limit is not an error: it is just not part of the language.
func (m *machine) enter(rule int32, f frame) {
	if id, ok := m.push(f); ok {
		m.stack = append(m.stack, elem{m.g.rules[rule].start, id})
	}
}

func (m *machine) push(f frame) (int32, bool) {
	depth := m.depths[f.parent] + 1
	if depth > maxDepth {
		return 0, false
	}
	m.outDepth = max(m.outDepth, depth)
	if id, ok := m.frameIDs[f]; ok {
		return id, true
	}
	id := int32(len(m.frames))
	m.frames = append(m.frames, f)
	m.depths = append(m.depths, depth)
	m.frameIDs[f] = id
	return id, true
}

// repeat continues a loop that has been through count times.
func (m *machine) repeat(loop, ret, count, stack int32) {
	l := &m.g.loops[loop]
	if count >= l.min {
		m.stack = append(m.stack, elem{ret, stack})
	}
	if l.max >= 0 && count >= l.max {
		return
	}
	count++
	if l.max < 0 {
		count = min(count, l.min) // more does not matter
	}
	m.enter(l.body, frame{parent: stack, ret: ret, loop: loop, count: count})
}

// leave pops a frame at the end of a rule.
func (m *machine) leave(stack int32) {
	switch stack {
	case stackEnd:
		m.outAccept = true
	case stackEscape:
		m.outEscape = true
	default:
		f := m.frames[stack]
		if f.loop >= 0 {
			m.repeat(f.loop, f.ret, f.count, f.parent)
			return
		}
		m.stack = append(m.stack, elem{f.ret, f.parent})
	}
}

// intern returns the number of the configuration collected since begin.
func (m *machine) intern() int32 {
	slices.SortFunc(m.out, func(a, b elem) int {
		if a.state != b.state {
			return int(a.state) - int(b.state)
		}
		return int(a.stack) - int(b.stack)
	})
	m.key = m.key[:0]
	flags := byte(0)
	if m.outAccept {
		flags |= 1
	}
	if m.outEscape {
		flags |= 2
	}
	m.key = append(m.key, flags)
	for _, e := range m.out {
		m.key = binary.LittleEndian.AppendUint32(m.key, uint32(e.state))
		m.key = binary.LittleEndian.AppendUint32(m.key, uint32(e.stack))
	}
	if id, ok := m.ids[string(m.key)]; ok {
		m.deepest[id] = max(m.deepest[id], m.outDepth)
		return id
	}
	if m.err == nil && len(m.next) > maxTable {
		m.err = errBudget
	}
	id := int32(len(m.elems))
	m.ids[string(m.key)] = id
	m.elems = append(m.elems, slices.Clone(m.out))
	m.accept = append(m.accept, m.outAccept)
	m.escape = append(m.escape, m.outEscape)
	m.deepest = append(m.deepest, m.outDepth)
	for range m.g.classes {
		m.next = append(m.next, unknown)
	}
	return id
}

// start returns the configuration before the first byte.
func (m *machine) start() int32 {
	m.begin()
	m.visit(m.g.rules[m.g.root].start, stackEnd)
	return m.intern()
}

// single returns the configuration of one pair.
func (m *machine) single(e elem) int32 {
	m.begin()
	m.out = append(m.out, e)
	return m.intern()
}

// after returns the configuration when the rule above a stack ends.
func (m *machine) after(stack int32) int32 {
	m.begin()
	m.stack = m.stack[:0]
	m.leave(stack)
	todo := slices.Clone(m.stack)
	for _, e := range todo {
		m.visit(e.state, e.stack)
	}
	return m.intern()
}

// step returns the configuration after one more byte.
func (m *machine) step(cfg int32, b byte) int32 {
	if to := m.next[int(cfg)*m.g.classes+int(m.g.classOf[b])]; to != unknown {
		return to
	}
	return m.find(cfg, m.g.classOf[b])
}

func (m *machine) find(cfg int32, class uint8) int32 {
	if m.err != nil {
		return dead
	}
	m.begin()
	for _, e := range m.elems[cfg] {
		for _, edge := range m.g.states[e.state].edges {
			if edge.loClass <= class && class <= edge.hiClass {
				m.visit(edge.to, e.stack)
			}
		}
	}
	to := m.intern()
	if m.err != nil {
		return dead
	}
	m.next[int(cfg)*m.g.classes+int(class)] = to
	return to
}
