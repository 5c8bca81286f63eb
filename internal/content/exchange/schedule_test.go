package exchange

import (
	"bytes"
	"io"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/peer"
)

// TestSchedule does with a schedule whatever peers may do, and holds it to its
// rules: every chunk arrives once, none is lost while a peer that has it stays,
// and no peer has more open than its share.
func TestSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, content.MaxChunk), 1, 60).Draw(t, "sizes")
		s := newSchedule(sizes)
		honest := peer.ID{0}
		s.join(honest)
		arrived := map[int]bool{}
		now := time.Duration(0)
		step := func(p peer.ID) {
			now += time.Duration(rapid.IntRange(0, 3_000_000_000).Draw(t, "time"))
			s.ask(p, rapid.IntRange(1, 10).Draw(t, "most"), now)
			w := s.peers[p]
			if w == nil || len(w.open) == 0 {
				return
			}
			if w.bytes > mostOpen+content.MaxChunk {
				t.Fatalf("%d bytes are open", w.bytes)
			}
			i := w.open[0]
			if p != honest && rapid.Bool().Draw(t, "missing") {
				s.missing(p, i, now)
				return
			}
			if s.arrived(p, i, now) == arrived[i] {
				t.Fatalf("chunk %d: first is %v", i, !arrived[i])
			}
			arrived[i] = true
		}
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			p := peer.ID{byte(rapid.IntRange(0, 3).Draw(t, "peer"))}
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				s.join(p)
			case 1:
				if p != honest {
					s.leave(p)
				}
			default:
				step(p)
			}
			for i, c := range s.state {
				if c.asked < 0 || c.asked > maxCopies || c.done != arrived[i] {
					t.Fatalf("chunk %d: %+v", i, c)
				}
			}
		}
		for p := range s.peers { // the others go silent and leave at last
			if p != honest {
				s.leave(p)
			}
		}
		for range 4 * len(sizes) {
			if s.left == 0 {
				break
			}
			if s.stuck() {
				t.Fatal("stuck, though one peer has everything")
			}
			step(honest)
		}
		if s.left != 0 || len(arrived) != len(sizes) {
			t.Fatalf("%d of %d chunks did not come", s.left, len(sizes))
		}
	})
}

// A peer that has gone silent does not hold up the end: what it has open is asked
// of another.
func TestRescue(t *testing.T) {
	s := newSchedule([]int{1000, 1000, 1000})
	silent, quick := peer.ID{1}, peer.ID{2}
	s.join(silent)
	s.join(quick)
	if got := s.ask(silent, 2, 0); len(got) != 2 {
		t.Fatalf("the silent peer is asked for %v", got)
	}
	now := time.Second
	for k := range 3 {
		list := s.ask(quick, 1, now)
		if len(list) != 1 {
			t.Fatalf("after %d chunks the quick peer is asked for %v", k, list)
		}
		now += 100 * time.Millisecond
		s.arrived(quick, list[0], now)
	}
	if s.left != 0 {
		t.Errorf("%d are left", s.left)
	}
}

func FuzzRequest(f *testing.F) {
	frame, err := appendRequest(nil, content.Root{1}, [][]byte{{2}}, []content.Hash{{3}, {4}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frame)
	f.Fuzz(func(t *testing.T, frame []byte) {
		root, tokens, hashes, err := readRequest(bytes.NewReader(frame), func() {})
		if err != nil {
			return
		}
		again, err := appendRequest(nil, root, tokens, hashes)
		if err != nil || !bytes.Equal(again, frame[:len(again)]) {
			t.Errorf("%x becomes %x, %v", frame, again, err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(append(appendAnswer(nil, statusOK, 3), 1, 2, 3))
	f.Add(appendAnswer(nil, statusMissing, 0))
	buf := make([]byte, content.MaxObject)
	f.Fuzz(func(t *testing.T, frame []byte) {
		s, data, err := readAnswer(bytes.NewReader(frame), buf)
		if err == nil && (s > statusBusy || s != statusOK && len(data) > 0) {
			t.Errorf("%v with %d bytes", s, len(data))
		}
		if err == io.EOF && len(frame) > 0 {
			t.Error("io.EOF in the middle")
		}
	})
}
