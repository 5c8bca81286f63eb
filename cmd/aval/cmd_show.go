package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/node"
)

// maxShown is how many elements of an array "aval show --json" lists.
const maxShown = 32

type showOptions struct {
	netOptions
	metadata, tensors, template, json bool
	tensor, output                    string
}

// showJSON is what "aval show --json" prints.
type showJSON struct {
	Name         string         `json:"name"`
	Files        []string       `json:"files"`
	Size         int64          `json:"size"`
	Version      int            `json:"gguf_version"`
	Architecture string         `json:"architecture"`
	Parameters   int64          `json:"parameters"`
	Context      uint64         `json:"context_length"`
	Types        map[string]int `json:"tensor_types"`
	Metadata     []keyJSON      `json:"metadata"`
	Tensors      []tensorJSON   `json:"tensors"`
	Template     string         `json:"chat_template,omitempty"`
	// Adapter is there if the file is one, and no model.
	Adapter *adapterJSON `json:"adapter,omitempty"`
	// Shared is there if the model is that of a link.
	Shared *sharedModelJSON `json:"shared,omitempty"`
}

// adapterJSON is what a LoRA file says. Ranks has one entry unless they differ.
type adapterJSON struct {
	Alpha    float32  `json:"alpha"`
	Ranks    []int    `json:"ranks"`
	Matrices int      `json:"matrices"`
	Targets  []string `json:"targets"` // without the number of the layer
	Layers   int      `json:"layers"`  // that are changed
	Problem  string   `json:"problem,omitempty"`
}

// keyJSON is one metadata value. Length is that of an array; Value then holds
// its first elements.
type keyJSON struct {
	Key    string `json:"key"`
	Kind   string `json:"kind"`
	Length int    `json:"length,omitempty"`
	Value  any    `json:"value"`
}

type tensorJSON struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []int  `json:"shape"` // row length first
	Size  int64  `json:"size"`
}

func newShowCommand(a *app) *cobra.Command {
	var o showOptions
	c := &cobra.Command{
		Use:   "show [flags] MODEL|LINK",
		Short: "Show what is in a model file or an adapter",
		Long: `Show tells what a model file says about itself, or an adapter (LoRA). It reads the
header only, and also files of kinds that cannot be run. With --tensor it reads one
tensor, and writes it as the file has it with -o.

LINK is peer://ID/ROOT or peer://ID/NAME, a model that another device shares. Only the
parts that hold what is shown are fetched, and checked; "aval pull" goes on from them.
` + modelHelp + "\n" + exitHelp,
		Example: `  aval show model.gguf
  aval show --template smollm2
  aval show --json model.gguf
  aval show --tensors 'peer://12D3Koo.../3f0c...e1?addr=/ip4/192.0.2.1/tcp/4710'
  aval show --tensor output_norm.weight -o norm.bin peer://12D3Koo.../llama`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if o.output != "" && o.tensor == "" {
				return usageErrorf("-o writes a tensor: name it with --tensor")
			}
			if node.IsContentLink(args[0]) {
				return a.showLink(c, &o, args[0])
			}
			return a.show(&o, args[0])
		},
	}
	f := c.Flags()
	f.BoolVar(&o.metadata, "metadata", false, "all metadata")
	f.BoolVar(&o.tensors, "tensors", false, "all tensors")
	f.BoolVar(&o.template, "template", false, "the chat template")
	f.StringVar(&o.tensor, "tensor", "", "one tensor: its type, shape, size and SHA-256")
	f.StringVarP(&o.output, "output", "o", "", "of --tensor: a new file for its bytes")
	f.BoolVar(&o.json, "json", false, "print JSON, with everything")
	o.flags(c)
	return c
}

func (a *app) show(o *showOptions, model string) error {
	where, err := a.locate(model)
	if err != nil {
		return err
	}
	f, err := gguf.Inspect(where.path)
	if err != nil {
		return err
	}
	defer f.Close()
	return a.showFile(o, f, describe(f, where.name))
}

// tensorShownJSON is what "aval show --tensor --json" prints.
type tensorShownJSON struct {
	tensorJSON
	SHA256 string `json:"sha256"` // of its bytes, as the file has them
	Output string `json:"output,omitempty"`
}

// showTensor reads one tensor, and writes it if it is asked to.
func (a *app) showTensor(o *showOptions, f *gguf.File) error {
	t := f.Tensor(o.tensor)
	if t == nil {
		return usageErrorf("the file has no tensor %q; --tensors lists them", clip(o.tensor))
	}
	sum := sha256.New()
	to := io.Writer(sum)
	var file *os.File
	if o.output != "" {
		var err error
		if file, err = os.OpenFile(o.output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644); err != nil {
			if errors.Is(err, fs.ErrExist) {
				return usageErrorf("%s exists already", o.output)
			}
			return err
		}
		to = io.MultiWriter(sum, file)
	}
	show, end := a.progress(t.Name)
	err := copyShown(to, f.Reader(t), t.Size, show)
	end()
	if file != nil {
		if err = errors.Join(err, file.Close()); err != nil {
			_ = os.Remove(o.output)
		}
	}
	if err != nil {
		return fmt.Errorf("read the tensor %s: %w", t.Name, err)
	}
	j := tensorShownJSON{tensorJSON{t.Name, t.Type.String(), t.Shape, t.Size}, hex.EncodeToString(sum.Sum(nil)), o.output}
	if o.json {
		return a.printJSON(j)
	}
	return a.table("tensor\t"+j.Name, "type\t"+j.Type, "shape\t"+shape(j.Shape), "size\t"+size(j.Size), "SHA-256\t"+j.SHA256)
}

// copyShown copies and shows how far it is.
func copyShown(to io.Writer, from io.Reader, total int64, show func(done, total int64)) error {
	for done := int64(0); done < total; {
		n, err := io.CopyN(to, from, min(distantPart, total-done))
		if done += n; err != nil {
			return err
		}
		show(done, total)
	}
	return nil
}

// showFile shows what was asked for of a model.
func (a *app) showFile(o *showOptions, f *gguf.File, j showJSON) error {
	switch {
	case o.tensor != "":
		return a.showTensor(o, f)
	case o.json:
		return a.printJSON(j)
	case o.template:
		if j.Template == "" {
			return errors.New("the file has no chat template")
		}
		fmt.Fprintln(a.out, j.Template)
		return nil
	case o.metadata:
		rows := make([]string, 0, len(j.Metadata))
		for _, key := range f.Keys() {
			v, _ := f.Value(key)
			rows = append(rows, key+"\t"+v.Kind().String()+"\t"+v.String())
		}
		return a.table(rows...)
	case o.tensors:
		rows := make([]string, 0, len(j.Tensors))
		for _, t := range j.Tensors {
			rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s", t.Name, t.Type, shape(t.Shape), size(t.Size)))
		}
		return a.table(rows...)
	}
	if j.Adapter != nil {
		return a.table(j.adapterRows()...)
	}
	template := "none (prompts are given as they are)"
	if j.Template != "" {
		template = fmt.Sprintf("%d characters (--template shows it)", len(j.Template))
	}
	rows := []string{
		"name\t" + quoteLine(j.Name),
		"file\t" + strings.Join(j.Files, ", "),
		"size\t" + size(j.Size),
		"architecture\t" + quoteLine(j.Architecture),
		"parameters\t" + count(j.Parameters),
		fmt.Sprintf("context\t%d tokens", j.Context),
		"tensors\t" + types(j.Types),
		"chat template\t" + template,
	}
	return a.table(append(rows, j.Shared.rows()...)...)
}

func describe(f *gguf.File, name string) showJSON {
	j := showJSON{
		Name: name, Files: f.Paths(), Size: f.Size(), Version: f.Version(), Types: map[string]int{},
		Metadata: []keyJSON{}, Tensors: []tensorJSON{},
	}
	if title, ok := f.String("general.name"); ok && title != "" {
		j.Name = title
	}
	j.Architecture, _ = f.String("general.architecture")
	j.Context, _ = f.Uint(j.Architecture + ".context_length")
	j.Template, _ = f.String("tokenizer.chat_template")
	for _, key := range f.Keys() {
		v, _ := f.Value(key)
		j.Metadata = append(j.Metadata, keyJSON{Key: key, Kind: v.Kind().String(), Length: v.Len(), Value: plain(v)})
	}
	for _, t := range f.Tensors() {
		j.Tensors = append(j.Tensors, tensorJSON{t.Name, t.Type.String(), t.Shape, t.Size})
		j.Types[t.Type.String()]++
		j.Parameters += int64(t.Elements())
	}
	if adapter.Is(f) {
		j.Adapter = describeAdapter(f)
	}
	return j
}

// describeAdapter reads what an adapter changes.
func describeAdapter(f *gguf.File) *adapterJSON {
	j := &adapterJSON{Ranks: []int{}, Targets: []string{}}
	lora, err := adapter.Inspect(f)
	if err != nil {
		j.Problem = err.Error()
		return j
	}
	j.Alpha, j.Matrices = lora.Alpha, len(lora.Updates)
	layers := map[string]bool{}
	for i := range lora.Updates {
		u := &lora.Updates[i]
		name := strings.TrimSuffix(u.Name, ".weight")
		if layer, rest, ok := strings.Cut(strings.TrimPrefix(name, "blk."), "."); ok && strings.HasPrefix(name, "blk.") {
			layers[layer], name = true, rest
		}
		if !slices.Contains(j.Targets, name) {
			j.Targets = append(j.Targets, name)
		}
		if !slices.Contains(j.Ranks, u.Rank) {
			j.Ranks = append(j.Ranks, u.Rank)
		}
	}
	j.Layers = len(layers)
	slices.Sort(j.Targets)
	slices.Sort(j.Ranks)
	return j
}

// adapterRows tell of an adapter.
func (j *showJSON) adapterRows() []string {
	d := j.Adapter
	rows := []string{
		"name\t" + j.Name,
		"kind\tadapter (LoRA) for a model of the architecture " + j.Architecture + ": use it with --lora",
		"file\t" + strings.Join(j.Files, ", "),
		"size\t" + size(j.Size),
	}
	if d.Problem != "" {
		return append(rows, "problem\t"+d.Problem)
	}
	alpha := "none"
	if d.Alpha != 0 {
		alpha = fmt.Sprint(d.Alpha)
	}
	return append(rows,
		"rank\t"+strings.Trim(fmt.Sprint(d.Ranks), "[]"),
		"alpha\t"+alpha,
		fmt.Sprintf("changes\t%d matrices in %d layers: %s", d.Matrices, d.Layers, strings.Join(d.Targets, ", ")),
		"parameters\t"+count(j.Parameters),
		"tensors\t"+types(j.Types),
	)
}

// plain turns a metadata value into what encoding/json writes, and cuts arrays.
func plain(v gguf.Value) any {
	switch v.Kind() {
	case gguf.KindString:
		s, _ := v.Text()
		return s
	case gguf.KindBool:
		b, _ := v.Bool()
		return b
	case gguf.KindArray:
		list := []any{}
		for i, e := range v.All() {
			if i == maxShown {
				break
			}
			list = append(list, plain(e))
		}
		return list
	case gguf.KindFloat32, gguf.KindFloat64:
		x, _ := v.Float()
		if x-x != 0 { // NaN or infinite, which JSON cannot say
			return v.String()
		}
		if v.Kind() == gguf.KindFloat32 {
			return float32(x)
		}
		return x
	}
	if n, ok := v.Int(); ok {
		return n
	}
	n, _ := v.Uint()
	return n
}

func shape(dims []int) string {
	parts := make([]string, len(dims))
	for i, d := range dims {
		parts[i] = fmt.Sprint(d)
	}
	return strings.Join(parts, "×")
}

func types(counts map[string]int) string {
	var parts []string
	for name, n := range counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, name))
	}
	sort.Strings(parts)
	return strings.Join(parts, ", ")
}
