package model

// arenaAlign is the alignment of the matrices in an arena.
const arenaAlign = 64

// arena is one piece of memory for all weights.
type arena struct {
	mem  []byte
	next int
}

func arenaSize(n int) int { return (n + arenaAlign - 1) / arenaAlign * arenaAlign }

// take returns the next n bytes, zero.
func (a *arena) take(n int) []byte {
	b := a.mem[a.next : a.next+n : a.next+n]
	a.next += arenaSize(n)
	return b
}

func (a *arena) size() int { return len(a.mem) }
