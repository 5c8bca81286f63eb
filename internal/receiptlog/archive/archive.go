// Package archive keeps a node's log of receipts on disk: what [Log.Append]
// returned for is there after any crash, and the log that [Log.Checkpoint] signed
// only ever grows. Begin with [Open].
//
// Receipts are appended to segments, many with one sync. A full segment is sealed
// beside the appending: its tiles are written and synced, then its index; from
// then on its receipts may be dropped ([Log.Drop]) and the log stays whole. The
// tiles are those of C2SP tlog-tiles, so that any program for transparency logs
// reads the folder; receipts are not in them, only their identities.
//
// The package reads no receipts and decides nothing about who may see them. It
// answers no peers; package service does.
//
// Layout of its folder:
//
//	lock                    held by the process that has the log
//	checkpoint              the newest that was signed
//	tile/                   hashes and entries (spec/receipt-log.md, section 4)
//	receipts/<first>.seg    receipts from the number <first> on
//	receipts/<first>.index  where they are, once the segment is sealed
package archive

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/internal/store"
)

// Limits of what is appended.
const (
	// MaxFile bounds the file of one receipt in bytes.
	MaxFile = 16 << 20
	// MaxEntries bounds the receipts of one Append.
	MaxEntries = 1 << 14
	// MaxBytes bounds what the receipts of one Append take on disk.
	MaxBytes = 64 << 20
)

// Limits of what is done at once.
const (
	batchBytes = 4 << 20 // of a batch, beyond which no more receipts join it
	sealing    = 2       // segments that wait to be sealed, before appending waits
	queue      = 1024    // calls of Append that wait
	minBytes   = 4 << 10 // of a segment
)

var (
	// ErrLost says that the log on disk is not the one that was signed.
	ErrLost = errors.New("the log is not the one that this node signed")
	// ErrDamaged says that a file of the log is not as it was written.
	ErrDamaged = errors.New("the log is damaged")
	// ErrSigned says that a checkpoint was asked for that the node may not sign.
	ErrSigned = errors.New("a larger log is signed already")
	// ErrClosed says that the log is closed.
	ErrClosed = errors.New("the log is closed")
	// ErrBusy says that another process has the log.
	ErrBusy = store.ErrBusy
)

// Config is how a log is kept. All but Key may be zero.
type Config struct {
	Key    ed25519.PrivateKey // signs checkpoints
	Logger *slog.Logger       // nil: slog.Default()
	FS     store.FS           // by which the disk is changed; nil: the system's
	// SegmentEntries is how many receipts a segment has, a multiple of
	// receiptlog.TileWidth; SegmentBytes is after how many bytes it ends earlier. 0:
	// 65,536 and 256 MiB.
	SegmentEntries int
	SegmentBytes   int64
}

func (c *Config) validate() error {
	if len(c.Key) != ed25519.PrivateKeySize {
		return errors.New("archive: no key is given")
	}
	if c.SegmentEntries == 0 {
		c.SegmentEntries = 1 << 16
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 256 << 20
	}
	if c.SegmentEntries < 0 || c.SegmentEntries%receiptlog.TileWidth != 0 || c.SegmentEntries > maxSegment || c.SegmentBytes < minBytes {
		return fmt.Errorf("archive: a segment of %d receipts and %d bytes, want a multiple of %d up to %d, and %d bytes or more",
			c.SegmentEntries, c.SegmentBytes, receiptlog.TileWidth, maxSegment, minBytes)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.FS == nil {
		c.FS = store.OS{}
	}
	return nil
}

// Log is a log of receipts on disk. Its methods may be called from any goroutine.
type Log struct {
	cfg    Config
	folder string
	unlock func()

	jobs    chan job
	closing chan struct{} // closed by Close
	done    chan struct{} // closed when nothing is appended any more
	seals   chan *segment
	sealed  chan struct{} // closed when nothing is sealed any more

	signing sync.Mutex // held while a checkpoint is made
	signed  receiptlog.Checkpoint
	note    []byte // signed, as it was signed

	filing sync.Mutex // held while tiles are written, so that none that is synced is replaced

	mu       sync.Mutex
	tree     *receiptlog.Tree
	segments []*segment // the oldest first; the last one may grow
	failed   error      // nothing can be appended any more
	closed   bool
}

// Open opens the log in a folder, which it makes. What a crash left of receipts
// whose Append had not returned is cut off.
func Open(folder string, cfg Config) (*Log, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	for _, dir := range []struct {
		name string
		perm os.FileMode
	}{{folder, 0o755}, {filepath.Join(folder, receiptsFolder), 0o700}} { // receipts' files may show what was asked
		if err := os.MkdirAll(dir.name, dir.perm); err != nil {
			return nil, fmt.Errorf("archive: %w", err)
		}
	}
	unlock, err := store.Lock(filepath.Join(folder, "lock"))
	if err != nil {
		return nil, fmt.Errorf("archive: the log in %s: %w", folder, err)
	}
	l := &Log{
		cfg: cfg, folder: folder, unlock: unlock, jobs: make(chan job, queue), closing: make(chan struct{}), done: make(chan struct{}),
		seals: make(chan *segment, sealing), sealed: make(chan struct{}),
	}
	if err := l.recover(); err != nil {
		for _, s := range l.segments {
			s.close()
		}
		unlock()
		return nil, err
	}
	go l.write()
	go l.seal()
	return l, nil
}

// Close ends the log, after what was given to Append is on disk.
func (l *Log) Close() error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return nil
	}
	close(l.closing)
	<-l.done
	close(l.seals)
	<-l.sealed
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []error
	for _, s := range l.segments {
		list = append(list, s.close())
	}
	l.unlock()
	return errors.Join(list...)
}

// Key is the public key that signs checkpoints.
func (l *Log) Key() ed25519.PublicKey { return l.cfg.Key.Public().(ed25519.PublicKey) }

// Size is how many receipts are in the log and on disk.
func (l *Log) Size() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tree.Size()
}

// Head is the size of the log and its root.
func (l *Log) Head() (uint64, canon.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tree.Size(), l.tree.Root()
}

// Root is the root that the log had with so many entries.
func (l *Log) Root(size uint64) (canon.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return receiptlog.Root(l.tree, size)
}

// Inclusion proves an entry of the log as it was with so many.
func (l *Log) Inclusion(size, index uint64) ([]canon.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return receiptlog.Inclusion(l.tree, size, index)
}

// Consistency proves that the log of newSize entries begins with that of oldSize.
func (l *Log) Consistency(oldSize, newSize uint64) ([]canon.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return receiptlog.Consistency(l.tree, oldSize, newSize)
}

// loadTile reads a tile that was released.
func (l *Log) loadTile(level int, index uint64) ([]canon.Hash, error) {
	path := l.path(receiptlog.Tile{Level: level, Index: index, Width: receiptlog.TileWidth})
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("archive: %w: %w", ErrDamaged, err)
	}
	hashes, err := receiptlog.DecodeTile(data, receiptlog.TileWidth)
	if err != nil {
		return nil, fmt.Errorf("archive: %w: %s: %w", ErrDamaged, path, err)
	}
	return hashes, nil
}

func (l *Log) path(t receiptlog.Tile) string {
	return filepath.Join(l.folder, filepath.FromSlash(t.Path()))
}

// segmentOf finds the segment of an entry. The lock is held.
func (l *Log) segmentOf(index uint64) (*segment, error) {
	if index >= l.tree.Size() {
		return nil, fmt.Errorf("archive: %w: the receipt %d of %d", receiptlog.ErrRange, index, l.tree.Size())
	}
	lo, hi := 0, len(l.segments)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; l.segments[mid].first <= index {
			lo = mid
		} else {
			hi = mid
		}
	}
	return l.segments[lo], nil
}

// File is what is kept of a receipt, and its identity.
func (l *Log) File(index uint64) (receiptlog.Entry, error) {
	l.mu.Lock()
	s, err := l.segmentOf(index)
	if err != nil {
		l.mu.Unlock()
		return receiptlog.Entry{}, err
	}
	leaf, err := l.tree.Node(0, index)
	f, offset, err2 := s.locate(index)
	l.mu.Unlock()
	if err = errors.Join(err, err2); err != nil {
		return receiptlog.Entry{}, err
	}
	e, err := readRecord(f, offset)
	switch {
	case errors.Is(err, fs.ErrClosed): // by Drop, or Close, a moment ago
		return receiptlog.Entry{}, fmt.Errorf("archive: the receipt %d: %w", index, receiptlog.ErrDropped)
	case err != nil:
		return receiptlog.Entry{}, fmt.Errorf("archive: the receipt %d: %w", index, err)
	case receiptlog.Leaf(e.Receipt) != leaf:
		return receiptlog.Entry{}, fmt.Errorf("archive: %w: the receipt %d is another one than in the log", ErrDamaged, index)
	}
	return e, nil
}

// Receipt is the identity of a receipt, kept or dropped.
func (l *Log) Receipt(index uint64) (canon.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.segmentOf(index)
	if err != nil {
		return canon.Hash{}, err
	}
	if s.index == nil {
		return s.ids[index-s.first], nil
	}
	leaf, err := l.tree.Node(0, index)
	if err != nil {
		return canon.Hash{}, err
	}
	path := l.path(receiptlog.Tile{Entries: true, Index: index / receiptlog.TileWidth, Width: receiptlog.TileWidth})
	data, err := os.ReadFile(path)
	var ids []canon.Hash
	if err == nil {
		ids, err = receiptlog.DecodeEntries(data, receiptlog.TileWidth)
	}
	if err == nil && receiptlog.Leaf(ids[index%receiptlog.TileWidth]) != leaf {
		err = fmt.Errorf("the entry %d is another one than in the tree", index)
	}
	if err != nil {
		return canon.Hash{}, fmt.Errorf("archive: %w: %s: %w", ErrDamaged, path, err)
	}
	return ids[index%receiptlog.TileWidth], nil
}

// Find finds the number of a receipt by its identity. It says receiptlog.ErrRange
// if there is none.
func (l *Log) Find(id canon.Hash) (uint64, error) {
	l.mu.Lock()
	segments, size := l.segments[:len(l.segments):len(l.segments)], l.tree.Size()
	l.mu.Unlock()
	for i := len(segments) - 1; i >= 0; i-- {
		index, ok, err := l.findIn(segments[i], id, size)
		if err != nil {
			return 0, err
		}
		if ok {
			return index, nil
		}
	}
	return 0, fmt.Errorf("archive: %w: no receipt %v", receiptlog.ErrRange, id)
}

func (l *Log) findIn(s *segment, id canon.Hash, size uint64) (uint64, bool, error) {
	l.mu.Lock()
	ids, index := s.ids, s.index
	l.mu.Unlock()
	if index == nil {
		for i, have := range ids {
			if have == id && s.first+uint64(i) < size {
				return s.first + uint64(i), true, nil
			}
		}
		return 0, false, nil
	}
	candidates, err := index.find(id)
	if err != nil {
		return 0, false, err
	}
	for _, at := range candidates { // whose first bytes are the same
		l.mu.Lock()
		leaf, err := l.tree.Node(0, s.first+uint64(at))
		l.mu.Unlock()
		if err != nil {
			return 0, false, err
		}
		if leaf == receiptlog.Leaf(id) {
			return s.first + uint64(at), true, nil
		}
	}
	return 0, false, nil
}

// job is a call of Append.
type job struct {
	entries []receiptlog.Entry
	bytes   int64
	done    chan result
}

type result struct {
	first uint64
	err   error
}

// Append appends receipts and returns the number of the first, once all are on
// disk. If ctx ends before, they may be appended nevertheless.
func (l *Log) Append(ctx context.Context, entries ...receiptlog.Entry) (first uint64, err error) {
	j := job{entries: entries, done: make(chan result, 1)}
	if len(entries) == 0 || len(entries) > MaxEntries {
		return 0, fmt.Errorf("archive: %d receipts at once, want 1 to %d", len(entries), MaxEntries)
	}
	for i := range entries {
		if n := len(entries[i].File); n > MaxFile {
			return 0, fmt.Errorf("archive: the file of a receipt has %d bytes, want at most %d", n, MaxFile)
		}
		j.bytes += recordSize(&entries[i])
	}
	if j.bytes > MaxBytes {
		return 0, fmt.Errorf("archive: the receipts take %d bytes, want at most %d at once", j.bytes, MaxBytes)
	}
	select {
	case <-l.closing:
		return 0, fmt.Errorf("archive: %w", ErrClosed)
	case <-ctx.Done():
		return 0, ctx.Err()
	case l.jobs <- j:
	}
	select {
	case r := <-j.done:
		return r.first, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-l.done: // it may have been the last that was written
		select {
		case r := <-j.done:
			return r.first, r.err
		default:
			return 0, fmt.Errorf("archive: %w", ErrClosed)
		}
	}
}
