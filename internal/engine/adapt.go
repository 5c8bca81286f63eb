package engine

import (
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/token"
)

// words shows a tokenizer to the machine.
type words struct {
	*token.Tokenizer
	texts []string // of tokens that are whole characters, filled in as they occur
}

func newWords(t *token.Tokenizer, vocab int) *words { return &words{t, make([]string, vocab)} }

func (w *words) endOfGeneration(id int32) bool { return w.EOG(id) }
func (w *words) again() vocabulary             { return newWords(w.Tokenizer, len(w.texts)) }
func (w *words) newStream() stream             { return &textStream{words: w, stream: w.NewStream()} }

// textStream is a token.Stream that does not make the same string twice.
type textStream struct {
	words  *words
	stream *token.Stream
	inside bool // part of a character is, or may be, held back
}

func (s *textStream) Add(id int32) string {
	if text := s.words.texts[id]; text != "" && !s.inside {
		return text
	}
	text := s.stream.Add(id)
	piece := s.words.Piece(id)
	switch {
	case len(piece) == 0: // a control token: nothing changes
	case !utf8.Valid(piece):
		s.inside = true
	case !s.inside:
		s.words.texts[id] = text
	default:
		s.inside = false
	}
	return text
}

func (s *textStream) Flush() string { return s.stream.Flush() }

// loadedModel shows a model to the machine.
type loadedModel struct {
	model *model.Model
	steps []model.Step // scratch
}

// loadedSequence shows a sequence of it.
type loadedSequence struct{ *model.Sequence }

func (s loadedSequence) Fork(n int) sequence { return loadedSequence{s.Sequence.Fork(n)} }

func (m *loadedModel) newSequence() sequence { return loadedSequence{m.model.NewSequence()} }
func (m *loadedModel) context() int          { return m.model.Limit() }
func (m *loadedModel) trained() int          { return m.model.Config().Context }
func (m *loadedModel) vocab() int            { return m.model.Config().Vocab }
func (m *loadedModel) dim() int              { return m.model.Config().Dim }
func (m *loadedModel) layers() int           { return m.model.Config().Layers }

// sequenceBytes counts whole pages, which is how sequences take memory.
func (m *loadedModel) sequenceBytes(n, traced int) int64 {
	pages := func(n int) int64 { return int64((n+kernel.PageLen-1)/kernel.PageLen) * kernel.PageLen }
	return pages(n)*int64(m.model.PositionBytes()) + pages(traced)*int64(m.layers())*canon.Size
}

func (m *loadedModel) forward(steps []step) error {
	m.steps = m.steps[:0]
	for _, s := range steps {
		m.steps = append(m.steps, model.Step{
			Seq: s.seq.(loadedSequence).Sequence, Tokens: s.tokens,
			Want: s.want, Logits: s.logits, Embedding: s.embedding, Trace: s.trace,
		})
	}
	err := m.model.Forward(m.steps)
	clear(m.steps)
	return err
}
