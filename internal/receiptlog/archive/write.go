package archive

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/internal/store"
)

// write appends what comes, as much as there is with one sync, until the log is
// closed and nothing waits any more.
func (l *Log) write() {
	defer close(l.done)
	var buf []byte
	for {
		var jobs []job
		select {
		case j := <-l.jobs:
			jobs = append(jobs, j)
		case <-l.closing:
			select {
			case j := <-l.jobs:
				jobs = append(jobs, j)
			default:
				return
			}
		}
		bytes := jobs[0].bytes
		for more := true; more && bytes < batchBytes; {
			select {
			case j := <-l.jobs:
				jobs, bytes = append(jobs, j), bytes+j.bytes
			default:
				more = false
			}
		}
		buf = l.writeJobs(jobs, buf)
		if cap(buf) > 2*batchBytes {
			buf = nil // it was for an answer that is rarely so long
		}
	}
}

// writeJobs writes the receipts of several calls and answers them. buf is memory
// to use.
func (l *Log) writeJobs(jobs []job, buf []byte) []byte {
	entries := jobs[0].entries
	if len(jobs) > 1 {
		entries = slices.Clone(entries)
		for _, j := range jobs[1:] {
			entries = append(entries, j.entries...)
		}
	}
	first := l.Size()
	written := 0
	var err error
	for written < len(entries) && err == nil {
		var n int
		if n, buf, err = l.writeSome(entries[written:], buf); err == nil {
			written += n
		}
	}
	at := 0
	for _, j := range jobs {
		r := result{first: first + uint64(at)}
		if at += len(j.entries); at > written {
			r.err = err
		}
		j.done <- r
	}
	return buf
}

// writeSome writes as many receipts as the segment has room for.
func (l *Log) writeSome(entries []receiptlog.Entry, buf []byte) (int, []byte, error) {
	if l.failed != nil { // which only this goroutine writes
		return 0, buf, l.failed
	}
	s, err := l.growing()
	if err != nil {
		return 0, buf, err
	}
	entries = entries[:min(len(entries), l.room(s))]
	next := s.end()
	if next+uint64(len(entries)) > receiptlog.MaxSize {
		return 0, buf, errors.New("archive: the log is full")
	}
	buf, offsets := appendBatch(buf[:0], s.mark, next, entries, nil)
	if _, err = s.f.Write(buf); err != nil {
		// What was written of it is taken back, so that the next one can follow.
		_, err2 := s.f.Seek(s.size, io.SeekStart)
		err2 = errors.Join(err2, s.f.Truncate(s.size), s.f.Sync())
		err = fmt.Errorf("archive: the receipts cannot be kept: %w", err)
		if err2 != nil {
			err = l.fail(errors.Join(err, err2))
		}
		return 0, buf, err
	}
	if err = s.f.Sync(); err != nil { // nobody knows what is on disk now
		return 0, buf, l.fail(fmt.Errorf("archive: the receipts may not be on disk: %w", err))
	}
	leaves := make([]canon.Hash, len(entries))
	for i := range entries {
		leaves[i] = receiptlog.Leaf(entries[i].Receipt)
		offsets[i] += s.size
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range entries {
		l.tree.Append(leaves[i])
		s.ids = append(s.ids, entries[i].Receipt)
	}
	s.offsets = append(s.offsets, offsets...)
	s.count += len(entries)
	s.size += int64(len(buf))
	return len(entries), buf, nil
}

// fail ends all appending: a log that is opened anew sees what is on disk.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = fmt.Errorf("%w: no more receipts are logged until the log is opened again", err)
	return l.failed
}

// room is how many receipts a segment still takes.
func (l *Log) room(s *segment) int {
	if s.size < l.cfg.SegmentBytes {
		return l.cfg.SegmentEntries - s.count
	}
	// It ends with a full tile.
	return (receiptlog.TileWidth - s.count%receiptlog.TileWidth) % receiptlog.TileWidth
}

// growing is the segment to append to, a new one if there is none or it is full.
// Only the goroutine that writes calls it.
func (l *Log) growing() (*segment, error) {
	l.mu.Lock()
	var last *segment
	if n := len(l.segments); n > 0 {
		last = l.segments[n-1]
	}
	l.mu.Unlock()
	if last != nil && last.f != nil && (last.count == 0 || l.room(last) > 0) {
		return last, nil
	}
	if last != nil && last.f != nil {
		if err := last.f.Close(); err != nil {
			return nil, l.fail(fmt.Errorf("archive: %w", err))
		}
		l.mu.Lock()
		last.f = nil
		l.mu.Unlock()
		l.seals <- last // waits if too many are waiting
	}
	size, root := l.Head()
	s, err := l.create(size, root)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.segments = append(l.segments, s)
	l.mu.Unlock()
	return s, nil
}

// seal seals full segments, in their order, until the log is closed.
func (l *Log) seal() {
	defer close(l.sealed)
	var failed error
	for s := range l.seals {
		if failed != nil {
			continue
		}
		if failed = l.sealSegment(s); failed != nil {
			l.cfg.Logger.Error("receipt log: a segment cannot be sealed; this is tried again when the log is opened again", "segment", s.path, "error", failed)
		}
	}
}

// syncing is how many files are synced at a time.
const syncing = 8

// sealSegment makes the tiles of a full segment durable, then its index.
func (l *Log) sealSegment(s *segment) error {
	l.filing.Lock()
	defer l.filing.Unlock()
	l.mu.Lock()
	end := s.end()
	tiles := map[string][]byte{}
	for t := range l.tree.Kept(end) {
		tiles[l.path(t)] = receiptlog.EncodeTile(l.tree.Hashes(t.Level, t.Index))
	}
	root, err := receiptlog.Root(l.tree, end)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	for at := 0; at < s.count; at += receiptlog.TileWidth {
		t := receiptlog.Tile{Entries: true, Index: (s.first + uint64(at)) / receiptlog.TileWidth, Width: receiptlog.TileWidth}
		tiles[l.path(t)] = receiptlog.EncodeEntries(s.ids[at : at+receiptlog.TileWidth])
	}
	if err := l.writeFiles(tiles, true); err != nil {
		return err
	}
	path := segmentPath(l.folder, s.first, extIndex)
	if err := store.WriteFile(l.cfg.FS, path, 0o600, func(w io.Writer) error {
		_, err := w.Write(encodeIndex(s, root))
		return err
	}); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	x, err := openIndex(path)
	if err != nil {
		return err
	}
	l.mu.Lock()
	s.index, s.ids, s.offsets = x, nil, nil
	l.tree.Release(end)
	l.mu.Unlock()
	for path := range tiles { // of which the partial ones are not needed any more
		_ = os.RemoveAll(path + ".p") // costs room at most
	}
	return nil
}

// writeFiles writes files whole, each at once.
func (l *Log) writeFiles(files map[string][]byte, sync bool) error {
	dirs := map[string]bool{}
	for path := range files {
		dirs[filepath.Dir(path)] = true
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if err := l.cfg.FS.MkdirAll(dir); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
	}
	var group errgroup.Group
	group.SetLimit(syncing)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		group.Go(func() error { return l.writeFile(path, files[path], sync) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if !sync {
		return nil
	}
	for dir := range dirs {
		for ; len(dir) >= len(l.folder); dir = filepath.Dir(dir) { // a new folder is an entry of the one above
			dirs[dir] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if err := l.cfg.FS.SyncDir(dir); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
	}
	return nil
}

func (l *Log) writeFile(path string, data []byte, sync bool) error {
	tmp := path + ".tmp"
	f, err := l.cfg.FS.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return l.cfg.FS.Rename(tmp, path)
}
