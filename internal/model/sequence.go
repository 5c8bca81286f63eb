package model

import (
	"encoding/binary"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/trace"
)

// page is memory for the keys and values of [kernel.PageLen] positions, shared
// by the sequences that begin alike.
type page struct {
	kernel.Page
	states []canon.Hash // [layers][kernel.PageLen], if a traced sequence had it
	refs   int
}

// cache hands out pages and takes them back.
type cache struct {
	size   int // numbers of a page
	states int // hashes of a page
	free   []*page
}

// maxFreePages is how many pages are kept for the next sequence.
const maxFreePages = 64

func (c *cache) init(cfg *config) {
	c.size = cfg.Layers * cfg.KVHeads * kernel.KVSize(cfg.HeadDim)
	c.states = cfg.Layers * kernel.PageLen
}

func (c *cache) get() *page {
	if n := len(c.free); n > 0 {
		p := c.free[n-1]
		c.free = c.free[:n-1]
		p.refs = 1
		return p
	}
	return &page{Page: kernel.Page{Data: make([]uint16, c.size)}, refs: 1}
}

func (c *cache) put(p *page) {
	if p.refs--; p.refs == 0 && len(c.free) < maxFreePages {
		c.free = append(c.free, p)
	}
}

// Sequence holds the keys and values of the positions of one text.
type Sequence struct {
	model  *Model
	pages  []*page
	views  []*kernel.Page // of pages, as the kernel takes them
	n      int
	traced int // positions from the first on whose states are hashed
}

// NewSequence returns an empty sequence.
func (m *Model) NewSequence() *Sequence { return &Sequence{model: m} }

// Len returns the number of positions.
func (s *Sequence) Len() int { return s.n }

// Traced returns how many positions, from the first on, were read by steps
// with a trace.
func (s *Sequence) Traced() int { return s.traced }

// Trace returns the tree of the states of all positions, all of which must be
// traced.
func (s *Sequence) Trace() (*trace.Tree, error) {
	if s.traced != s.n {
		return nil, fmt.Errorf("%d of %d positions are traced; a trace is of whole sequences", s.traced, s.n)
	}
	return trace.NewTree(s.States(), s.model.config.Layers, s.n)
}

// States returns the hashes that [trace.NewTree] takes: those of all
// positions, all of which must be traced.
func (s *Sequence) States() []canon.Hash {
	layers := s.model.config.Layers
	states := make([]canon.Hash, 0, layers*s.n)
	for l := range layers {
		for i, p := range s.pages {
			n := min(s.n-i*kernel.PageLen, kernel.PageLen)
			states = append(states, p.states[l*kernel.PageLen:][:n]...)
		}
	}
	return states
}

// Truncate forgets position n and what follows.
func (s *Sequence) Truncate(n int) {
	if n < 0 || n > s.n {
		panic("model: internal error: truncation beyond the end of a sequence")
	}
	s.n, s.traced = n, min(s.traced, n)
	s.keep((n + kernel.PageLen - 1) / kernel.PageLen)
}

// keep gives back all pages but the first n.
func (s *Sequence) keep(n int) {
	for _, p := range s.pages[n:] {
		s.model.cache.put(p)
	}
	clear(s.pages[n:])
	clear(s.views[n:])
	s.pages, s.views = s.pages[:n], s.views[:n]
}

// Fork returns a new sequence with the first n positions of s. Full pages are
// shared until one of the two writes to them.
func (s *Sequence) Fork(n int) *Sequence {
	if n < 0 || n > s.n {
		panic("model: internal error: fork beyond the end of a sequence")
	}
	f := &Sequence{model: s.model, n: n, traced: min(s.traced, n)}
	for _, p := range s.pages[:(n+kernel.PageLen-1)/kernel.PageLen] {
		p.refs++
		f.pages = append(f.pages, p)
		f.views = append(f.views, &p.Page)
	}
	return f
}

// Close gives the memory back. The sequence is then empty.
func (s *Sequence) Close() {
	s.n, s.traced = 0, 0
	s.keep(0)
}

// grow makes positions s.n to s.n+n writable and counts them, as traced if
// their states will be hashed.
func (s *Sequence) grow(n int, traced bool) {
	first := s.n / kernel.PageLen
	if s.n += n; traced {
		s.traced = s.n
	}
	for i := first; i*kernel.PageLen < s.n; i++ {
		s.own(i)
		if p := s.pages[i]; traced && p.states == nil {
			p.states = make([]canon.Hash, s.model.cache.states)
		}
	}
}

// own makes page i, which may be the next one, the sequence's alone.
func (s *Sequence) own(i int) {
	switch {
	case i == len(s.pages):
		p := s.model.cache.get()
		s.pages = append(s.pages, p)
		s.views = append(s.views, &p.Page)
	case s.pages[i].refs > 1:
		p, old := s.model.cache.get(), s.pages[i]
		copy(p.Data, old.Data)
		if i*kernel.PageLen < s.traced {
			p.states = append(p.states[:0], old.states...)
		}
		s.model.cache.put(old)
		s.pages[i], s.views[i] = p, &p.Page
	}
}

// rewrite makes n positions writable, which need not follow those that are
// there; they are not traced any more.
func (s *Sequence) rewrite(from, n int) {
	for i := min(from/kernel.PageLen, len(s.pages)); i*kernel.PageLen < from+n; i++ {
		s.own(i)
	}
	s.n, s.traced = max(s.n, from+n), min(s.traced, from)
}

// KV appends to dst what a layer has put into the cache for positions from to
// to-1, each as keys and values of all heads, f16, little endian.
func (s *Sequence) KV(dst []byte, layer, from, to int) []byte {
	c := s.model.config
	for pos := from; pos < to; pos++ {
		n := len(dst)
		dst = append(dst, make([]byte, 4*c.keyDim())...)
		c.exportKV(dst[n:], s.pages[pos/kernel.PageLen].Data, layer, pos%kernel.PageLen)
	}
	return dst
}

// SetKV puts what [Sequence.KV] gave of single positions, perhaps elsewhere, into
// the cache of a layer from a position on, and makes the sequence as long as
// needed. Those that are nil stay as they are, for places that nobody looks at.
// Only [Model.Cells] may use the sequence afterwards. Numbers that are not finite
// are refused: no layer stores them.
func (s *Sequence) SetKV(layer, from int, kv ...[]byte) error {
	c := s.model.config
	size := 4 * c.keyDim()
	switch {
	case layer < 0 || layer >= c.Layers || from < 0 || from > c.limit:
		return fmt.Errorf("layer %d and position %d: want less than %d layers and %d positions", layer, from, c.Layers, c.limit)
	case len(kv) > c.limit-from:
		return &ContextError{from, len(kv), c.limit}
	}
	for i, b := range kv {
		if b != nil && len(b) != size {
			return fmt.Errorf("%d bytes of keys and values of layer %d, position %d, want %d", len(b), layer, from+i, size)
		}
		if !finiteHalves(b) {
			return fmt.Errorf("keys and values of layer %d, position %d are not finite", layer, from+i)
		}
	}
	s.rewrite(from, len(kv))
	for i := 0; i < len(kv); {
		if kv[i] == nil {
			i++
			continue
		}
		pos, n := from+i, 1 // as many of its panel as follow
		for (pos+n)%kernel.Panel != 0 && i+n < len(kv) && kv[i+n] != nil {
			n++
		}
		c.importKV(s.pages[pos/kernel.PageLen].Data, layer, pos%kernel.PageLen, kv[i:i+n])
		i += n
	}
	return nil
}

// finiteHalves reports whether no f16 number is NaN or infinite.
func finiteHalves(b []byte) bool {
	// Only these have an exponent of all ones: one more is a carry.
	const exponents, one, carries = 0x7c00_7c00_7c00_7c00, 0x0400_0400_0400_0400, 0x8000_8000_8000_8000
	carried := uint64(0)
	for ; len(b) >= 32; b = b[32:] {
		w, x := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		y, z := binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
		carried |= (w&exponents + one) | (x&exponents + one) | (y&exponents + one) | (z&exponents + one)
	}
	for ; len(b) >= 8; b = b[8:] {
		carried |= binary.LittleEndian.Uint64(b)&exponents + one
	}
	for ; len(b) >= 2; b = b[2:] {
		carried |= uint64(binary.LittleEndian.Uint16(b))&exponents + one
	}
	return carried&carries == 0
}

// exportKV writes the keys, then the values of a position in a page.
func (c *config) exportKV(dst []byte, page []uint16, layer, pos int) {
	size, width := kernel.KVSize(c.HeadDim), 2*c.HeadDim
	values := dst[2*c.keyDim():]
	for h := range c.KVHeads {
		kernel.Export(dst[h*width:][:width], values[h*width:][:width], page[(layer*c.KVHeads+h)*size:], pos)
	}
}

// importKV is the inverse of exportKV, for positions from pos on of one panel.
func (c *config) importKV(page []uint16, layer, pos int, kv [][]byte) {
	size, width := kernel.KVSize(c.HeadDim), 2*c.HeadDim
	var keys, values [kernel.Panel][]byte
	for h := range c.KVHeads {
		for i, b := range kv {
			keys[i], values[i] = b[h*width:][:width], b[2*c.keyDim()+h*width:][:width]
		}
		kernel.Import(page[(layer*c.KVHeads+h)*size:], pos, keys[:len(kv)], values[:len(kv)])
	}
}
