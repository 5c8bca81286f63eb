package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/internal/store"
)

const checkpointFile = "checkpoint"

// Checkpoint signs the log of so many entries and returns what was signed. It is
// on disk before anybody sees it. The size may not be below the one that was
// signed last; for that one it is what was signed then.
func (l *Log) Checkpoint(size uint64) ([]byte, error) {
	l.signing.Lock()
	defer l.signing.Unlock()
	switch had := l.signed.Size; {
	case l.note != nil && size == had:
		return l.note, nil
	case l.note != nil && size < had:
		return nil, fmt.Errorf("archive: a checkpoint of %d entries: %w, of %d", size, ErrSigned, had)
	case size > l.Size():
		return nil, fmt.Errorf("archive: %w: a checkpoint of %d entries, there are %d", receiptlog.ErrRange, size, l.Size())
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, fmt.Errorf("archive: %w", ErrClosed)
	}
	root, err := receiptlog.Root(l.tree, size)
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if l.note != nil {
		if err := l.agrees(l.signed.Size, l.signed.Root); err != nil {
			return nil, err
		}
	}
	if err := l.publish(receiptlog.Tiles(l.signed.Size, size)); err != nil {
		return nil, err
	}
	note, err := receiptlog.SignCheckpoint(l.cfg.Key, size, root)
	if err != nil {
		return nil, err
	}
	if err := store.WriteFile(l.cfg.FS, filepath.Join(l.folder, checkpointFile), 0o644, func(w io.Writer) error {
		_, err := w.Write(note)
		return err
	}); err != nil {
		return nil, fmt.Errorf("archive: the checkpoint cannot be kept, and is not signed: %w", err)
	}
	l.signed, l.note = receiptlog.Checkpoint{Key: l.Key(), Size: size, Root: root}, note
	return note, nil
}

// Latest is the checkpoint that was signed last; nil if there is none.
func (l *Log) Latest() (receiptlog.Checkpoint, []byte) {
	l.signing.Lock()
	defer l.signing.Unlock()
	return l.signed, l.note
}

// Agrees reports as ErrLost that the log is not one that had this root with so
// many entries. Call it for what others know to be signed, such as the ledger:
// the folder alone does not tell that it is an old copy.
func (l *Log) Agrees(size uint64, root canon.Hash) error { return l.agrees(size, root) }

func (l *Log) agrees(size uint64, root canon.Hash) error {
	if have := l.Size(); size > have {
		return fmt.Errorf("archive: %w: %d entries were signed and %d are there; get the rest from a copy, or begin with another key", ErrLost, size, have)
	}
	have, err := l.Root(size)
	if err != nil {
		return err
	}
	if have != root {
		return fmt.Errorf("archive: %w: with %d entries its root is %v, signed was %v", ErrLost, size, have, root)
	}
	return nil
}

// publish writes tiles for readers of the folder. What is sealed is there already.
func (l *Log) publish(tiles []receiptlog.Tile) error {
	l.filing.Lock()
	defer l.filing.Unlock()
	files := map[string][]byte{}
	l.mu.Lock()
	for _, t := range tiles {
		if t.Entries {
			if list := l.entries(t); list != nil {
				files[l.path(t)] = receiptlog.EncodeEntries(list)
			}
		} else if hashes := l.tree.Hashes(t.Level, t.Index); hashes != nil {
			files[l.path(t)] = receiptlog.EncodeTile(hashes[:t.Width])
		}
	}
	l.mu.Unlock()
	return l.writeFiles(files, false)
}

// entries are those of a bundle that is not sealed; nil if it is. The lock is
// held.
func (l *Log) entries(t receiptlog.Tile) []canon.Hash {
	first := t.Index * receiptlog.TileWidth
	s, err := l.segmentOf(first)
	if err != nil || s.index != nil {
		return nil
	}
	at := int(first - s.first)
	return s.ids[at : at+t.Width]
}

// readCheckpoint reads the checkpoint that was signed last, holds the log to it,
// and writes its tiles again, of which a crash may have taken some.
func (l *Log) readCheckpoint() error {
	path := filepath.Join(l.folder, checkpointFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, receiptlog.MaxCheckpoint+1))
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	c, err := receiptlog.ParseCheckpoint(l.Key(), data)
	if err != nil {
		return fmt.Errorf("archive: %w: %s: %w", ErrDamaged, path, err)
	}
	l.signed, l.note = c, data
	if err := l.agrees(c.Size, c.Root); err != nil {
		return err
	}
	return l.publish(append(receiptlog.Tiles(l.tree.Released(), c.Size), receiptlog.Partial(c.Size)...))
}

// Drop removes the receipts of sealed segments that lie below a number; their
// entries, and proofs of them, stay. It returns from which number on receipts are
// kept.
func (l *Log) Drop(before uint64) (kept uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		if s.end() > before || s.index == nil {
			break
		}
		if kept = s.end(); s.read == nil {
			continue
		}
		if err := errors.Join(s.read.Close(), l.cfg.FS.Remove(s.path)); err != nil {
			return s.first, fmt.Errorf("archive: %w", err)
		}
		s.read = nil
	}
	return kept, nil
}

// Before is the number up to which all receipts were appended before a time, as
// far as segments tell: for Drop.
func (l *Log) Before(t time.Time) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var before uint64
	for _, s := range l.segments {
		if s.read != nil {
			info, err := s.read.Stat()
			if err != nil {
				return before, fmt.Errorf("archive: %w", err)
			}
			if s.index == nil || !info.ModTime().Before(t) {
				break
			}
		}
		before = s.end()
	}
	return before, nil
}
