package run

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/avalnetwork/aval/internal/chart"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/train"
)

// maxLogLine bounds a line of log.jsonl, in bytes.
const maxLogLine = 1 << 16

// logLine is a line of log.jsonl. A step has the fields up to Correct, the
// validation after a step the others.
type logLine struct {
	Step         int      `json:"step"` // counted from 1: the steps that are behind
	Loss         *float64 `json:"loss,omitempty"`
	Predictions  int      `json:"predictions,omitempty"`
	Correct      int      `json:"correct,omitempty"`
	GradNorm     float32  `json:"grad_norm,omitempty"`
	LearningRate float32  `json:"learning_rate,omitempty"`

	Validation *dataset.Report `json:"validation,omitempty"`
}

// history is what log.jsonl holds.
type history struct {
	train, validation []chart.Point
	best              float64 // lowest validation loss
	bestStep          int     // 0: there was no validation
	worse             int     // validations since
	validated         int     // step of the newest validation
}

func (h *history) add(l *logLine) {
	if l.Loss != nil {
		h.train = append(h.train, chart.Point{X: float64(l.Step), Y: *l.Loss})
	}
	if v := l.Validation; v != nil {
		h.validated = l.Step
		h.validation = append(h.validation, chart.Point{X: float64(l.Step), Y: v.Loss})
		if h.bestStep == 0 || v.Loss < h.best {
			h.best, h.bestStep, h.worse = v.Loss, l.Step, 0
		} else {
			h.worse++
		}
	}
}

// journal appends to log.jsonl.
type journal struct {
	f *os.File
	w *bufio.Writer
	history
}

func stepLine(r train.StepRecord) logLine {
	mean := r.Loss.Mean()
	return logLine{
		Step: r.Step + 1, Loss: &mean, Predictions: r.Loss.Count, Correct: r.Loss.Correct,
		GradNorm: r.GradNorm, LearningRate: r.LearningRate,
	}
}

// openJournal opens a log and cuts off what is after a number of steps.
func openJournal(path string, steps int) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, permFile)
	if err != nil {
		return nil, err
	}
	j := &journal{f: f, w: bufio.NewWriter(f)}
	end, err := j.read(steps)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// read takes the lines of the first steps and returns where they end.
func (j *journal) read(steps int) (end int64, err error) {
	in := bufio.NewReaderSize(j.f, maxLogLine)
	last := 0
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			break // a line without an end was being written
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", j.f.Name(), err)
		}
		var l logLine
		if err := json.Unmarshal(line, &l); err != nil {
			return 0, fmt.Errorf("%s: after step %d: %w", j.f.Name(), last, err)
		}
		if l.Step > steps {
			break
		}
		if l.Loss != nil {
			if l.Step != last+1 {
				return 0, fmt.Errorf("%s: step %d follows step %d", j.f.Name(), l.Step, last)
			}
			last = l.Step
		}
		j.add(&l)
		end += int64(len(line))
	}
	if last != steps {
		return 0, fmt.Errorf("%s: it has %d steps, the checkpoint %d", j.f.Name(), last, steps)
	}
	return end, nil
}

// write appends a line.
func (j *journal) write(l logLine) error {
	j.add(&l)
	b, err := marshalLine(l)
	if err != nil {
		return err
	}
	_, err = j.w.Write(b)
	return err
}

func marshalLine(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// flush makes the lines readable for others, sync makes them stay.
func (j *journal) flush() error { return j.w.Flush() }

func (j *journal) sync() error { return errors.Join(j.w.Flush(), j.f.Sync()) }

func (j *journal) close() error { return errors.Join(j.w.Flush(), j.f.Close()) }
