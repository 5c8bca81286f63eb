package consensus

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/store"
)

// A snapshot is a file of the ledger's own format with the SHA-256 of it at the
// end. Peers hand it on in chunks.
const (
	snapshotFormat = 1
	snapshotExt    = ".snapshot"
	chunkSize      = 1 << 20
	// maxChunks bounds a snapshot of others: the state is in memory, after all.
	maxChunks = 2048
	// snapshotBytes of transactions make a snapshot due before its height.
	snapshotBytes = 32 << 20
)

// snapshots are the files of states that a restart goes on from.
type snapshots struct {
	fs    store.FS
	dir   string
	every uint64 // blocks
	log   *slog.Logger

	since int // bytes of transactions since the last; of the one that commits

	mu    sync.Mutex
	list  []*snapshot // ascending by height
	busy  bool
	group sync.WaitGroup
}

type snapshot struct {
	height uint64
	hash   canon.Hash
	chunks []byte // their hashes, one after the other
}

func (s *snapshots) path(height uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016d%s", height, snapshotExt))
}

// load restores the newest whole snapshot that is not above a height.
func (s *snapshots) load(chain string, top uint64) (*ledger.Machine, error) {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("consensus: %w", err)
	}
	var best *ledger.Machine
	for _, e := range slices.Backward(names) { // sorted by name
		path := filepath.Join(s.dir, e.Name())
		base, ok := strings.CutSuffix(e.Name(), snapshotExt)
		if !ok {
			_ = s.fs.Remove(path) // a write that a crash ended
			continue
		}
		height, err := strconv.ParseUint(base, 10, 64)
		if err == nil && height > top {
			err = fmt.Errorf("it is of height %d, and the blocks end at %d", height, top)
		}
		var snap *snapshot
		var m *ledger.Machine
		if err == nil {
			snap, m, err = readSnapshot(path, best == nil)
		}
		if err == nil && m != nil && (m.Height() != height || m.Chain() != chain) {
			err = fmt.Errorf("it is of height %d of the chain %q", m.Height(), m.Chain())
		}
		if err != nil {
			s.log.Warn("consensus: a snapshot is of no use; an older one or the blocks do", "file", path, "err", err)
			_ = s.fs.Remove(path)
			continue
		}
		if best == nil {
			best = m
		}
		snap.height = height
		s.list = append(s.list, snap)
	}
	slices.Reverse(s.list)
	return best, nil
}

// hashing counts, hashes and cuts into chunks what is written to it.
type hashing struct {
	all    hash.Hash
	chunk  hash.Hash
	room   int
	hashes []byte
}

func newHashing() *hashing {
	return &hashing{all: sha256.New(), chunk: sha256.New(), room: chunkSize}
}

func (h *hashing) Write(p []byte) (int, error) {
	h.all.Write(p)
	h.cut(p)
	return len(p), nil
}

func (h *hashing) cut(p []byte) {
	for len(p) > 0 {
		n := min(len(p), h.room)
		h.chunk.Write(p[:n])
		if h.room -= n; h.room == 0 {
			h.flush()
		}
		p = p[n:]
	}
}

func (h *hashing) flush() {
	h.hashes = h.chunk.Sum(h.hashes)
	h.chunk.Reset()
	h.room = chunkSize
}

// end is the hash of all, and the chunks with that hash at the end.
func (h *hashing) end() (canon.Hash, []byte) {
	sum := canon.Hash(h.all.Sum(nil))
	h.cut(sum[:])
	if h.room < chunkSize {
		h.flush()
	}
	return sum, h.hashes
}

// readSnapshot checks a file, and restores it if that is asked.
func readSnapshot(path string, restore bool) (*snapshot, *ledger.Machine, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	size := info.Size() - canon.Size
	if size < 0 || size > maxChunks*chunkSize {
		return nil, nil, fmt.Errorf("a snapshot of %d bytes", info.Size())
	}
	h := newHashing()
	body := io.TeeReader(io.LimitReader(f, size), h)
	snap := &snapshot{}
	var m *ledger.Machine
	if restore {
		if m, err = ledger.Restore(body); err != nil {
			return nil, nil, err
		}
		snap.height = m.Height()
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return nil, nil, err
	}
	var want canon.Hash
	if _, err := io.ReadFull(f, want[:]); err != nil {
		return nil, nil, err
	}
	if snap.hash, snap.chunks = h.end(); snap.hash != want {
		return nil, nil, errors.New("its hash is not the one at its end")
	}
	return snap, m, nil
}

// consider writes a snapshot beside everything else if it is time.
func (s *snapshots) consider(m *ledger.Machine, size int) {
	s.since += size
	if m.Height()%s.every != 0 && s.since < snapshotBytes {
		return
	}
	s.mu.Lock()
	busy := s.busy
	s.busy = true
	s.mu.Unlock()
	if busy {
		return
	}
	s.since = 0
	fork := m.Fork()
	s.group.Go(func() {
		if err := s.write(fork); err != nil {
			s.log.Warn("consensus: no snapshot; the blocks are kept instead, and starting takes longer", "height", fork.Height(), "err", err)
		}
		s.mu.Lock()
		s.busy = false
		s.mu.Unlock()
	})
}

// write makes the snapshot of a machine durable, and drops old ones.
func (s *snapshots) write(m *ledger.Machine) error {
	var snap *snapshot
	err := store.WriteFile(s.fs, s.path(m.Height()), 0o600, func(w io.Writer) error {
		h := newHashing()
		if err := m.Snapshot(io.MultiWriter(w, h)); err != nil {
			return err
		}
		sum, chunks := h.end()
		snap = &snapshot{height: m.Height(), hash: sum, chunks: chunks}
		_, err := w.Write(sum[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("consensus: the snapshot of height %d: %w", m.Height(), err)
	}
	s.add(snap)
	return nil
}

// add keeps the two newest, so that one may be damaged, and the two newest of a
// height that others have too, for those who fetch one.
func (s *snapshots) add(snap *snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(x *snapshot) bool { return x.height == snap.height })
	s.list = append(s.list, snap)
	var keep []*snapshot
	common := 0
	for i, x := range slices.Backward(s.list) {
		round := x.height%s.every == 0
		if len(s.list)-i <= 2 || round && common < 2 {
			keep = append(keep, x)
		} else {
			_ = s.fs.Remove(s.path(x.height)) // the next start finds it again
		}
		if round {
			common++
		}
	}
	slices.Reverse(keep)
	s.list = keep
}

// latest is the height of the newest, 0 if there is none.
func (s *snapshots) latest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == 0 {
		return 0
	}
	return s.list[len(s.list)-1].height
}

// oldest is the height from which on blocks are needed: that of the oldest
// snapshot, if there are two.
func (s *snapshots) oldest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) < 2 {
		return 0
	}
	return s.list[0].height
}

// readChunk is a chunk of a snapshot.
func (s *snapshots) readChunk(height uint64, i uint32) ([]byte, error) {
	f, err := os.Open(s.path(height))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, chunkSize)
	n, err := f.ReadAt(buf, int64(i)*chunkSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return buf[:n], nil
}
