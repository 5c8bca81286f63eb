package kernel

import (
	"math"
	"unsafe"
)

// Functions of training: what a backward pass and an optimiser do for every
// element (spec/training.md, part 1). Slices may have any length; those of one
// call are as long as the first one at least.

// trainSet is their implementations, for n a multiple of 16.
type trainSet struct {
	// expSum sets dst = exp(x - top) and adds it to sixteen parts.
	expSum func(dst, x *float32, top float32, n int, parts *float32)
	// largest returns the largest element, -Inf if all are NaN, and the
	// greatest magnitude as the bits of a float.
	largest            func(x *float32, n int) (top float32, magnitude uint32)
	divScale           func(dst, x *float32, d, s float32, n int)
	siluBack, geluBack func(dg, du, dh, g, u *float32, n int)
	combine            func(y *float32, a float32, x *float32, b, c float32, n int)
	// adamW takes the nine constants of AdamWStep in their order.
	adamW func(w, g, m, v, constants *float32, n int)
}

var trainGeneric = trainSet{
	expSum:   expSumGeneric,
	largest:  largestGeneric,
	divScale: divScaleGeneric,
	siluBack: func(dg, du, dh, g, u *float32, n int) { gateBackGeneric(GateSiLU, dg, du, dh, g, u, n) },
	geluBack: func(dg, du, dh, g, u *float32, n int) { gateBackGeneric(GateGELU, dg, du, dh, g, u, n) },
	combine:  combineGeneric,
	adamW:    adamWGeneric,
}

// ExpSum sets dst = exp(x - top) and returns the sum in sixteen parts, element
// i in part i mod 16, added as a tree. dst may be x.
func (k *Kernel) ExpSum(dst, x []float32, top float32) float32 {
	var parts [Panel]float32
	k.ExpParts(&parts, dst, x, top)
	return fold(&parts)
}

// ExpParts is ExpSum that adds to the sixteen parts and leaves them so, for
// callers that must not allocate.
func (k *Kernel) ExpParts(parts *[Panel]float32, dst, x []float32, top float32) {
	n := len(x)
	_ = dst[:n]
	whole := n / Panel * Panel
	if whole > 0 {
		k.train.expSum(&dst[0], &x[0], top, whole, &parts[0])
	}
	if whole < n {
		expSumGeneric(&dst[whole], &x[whole], top, n-whole, &parts[0])
	}
}

// Largest returns the largest element, found with comparisons that are false
// for NaN, or -Inf if there is none; and whether no element is infinite or NaN.
// Where both zeros are the largest, either may be returned.
func (k *Kernel) Largest(x []float32) (top float32, finite bool) {
	n := len(x)
	whole := n / Panel * Panel
	top = float32(math.Inf(-1))
	magnitude := uint32(0)
	if whole > 0 {
		top, magnitude = k.train.largest(&x[0], whole)
	}
	if whole < n {
		t, m := largestGeneric(&x[whole], n-whole)
		if t > top {
			top = t
		}
		magnitude = max(magnitude, m)
	}
	return top, magnitude < 0x7f800000
}

// DivScale sets dst = (x / d) * s. dst may be x.
func (k *Kernel) DivScale(dst, x []float32, d, s float32) {
	n := len(x)
	_ = dst[:n]
	whole := n / Panel * Panel
	if whole > 0 {
		k.train.divScale(&dst[0], &x[0], d, s, whole)
	}
	if whole < n {
		divScaleGeneric(&dst[whole], &x[whole], d, s, n-whole)
	}
}

// GateBackward sets the gradients of [Kernel.Gate], du = dh act(gate) and
// dg = (dh up) act'(gate). dg and du may be any of the others, but not one.
func (k *Kernel) GateBackward(g Gate, dg, du, dh, gate, up []float32) {
	n := len(dg)
	_, _, _, _ = du[:n], dh[:n], gate[:n], up[:n]
	f := k.train.siluBack
	if g == GateGELU {
		f = k.train.geluBack
	}
	whole := n / Panel * Panel
	if whole > 0 {
		f(&dg[0], &du[0], &dh[0], &gate[0], &up[0], whole)
	}
	if whole < n {
		gateBackGeneric(g, &dg[whole], &du[whole], &dh[whole], &gate[whole], &up[whole], n-whole)
	}
}

// Combine sets y = a y + b (c x): three products and an addition.
func (k *Kernel) Combine(y []float32, a float32, x []float32, b, c float32) {
	n := len(y)
	_ = x[:n]
	whole := n / Panel * Panel
	if whole > 0 {
		k.train.combine(&y[0], a, &x[0], b, c, whole)
	}
	if whole < n {
		combineGeneric(&y[whole], a, &x[whole], b, c, n-whole)
	}
}

// AdamWStep is the constants of a step of [Kernel.AdamW].
type AdamWStep struct {
	Scale        float32 // of the gradient
	Beta1, Rest1 float32 // of the mean of the gradient; Rest is 1 - Beta
	Beta2, Rest2 float32 // of the mean of its square
	Root         float32 // correction of the root of that mean
	Epsilon      float32
	Keep         float32 // 1 - rate * decay
	Rate         float32 // corrected for the mean of the gradient
}

// AdamW is a step of AdamW (Loshchilov and Hutter 2019) for weights w, with
// gradients g and means m and v:
//
//	d = Scale g
//	m = Beta1 m + Rest1 d
//	v = Beta2 v + Rest2 (d d)
//	w = Keep w - (Rate m) / (sqrt(v) Root + Epsilon)
func (k *Kernel) AdamW(w, g, m, v []float32, s *AdamWStep) {
	n := len(w)
	_, _, _ = g[:n], m[:n], v[:n]
	whole := n / Panel * Panel
	if whole > 0 {
		k.train.adamW(&w[0], &g[0], &m[0], &v[0], &s.Scale, whole)
	}
	if whole < n {
		adamWGeneric(&w[whole], &g[whole], &m[whole], &v[whole], &s.Scale, n-whole)
	}
}

// Sigmoid returns 1 / (1 + e**-x). Sigmoid(NaN) is 1, as [Exp] of NaN is 0.
func Sigmoid(x float32) float32 { return float32(1 / (1 + Exp(-x))) }

// SiLUDerivative returns the derivative of [SiLU], s (1 + x (1 - s)) with the
// sigmoid s of x.
func SiLUDerivative(x float32) float32 {
	s := Sigmoid(x)
	return float32(s * (1 + float32(x*(1-s))))
}

// geluC is three times geluA.
const geluC float32 = 0.134145

// GELUDerivative returns the derivative of [GELU]: with the sigmoid s of its z,
// t = s (1 - s) and d = ((x x) 0.134145 + 1) 1.5957691216057308, it is
// s + x (t d), and s where t is 0 (d may be infinite there).
func GELUDerivative(x float32) float32 {
	q := float32(x * x)
	c := float32(float32(q*x)*geluA) + x
	s := Sigmoid(float32(c * geluB))
	t := float32(s * (1 - s))
	if t == 0 {
		return s
	}
	d := float32((float32(q*geluC) + 1) * geluB)
	return s + float32(x*float32(t*d))
}

func expSumGeneric(dst, x *float32, top float32, n int, parts *float32) {
	d, p := unsafe.Slice(dst, n), unsafe.Slice(parts, Panel)
	for i, v := range unsafe.Slice(x, n) {
		e := Exp(v - top)
		d[i] = e
		p[i%Panel] += e
	}
}

func largestGeneric(x *float32, n int) (top float32, magnitude uint32) {
	top = float32(math.Inf(-1))
	for _, v := range unsafe.Slice(x, n) {
		if v > top {
			top = v
		}
		magnitude = max(magnitude, math.Float32bits(v)&0x7fffffff)
	}
	return top, magnitude
}

func divScaleGeneric(dst, x *float32, d, s float32, n int) {
	out := unsafe.Slice(dst, n)
	for i, v := range unsafe.Slice(x, n) {
		out[i] = float32(float32(v/d) * s)
	}
}

func gateBackGeneric(gate Gate, dg, du, dh, g, u *float32, n int) {
	dgs, dus, dhs := unsafe.Slice(dg, n), unsafe.Slice(du, n), unsafe.Slice(dh, n)
	gs, us := unsafe.Slice(g, n), unsafe.Slice(u, n)
	for i, h := range dhs {
		x, y := gs[i], us[i]
		f, slope := SiLU(x), SiLUDerivative(x)
		if gate == GateGELU {
			f, slope = GELU(x), GELUDerivative(x)
		}
		dus[i] = float32(h * f)
		dgs[i] = float32(float32(h*y) * slope)
	}
}

func combineGeneric(y *float32, a float32, x *float32, b, c float32, n int) {
	d := unsafe.Slice(y, n)
	for i, v := range unsafe.Slice(x, n) {
		d[i] = float32(a*d[i]) + float32(b*float32(c*v))
	}
}

func adamWGeneric(w, g, m, v, constants *float32, n int) {
	s := (*AdamWStep)(unsafe.Pointer(constants))
	ws, ms, vs := unsafe.Slice(w, n), unsafe.Slice(m, n), unsafe.Slice(v, n)
	for i, grad := range unsafe.Slice(g, n) {
		d := float32(s.Scale * grad)
		ms[i] = float32(s.Beta1*ms[i]) + float32(s.Rest1*d)
		vs[i] = float32(s.Beta2*vs[i]) + float32(s.Rest2*float32(d*d))
		den := float32(sqrt(vs[i])*s.Root) + s.Epsilon
		ws[i] = float32(s.Keep*ws[i]) - float32(float32(s.Rate*ms[i])/den)
	}
}
