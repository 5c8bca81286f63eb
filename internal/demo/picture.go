package demo

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"
	"math"

	"github.com/avalnetwork/aval/internal/report"
)

// The pictures are drawn in units of a width of 440, so that their texts are
// readable on a telephone.
const (
	wide = 440.0
	pad  = 4.0
)

// strip draws n boxes side by side and marks one. It gives the middle of its ends.
func strip(w *report.Markup, y, height float64, n, at int) (left, right float64) {
	each := (wide - 2*pad) / float64(n)
	gap := math.Min(2, each/4)
	for i := range n {
		class := "box"
		if i == at {
			class = "hit"
		}
		w.Put(`<rect class="%s" x="%.2f" y="%.1f" width="%.2f" height="%.1f" rx="1.5"/>`, class, pad+float64(i)*each, y, each-gap, height)
	}
	left = pad + float64(at)*each
	return left, left + each - gap
}

// fan draws what lies between a mark and the wider row below it.
func fan(w *report.Markup, left, right, from, to float64) {
	w.Put(`<path class="fan" d="M%.2f %.1fL%.2f %.1fL%.2f %.1fL%.2f %.1fZ"/>`, left, from, right, from, wide-pad, to, pad, to)
}

// Tree draws how the dispute narrowed the computation, from all cells to a leaf.
func (l *Leaf) Tree() string {
	w := &report.Markup{}
	const row, high, space = 13.0, 18.0, 46.0
	y := 20.0
	grid := float64(l.Layers) * row
	ops := y + grid + space
	leaves := ops + high + space
	last := leaves + high + space
	w.Put(`<svg class="fig" viewBox="0 0 440 %.0f" role="img" aria-label="From %d cells to one operation to one part: layer %d, position %d, operation %s, part %d">`,
		last+46, l.Layers*l.Positions, l.Layer, l.Position, l.Name, l.Leaf)
	w.Put(`<text x="4" y="13">%d layers × %d positions</text>`, l.Layers, l.Positions)
	each := (wide - 2*pad) / float64(l.Positions)
	w.Put(`<rect class="box" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/><path class="grid" d="`, pad, y, wide-2*pad, grid)
	for i := 1; i < l.Layers; i++ {
		w.Put(`M%.1f %.1fH%.1f`, pad, y+float64(i)*row, wide-pad)
	}
	for i := 1; i < l.Positions; i++ {
		w.Put(`M%.2f %.1fV%.1f`, pad+float64(i)*each, y, y+grid)
	}
	w.Put(`"/>`)
	left, top := pad+float64(l.Position)*each, y+float64(l.Layer)*row
	fan(w, left, left+each, top+row, ops)
	w.Put(`<rect class="hit" x="%.2f" y="%.1f" width="%.2f" height="%.1f"/>`, left, top, math.Max(each, 4), row)
	w.Put(`<text class="hot" x="436" y="%.1f" text-anchor="end">layer %d, position %d</text>`, y+grid+16, l.Layer, l.Position)
	w.Put(`<text x="4" y="%.1f">its %d operations</text>`, ops-6, len(l.Operations))
	a, b := strip(w, ops, high, len(l.Operations), l.Operation)
	fan(w, a, b, ops+high, leaves)
	w.Put(`<text class="hot" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, middle(a, b), ops+high+16, anchor(a, b), l.Name)
	w.Put(`<text x="4" y="%.1f">its %d parts</text>`, leaves-6, l.Leaves)
	a, b = strip(w, leaves, high, l.Leaves, l.Leaf)
	fan(w, a, b, leaves+high, last)
	w.Put(`<text class="hot" x="436" y="%.1f" text-anchor="end">part %d</text>`, leaves+high+16, l.Leaf)
	w.Put(`<rect class="hit" x="%.1f" y="%.1f" width="%.1f" height="3"/>`, pad, last, wide-2*pad)
	w.Put(`<text x="4" y="%.1f">right</text><text class="soft" x="52" y="%.1f">%s…</text>`, last+20, last+20, l.Right[:32])
	w.Put(`<text x="4" y="%.1f" class="hot">signed</text><text class="soft" x="52" y="%.1f">%s…</text>`, last+38, last+38, l.Signed[:32])
	w.Put("</svg>\n")
	return w.String()
}

func middle(a, b float64) float64 {
	switch anchor(a, b) {
	case "start":
		return a
	case "end":
		return b
	}
	return (a + b) / 2
}

func anchor(a, b float64) string {
	switch m := (a + b) / 2; {
	case m < wide/3:
		return "start"
	case m > wide*2/3:
		return "end"
	}
	return "middle"
}

// Tiles draws the numbers of the tile, as the model has them and as the liar's
// file does.
func (l *Leaf) Tiles() string {
	w := &report.Markup{}
	high := math.Max(56, math.Min(140, float64(l.Rows)*9))
	most := float32(0)
	for _, v := range l.Weights {
		most = max(most, abs(v))
	}
	w.Put(`<svg class="fig" viewBox="0 0 440 %.0f" role="img" aria-label="The numbers of the tile, %d rows and %d columns: those of the model above, those that the liar used below">`, 2*high+66, l.Rows, l.Cols)
	y := 0.0
	for i, part := range []struct {
		words string
		v     []float32
	}{{"as the model has it", l.Weights}, {"as the liar used it", l.Used}} {
		class := "right"
		if i == 1 {
			class = "hot"
		}
		w.Put(`<text class="%s" x="4" y="%.0f">%s</text>`, class, y+14, part.words)
		w.Put(`<rect class="box" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, pad-1, y+19, wide-2*pad+2, high+2)
		w.Put(`<image x="%.1f" y="%.1f" width="%.1f" height="%.1f" preserveAspectRatio="none" href="%s"/>`, pad, y+20, wide-2*pad, high, heat(part.v, l.Rows, l.Cols, most))
		y += high + 28
	}
	zeros := 0
	for i, v := range l.Used {
		if v != l.Weights[i] {
			zeros++
		}
	}
	w.Put(`<text class="soft" x="4" y="%.0f">%d × %d numbers, of which %d differ (red above zero, blue below)</text>`, y+6, l.Rows, l.Cols, zeros)
	w.Put("</svg>\n")
	return w.String()
}

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }

// heat is a picture of numbers, as the URL of its data: what is zero is clear.
func heat(v []float32, rows, cols int, most float32) string {
	m := image.NewNRGBA(image.Rect(0, 0, cols, rows))
	for r := range rows {
		for c := range cols {
			x := v[r*cols+c]
			if x == 0 || most == 0 {
				continue
			}
			p := color.NRGBA{R: 0xc9, G: 0x3a, B: 0x2b}
			if x < 0 {
				p = color.NRGBA{R: 0x2c, G: 0x6f, B: 0xbf}
			}
			p.A = uint8(40 + 215*math.Sqrt(float64(abs(x)/most)))
			m.SetNRGBA(c, r, p)
		}
	}
	var b bytes.Buffer
	_ = png.Encode(&b, m) // a picture in memory
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())
}

// Bars draws what the rows of the tile give: right, and as signed.
func (l *Leaf) Bars() string {
	w := &report.Markup{}
	most := float32(0)
	for i := range l.Values {
		most = max(most, abs(l.Values[i]), abs(l.Claimed[i]))
	}
	if most == 0 {
		most = 1
	}
	const row, left = 22.0, 44.0
	zero, half := (left+wide)/2, (wide-left)/2-pad
	high := 24 + row*float64(len(l.Values)) + 6
	w.Put(`<svg class="fig" viewBox="0 0 440 %.0f" role="img" aria-label="What the rows give: right, and as the liar signed">`, high)
	w.Put(`<text class="soft" x="4" y="13">row</text><text class="right" x="%.0f" y="13" text-anchor="end">right</text><text class="hot" x="%.0f" y="13">signed</text>`, zero-6, zero+6)
	w.Put(`<path class="axis" d="M%.1f 20V%.1f"/>`, zero, high-4)
	for i := range l.Values {
		y := 24 + row*float64(i)
		w.Put(`<text class="soft" x="4" y="%.1f">%d</text>`, y+13, l.Row+i)
		for j, v := range []float32{l.Values[i], l.Claimed[i]} {
			n := float64(abs(v)/most) * half
			x, class := zero, []string{"right", "hit"}[j]
			if v < 0 {
				x -= n
			}
			w.Put(`<rect class="%s" x="%.2f" y="%.1f" width="%.2f" height="7"/>`, class, x, y+2+8*float64(j), math.Max(n, 0.6))
		}
	}
	w.Put("</svg>\n")
	return w.String()
}
