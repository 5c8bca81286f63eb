package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/sample"
)

// fakeModel computes logits that are a function of the tokens of a sequence
// alone, and checks how it is used.
type fakeModel struct {
	ctx    int
	broken func(ids []int32) error           // makes a forward pass fail
	logit  func(ids []int32, id int) float32 // nil: pseudo-random
	check  func(steps []step)                // sees every pass

	mu   sync.Mutex
	open int // sequences not closed
}

type fakeSequence struct {
	model  *fakeModel
	ids    []int32
	traced int
	closed bool
}

func (m *fakeModel) newSequence() sequence {
	m.mu.Lock()
	m.open++
	m.mu.Unlock()
	return &fakeSequence{model: m}
}

func (s *fakeSequence) Len() int { s.live(); return len(s.ids) }

func (s *fakeSequence) Truncate(n int) {
	s.live()
	s.ids, s.traced = s.ids[:n], min(s.traced, n)
}

func (s *fakeSequence) Traced() int { s.live(); return s.traced }

// States are functions of layer and tokens.
func (s *fakeSequence) States() []canon.Hash {
	if s.traced != len(s.ids) {
		panic("engine: test: the states of a sequence that is not traced")
	}
	return fakeStates(s.ids)
}

func fakeStates(ids []int32) []canon.Hash {
	var h []canon.Hash
	for l := range 2 {
		for p := range ids {
			h = append(h, canon.Leaf(fmt.Append(nil, l, ids[:p+1])))
		}
	}
	return h
}

func (s *fakeSequence) Fork(n int) sequence {
	s.live()
	f := s.model.newSequence().(*fakeSequence)
	f.ids, f.traced = slices.Clone(s.ids[:n]), min(s.traced, n)
	return f
}

func (s *fakeSequence) Close() {
	s.live()
	s.closed = true
	s.model.mu.Lock()
	s.model.open--
	s.model.mu.Unlock()
}

func (s *fakeSequence) live() {
	if s.closed {
		panic("engine: test: use of a closed sequence")
	}
}

func (m *fakeModel) context() int                      { return m.ctx }
func (m *fakeModel) trained() int                      { return 2 * m.ctx }
func (m *fakeModel) vocab() int                        { return len(fakePieces) }
func (m *fakeModel) dim() int                          { return 2 }
func (m *fakeModel) layers() int                       { return 2 }
func (m *fakeModel) sequenceBytes(n, traced int) int64 { return int64(n + traced) }

func (m *fakeModel) forward(steps []step) error {
	if m.check != nil {
		m.check(steps)
	}
	seen := map[*fakeSequence]bool{}
	for _, st := range steps {
		s := st.seq.(*fakeSequence)
		s.live()
		if seen[s] || len(st.tokens) == 0 || len(s.ids)+len(st.tokens) > m.ctx {
			panic("engine: test: bad step")
		}
		seen[s] = true
		if st.trace && s.traced != len(s.ids) {
			panic("engine: test: a trace that begins in the middle")
		}
		s.ids = append(s.ids, st.tokens...)
		if st.trace {
			s.traced = len(s.ids)
		}
		if m.broken != nil {
			if err := m.broken(s.ids); err != nil {
				return err
			}
		}
		if st.want > 0 {
			m.fill(st.logits, s.ids)
		}
		if st.embedding != nil {
			st.embedding[0], st.embedding[1] = float32(len(s.ids)), float32(s.ids[0])
		}
	}
	return nil
}

func (m *fakeModel) fill(logits []float32, ids []int32) {
	if m.logit != nil {
		for i := range logits {
			logits[i] = m.logit(ids, i)
		}
		return
	}
	h := fnv.New64a()
	var b [4]byte
	for _, id := range ids {
		binary.LittleEndian.PutUint32(b[:], uint32(id))
		h.Write(b[:])
	}
	x := h.Sum64() | 1
	for i := range logits {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		logits[i] = float32(x>>40)/(1<<24)*8 - 4
	}
	logits[0] -= 3 // the end comes, but seldom
}

// fakePieces are what the tokens of the fake say. 0 ends the generation; 1
// and 2 are the halves of one character.
var fakePieces = []string{"", "\xc3", "\xa9", "a", "b", "ab", "ba", "aab", " ", "b a", "c", "cc"}

type fakeWords struct{}

func (fakeWords) endOfGeneration(id int32) bool { return id == 0 }
func (fakeWords) newStream() stream             { return &fakeStream{} }
func (fakeWords) again() vocabulary             { return fakeWords{} }

// fakeStream holds an incomplete character back, and replaces what is none.
type fakeStream struct{ held string }

func (s *fakeStream) Add(id int32) string {
	if s.held == "" && id > 2 {
		return fakePieces[id]
	}
	text := s.held + fakePieces[id]
	s.held = ""
	if strings.HasSuffix(text, "\xc3") {
		text, s.held = text[:len(text)-1], "\xc3"
	}
	return strings.ToValidUTF8(text, string(utf8.RuneError))
}

func (s *fakeStream) Flush() string {
	text := strings.ToValidUTF8(s.held, string(utf8.RuneError))
	s.held = ""
	return text
}

// fakeConstraint wants token 3 three times, then the end.
type fakeConstraint struct{ n int }

func (c *fakeConstraint) Mask() (grammar.Mask, error) {
	m := grammar.NewMask(len(fakePieces))
	if c.n < 3 {
		m.Add(3)
	} else {
		m.Add(0)
	}
	return m, nil
}

func (c *fakeConstraint) Accept(int32) error { c.n++; return nil }

// alone is the dumb twin of the machine: one request, no batch, no chunks, no
// cache, everything computed anew for each token.
func alone(m *fakeModel, r Request, context int) Result {
	res := Result{PromptIDs: r.Prompt, EndToken: noToken}
	sampler, err := sample.New(r.Params, len(fakePieces))
	if err != nil {
		panic(err)
	}
	logits := make([]float32, len(fakePieces))
	ids := slices.Clone(r.Prompt)
	for i := 0; ; i++ {
		m.fill(logits, ids)
		id, err := sampler.Sample(logits, ids, i, nil)
		if err != nil {
			panic(err)
		}
		if id == 0 && !r.IgnoreEOS {
			res.Stop, res.EndToken = StopEOS, 0
			break
		}
		ids = append(ids, id)
		res.IDs = append(res.IDs, id)
		if cut, stop := cutText(fakeText(res.IDs, false), r.Stop); stop != "" {
			res.Text, res.Stop, res.StopText = cut, StopString, stop
			return res
		}
		if len(ids) == context || len(res.IDs) == r.MaxTokens {
			res.Stop = StopLength
			break
		}
	}
	res.Text = fakeText(res.IDs, true)
	if cut, stop := cutText(res.Text, r.Stop); stop != "" {
		res.Text, res.Stop, res.StopText = cut, StopString, stop
	}
	return res
}

func fakeText(ids []int32, whole bool) string {
	var b strings.Builder
	s := &fakeStream{}
	for _, id := range ids {
		b.WriteString(s.Add(id))
	}
	if whole {
		b.WriteString(s.Flush())
	}
	return b.String()
}

func cutText(text string, stops []string) (string, string) {
	for i := range text {
		for _, s := range stops {
			if strings.HasPrefix(text[i:], s) {
				return text[:i], s
			}
		}
	}
	return text, ""
}

// fakeClock moves a millisecond each time it is asked.
type fakeClock struct{ now time.Time }

func (c *fakeClock) read() time.Time {
	c.now = c.now.Add(time.Millisecond)
	return c.now
}

var errFake = errors.New("fake failure")

func nan([]int32, int) float32 { return float32(math.NaN()) }

func prompt(n int, tail ...int32) []int32 {
	p := make([]int32, 0, n+len(tail))
	for i := range n {
		p = append(p, int32(3+i%5))
	}
	return append(p, tail...)
}

// hand is a machine stepped by hand, and what its tasks said.
type hand struct {
	*machine
	clock fakeClock
	text  map[*task]*strings.Builder
}

func newHand(m *fakeModel, opt Options) *hand {
	if err := opt.validate(); err != nil {
		panic(err)
	}
	return &hand{machine: newMachine(m, fakeWords{}, opt), text: map[*task]*strings.Builder{}}
}

func (h *hand) ask(r Request) (*task, error) {
	t := newTask(&r, h.clock.read())
	h.text[t] = &strings.Builder{}
	return t, h.add(t)
}

func (h *hand) mustAsk(r Request) *task {
	t, err := h.ask(r)
	if err != nil {
		panic(fmt.Sprint("engine: test: ", err))
	}
	return t
}

func (h *hand) turn() {
	for _, t := range h.step(h.clock.read) {
		h.read(t)
	}
}

func (h *hand) read(t *task) {
	for _, ev := range t.out {
		h.text[t].WriteString(ev.Text)
	}
	t.out = t.out[:0]
	t.result.Text = h.text[t].String()
}

func (h *hand) run() {
	for !h.idle() {
		h.turn()
	}
}
