package net

import "github.com/avalnetwork/aval/internal/train"

// sumBlock is the number of terms that are added up before they join a sum, as
// in matrix products (numerics.md, section 4.2).
const sumBlock = 32

// pool takes the largest value or the mean of windows of each channel.
type pool struct {
	geometry
	in, out Shape
	mean    bool
	arg     []int32 // of a maximum: its place in the channel, [example][output]

	pass         *pass
	x, y, dx, dy []float32
	run, runBack func(worker, from, to int)
}

func newPool(l *Layer, in, out Shape) *pool {
	g, err := l.geometry(in)
	if err != nil {
		panic("net: the spec was checked: " + err.Error())
	}
	p := &pool{geometry: g, in: in, out: out, mean: l.Kind == AvgPool}
	p.run, p.runBack = p.forwardPlanes, p.backwardPlanes
	return p
}

func (*pool) params() []*train.Param { return nil }
func (*pool) init(uint64)            {}

func (l *pool) grow(n int) {
	if !l.mean {
		l.arg = make([]int32, n*l.out.Elements())
	}
}

func (l *pool) forward(p *pass, y, x []float32) {
	l.pass, l.x, l.y = p, x, y
	p.machine.For(p.n*l.in.Channels, 1, l.run)
}

// forwardPlanes computes channels from to to-1, counted over all examples.
func (l *pool) forwardPlanes(_, from, to int) {
	in, out := l.in.Height*l.in.Width, l.out.Height*l.out.Width
	for c := from; c < to; c++ {
		x, y := l.x[c*in:(c+1)*in], l.y[c*out:(c+1)*out]
		for i := range l.outH {
			for j := range l.outW {
				at := i*l.outW + j
				if l.mean {
					y[at] = l.average(x, i*l.strideH, j*l.strideW)
				} else {
					best := l.largest(x, i*l.strideH, j*l.strideW)
					l.arg[c*out+at] = int32(best)
					y[at] = x[best]
				}
			}
		}
	}
}

// average is the mean of the window that begins at a row and column: the sum in
// blocks of 32, row after row, divided by the number.
func (l *pool) average(x []float32, row, col int) float32 {
	var sum, part float32
	n := 0
	for h := range l.kernelH {
		for _, v := range x[(row+h)*l.in.Width+col:][:l.kernelW] {
			part += v
			if n++; n%sumBlock == 0 {
				sum += part
				part = 0
			}
		}
	}
	sum += part // adds +0, which changes nothing, where the last block was full
	return sum / float32(n)
}

// largest is the place of the largest element of a window, the first of equals.
func (l *pool) largest(x []float32, row, col int) int {
	best := row*l.in.Width + col
	for h := range l.kernelH {
		first := (row+h)*l.in.Width + col
		for i, v := range x[first:][:l.kernelW] {
			if v > x[best] {
				best = first + i
			}
		}
	}
	return best
}

func (l *pool) backward(p *pass, dx, dy, _ []float32) {
	if dx == nil {
		return
	}
	l.pass, l.dx, l.dy = p, dx, dy
	p.machine.For(p.n*l.in.Channels, 1, l.runBack)
}

// backwardPlanes adds, from +0 and in the order of the windows, what each gives
// to its elements.
func (l *pool) backwardPlanes(_, from, to int) {
	in, out := l.in.Height*l.in.Width, l.out.Height*l.out.Width
	for c := from; c < to; c++ {
		dx, dy := l.dx[c*in:(c+1)*in], l.dy[c*out:(c+1)*out]
		clear(dx)
		for i := range l.outH {
			for j := range l.outW {
				d := dy[i*l.outW+j]
				if !l.mean {
					dx[l.arg[c*out+i*l.outW+j]] += d
					continue
				}
				d /= float32(l.kernelH * l.kernelW)
				for h := range l.kernelH {
					row := dx[(i*l.strideH+h)*l.in.Width+j*l.strideW:][:l.kernelW]
					for k := range row {
						row[k] += d
					}
				}
			}
		}
	}
}
