package archive

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/internal/store"
)

const (
	receiptsFolder = "receipts"
	extSegment     = ".seg"
	extIndex       = ".index"

	maxSegment = 1 << 20 // receipts of a segment
	maxBatch   = batchBytes + MaxBytes

	// A segment begins with this, the number of its first receipt, the root of the
	// log before it, its mark, and a checksum.
	segmentMagic = "avalrlog"
	segmentHead  = 8 + 8 + canon.Size + markSize + 4
	// A batch begins with the mark, the number of its first receipt, how many there
	// are, how many bytes, and a checksum of all that and of those bytes.
	batchHead = markSize + 8 + 4 + 4 + 4
	markSize  = 8
	// A receipt in a batch: its identity, the length of its file, the file.
	recordHead = canon.Size + 4
)

// mark begins the batches of a segment. It is drawn by chance, so that nobody who
// asks a question can have something in it that looks like a batch.
type mark [markSize]byte

var checksums = crc32.MakeTable(crc32.Castagnoli)

func recordSize(e *receiptlog.Entry) int64 { return int64(recordHead + len(e.File)) }

// segment is a file of receipts.
type segment struct {
	first uint64
	count int // of receipts
	path  string
	mark  mark
	f     store.Handle // nil: nothing is appended to it any more
	read  *os.File     // nil: its receipts were dropped
	size  int64        // bytes that are on disk

	// While it is not sealed:
	ids     []canon.Hash
	offsets []int64
	// Then:
	index *index
}

func (s *segment) end() uint64 { return s.first + uint64(s.count) }

func (s *segment) close() error {
	var list []error
	if s.f != nil {
		list = append(list, s.f.Close())
	}
	if s.read != nil {
		list = append(list, s.read.Close())
	}
	if s.index != nil {
		list = append(list, s.index.f.Close())
	}
	return errors.Join(list...)
}

// locate says where a receipt is.
func (s *segment) locate(i uint64) (*os.File, int64, error) {
	if s.read == nil {
		return nil, 0, fmt.Errorf("archive: the receipt %d: %w", i, receiptlog.ErrDropped)
	}
	at := int(i - s.first)
	if s.index != nil {
		offset, err := s.index.offset(at)
		return s.read, offset, err
	}
	return s.read, s.offsets[at], nil
}

// readRecord reads a receipt where locate says it is.
func readRecord(f *os.File, offset int64) (receiptlog.Entry, error) {
	var head [recordHead]byte
	if _, err := f.ReadAt(head[:], offset); err != nil {
		return receiptlog.Entry{}, damaged(f, err)
	}
	n := binary.BigEndian.Uint32(head[canon.Size:])
	if n > MaxFile {
		return receiptlog.Entry{}, damaged(f, fmt.Errorf("a receipt of %d bytes", n))
	}
	e := receiptlog.Entry{Receipt: canon.Hash(head[:]), File: make([]byte, n)}
	if _, err := f.ReadAt(e.File, offset+recordHead); err != nil {
		return receiptlog.Entry{}, damaged(f, err)
	}
	return e, nil
}

func damaged(f *os.File, err error) error {
	if errors.Is(err, os.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrDamaged, f.Name(), err)
}

func segmentPath(folder string, first uint64, ext string) string {
	return filepath.Join(folder, receiptsFolder, fmt.Sprintf("%020d%s", first, ext))
}

// create begins a segment on disk.
func (l *Log) create(first uint64, root canon.Hash) (*segment, error) {
	s := &segment{first: first, path: segmentPath(l.folder, first, extSegment), size: segmentHead}
	f, err := l.cfg.FS.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	head := binary.BigEndian.AppendUint64([]byte(segmentMagic), first)
	head = append(head, root[:]...)
	rand.Read(s.mark[:]) // never fails
	head = append(head, s.mark[:]...)
	head = binary.BigEndian.AppendUint32(head, crc32.Checksum(head, checksums))
	if _, err = f.Write(head); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.cfg.FS.SyncDir(filepath.Dir(s.path))
	}
	if err == nil {
		s.read, err = os.Open(s.path)
	}
	if err != nil {
		return nil, fmt.Errorf("archive: begin %s: %w", s.path, errors.Join(err, f.Close()))
	}
	s.f = f
	return s, nil
}

// readHead reads how a segment begins.
func readHead(f io.ReaderAt) (first uint64, root canon.Hash, m mark, err error) {
	var b [segmentHead]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return 0, root, m, fmt.Errorf("its beginning cannot be read: %w", err)
	}
	n := segmentHead - 4
	if string(b[:8]) != segmentMagic || crc32.Checksum(b[:n], checksums) != binary.BigEndian.Uint32(b[n:]) {
		return 0, root, m, errors.New("it does not begin as a segment does")
	}
	return binary.BigEndian.Uint64(b[8:]), canon.Hash(b[16:]), mark(b[16+canon.Size:]), nil
}

// appendBatch encodes a batch. It says where each receipt is in it.
func appendBatch(b []byte, m mark, first uint64, entries []receiptlog.Entry, offsets []int64) ([]byte, []int64) {
	begin := len(b)
	b = append(b, m[:]...)
	b = binary.BigEndian.AppendUint64(b, first)
	b = binary.BigEndian.AppendUint32(b, uint32(len(entries)))
	b = append(b, make([]byte, 8)...)
	for i := range entries {
		e := &entries[i]
		offsets = append(offsets, int64(len(b)-begin))
		b = append(b, e.Receipt[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(e.File)))
		b = append(b, e.File...)
	}
	batch := b[begin:]
	binary.BigEndian.PutUint32(batch[20:], uint32(len(batch)-batchHead))
	binary.BigEndian.PutUint32(batch[24:], batchSum(batch))
	return b, offsets
}

func batchSum(batch []byte) uint32 {
	return crc32.Update(crc32.Checksum(batch[:24], checksums), checksums, batch[batchHead:])
}

// errTorn says that what is at an offset of a segment is no batch.
var errTorn = errors.New("no whole batch")

// readBatch reads the batch at an offset of a segment: what it has of receipts, and
// where the next one is.
func readBatch(f io.ReaderAt, m mark, offset int64, next uint64, on func(id canon.Hash, offset int64)) (end int64, count int, err error) {
	var head [batchHead]byte
	if n, err := f.ReadAt(head[:], offset); n == 0 && errors.Is(err, io.EOF) {
		return offset, 0, io.EOF
	} else if n < batchHead {
		return 0, 0, errTorn
	}
	size, n := int64(binary.BigEndian.Uint32(head[20:])), binary.BigEndian.Uint32(head[16:])
	if mark(head[:]) != m || binary.BigEndian.Uint64(head[8:]) != next || size > maxBatch || n == 0 || n > maxSegment {
		return 0, 0, errTorn
	}
	batch := make([]byte, batchHead+size)
	if _, err := f.ReadAt(batch, offset); err != nil || batchSum(batch) != binary.BigEndian.Uint32(head[24:]) {
		return 0, 0, errTorn
	}
	at := int64(batchHead)
	for range n {
		if int64(len(batch)) < at+recordHead {
			return 0, 0, errTorn
		}
		length := int64(binary.BigEndian.Uint32(batch[at+canon.Size:]))
		if length > MaxFile || int64(len(batch)) < at+recordHead+length {
			return 0, 0, errTorn
		}
		on(canon.Hash(batch[at:]), offset+at)
		at += recordHead + length
	}
	if at != int64(len(batch)) {
		return 0, 0, errTorn
	}
	return offset + at, int(n), nil
}

// anyBatch looks for a whole batch after a place where there is none: then that is
// no write which a crash cut short, as each is synced before the next.
func anyBatch(f io.ReaderAt, m mark, offset, size int64, least uint64) (int64, bool) {
	buf := make([]byte, 1<<20)
	for from := offset; from < size; {
		n, _ := f.ReadAt(buf, from)
		for at := 0; at < n; at++ {
			i := bytes.Index(buf[at:n], m[:])
			if i < 0 {
				break
			}
			at += i
			var head [16]byte
			if _, err := f.ReadAt(head[:], from+int64(at)); err != nil {
				continue
			}
			first := binary.BigEndian.Uint64(head[8:])
			if _, _, err := readBatch(f, m, from+int64(at), first, func(canon.Hash, int64) {}); err == nil && first >= least {
				return from + int64(at), true
			}
		}
		if n < len(buf) {
			break
		}
		from += int64(n - len(m)) // one may lie across
	}
	return 0, false
}

// index is where the receipts of a sealed segment are: their offsets, then the
// first bytes of their identities in order, each with its place.
type index struct {
	f     *os.File
	first uint64
	count int
	root  canon.Hash // of the log up to its end
}

const (
	indexMagic = "avalrlix"
	indexHead  = 8 + 8 + 4 + canon.Size + 4
	idPrefix   = 8
	idSize     = idPrefix + 4
)

// encodeIndex writes the index of a segment.
func encodeIndex(s *segment, root canon.Hash) []byte {
	b := binary.BigEndian.AppendUint64([]byte(indexMagic), s.first)
	b = binary.BigEndian.AppendUint32(b, uint32(s.count))
	b = append(b, root[:]...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, checksums))
	for _, o := range s.offsets {
		b = binary.BigEndian.AppendUint64(b, uint64(o))
	}
	order := make([]uint32, s.count)
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(i, j uint32) int {
		return cmp.Or(bytes.Compare(s.ids[i][:idPrefix], s.ids[j][:idPrefix]), cmp.Compare(i, j))
	})
	for _, i := range order {
		b = append(b, s.ids[i][:idPrefix]...)
		b = binary.BigEndian.AppendUint32(b, i)
	}
	return b
}

// openIndex opens the index of a sealed segment.
func openIndex(path string) (*index, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	bad := func(err error) (*index, error) {
		return nil, errors.Join(fmt.Errorf("archive: %w: %s: %w", ErrDamaged, path, err), f.Close())
	}
	var b [indexHead]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return bad(err)
	}
	n := indexHead - 4
	if string(b[:8]) != indexMagic || crc32.Checksum(b[:n], checksums) != binary.BigEndian.Uint32(b[n:]) {
		return bad(errors.New("it does not begin as an index does"))
	}
	x := &index{f: f, first: binary.BigEndian.Uint64(b[8:]), count: int(binary.BigEndian.Uint32(b[16:])), root: canon.Hash(b[20:])}
	info, err := f.Stat()
	if err != nil {
		return bad(err)
	}
	if want := int64(indexHead) + int64(x.count)*(8+idSize); x.count == 0 || x.count > maxSegment || info.Size() != want {
		return bad(fmt.Errorf("it has %d bytes for %d receipts, want %d", info.Size(), x.count, want))
	}
	return x, nil
}

func (x *index) offset(at int) (int64, error) {
	var b [8]byte
	if _, err := x.f.ReadAt(b[:], indexHead+8*int64(at)); err != nil {
		return 0, fmt.Errorf("archive: %w", damaged(x.f, err))
	}
	return int64(binary.BigEndian.Uint64(b[:])), nil
}

// find gives the places of the receipts whose identities begin as this one.
func (x *index) find(id canon.Hash) ([]uint32, error) {
	entry := func(i int) (b [idSize]byte, err error) {
		if _, err = x.f.ReadAt(b[:], indexHead+8*int64(x.count)+idSize*int64(i)); err != nil {
			err = fmt.Errorf("archive: %w", damaged(x.f, err))
		}
		return b, err
	}
	lo, hi := 0, x.count
	for lo < hi {
		mid := (lo + hi) / 2
		b, err := entry(mid)
		if err != nil {
			return nil, err
		}
		if bytes.Compare(b[:idPrefix], id[:idPrefix]) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	var places []uint32
	for ; lo < x.count; lo++ {
		b, err := entry(lo)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(b[:idPrefix], id[:idPrefix]) {
			break
		}
		if at := binary.BigEndian.Uint32(b[idPrefix:]); int(at) < x.count {
			places = append(places, at)
		}
	}
	return places, nil
}
