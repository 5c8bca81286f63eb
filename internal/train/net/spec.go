package net

import (
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// Limits of a net.
const (
	MaxLayers   = 1 << 8
	MaxElements = 1 << 24 // of the input or the output of a layer, for one example
	MaxWeights  = 1 << 28 // of all layers together
	maxColumns  = 1 << 26 // elements of the unfolded input of a convolution
	maxSpecLen  = 1 << 16 // bytes of the encoding
)

// The kinds of layers.
const (
	// Dense is a fully connected layer of Units outputs. It takes its input as
	// one vector, channel after channel, row after row.
	Dense = "dense"
	// Conv is a convolution with Filters filters of size Kernel, in Groups
	// groups. Groups equal to the channels make it depthwise; a separable
	// convolution is a depthwise one and one with a Kernel of 1 by 1.
	Conv = "conv"
	// MaxPool and AvgPool take the largest value or the mean of windows of size
	// Kernel.
	MaxPool = "max_pool"
	AvgPool = "avg_pool"
	// GroupNorm brings each of Groups groups of channels of an example to mean 0
	// and variance 1, then scales and shifts each channel (Wu and He 2018).
	// One group: layer norm; as many as channels: instance norm.
	GroupNorm = "group_norm"
	// RMSNorm divides an example by the root of its mean square, then scales
	// each channel.
	RMSNorm = "rms_norm"
	// Dropout sets elements to zero with probability Rate while training, and
	// scales the others by 1 / (1 - Rate) (Srivastava et al. 2014).
	Dropout = "dropout"
	// The activations, element by element.
	ReLU    = "relu"
	ELU     = "elu"
	GELU    = "gelu"
	SiLU    = "silu"
	Tanh    = "tanh"
	Sigmoid = "sigmoid"
)

// The losses.
const (
	// CrossEntropy of the softmax of the outputs against Example.Label.
	CrossEntropy = "cross_entropy"
	// MSE is the mean of the squared differences from Example.Target.
	MSE = "mse"
)

// The paddings of a convolution.
const (
	Valid = "valid" // none: windows lie inside the input
	Same  = "same"  // zeros so that the output has ceil(input / stride) elements; the odd one at the end
)

// The initialisations of weights. Biases begin at 0, scales of norms at 1.
const (
	HeNormal      = "he"     // normal, deviation sqrt(2 / inputs)
	GlorotUniform = "glorot" // uniform within sqrt(6 / (inputs + outputs))
)

// Shape is the shape of an example between two layers: row-major
// [Channels][Height][Width].
type Shape struct {
	Channels int `cbor:"1,keyasint" json:"channels"`
	Height   int `cbor:"2,keyasint" json:"height"`
	Width    int `cbor:"3,keyasint" json:"width"`
}

// Elements is the number of elements.
func (s Shape) Elements() int { return s.Channels * s.Height * s.Width }

func (s Shape) String() string { return fmt.Sprintf("%dx%dx%d", s.Channels, s.Height, s.Width) }

// Vector is the shape of n numbers.
func Vector(n int) Shape { return Shape{n, 1, 1} }

// Layer describes a layer. Fields that its kind does not use are zero.
type Layer struct {
	Kind    string `cbor:"1,keyasint" json:"kind"`
	Units   int    `cbor:"2,keyasint,omitempty" json:"units,omitempty"`
	Filters int    `cbor:"3,keyasint,omitempty" json:"filters,omitempty"`
	// Kernel is the height and width of a window. A 0 of a pool: the whole input.
	Kernel [2]int `cbor:"4,keyasint,omitzero" json:"kernel,omitzero"`
	// Stride is the step from window to window. A 0: 1 for a convolution, the
	// Kernel for a pool.
	Stride  [2]int  `cbor:"5,keyasint,omitzero" json:"stride,omitzero"`
	Padding string  `cbor:"6,keyasint,omitempty" json:"padding,omitempty"`  // of a convolution; "": Valid
	Groups  int     `cbor:"7,keyasint,omitempty" json:"groups,omitempty"`   // of a convolution or GroupNorm; 0: 1
	NoBias  bool    `cbor:"8,keyasint,omitempty" json:"no_bias,omitempty"`  // of Dense and Conv
	Rate    float32 `cbor:"9,keyasint,omitempty" json:"rate,omitempty"`     // of Dropout, [0, 1)
	Epsilon float32 `cbor:"10,keyasint,omitempty" json:"epsilon,omitempty"` // of norms; 0: 1e-5
	Init    string  `cbor:"11,keyasint,omitempty" json:"init,omitempty"`    // of Dense and Conv; "": HeNormal
}

// Spec describes a net: what it takes, its layers one after the other, what it
// is trained for. It says all but the weights.
type Spec struct {
	Input  Shape   `cbor:"1,keyasint" json:"input"`
	Layers []Layer `cbor:"2,keyasint" json:"layers"`
	Loss   string  `cbor:"3,keyasint" json:"loss"`
	// ClassWeights multiply the losses of the classes of a CrossEntropy; empty:
	// all 1.
	ClassWeights []float32 `cbor:"4,keyasint,omitempty" json:"class_weights,omitempty"`
}

// Validate reports the first thing that is wrong.
func (s *Spec) Validate() error {
	_, err := s.Shapes()
	return err
}

// Shapes checks the spec and gives the shape before each layer and, at the end,
// after the last one.
func (s *Spec) Shapes() ([]Shape, error) {
	if len(s.Layers) < 1 || len(s.Layers) > MaxLayers {
		return nil, fmt.Errorf("net: %d layers, want 1 to %d", len(s.Layers), MaxLayers)
	}
	at := s.Input
	if !at.ok() {
		return nil, fmt.Errorf("net: input of shape %v, want at least 1x1x1 and at most %d elements", at, MaxElements)
	}
	shapes := []Shape{at}
	weights := 0
	for i := range s.Layers {
		l := &s.Layers[i]
		next, n, err := l.check(at)
		if err == nil && !next.ok() {
			err = fmt.Errorf("output of shape %v, want at least 1x1x1 and at most %d elements", next, MaxElements)
		}
		if weights += n; err == nil && weights > MaxWeights {
			err = fmt.Errorf("the net has more than %d weights", MaxWeights)
		}
		if err != nil {
			return nil, fmt.Errorf("net: layer %d (%s) on input of shape %v: %w", i, l.Kind, at, err)
		}
		at = next
		shapes = append(shapes, at)
	}
	switch s.Loss {
	case CrossEntropy:
		if n := at.Elements(); n < 2 {
			return nil, fmt.Errorf("net: %d output, cross_entropy needs one for each of at least 2 classes", n)
		}
		if n := len(s.ClassWeights); n != 0 && n != at.Elements() {
			return nil, fmt.Errorf("net: %d class weights for %d classes", n, at.Elements())
		}
		for i, w := range s.ClassWeights {
			if !(w >= 0 && w <= 1e6) {
				return nil, fmt.Errorf("net: weight of class %d is %v, want 0 to 1e6", i, w)
			}
		}
	case MSE:
		if len(s.ClassWeights) != 0 {
			return nil, fmt.Errorf("net: class weights with the loss %q", MSE)
		}
	default:
		return nil, fmt.Errorf("net: loss is %q, want %q or %q", s.Loss, CrossEntropy, MSE)
	}
	return shapes, nil
}

func (s Shape) ok() bool {
	if s.Channels < 1 || s.Height < 1 || s.Width < 1 {
		return false
	}
	_, err := product(MaxElements, s.Channels, s.Height, s.Width)
	return err == nil
}

// check checks a layer on input of a shape; it gives the shape of the output and
// the number of weights.
func (l *Layer) check(in Shape) (out Shape, weights int, err error) {
	used := Layer{Kind: l.Kind} // the fields that the kind may set
	out = in
	switch l.Kind {
	case Dense:
		used.Units, used.NoBias, used.Init = l.Units, l.NoBias, l.Init
		if l.Units < 1 || l.Units > MaxElements {
			return out, 0, fmt.Errorf("units is %d, want 1 to %d", l.Units, MaxElements)
		}
		if weights, err = product(MaxWeights, in.Elements(), l.Units); err != nil {
			return out, 0, fmt.Errorf("weights: %w", err)
		}
		out = Vector(l.Units)
	case Conv:
		used = *l
		used.Units, used.Rate, used.Epsilon = 0, 0, 0
		out, weights, err = l.checkConv(in)
	case MaxPool, AvgPool:
		used.Kernel, used.Stride = l.Kernel, l.Stride
		var g geometry
		g, err = l.geometry(in)
		out = Shape{in.Channels, g.outH, g.outW}
	case GroupNorm:
		used.Groups, used.Epsilon = l.Groups, l.Epsilon
		if l.Groups < 0 || in.Channels%max(1, l.Groups) != 0 {
			err = fmt.Errorf("%d groups do not divide %d channels", l.Groups, in.Channels)
		}
		weights = 2 * in.Channels
	case RMSNorm:
		used.Epsilon = l.Epsilon
		weights = in.Channels
	case Dropout:
		used.Rate = l.Rate
		if !(l.Rate >= 0 && l.Rate <= 0.99) {
			err = fmt.Errorf("rate is %v, want 0 to 0.99", l.Rate)
		}
	case ReLU, ELU, GELU, SiLU, Tanh, Sigmoid:
	default:
		return out, 0, fmt.Errorf("kind is unknown")
	}
	if err != nil {
		return out, 0, err
	}
	switch {
	case *l != used:
		return out, 0, fmt.Errorf("a field is set that this kind does not use: %+v", *l)
	case !(l.Epsilon >= 0 && l.Epsilon <= 1):
		return out, 0, fmt.Errorf("epsilon is %v, want 0 to 1", l.Epsilon)
	case l.Init != "" && l.Init != HeNormal && l.Init != GlorotUniform:
		return out, 0, fmt.Errorf("init is %q, want %q or %q", l.Init, HeNormal, GlorotUniform)
	}
	return out, weights, nil
}

func (l *Layer) checkConv(in Shape) (out Shape, weights int, err error) {
	groups := max(1, l.Groups)
	switch {
	case l.Filters < 1 || l.Filters > MaxElements:
		return out, 0, fmt.Errorf("filters is %d, want 1 to %d", l.Filters, MaxElements)
	case l.Groups < 0 || in.Channels%groups != 0 || l.Filters%groups != 0:
		return out, 0, fmt.Errorf("%d groups do not divide %d channels and %d filters", l.Groups, in.Channels, l.Filters)
	case l.Padding != "" && l.Padding != Valid && l.Padding != Same:
		return out, 0, fmt.Errorf("padding is %q, want %q or %q", l.Padding, Valid, Same)
	}
	g, err := l.geometry(in)
	if err != nil {
		return out, 0, err
	}
	channels := in.Channels / groups
	if _, err := product(maxColumns, channels, g.kernelH, g.kernelW, g.outH, g.outW); err != nil {
		return out, 0, fmt.Errorf("elements of all windows: %w", err)
	}
	if weights, err = product(MaxWeights, l.Filters, channels, g.kernelH, g.kernelW); err != nil {
		return out, 0, fmt.Errorf("weights: %w", err)
	}
	return Shape{l.Filters, g.outH, g.outW}, weights, nil
}

// product multiplies positive numbers, up to a limit.
func product(limit int, factors ...int) (int, error) {
	p := 1
	for _, f := range factors {
		if f > limit/p {
			return 0, fmt.Errorf("%v multiply to more than %d", factors, limit)
		}
		p *= f
	}
	return p, nil
}

// geometry is where the windows of a convolution or a pool lie. Window (i, j)
// begins at row i strideH - padH and column j strideW - padW of the input.
type geometry struct {
	kernelH, kernelW int
	strideH, strideW int
	padH, padW       int // zeros before the first row and column
	outH, outW       int
}

func (l *Layer) geometry(in Shape) (geometry, error) {
	var g geometry
	var err error
	pool := l.Kind != Conv
	if g.kernelH, g.strideH, g.padH, g.outH, err = windows(in.Height, l.Kernel[0], l.Stride[0], l.Padding == Same, pool); err != nil {
		return g, fmt.Errorf("height: %w", err)
	}
	if g.kernelW, g.strideW, g.padW, g.outW, err = windows(in.Width, l.Kernel[1], l.Stride[1], l.Padding == Same, pool); err != nil {
		return g, fmt.Errorf("width: %w", err)
	}
	return g, nil
}

// windows lays windows along one side of n elements.
func windows(n, kernel, stride int, same, pool bool) (k, s, pad, out int, err error) {
	k, s = kernel, stride
	if pool && k == 0 {
		k = n
	}
	if s == 0 {
		s = 1
		if pool {
			s = k
		}
	}
	if k < 1 || s < 1 || k > MaxElements || s > MaxElements {
		return k, s, 0, 0, fmt.Errorf("kernel %d and stride %d, want 1 to %d", k, s, MaxElements)
	}
	if same {
		out = (n + s - 1) / s
		return k, s, max(0, (out-1)*s+k-n) / 2, out, nil
	}
	if k > n {
		return k, s, 0, 0, fmt.Errorf("kernel %d is larger than the input's %d", k, n)
	}
	return k, s, 0, (n-k)/s + 1, nil
}

// Marshal gives the canonical encoding of the spec: CBOR (spec/training.md).
func (s *Spec) Marshal() ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	b, err := canon.Marshal(s)
	if err == nil && len(b) > maxSpecLen {
		err = fmt.Errorf("%d bytes, want at most %d", len(b), maxSpecLen)
	}
	if err != nil {
		return nil, fmt.Errorf("encoding the net: %w", err)
	}
	return b, nil
}

// ParseSpec reads what Marshal gives, and nothing else.
func ParseSpec(data []byte) (*Spec, error) {
	if len(data) > maxSpecLen {
		return nil, fmt.Errorf("net: %d bytes, want at most %d", len(data), maxSpecLen)
	}
	s := new(Spec)
	if err := canon.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("net: %w", err)
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return s, nil
}

// weights is the number of weights of a valid spec, biases left out.
func (s *Spec) weights(shapes []Shape) int {
	sum := 0
	for i := range s.Layers {
		_, n, _ := s.Layers[i].check(shapes[i])
		sum += n
	}
	return sum
}
