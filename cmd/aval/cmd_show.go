package main

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
)

// maxShown is how many elements of an array "aval show --json" lists.
const maxShown = 32

type showOptions struct{ metadata, tensors, template, json bool }

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
		Use:   "show [flags] MODEL",
		Short: "Show what is in a model file or an adapter",
		Long: `Show tells what a model file says about itself, or an adapter (LoRA). It reads the
header only, and also files of kinds that cannot be run.
` + modelHelp + "\n" + exitHelp,
		Example: "  aval show model.gguf\n  aval show --template smollm2\n  aval show --json model.gguf",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.show(&o, args[0]) },
	}
	f := c.Flags()
	f.BoolVar(&o.metadata, "metadata", false, "all metadata")
	f.BoolVar(&o.tensors, "tensors", false, "all tensors")
	f.BoolVar(&o.template, "template", false, "the chat template")
	f.BoolVar(&o.json, "json", false, "print JSON, with everything")
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
	j := describe(f, where.name)
	switch {
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
	return a.table(
		"name\t"+j.Name,
		"file\t"+strings.Join(j.Files, ", "),
		"size\t"+size(j.Size),
		"architecture\t"+j.Architecture,
		"parameters\t"+count(j.Parameters),
		fmt.Sprintf("context\t%d tokens", j.Context),
		"tensors\t"+types(j.Types),
		"chat template\t"+template,
	)
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
