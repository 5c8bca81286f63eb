package adapter

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/avalnetwork/aval/gguf"
)

// Limits of a file. Published adapters have ranks of 4 to 256.
const (
	// MaxRank bounds the rank of an update.
	MaxRank = 1024
	// maxUpdates bounds the matrices that an adapter changes: seven in each of
	// a thousand layers and some.
	maxUpdates = 1 << 13
	// maxDim bounds rows and columns of a matrix that is changed.
	maxDim = 1 << 22
	// maxNumbers bounds the numbers of all updates together, which are held as
	// float32: 4 GiB.
	maxNumbers = 1 << 30
)

// Embedding is the name of the tensor whose update has another form: see
// [Update].
const Embedding = "token_embd.weight"

// The metadata keys.
const (
	keyType         = "general.type"
	keyArchitecture = "general.architecture"
	keyName         = "general.name"
	keyKind         = "adapter.type"
	keyAlpha        = "adapter.lora.alpha"
	keyInvocation   = "adapter.alora.invocation_tokens"

	suffixA, suffixB = ".lora_a", ".lora_b"
)

// Adapter is a set of low-rank updates of the matrices of one model.
type Adapter struct {
	Architecture string  // of the base model, general.architecture
	Name         string  // for people, may be empty
	Alpha        float32 // see Scale; finite
	// Type is what [Adapter.Write] stores the numbers as: F32, the zero value,
	// or F16, which rounds them. [Read] sets it to F16 if the file has no F32.
	Type    gguf.Type
	Updates []Update
}

// Update is the change of one matrix of Out rows (outputs) and In columns
// (inputs): s B A is added to it, with s of [Adapter.Scale].
//
// For the tensor [Embedding] the row of a token t is changed by s B a, where a is
// row t of A: there A is [Out][Rank] and B is [In][Rank].
type Update struct {
	Name          string // of the tensor that is changed, such as "blk.0.attn_q.weight"
	Rank, In, Out int
	A             []float32 // [Rank][In], row by row
	B             []float32 // [Out][Rank]
}

// FileError says what is wrong with an adapter's file, or why it does not fit
// a model.
type FileError struct {
	Where string // "metadata KEY" or "tensor NAME"
	What  string // is wrong with it
	Hint  string // what to do
}

func (e *FileError) Error() string { return "adapter: " + e.Where + " " + e.What + ": " + e.Hint }

const (
	hintDamaged = `the file is damaged, or made by a converter that is not known here ("aval show" tells what is in it)`
	hintBase    = "the adapter was made for another model; use the one that it was trained on"
)

func failKey(key, format string, args ...any) error {
	return &FileError{"metadata " + key, fmt.Sprintf(format, args...), hintDamaged}
}

func failTensor(name, hint, format string, args ...any) error {
	return &FileError{"tensor " + name, fmt.Sprintf(format, args...), hint}
}

// Scale returns s, by which B A of an update is multiplied where the adapter is
// used with a scale of the user's: scale * Alpha / Rank, from left to right in
// float32, or the scale alone if Alpha is 0. What it was trained for is 1.
func (a *Adapter) Scale(u *Update, scale float32) float32 {
	if a.Alpha == 0 {
		return scale
	}
	return float32(scale*a.Alpha) / float32(u.Rank)
}

// CheckScale reports why the adapter cannot be used with a user's scale: it must
// be finite and not 0, and so must be, but for 0, what it makes of every update.
func (a *Adapter) CheckScale(scale float32) error {
	finite := func(x float32) bool { return x-x == 0 }
	if scale == 0 || !finite(scale) {
		return errors.New("want a finite number other than 0; leave the adapter out instead")
	}
	for i := range a.Updates {
		if !finite(a.Scale(&a.Updates[i], scale)) {
			return fmt.Errorf("too large for its alpha of %v", a.Alpha)
		}
	}
	return nil
}

// shapes returns rows and columns of A and of B.
func (u *Update) shapes() (a, b [2]int) {
	if u.Name == Embedding {
		return [2]int{u.Out, u.Rank}, [2]int{u.In, u.Rank}
	}
	return [2]int{u.Rank, u.In}, [2]int{u.Out, u.Rank}
}

// Numbers is the count of the numbers of A and B.
func (u *Update) Numbers() int { return u.Rank * (u.In + u.Out) }

// Numbers is the count of all numbers of the adapter.
func (a *Adapter) Numbers() int {
	n := 0
	for i := range a.Updates {
		n += a.Updates[i].Numbers()
	}
	return n
}

// Base is what [Adapter.Fit] asks a model: a [gguf.File].
type Base interface {
	String(key string) (string, bool)
	Tensor(name string) *gguf.Tensor
}

// Fit reports whether every update has its matrix in a model. The error, a
// [*FileError], names the first that has not.
func (a *Adapter) Fit(base Base) error {
	if arch, _ := base.String(keyArchitecture); arch != a.Architecture {
		return &FileError{"metadata " + keyArchitecture, fmt.Sprintf("is %q, the model's is %q", a.Architecture, arch), hintBase}
	}
	for i := range a.Updates {
		u := &a.Updates[i]
		t := base.Tensor(u.Name)
		switch {
		case t == nil:
			return failTensor(u.Name, hintBase, "does not exist in the model")
		case len(t.Shape) != 2:
			return failTensor(u.Name, hintBase, "is no matrix in the model (its shape is %v)", t.Shape)
		case t.Shape[0] != u.In || t.Shape[1] != u.Out:
			return failTensor(u.Name, hintBase, "has %d columns and %d rows in the model, its update %d and %d", t.Shape[0], t.Shape[1], u.In, u.Out)
		case u.Name == Embedding && base.Tensor("output.weight") == nil:
			// llama.cpp would multiply the turned matrices, which fails there.
			return failTensor(u.Name, "choose an adapter without it",
				"is changed, but the model uses it for its output too; an update of both is not defined")
		}
	}
	return nil
}

// check reports the first thing that no file may hold.
func (a *Adapter) check() error {
	if a.Architecture == "" {
		return failKey(keyArchitecture, "is empty")
	}
	if !finite(a.Alpha) {
		return failKey(keyAlpha, "is %v, want a finite number", a.Alpha)
	}
	if n := len(a.Updates); n == 0 || n > maxUpdates {
		return &FileError{"file", fmt.Sprintf("changes %d matrices, want 1 to %d", n, maxUpdates), hintDamaged}
	}
	seen := make(map[string]bool, len(a.Updates))
	total := 0
	for i := range a.Updates {
		u := &a.Updates[i]
		switch {
		case u.Name == "" || seen[u.Name]:
			return failTensor(u.Name, hintDamaged, "has no name, or two updates")
		case strings.HasSuffix(u.Name, suffixA) || strings.HasSuffix(u.Name, suffixB):
			return failTensor(u.Name, hintDamaged, "has a name that ends like half of an update")
		case u.Rank < 1 || u.Rank > MaxRank:
			return failTensor(u.Name, hintDamaged, "has an update of rank %d, want 1 to %d", u.Rank, MaxRank)
		case u.In < 1 || u.In > maxDim || u.Out < 1 || u.Out > maxDim:
			return failTensor(u.Name, hintDamaged, "has an update of %d columns and %d rows, want 1 to %d", u.In, u.Out, maxDim)
		}
		seen[u.Name] = true
		if total += u.Numbers(); total > maxNumbers {
			return &FileError{"file", fmt.Sprintf("has more than %d numbers", maxNumbers), hintDamaged}
		}
	}
	return nil
}

// checkNumbers reports the first update that lacks numbers, or has one that is
// not finite.
func (a *Adapter) checkNumbers() error {
	for i := range a.Updates {
		u := &a.Updates[i]
		if a, b := u.shapes(); len(u.A) != a[0]*a[1] || len(u.B) != b[0]*b[1] {
			return failTensor(u.Name, hintDamaged, "has %d and %d numbers in A and B, rank %d with %d columns and %d rows needs others", len(u.A), len(u.B), u.Rank, u.In, u.Out)
		}
		for _, half := range []struct {
			suffix  string
			numbers []float32
		}{{suffixA, u.A}, {suffixB, u.B}} {
			for _, v := range half.numbers {
				if !finite(v) {
					return failTensor(u.Name+half.suffix, hintDamaged, "holds a NaN or an infinity")
				}
			}
		}
	}
	return nil
}

// finite is false for NaN and the infinities.
func finite(v float32) bool { return math.Float32bits(v)&0x7f800000 != 0x7f800000 }
