package archive

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/receiptlog"
)

// recover reads what is on disk.
func (l *Log) recover() error {
	indexes, segments, err := l.list()
	if err != nil {
		return err
	}
	end, root := uint64(0), receiptlog.EmptyRoot()
	for _, first := range indexes {
		x, err := openIndex(segmentPath(l.folder, first, extIndex))
		if err != nil {
			return err
		}
		s := &segment{first: first, count: x.count, path: segmentPath(l.folder, first, extSegment), index: x}
		l.segments = append(l.segments, s)
		if x.first != first || first != end || x.count%receiptlog.TileWidth != 0 {
			return fmt.Errorf("archive: %w: the segment %d does not follow those before, which end with %d", ErrDamaged, first, end)
		}
		if i, ok := slices.BinarySearch(segments, first); ok {
			segments = slices.Delete(segments, i, i+1)
			if s.read, err = os.Open(s.path); err != nil {
				return fmt.Errorf("archive: %w", err)
			}
		}
		end, root = s.end(), x.root
	}
	if l.tree, err = receiptlog.NewTree(end, l.loadTile); err != nil {
		return err
	}
	if have := l.tree.Root(); have != root {
		return fmt.Errorf("archive: %w: the tiles of the first %d entries lead to the root %v, want %v", ErrDamaged, end, have, root)
	}
	for i, first := range segments {
		if err := l.replay(first, i == len(segments)-1); err != nil {
			return err
		}
	}
	if err := l.readCheckpoint(); err != nil {
		return err
	}
	return l.goOn()
}

// list are the numbers with which indexes and segments begin, in their order.
func (l *Log) list() (indexes, segments []uint64, err error) {
	dir := filepath.Join(l.folder, receiptsFolder)
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("archive: %w", err)
	}
	for _, n := range names {
		digits, ext, _ := strings.Cut(n.Name(), ".")
		first, err := strconv.ParseUint(digits, 10, 64)
		switch {
		case err != nil || len(digits) != 20 || first > receiptlog.MaxSize:
			continue // not ours
		case "."+ext == extIndex:
			indexes = append(indexes, first)
		case "."+ext == extSegment:
			segments = append(segments, first)
		}
	}
	return indexes, segments, nil // ReadDir sorts
}

// replay reads a segment that is not sealed. The end of the last one may be what
// a crash cut short.
func (l *Log) replay(first uint64, last bool) error {
	s := &segment{first: first, path: segmentPath(l.folder, first, extSegment), size: segmentHead}
	var err error
	if s.read, err = os.Open(s.path); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	l.segments = append(l.segments, s)
	info, err := s.read.Stat()
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	bad := func(offset int64, err error) error {
		return fmt.Errorf("archive: %w: %s: at byte %d: %w", ErrDamaged, s.path, offset, err)
	}
	at, root, mark, err := readHead(s.read)
	s.mark = mark
	switch {
	case err != nil:
		if info.Size() > segmentHead || !last { // it was synced before anything came after it
			return bad(0, err)
		}
		return l.cut(s, 0, info.Size()) // a crash came before its first receipt
	case at != first || first != l.tree.Size() || root != l.tree.Root():
		return bad(0, fmt.Errorf("it does not follow what is before: it begins with the entry %d and the root %v, before it are %d and %v", at, root, l.tree.Size(), l.tree.Root()))
	}
	for {
		var ids []canon.Hash
		var offsets []int64
		end, n, err := readBatch(s.read, s.mark, s.size, s.end(), func(id canon.Hash, offset int64) {
			ids, offsets = append(ids, id), append(offsets, offset)
		})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if at, found := anyBatch(s.read, s.mark, s.size, info.Size(), s.end()); found {
				return bad(s.size, fmt.Errorf("%w, and there is one at byte %d", err, at))
			}
			if !last {
				return bad(s.size, err)
			}
			return l.cut(s, s.size, info.Size())
		}
		for _, id := range ids {
			l.tree.Append(receiptlog.Leaf(id))
		}
		s.ids, s.offsets = append(s.ids, ids...), append(s.offsets, offsets...)
		s.count += n
		s.size = end
	}
}

// cut takes away what a crash left of a write that nobody was told of.
func (l *Log) cut(s *segment, from, size int64) error {
	l.cfg.Logger.Warn("receipt log: a crash cut the last write short: its bytes are removed, no receipt was given out for them",
		"file", s.path, "from", from, "bytes", size-from, "entries", l.tree.Size())
	if from == 0 {
		l.segments = l.segments[:len(l.segments)-1]
		if err := errors.Join(s.close(), l.cfg.FS.Remove(s.path)); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		return nil
	}
	f, err := l.cfg.FS.OpenFile(s.path, os.O_RDWR, 0o600)
	if err == nil {
		err = errors.Join(f.Truncate(from), f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return nil
}

// goOn prepares the last segment for more, and seals those that are full.
func (l *Log) goOn() error {
	for i, s := range l.segments {
		if s.index != nil {
			continue
		}
		if i < len(l.segments)-1 {
			if s.count%receiptlog.TileWidth != 0 || s.count == 0 {
				return fmt.Errorf("archive: %w: %s ends with %d receipts, before another segment", ErrDamaged, s.path, s.count)
			}
			if err := l.sealSegment(s); err != nil {
				return err
			}
			continue
		}
		f, err := l.cfg.FS.OpenFile(s.path, os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		s.f = f
		if _, err := f.Seek(s.size, io.SeekStart); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
	}
	return nil
}
