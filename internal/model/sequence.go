package model

import "github.com/avalnetwork/aval/internal/kernel"

// page is memory for the keys and values of [kernel.PageLen] positions, shared
// by the sequences that begin alike.
type page struct {
	kernel.Page
	refs int
}

// cache hands out pages and takes them back.
type cache struct {
	size int // numbers of a page
	free []*page
}

// maxFreePages is how many pages are kept for the next sequence.
const maxFreePages = 64

func (c *cache) init(cfg *config) {
	c.size = cfg.Layers * cfg.KVHeads * kernel.KVSize(cfg.HeadDim)
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
	model *Model
	pages []*page
	views []*kernel.Page // of pages, as the kernel takes them
	n     int
}

// NewSequence returns an empty sequence.
func (m *Model) NewSequence() *Sequence { return &Sequence{model: m} }

// Len returns the number of positions.
func (s *Sequence) Len() int { return s.n }

// Truncate forgets position n and what follows.
func (s *Sequence) Truncate(n int) {
	if n < 0 || n > s.n {
		panic("model: internal error: truncation beyond the end of a sequence")
	}
	s.n = n
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
	f := &Sequence{model: s.model, n: n}
	for _, p := range s.pages[:(n+kernel.PageLen-1)/kernel.PageLen] {
		p.refs++
		f.pages = append(f.pages, p)
		f.views = append(f.views, &p.Page)
	}
	return f
}

// Close gives the memory back. The sequence is then empty.
func (s *Sequence) Close() {
	s.n = 0
	s.keep(0)
}

// grow makes positions s.n to s.n+n writable and counts them.
func (s *Sequence) grow(n int) {
	first := s.n / kernel.PageLen
	s.n += n
	for i := first; i*kernel.PageLen < s.n; i++ {
		switch {
		case i == len(s.pages):
			p := s.model.cache.get()
			s.pages = append(s.pages, p)
			s.views = append(s.views, &p.Page)
		case s.pages[i].refs > 1:
			p := s.model.cache.get()
			copy(p.Data, s.pages[i].Data)
			s.model.cache.put(s.pages[i])
			s.pages[i], s.views[i] = p, &p.Page
		}
	}
}
