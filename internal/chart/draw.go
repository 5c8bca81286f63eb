package chart

import (
	"io"
	"math"
	"strconv"

	"github.com/go-analyze/charts/chartdraw"
	"github.com/go-analyze/charts/chartdraw/drawing"
)

// The layout, in pixels.
const (
	width, height = 1200, 675
	left, right   = 96, 1160
	top, bottom   = 84, 596

	titleSize = 20
	textSize  = 13
)

var (
	ink   = drawing.Color{R: 0x33, G: 0x33, B: 0x33, A: 255}
	faint = drawing.Color{R: 0xE6, G: 0xE6, B: 0xE6, A: 255}
	axis  = drawing.Color{R: 0x99, G: 0x99, B: 0x99, A: 255}
)

// canvas places values on the picture.
type canvas struct {
	chartdraw.Renderer
	x, y scale
}

// scale maps from..to, with a mark every step, to pixels.
type scale struct {
	from, to, step float64
	a, b           float64 // pixels of from and to
}

func (s *scale) at(v float64) int {
	return int(math.Round(s.a + float64((v-s.from)/(s.to-s.from)*(s.b-s.a))))
}

// marks calls yield for each mark.
func (s *scale) marks(yield func(v float64, label string)) {
	decimals := 0
	for step := s.step; step < 0.999 && decimals < 15; step *= 10 {
		decimals++
	}
	for i := math.Ceil(s.from/s.step - 1e-9); ; i++ {
		v := float64(i * s.step)
		if v > s.to+float64(s.step*1e-9) {
			return
		}
		yield(v, strconv.FormatFloat(v+0, 'f', decimals, 64))
	}
}

// newScale shows lo..hi between pixels a and b with about n marks at round
// numbers. With whole, it begins and ends at marks.
func newScale(lo, hi float64, n int, a, b float64, whole bool) scale {
	if hi-lo < 1e-9*max(math.Abs(lo), math.Abs(hi), 1e-3) {
		pad := max(math.Abs(lo)/10, 1e-3)
		lo, hi = lo-pad, hi+pad
	}
	step := roundStep((hi - lo) / float64(n))
	if whole {
		lo, hi = float64(math.Floor(lo/step)*step), float64(math.Ceil(hi/step)*step)
	}
	return scale{lo, hi, step, a, b}
}

// roundStep is the first of 1, 2 and 5 times a power of ten that is not less.
func roundStep(least float64) float64 {
	unit := 1.0
	for unit > least {
		unit /= 10
	}
	for unit*10 <= least {
		unit *= 10
	}
	for _, f := range []float64{1, 2, 5} {
		if f*unit >= least {
			return f * unit
		}
	}
	return 10 * unit
}

func (c *Curve) draw(r chartdraw.Renderer, w io.Writer) error {
	lo, hi := Point{math.Inf(1), math.Inf(1)}, Point{math.Inf(-1), math.Inf(-1)}
	for _, s := range c.Series {
		for _, p := range s.Points {
			lo = Point{min(lo.X, p.X), min(lo.Y, p.Y)}
			hi = Point{max(hi.X, p.X), max(hi.Y, p.Y)}
		}
	}
	if !(lo.X <= hi.X) {
		return ErrEmpty
	}
	d := &canvas{
		Renderer: r,
		x:        newScale(min(lo.X, 0), hi.X, 8, left, right, false),
		y:        newScale(lo.Y, hi.Y, 6, bottom, top, true),
	}
	d.SetFont(chartdraw.GetDefaultFont())
	d.box(0, 0, width, height, drawing.ColorWhite)
	d.axes(c)
	for i := range c.Series {
		d.line(&c.Series[i])
	}
	d.legend(c.Series)
	d.text(c.Title, left, 44, titleSize, ink)
	return d.Save(w)
}

func (d *canvas) box(x0, y0, x1, y1 int, fill drawing.Color) {
	d.SetFillColor(fill)
	d.SetStrokeColor(fill)
	d.SetStrokeWidth(0)
	d.MoveTo(x0, y0)
	d.LineTo(x1, y0)
	d.LineTo(x1, y1)
	d.LineTo(x0, y1)
	d.Close()
	d.Fill()
}

func (d *canvas) rule(x0, y0, x1, y1 int, color drawing.Color, thick float64) {
	d.SetStrokeColor(color)
	d.SetStrokeWidth(thick)
	d.MoveTo(x0, y0)
	d.LineTo(x1, y1)
	d.Stroke()
}

func (d *canvas) text(s string, x, y int, size float64, color drawing.Color) {
	d.SetFontColor(color)
	d.SetFontSize(size)
	d.Text(s, x, y)
}

// measure is the width of a text.
func (d *canvas) measure(s string, size float64) int {
	d.SetFontSize(size)
	return d.MeasureText(s).Width()
}

func (d *canvas) axes(c *Curve) {
	d.y.marks(func(v float64, label string) {
		y := d.y.at(v)
		d.rule(left, y, right, y, faint, 1)
		d.text(label, left-12-d.measure(label, textSize), y+6, textSize, ink)
	})
	d.x.marks(func(v float64, label string) {
		x := d.x.at(v)
		d.rule(x, bottom, x, bottom+6, axis, 1)
		d.text(label, x-d.measure(label, textSize)/2, bottom+26, textSize, ink)
	})
	d.rule(left, bottom, right, bottom, axis, 1.5)
	d.text(c.XLabel, (left+right-d.measure(c.XLabel, textSize))/2, bottom+56, textSize, ink)
	long := d.measure(c.YLabel, textSize)
	d.SetTextRotation(-math.Pi / 2)
	d.text(c.YLabel, 28, (top+bottom+long)/2, textSize, ink)
	d.ClearTextRotation()
}

func (d *canvas) line(s *Series) {
	color := s.Color.drawing()
	d.SetStrokeColor(color)
	d.SetStrokeWidth(s.Width)
	for i, p := range s.Points {
		if x, y := d.x.at(p.X), d.y.at(p.Y); i == 0 {
			d.MoveTo(x, y)
		} else {
			d.LineTo(x, y)
		}
	}
	if len(s.Points) > 1 {
		d.Stroke()
	}
	if !s.Dots && len(s.Points) > 1 {
		return
	}
	for _, p := range s.Points {
		d.dot(d.x.at(p.X), d.y.at(p.Y), color)
	}
}

func (d *canvas) dot(x, y int, color drawing.Color) {
	d.SetFillColor(color)
	d.SetStrokeColor(drawing.ColorWhite)
	d.SetStrokeWidth(1)
	d.Circle(4.5, x, y)
	d.FillStroke()
}

// legend stands at the right above the lines.
func (d *canvas) legend(series []Series) {
	const swatch, gap = 28, 28
	x := right
	for i := len(series) - 1; i >= 0; i-- {
		s := &series[i]
		x -= d.measure(s.Name, textSize)
		d.text(s.Name, x, 68, textSize, ink)
		x -= swatch + 8
		d.rule(x, 63, x+swatch, 63, s.Color.drawing(), max(s.Width, 2))
		if s.Dots {
			d.dot(x+swatch/2, 63, s.Color.drawing())
		}
		x -= gap
	}
}
