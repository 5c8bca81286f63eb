package chart_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/chart"
)

var keep = flag.String("keep", "", "write the pictures of the tests into this folder, to be looked at")

// run makes up a loss that falls from ln 4096.
func run(steps int) (train, validation []chart.Point) {
	for i := 1; i <= steps; i++ {
		x := float64(i) / float64(steps)
		noise := float64((i*7919)%100)/250 - 0.2
		train = append(train, chart.Point{X: float64(i), Y: 3.1 + 5.2/(1+12*x) + noise})
		if i%max(steps/12, 1) == 0 {
			validation = append(validation, chart.Point{X: float64(i), Y: 3.3 + 5.2/(1+12*x)})
		}
	}
	return train, validation
}

func draw(t *testing.T, c *chart.Curve) (svg, picture []byte) {
	t.Helper()
	var a, b bytes.Buffer
	if err := errors.Join(c.SVG(&a), c.PNG(&b)); err != nil {
		t.Fatal(err)
	}
	if *keep != "" {
		name := filepath.Join(*keep, strings.ReplaceAll(t.Name(), "/", "-"))
		if err := errors.Join(os.WriteFile(name+".svg", a.Bytes(), 0o644), os.WriteFile(name+".png", b.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return a.Bytes(), b.Bytes()
}

func TestLoss(t *testing.T) {
	train, validation := run(3000)
	train[7].Y = math.NaN()
	svg, picture := draw(t, chart.Loss("war-and-peace: <3 & more", "nats per token", train, validation))
	for _, want := range []string{"loss (nats per token)", "step", "training, smoothed", "validation", "war-and-peace: &lt;3 &amp; more", ">3000<", ">8<"} {
		if !bytes.Contains(svg, []byte(want)) {
			t.Errorf("the SVG lacks %q", want)
		}
	}
	if len(svg) > 60_000 {
		t.Errorf("the SVG has %d bytes", len(svg))
	}
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() != 1200 || b.Dy() != 675 {
		t.Errorf("the picture is %v", b)
	}
	again, samePicture := draw(t, chart.Loss("war-and-peace: <3 & more", "nats per token", train, validation))
	if !bytes.Equal(svg, again) || !bytes.Equal(picture, samePicture) {
		t.Error("the same points give another picture")
	}
}

func TestFewPoints(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		train, _ := run(n)
		svg, _ := draw(t, chart.Loss("few", "nats", train, nil))
		if bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("validation")) {
			t.Errorf("%d points: %s", n, svg)
		}
	}
	same := []chart.Point{{X: 0, Y: 2}, {X: 10, Y: 2}}
	if svg, _ := draw(t, chart.Loss("level", "nats", same, same)); bytes.Contains(svg, []byte("NaN")) {
		t.Errorf("level: %s", svg)
	}
	nothing := chart.Loss("", "", []chart.Point{{X: 1, Y: math.Inf(1)}}, nil)
	if err := nothing.SVG(io.Discard); !errors.Is(err, chart.ErrEmpty) {
		t.Errorf("%v, want ErrEmpty", err)
	}
}

func TestSmooth(t *testing.T) {
	train, _ := run(500)
	s := chart.Smooth(train)
	if len(s) != len(train) || s[0] != train[0] {
		t.Fatalf("%d points, the first %v", len(s), s[0])
	}
	rough := func(p []chart.Point) (sum float64) {
		for i := 1; i < len(p); i++ {
			sum += math.Abs(p[i].Y - p[i-1].Y)
		}
		return sum
	}
	if rough(s) > rough(train)/4 {
		t.Errorf("roughness %v of %v", rough(s), rough(train))
	}
}
