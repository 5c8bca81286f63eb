package token

import (
	"math"
)

// atom is a stretch of text that merging may join with its neighbour. Dead
// symbols, those that were joined to the one before, have end == start.
type atom struct {
	start, end int32 // bytes of the text
	prev, next int32 // neighbours that are alive, -1 at the ends
	id         int32 // what the family's rule knows the stretch by; may be -1
}

// candidate is a pair of neighbours that may be joined. The smallest key comes
// first, and of equal keys the leftmost pair.
type candidate struct {
	key         uint32
	left, right int32
	size        int32 // bytes of both when this was found: tells if it is stale
	id          int32 // of the joined symbol
}

func (a candidate) before(b candidate) bool {
	return a.key < b.key || a.key == b.key && a.left < b.left
}

// scoreKey orders scores: a higher score gives a smaller key.
func scoreKey(score float32) uint32 {
	b := math.Float32bits(score + 0) // -0 is 0
	if b>>31 == 0 {
		b |= 1 << 31
	} else {
		b = ^b
	}
	return ^b
}

// merger joins neighbouring symbols, the best pair first, until no pair can be
// joined. It costs a heap operation per pair ever considered, and at most three
// pairs are considered per symbol, so that a text of n symbols takes n log n
// steps whatever it is.
type merger struct {
	syms  []atom
	queue []candidate // a binary heap
	steps int         // pairs considered, for tests
}

func (m *merger) reset() { m.syms, m.queue = m.syms[:0], m.queue[:0] }

// add appends a symbol.
func (m *merger) add(start, end int, id int32) {
	n := int32(len(m.syms))
	if n > 0 {
		m.syms[n-1].next = n
	}
	m.syms = append(m.syms, atom{int32(start), int32(end), n - 1, -1, id})
}

// rule tells whether two neighbours can be joined, how soon, and to what.
type rule func(left, right *atom) (key uint32, id int32, ok bool)

// run joins symbols by the rule.
func (m *merger) run(r rule) {
	for i := 1; i < len(m.syms); i++ {
		m.consider(r, int32(i-1), int32(i))
	}
	for len(m.queue) > 0 {
		c := m.pop()
		left, right := &m.syms[c.left], &m.syms[c.right]
		dead := left.start == left.end || right.start == right.end
		if dead || left.end-left.start+right.end-right.start != c.size {
			continue // one of the two has changed since
		}
		left.end, left.id = right.end, c.id
		right.start = right.end
		left.next = right.next
		if right.next >= 0 {
			m.syms[right.next].prev = c.left
		}
		m.consider(r, left.prev, c.left)
		m.consider(r, c.left, left.next)
	}
}

func (m *merger) consider(r rule, left, right int32) {
	if left < 0 || right < 0 {
		return
	}
	m.steps++
	l, s := &m.syms[left], &m.syms[right]
	if key, id, ok := r(l, s); ok {
		m.push(candidate{key, left, right, s.end - l.start, id})
	}
}

func (m *merger) push(c candidate) {
	q := append(m.queue, c)
	i := len(q) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !c.before(q[up]) {
			break
		}
		q[i] = q[up]
		i = up
	}
	q[i] = c
	m.queue = q
}

func (m *merger) pop() candidate {
	q := m.queue
	top, last := q[0], q[len(q)-1]
	q = q[:len(q)-1]
	m.queue = q
	i := 0
	for {
		child := 2*i + 1
		if child >= len(q) {
			break
		}
		if child+1 < len(q) && q[child+1].before(q[child]) {
			child++
		}
		if !q[child].before(last) {
			break
		}
		q[i] = q[child]
		i = child
	}
	if len(q) > 0 {
		q[i] = last
	}
	return top
}
