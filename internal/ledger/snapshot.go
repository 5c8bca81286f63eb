package ledger

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// snapshotMagic begins a snapshot: magic, height, time, number of entries (8
// bytes each), root (32), and the entries in the order of their keys, each the
// length of key and value (2 and 4 bytes) and both. spec/ledger.md, part 6.
const snapshotMagic = "aval snapshot/1\n"

// ErrSnapshot says that bytes are not a whole snapshot.
var ErrSnapshot = errors.New("ledger: not a whole snapshot")

// Snapshot writes the state after the last block.
func (m *Machine) Snapshot(w io.Writer) error {
	t := m.State()
	root := t.Root()
	b := bufio.NewWriterSize(w, 1<<16)
	_, _ = b.WriteString(snapshotMagic) // a bufio.Writer keeps its error
	_, _ = b.Write(binary.BigEndian.AppendUint64(nil, m.height))
	_, _ = b.Write(binary.BigEndian.AppendUint64(nil, m.time))
	_, _ = b.Write(binary.BigEndian.AppendUint64(nil, uint64(t.Len())))
	_, _ = b.Write(root[:])
	var head [6]byte
	for k, v := range t.Ascend(nil) {
		binary.BigEndian.PutUint16(head[:], uint16(len(k)))
		binary.BigEndian.PutUint32(head[2:], uint32(len(v)))
		_, _ = b.Write(head[:])
		_, _ = b.Write(k)
		_, _ = b.Write(v)
	}
	return b.Flush()
}

// Restore reads a snapshot. Whoever gets one from others must compare its Root
// with one that a consensus vouches for.
func Restore(r io.Reader) (*Machine, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	head := make([]byte, len(snapshotMagic)+24+canon.Size)
	if _, err := io.ReadFull(b, head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if !bytes.HasPrefix(head, []byte(snapshotMagic)) {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrSnapshot, snapshotMagic)
	}
	nums := head[len(snapshotMagic):]
	m := &Machine{height: binary.BigEndian.Uint64(nums), time: binary.BigEndian.Uint64(nums[8:])}
	n, root := binary.BigEndian.Uint64(nums[16:]), canon.Hash(nums[24:])
	var last []byte
	for i := range n {
		var lens [6]byte
		if _, err := io.ReadFull(b, lens[:]); err != nil {
			return nil, fmt.Errorf("%w: entry %d of %d: %w", ErrSnapshot, i, n, err)
		}
		kn, vn := int(binary.BigEndian.Uint16(lens[:])), int(binary.BigEndian.Uint32(lens[2:]))
		if kn < 1 || kn > tree.MaxKey || vn > tree.MaxValue {
			return nil, fmt.Errorf("%w: entry %d has a key of %d bytes and a value of %d", ErrSnapshot, i, kn, vn)
		}
		buf := make([]byte, kn+vn)
		if _, err := io.ReadFull(b, buf); err != nil {
			return nil, fmt.Errorf("%w: entry %d of %d: %w", ErrSnapshot, i, n, err)
		}
		k, v := buf[:kn:kn], buf[kn:]
		if i > 0 && bytes.Compare(k, last) <= 0 {
			return nil, fmt.Errorf("%w: the key of entry %d is not above the one before", ErrSnapshot, i)
		}
		m.state.Set(k, v)
		last = k
	}
	if _, err := b.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than its entries", ErrSnapshot)
	}
	if got := m.state.Root(); got != root {
		return nil, fmt.Errorf("%w: its entries have the root %s, it says %s", ErrSnapshot, got, root)
	}
	if err := check(&m.state); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return m, nil
}
