// Command train makes the built-in classifiers of models/eeg from recordings:
//
//	go run ./models/eeg/train -data ../shared/eeg
//
// trains one for each task on all recordings in the task's folder of the data
// (p300, n170) and writes it, and its int8 form, beside the recipes. With
// -measure it writes nothing, but measures the recipe and prints the tables of
// docs/eeg.md: leave one recording out, and leave one person out. The result is
// the same bits on every machine.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/avalnetwork/aval/internal/eeg"
	"github.com/avalnetwork/aval/internal/eeg/decode"
	"github.com/avalnetwork/aval/internal/eeg/signal"
	"github.com/avalnetwork/aval/internal/tensor"
	models "github.com/avalnetwork/aval/models/eeg"
)

func main() {
	log.SetFlags(0)
	data := flag.String("data", filepath.Join("..", "shared", "eeg"), "folder with a folder of recordings for each task")
	out := flag.String("o", filepath.Join("models", "eeg"), "folder where the classifiers go")
	only := flag.String("task", "", "only this task")
	measure := flag.Bool("measure", false, "measure the recipes instead of training the classifiers")
	threads := flag.Int("threads", 1, "threads to compute with; they change no bit")
	flag.Parse()
	m := tensor.New(max(1, *threads), nil)
	defer m.Close()
	tasks, err := models.Tasks()
	if err != nil {
		log.Fatal("train: ", err)
	}
	for _, t := range tasks {
		if *only != "" && t.Name != *only {
			continue
		}
		if err := run(os.Stdout, m, t, *data, *out, *measure); err != nil {
			log.Fatalf("train: %s: %v", t.Name, err)
		}
	}
}

func run(w io.Writer, m *tensor.Machine, t models.Task, data, out string, measure bool) error {
	recs, err := load(w, t, filepath.Join(data, t.Name))
	if err != nil {
		return err
	}
	if measure {
		return report(w, m, t, recs)
	}
	var sets []*signal.Epochs
	for _, r := range recs {
		sets = append(sets, r.Epochs)
	}
	n, err := decode.Train(m, t.Options, sets...)
	if err != nil {
		return err
	}
	c := &decode.Classifier{Name: t.Name, Recipe: t.Recipe, Events: t.Events, Classes: t.Classes, Net: n}
	small, err := c.Quantize(sets...)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: a net of %d parameters\n", t.Name, n.Size())
	return errors.Join(
		write(filepath.Join(out, t.Name+".gguf"), c),
		write(filepath.Join(out, t.Name+models.Int8+".gguf"), small),
	)
}

func write(name string, c *decode.Classifier) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(c.Write(f), f.Close())
}

// load cuts the epochs of all recordings in a folder. The name of a file
// begins with the person's, up to an underscore. A recording that is there
// twice counts once: else it would be tested by what was trained on it.
func load(w io.Writer, t models.Task, dir string) ([]decode.Recording, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no recordings in %s", dir)
	}
	raw := t.Recipe
	raw.Standardise = signal.InMicrovolts
	labels := map[string]int32{t.Events[0]: 0, t.Events[1]: 1}
	seen := map[[sha256.Size]byte]string{}
	var out []decode.Recording
	rejected, outside := 0, 0
	for _, name := range names {
		rec, err := eeg.Open(name)
		if err != nil {
			return nil, err
		}
		r := decode.Recording{Name: filepath.Base(name)}
		r.Person, _, _ = strings.Cut(r.Name, "_")
		if first, again := seen[digest(rec)]; again {
			fmt.Fprintf(w, "%s: left out %s, which is the same recording as %s\n", t.Name, r.Name, first)
			continue
		}
		seen[digest(rec)] = r.Name
		if r.Epochs, err = t.Recipe.Epochs(rec, labels); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if r.Microvolts, err = raw.Epochs(rec, labels); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		rejected += r.Epochs.Rejected
		outside += r.Epochs.Outside
		out = append(out, r)
	}
	fmt.Fprintf(w, "%s: %d recordings; epochs left out: %d for their amplitude, %d at an end\n", t.Name, len(out), rejected, outside)
	return out, nil
}

// digest is a hash of all samples of a recording.
func digest(rec *eeg.Recording) [sha256.Size]byte {
	h := sha256.New()
	for _, c := range rec.Channels {
		binary.Write(h, binary.LittleEndian, c.Samples) // a hash takes everything
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// report prints a table for each way to split.
func report(w io.Writer, m *tensor.Machine, t models.Task, recs []decode.Recording) error {
	for _, s := range []struct {
		name string
		f    func(*tensor.Machine, decode.Options, []decode.Recording) ([]decode.Result, error)
	}{
		{"leave one recording out, within a person", decode.WithinPersons},
		{"leave one person out", decode.AcrossPersons},
	} {
		results, err := s.f(m, t.Options, recs)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\n%s, %s (AUC with 95 %% confidence interval):\n\n", t.Name, s.name)
		fmt.Fprintln(w, "| person | recordings | epochs | LDA on µV | LDA | net | net less LDA | int8 | lost by int8 |")
		fmt.Fprintln(w, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
		for _, r := range results {
			fmt.Fprintf(w, "| %s | %d | %d + %d | %s | %s | %s | %s | %.3f | %s |\n", r.Person, r.Recordings, r.Net.Negative, r.Net.Positive,
				interval(r.Raw), interval(r.LDA), interval(r.Net), difference(r.More), r.Int8.Value, difference(r.Loss))
		}
	}
	fmt.Fprintln(w)
	return nil
}

func interval(a decode.AUC) string {
	low, high := a.Interval()
	return fmt.Sprintf("%.3f (%.3f to %.3f)", a.Value, low, high)
}

func difference(a decode.AUC) string {
	return fmt.Sprintf("%+.3f ± %.3f", a.Value, 1.96*math.Sqrt(a.Variance))
}
