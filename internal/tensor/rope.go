package tensor

// Rotate turns the pairs of a head: (u, v) becomes (u C - v S, u S + v C), with
// C and S the elements of cos and sin of the pair (spec/numerics.md, section 6).
// There are len(cos) pairs: elements 2j and 2j+1 if adjacent, else j and
// j + len(cos). Elements after them stay.
func Rotate(x, cos, sin []float32, adjacent bool) {
	rotate(x, cos, sin, adjacent, false)
}

// RotateBackward turns a gradient of what [Rotate] gives, in place, into one of
// what it got: (u, v) becomes (u C + v S, v C - u S).
func RotateBackward(dx, cos, sin []float32, adjacent bool) {
	rotate(dx, cos, sin, adjacent, true)
}

func rotate(x, cos, sin []float32, adjacent, back bool) {
	n := len(cos)
	x, sin = x[:2*n], sin[:n]
	for j, c := range cos {
		a, b, s := j, j+n, sin[j]
		if adjacent {
			a, b = 2*j, 2*j+1
		}
		u, v := x[a], x[b]
		if back {
			x[a] = float32(u*c) + float32(v*s)
			x[b] = float32(v*c) - float32(u*s)
			continue
		}
		x[a] = float32(u*c) - float32(v*s)
		x[b] = float32(u*s) + float32(v*c)
	}
}
