package replica

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/avalnetwork/aval/internal/crdt"
)

// A namespace's file is the magic, then records: four bytes of length, big
// endian, the first eight of the SHA-256 of what follows, a byte for the kind of
// the record, and its content. Records are only added, but for a checkpoint,
// after which the file is written anew. What a crash left at the end without its
// hash is cut off.
const (
	magic     = "aval-shared-data-1\n"
	extension = ".ops"
	header    = 4 + 8 + 1
)

// Kinds of records.
const (
	recGenesis  = 1
	recSnapshot = 2
	recOp       = 3
)

// ErrFile marks a file that is not a namespace's, or damaged before its end.
var ErrFile = errors.New("not the file of a namespace")

// file is the storage of one namespace; nil keeps nothing.
type file struct {
	path string
	f    *os.File
	size int64 // of what is whole
	buf  []byte
}

func record(out []byte, kind byte, data []byte) []byte {
	sum := sha256.New()
	sum.Write([]byte{kind})
	sum.Write(data)
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	out = append(out, sum.Sum(nil)[:8]...)
	return append(append(out, kind), data...)
}

// load reads a namespace's file, cuts off what was not written whole, and opens
// it for more.
func load(path string, limits crdt.Limits) (*crdt.Space, *file, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	s, end, err := read(f, limits)
	if err == nil {
		err = f.Truncate(end)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, &file{path: path, f: f, size: end}, nil
}

// read gives what a file holds, and where its last whole record ends.
func read(f *os.File, limits crdt.Limits) (*crdt.Space, int64, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	r := &counter{r: f}
	begin := make([]byte, len(magic))
	if _, err := io.ReadFull(r, begin); err != nil || string(begin) != magic {
		return nil, 0, ErrFile
	}
	var s *crdt.Space
	end := r.n
	for {
		kind, data, ok, err := next(r, info.Size())
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			break
		}
		switch {
		case s == nil && kind == recGenesis:
			g, err := crdt.ParseGenesis(data)
			if err != nil {
				return nil, 0, fmt.Errorf("%w: %w", ErrFile, err)
			}
			if s, err = crdt.New(g, limits); err != nil {
				return nil, 0, err
			}
		case s != nil && kind == recSnapshot:
			if _, _, err := s.Adopt(data); err != nil {
				return nil, 0, fmt.Errorf("%w: at byte %d: %w", ErrFile, end, err)
			}
		case s != nil && kind == recOp:
			o, err := crdt.Restore(data)
			if err == nil {
				_, _, err = s.Add(o)
			}
			if errors.Is(err, crdt.ErrInvalid) || errors.Is(err, crdt.ErrMissing) {
				return nil, 0, fmt.Errorf("%w: at byte %d: %w", ErrFile, end, err)
			}
		default:
			return nil, 0, fmt.Errorf("%w: a record of kind %d at byte %d", ErrFile, kind, end)
		}
		end = r.n
	}
	if s == nil {
		return nil, 0, fmt.Errorf("%w: it was not written whole", ErrFile)
	}
	return s, end, nil
}

// next reads a record; ok is false at the end and at one that is not whole.
func next(r *counter, size int64) (kind byte, data []byte, ok bool, err error) {
	var head [header]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = nil
		}
		return 0, nil, false, err
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n > crdt.MaxSnapshot || r.n+n > size {
		return 0, nil, false, nil
	}
	data = make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return 0, nil, false, err
	}
	sum := sha256.New()
	sum.Write(head[header-1:])
	sum.Write(data)
	return head[header-1], data, bytes.Equal(sum.Sum(nil)[:8], head[4:12]), nil
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// rewrite replaces a namespace's file by what the space holds; it appears in one
// piece or not at all.
func rewrite(path string, s *crdt.Space) (*file, error) {
	out := record([]byte(magic), recGenesis, s.Genesis().Bytes())
	if snap := s.Snapshot(); snap != nil {
		out = record(out, recSnapshot, snap)
	}
	for _, o := range s.Ops() {
		out = record(out, recOp, o.Bytes())
	}
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(out)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(tmp)
		return nil, err
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil { // some systems cannot sync folders
		_ = d.Sync()
		_ = d.Close()
	}
	return &file{path: path, f: f, size: int64(len(out))}, nil
}

// add queues an operation; flush writes and syncs what is queued.
func (f *file) add(o *crdt.Op) {
	if f != nil {
		f.buf = record(f.buf, recOp, o.Bytes())
	}
}

// What could not be written, as on a full disk, is tried again with the next.
func (f *file) flush() error {
	if f == nil || len(f.buf) == 0 {
		return nil
	}
	_, err := f.f.WriteAt(f.buf, f.size)
	if err == nil {
		err = f.f.Sync()
	}
	if err != nil {
		_ = f.f.Truncate(f.size)
		return err
	}
	f.size += int64(len(f.buf))
	if cap(f.buf) > 1<<20 {
		f.buf = nil
	}
	f.buf = f.buf[:0]
	return nil
}

func (f *file) close() {
	if f != nil {
		_ = f.f.Close()
	}
}

// stored lists the files of namespaces in a folder.
func stored(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), extension) {
			out = append(out, filepath.Join(folder, e.Name()))
		}
	}
	return out, nil
}
