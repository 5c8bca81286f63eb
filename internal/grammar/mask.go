package grammar

// Mask is a set of token ids: bit id%64 of word id/64. Ids beyond its end are
// not in the set.
type Mask []uint64

// NewMask returns an empty set with room for ids below n.
func NewMask(n int) Mask { return make(Mask, (n+63)/64) }

// Has reports whether id is in the set.
func (m Mask) Has(id int32) bool {
	return id >= 0 && int(id)/64 < len(m) && m[id/64]>>(id%64)&1 != 0
}

// Add puts id into the set; it must be below the n of [NewMask].
func (m Mask) Add(id int32) { m[id/64] |= 1 << (id % 64) }
