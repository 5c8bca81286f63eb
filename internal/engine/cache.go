package engine

// minReuse is the shortest common prefix worth a copy.
const minReuse = 4

// prefixCache keeps the sequences of finished requests, so that a prompt that
// begins like an earlier one need not be read again. They take at most limit
// bytes; the sequences used least recently go first.
type prefixCache struct {
	limit   int64
	bytes   int64
	cost    func(positions, traced int) int64
	entries []*cached // least recently used first
}

// cached is an idle sequence; its positions are exactly those of ids.
type cached struct {
	seq    sequence
	ids    []int32
	traced int // of ids, those whose states are hashed
	bytes  int64
}

// usable returns how many tokens of a prompt the entry spares: for a request
// with a trace, only those that have one.
func (e *cached) usable(prompt []int32, trace bool) int {
	// The last token is never shared, as its logits are needed.
	n := common(e.ids, prompt[:len(prompt)-1])
	if trace {
		n = min(n, e.traced)
	}
	return n
}

// common returns the length of the longest common prefix.
func common(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// best returns the entry that spares most of the prompt.
func (c *prefixCache) best(prompt []int32, trace bool) (index, n int) {
	index = -1
	for i, e := range c.entries {
		if k := e.usable(prompt, trace); k >= minReuse && k >= n {
			index, n = i, k
		}
	}
	return index, n
}

// take returns a sequence that holds the first n tokens of the prompt, or nil.
// An entry that is a prefix of the prompt is handed over; of any other a copy
// is made, and it stays.
func (c *prefixCache) take(prompt []int32, trace bool) (sequence, int) {
	i, n := c.best(prompt, trace)
	if i < 0 {
		return nil, 0
	}
	e := c.entries[i]
	c.entries = append(c.entries[:i], c.entries[i+1:]...)
	if n == len(e.ids) {
		c.bytes -= e.bytes
		return e.seq, n
	}
	c.entries = append(c.entries, e)
	return e.seq.Fork(n), n
}

// put takes a sequence over.
func (c *prefixCache) put(seq sequence, ids []int32) {
	n := &cached{seq: seq, ids: ids, traced: seq.Traced()}
	n.bytes = c.cost(len(ids), n.traced)
	if len(ids) < minReuse || n.bytes > c.limit {
		seq.Close()
		return
	}
	kept := c.entries[:0]
	for _, e := range c.entries {
		k := common(e.ids, ids)
		switch {
		case k == len(ids) && e.traced >= n.traced && seq != nil: // e already says it all
			seq.Close()
			seq = nil
			kept = append(kept, e)
		case k == len(e.ids) && n.traced >= e.traced:
			c.bytes -= e.bytes
			e.seq.Close()
		default:
			kept = append(kept, e)
		}
	}
	clear(c.entries[len(kept):])
	c.entries = kept
	if seq == nil {
		return
	}
	c.entries = append(c.entries, n)
	c.bytes += n.bytes
	for c.bytes > c.limit {
		c.evict()
	}
}

// evict closes the least recently used entry.
func (c *prefixCache) evict() {
	e := c.entries[0]
	c.entries = append(c.entries[:0], c.entries[1:]...)
	c.bytes -= e.bytes
	e.seq.Close()
}

func (c *prefixCache) clear() {
	for len(c.entries) > 0 {
		c.evict()
	}
}
