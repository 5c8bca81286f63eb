// Package chart draws the loss of a training run as a curve, in SVG or PNG.
//
// Call [Loss] with the points of the run, then [Curve.SVG] or [Curve.PNG]. The
// same points give the same bytes. A run of many steps is drawn by the means of
// neighbouring steps, so that a picture stays small.
//
// It draws with the renderers of github.com/go-analyze/charts, and places
// everything itself. It does not plot anything but lines over steps.
package chart

import (
	"errors"
	"io"
	"math"

	"github.com/go-analyze/charts/chartdraw"
	"github.com/go-analyze/charts/chartdraw/drawing"
)

// maxDrawn bounds the points of a line; the picture is not wider.
const maxDrawn = 1000

// ErrEmpty says that there is nothing to draw.
var ErrEmpty = errors.New("chart: no finite points to draw")

// Point is a value after a number of steps.
type Point struct{ X, Y float64 }

// Series is one line of a curve.
type Series struct {
	Name   string
	Points []Point // in the order of X
	Color  Color
	Width  float64 // of the line, in pixels
	Dots   bool    // marks the points
}

// Color is red, green and blue.
type Color struct{ R, G, B uint8 }

// The colours of loss curves. They can be told apart by the colour-blind and in
// print.
var (
	Pale   = Color{0xB8, 0xCF, 0xE6}
	Blue   = Color{0x1F, 0x5F, 0xA8}
	Orange = Color{0xE0, 0x7B, 0x1A}
)

// Curve is a picture of one or more lines.
type Curve struct {
	Title, XLabel, YLabel string
	Series                []Series
}

// Loss is the curve of a run: the loss of each step, the same smoothed, and the
// validation loss, each of which may be empty. unit is what the loss is counted
// in, such as "nats per token".
func Loss(title, unit string, train, validation []Point) *Curve {
	c := &Curve{Title: title, XLabel: "step", YLabel: "loss (" + unit + ")"}
	if train = thin(finite(train)); len(train) > 0 {
		c.Series = append(c.Series,
			Series{Name: "training", Points: train, Color: Pale, Width: 1},
			Series{Name: "training, smoothed", Points: Smooth(train), Color: Blue, Width: 2.5})
	}
	if validation = thin(finite(validation)); len(validation) > 0 {
		c.Series = append(c.Series, Series{Name: "validation", Points: validation, Color: Orange, Width: 2, Dots: len(validation) <= 60})
	}
	return c
}

// Smooth replaces each point by the mean of a fiftieth of all points, those
// around it; near the ends of fewer, as many on either side.
func Smooth(points []Point) []Point {
	sums := make([]float64, len(points)+1)
	for i, p := range points {
		sums[i+1] = sums[i] + p.Y
	}
	out := make([]Point, len(points))
	most := max(len(points)/100, 1)
	for i, p := range points {
		side := min(most, i, len(points)-1-i)
		out[i] = Point{p.X, (sums[i+side+1] - sums[i-side]) / float64(2*side+1)}
	}
	return out
}

// finite leaves out what cannot be drawn.
func finite(points []Point) []Point {
	out := make([]Point, 0, len(points))
	for _, p := range points {
		if math.Abs(p.X) <= 1e15 && math.Abs(p.Y) <= 1e15 { // false for NaN
			out = append(out, p)
		}
	}
	return out
}

// thin takes means of so many neighbours that at most maxDrawn are left.
func thin(points []Point) []Point {
	size := (len(points) + maxDrawn - 1) / maxDrawn
	if size <= 1 {
		return points
	}
	var out []Point
	for at := 0; at < len(points); at += size {
		group := points[at:min(at+size, len(points))]
		var sum Point
		for _, p := range group {
			sum.X += p.X
			sum.Y += p.Y
		}
		n := float64(len(group))
		out = append(out, Point{sum.X / n, sum.Y / n})
	}
	return out
}

// SVG draws the curve.
func (c *Curve) SVG(w io.Writer) error { return c.draw(chartdraw.SVG(width, height), w) }

// PNG draws the curve.
func (c *Curve) PNG(w io.Writer) error { return c.draw(chartdraw.PNG(width, height), w) }

func (c Color) drawing() drawing.Color { return drawing.Color{R: c.R, G: c.G, B: c.B, A: 255} }
