package grammar

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// ErrStuck says that a text cannot go on: no piece of the vocabulary fits.
var ErrStuck = errors.New("grammar: no token of the vocabulary can follow")

// Matcher is a Grammar over a Vocabulary. It is safe for concurrent use; what
// it finds out about the grammar is shared by all its States.
type Matcher struct {
	g *Grammar
	v *Vocabulary

	mu    sync.Mutex
	local map[string]*local
}

// NewMatcher returns a Matcher. It does no work ahead.
func NewMatcher(g *Grammar, v *Vocabulary) *Matcher {
	return &Matcher{g: g, v: v, local: map[string]*local{}}
}

// NewState returns the state of an empty text.
func (m *Matcher) NewState() *State {
	s := &State{m: m, mc: newMachine(m.g), masks: map[int32]Mask{}}
	s.cfg = s.mc.start()
	return s
}

// State follows one sequence. It is not safe for concurrent use.
type State struct {
	m     *Matcher
	mc    *machine
	cfg   int32
	ended bool
	masks map[int32]Mask // by configuration
	path  []int32        // scratch of walk: configurations by depth
}

// Done reports whether the text is complete and nothing can be added to it, or
// an end token was accepted.
func (s *State) Done() bool {
	return s.ended || (s.mc.accept[s.cfg] && len(s.mc.elems[s.cfg]) == 0)
}

// CanEnd reports whether the text is complete as it is.
func (s *State) CanEnd() bool { return s.ended || s.mc.accept[s.cfg] }

// Clone returns an independent State of the same text.
func (s *State) Clone() *State {
	c := s.m.NewState()
	c.cfg, c.ended = c.mc.adopt(s.mc, s.cfg), s.ended
	return c
}

// Accept appends a token to the text. It fails, and leaves the State as it
// was, if the token is not in [State.Mask].
func (s *State) Accept(id int32) error {
	if id < 0 || int(id) >= len(s.m.v.pieces) {
		return fmt.Errorf("grammar: token %d, but the vocabulary has %d", id, len(s.m.v.pieces))
	}
	if s.ended {
		return fmt.Errorf("grammar: token %d after the end", id)
	}
	if s.m.v.eog.Has(id) {
		if !s.CanEnd() {
			return fmt.Errorf("grammar: end token %d, but the text is not complete", id)
		}
		s.ended = true
		return nil
	}
	piece := s.m.v.pieces[id]
	if len(piece) == 0 {
		return fmt.Errorf("grammar: token %d adds no text; the grammar cannot allow it", id)
	}
	if err := s.AcceptText(piece); err != nil {
		return fmt.Errorf("token %d: %w", id, err)
	}
	return nil
}

// AcceptText appends bytes to the text. It fails, and leaves the State as it
// was, if they do not fit; their last character may be incomplete.
func (s *State) AcceptText(text []byte) error {
	if s.ended {
		return errors.New("grammar: text after the end")
	}
	s.tidy()
	cfg := s.cfg
	for i, b := range text {
		if cfg = s.mc.step(cfg, b); cfg == dead {
			if s.mc.err != nil {
				return s.mc.err
			}
			return fmt.Errorf("grammar: byte %d of %q does not fit", i, text)
		}
	}
	s.cfg = cfg
	return nil
}

// tidy forgets what was found for earlier texts when there is too much of it,
// and starts the budget of the next operation.
func (s *State) tidy() {
	s.mc.work, s.mc.err = 0, nil
	if !s.mc.full() {
		return
	}
	old := *s.mc
	s.mc = newMachine(s.m.g)
	s.cfg = s.mc.adopt(&old, s.cfg)
	clear(s.masks)
}

// adopt copies a configuration of another machine of the same grammar.
func (m *machine) adopt(from *machine, cfg int32) int32 {
	var stack func(id int32) int32
	stack = func(id int32) int32 {
		if id == stackEnd || id == stackEscape {
			return id
		}
		f := from.frames[id]
		f.parent = stack(f.parent)
		id, _ = m.push(f)
		return id
	}
	m.begin()
	pairs := make([]elem, len(from.elems[cfg]))
	for i, e := range from.elems[cfg] {
		pairs[i] = elem{e.state, stack(e.stack)}
	}
	m.begin()
	m.out = append(m.out, pairs...)
	m.outAccept, m.outEscape = from.accept[cfg], from.escape[cfg]
	return m.intern()
}

// Mask returns the tokens that may follow. The caller must not change it; it
// stays valid. After [State.Done] only end tokens are in it.
func (s *State) Mask() (Mask, error) {
	if s.ended {
		return s.m.v.eog, nil
	}
	s.tidy()
	if m, ok := s.masks[s.cfg]; ok {
		return m, nil
	}
	mask := NewMask(len(s.m.v.pieces))
	for _, e := range s.mc.elems[s.cfg] {
		for i := range s.m.v.tries {
			s.allow(e, &s.m.v.tries[i], i, mask)
		}
	}
	if s.mc.err != nil {
		return nil, s.mc.err
	}
	if s.mc.accept[s.cfg] {
		for _, id := range s.m.v.ends {
			mask.Add(id)
		}
	}
	empty := true
	for _, w := range mask {
		if w != 0 {
			empty = false
			break
		}
	}
	if empty {
		return nil, ErrStuck
	}
	if len(s.masks) >= maxMasks {
		clear(s.masks)
	}
	s.masks[s.cfg] = mask
	return mask, nil
}

// local is what the tokens of one trie can do from one automaton state,
// whatever its stack: the tokens that stay inside its rule, or end with it,
// and the trie nodes, all with others below, at which the rule ends.
type local struct {
	dense   Mask    // or
	sparse  []int32 // token ids
	escapes []int32 // nodes
	depth   int32   // frames needed
}

// allow adds the tokens of a trie that may follow one pair.
func (s *State) allow(e elem, t *trie, which int, mask Mask) {
	mc := s.mc
	key, start, base := s.localKey(e, t, which)
	s.m.mu.Lock()
	l := s.m.local[string(key)]
	s.m.mu.Unlock()
	if l == nil {
		name := string(key)
		l = s.explore(start, t)
		if mc.err != nil {
			return
		}
		s.m.mu.Lock()
		s.m.local[name] = l
		s.m.mu.Unlock()
	}
	if mc.depths[base]+l.depth > maxDepth {
		// Some of these tokens may nest too deep here: look at each.
		s.walk(t, 0, int32(len(t.nodes)-1), mc.single(e), func(n int32) { t.addTo(mask, n) })
		return
	}
	for i, w := range l.dense {
		mask[i] |= w
	}
	for _, id := range l.sparse {
		mask.Add(id)
	}
	if len(l.escapes) == 0 || base == stackEnd {
		return
	}
	after := mc.after(base)
	if len(mc.elems[after]) == 0 {
		return
	}
	for _, n := range l.escapes {
		s.walk(t, n+1, t.nodes[n].skip, after, func(n int32) { t.addTo(mask, n) })
	}
}

// localKey names what a local exploration depends on: the trie, the state and
// the counts of the loops directly above it, as far as they matter for the
// longest piece. It also returns the pair with just these loops as its stack,
// and the stack below them.
func (s *State) localKey(e elem, t *trie, which int) (key []byte, start elem, base int32) {
	mc := s.mc
	var loops []frame
	base = e.stack
	for base != stackEnd && base != stackEscape && mc.frames[base].loop >= 0 {
		loops = append(loops, mc.frames[base])
		base = mc.frames[base].parent
	}
	key = binary.LittleEndian.AppendUint32(mc.key[:0], uint32(e.state)<<1|uint32(which))
	start = elem{e.state, stackEscape}
	for i := len(loops) - 1; i >= 0; i-- {
		f := loops[i]
		f.count = mc.g.loops[f.loop].canonical(f.count, int32(t.longest))
		f.parent = start.stack
		start.stack, _ = mc.push(f)
		key = binary.LittleEndian.AppendUint32(key, uint32(f.loop))
		key = binary.LittleEndian.AppendUint32(key, uint32(f.count))
	}
	mc.key = key
	return key, start, base
}

// canonical returns a count from which up to n more repetitions meet the same
// bounds as from the given one.
func (l *loop) canonical(count, n int32) int32 {
	switch {
	case count+n < l.min:
		return l.min - 1 - n
	case count >= l.min && (l.max < 0 || count+n < l.max):
		return l.min
	}
	return count
}

// explore walks a trie from a pair whose stack ends with stackEscape.
func (s *State) explore(start elem, t *trie) *local {
	mc := s.mc
	l := &local{depth: mc.depths[start.stack]}
	var ids []int32
	s.walk(t, 0, int32(len(t.nodes)-1), mc.single(start), func(n int32) {
		ids = append(ids, t.ids[t.nodes[n].ids:t.nodes[n+1].ids]...)
		l.depth = max(l.depth, mc.deepest[s.path[t.nodes[n].depth]])
		if mc.escape[s.path[t.nodes[n].depth]] && t.nodes[n].skip > n+1 {
			l.escapes = append(l.escapes, n)
		}
	})
	if len(ids) < len(s.m.v.pieces)/32 {
		l.sparse = ids
		return l
	}
	l.dense = NewMask(len(s.m.v.pieces))
	for _, id := range ids {
		l.dense.Add(id)
	}
	return l
}

// addTo adds a node's tokens to a mask.
func (t *trie) addTo(mask Mask, n int32) {
	for _, id := range t.ids[t.nodes[n].ids:t.nodes[n+1].ids] {
		mask.Add(id)
	}
}

// walk follows the nodes from up to to (not included), all children of one
// node and what is below, from a configuration, and calls visit for those that
// fit. Meanwhile s.path[d] is the configuration at depth d.
func (s *State) walk(t *trie, from, to, cfg int32, visit func(n int32)) {
	if from >= to {
		return
	}
	if len(s.path) <= t.longest {
		s.path = make([]int32, t.longest+1)
	}
	mc := s.mc
	s.path[t.nodes[from].depth-1] = cfg
	for i := from; i < to; {
		n := &t.nodes[i]
		next := mc.step(s.path[n.depth-1], n.b)
		if next == dead {
			i = n.skip
			continue
		}
		s.path[n.depth] = next
		visit(i)
		i++
	}
}
