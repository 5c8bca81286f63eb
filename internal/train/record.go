package train

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/avalnetwork/aval/internal/canon"
)

// RecordSize is the length of the encoding of a StepRecord in bytes.
const RecordSize = 40

// StepRecord is what a step of the run computed. The examples of the step follow
// from its number ([Order]).
type StepRecord struct {
	Step         int     // counted from 0
	Loss         Loss    // over the batch, before the update
	GradNorm     float32 // of the mean gradient over all parameters, before clipping
	LearningRate float32
}

// Bytes is the encoding of the record: step, the bits of the sum of losses,
// count and correct (8 bytes each), the bits of norm and rate (4 bytes each),
// little endian. Package receipt/training reads it.
func (r StepRecord) Bytes() [RecordSize]byte {
	var b [RecordSize]byte
	le := binary.LittleEndian
	le.PutUint64(b[0:], uint64(r.Step))
	le.PutUint64(b[8:], math.Float64bits(r.Loss.Sum))
	le.PutUint64(b[16:], uint64(r.Loss.Count))
	le.PutUint64(b[24:], uint64(r.Loss.Correct))
	le.PutUint32(b[32:], math.Float32bits(r.GradNorm))
	le.PutUint32(b[36:], math.Float32bits(r.LearningRate))
	return b
}

func finite(x float64) bool { return !math.IsInf(x, 0) && !math.IsNaN(x) }

// Log is the records of a run, or of a stretch of it, in order. Its root is that
// of the Merkle tree over their encodings: a proof of canon.Range shows a
// stretch without the rest.
type Log struct {
	Records []StepRecord
}

// Add appends the record of the next step.
func (l *Log) Add(r StepRecord) error {
	if n := len(l.Records); n > 0 && r.Step != l.Records[n-1].Step+1 {
		return fmt.Errorf("step log: record of step %d after that of step %d", r.Step, l.Records[n-1].Step)
	}
	l.Records = append(l.Records, r)
	return nil
}

// Leaves are the hashed leaves of the tree.
func (l *Log) Leaves() []canon.Hash {
	out := make([]canon.Hash, len(l.Records))
	for i, r := range l.Records {
		b := r.Bytes()
		out[i] = canon.Leaf(b[:])
	}
	return out
}

// Root is the root of the tree.
func (l *Log) Root() canon.Hash { return canon.Root(l.Leaves()) }

// FirstDifference gives the position of the first record that differs from that
// of another log, or that only one of them has; -1 if they are equal.
func (l *Log) FirstDifference(o *Log) int {
	n := min(len(l.Records), len(o.Records))
	for i := range n {
		if l.Records[i].Bytes() != o.Records[i].Bytes() {
			return i
		}
	}
	if len(l.Records) != len(o.Records) {
		return n
	}
	return -1
}
