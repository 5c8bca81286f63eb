package training

import (
	"bytes"
	"encoding/binary"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// maxHeads bounds the data items of the CBOR of a file: long lists are single
// byte strings.
const maxHeads = 1 << 14

// File is a receipt with what was handed over beside it: the contents of a file
// with the ending .aval.
type File struct {
	Receipt Receipt
	Opening *Opening // nil: nothing is shown
}

type wireFile struct {
	Receipt []byte   `cbor:"1,keyasint"`
	Opening *Opening `cbor:"2,keyasint,omitempty"`
}

// Marshal writes the file.
func (f *File) Marshal() ([]byte, error) {
	b, err := canon.Marshal(&wireFile{f.Receipt.raw, f.Opening})
	if err != nil {
		return nil, &receipt.Error{Check: receipt.CheckFile, Detail: "encode", Err: err}
	}
	if len(b) > MaxFile {
		return nil, errorf(receipt.CheckFile, "%d bytes, want at most %d: show less of the step log", len(b), MaxFile)
	}
	return b, nil
}

// ParseFile reads a file, or a receipt alone. It checks form and encoding, not
// the signature and not the opening; [File.Check] does.
func ParseFile(data []byte) (*File, error) {
	if bytes.HasPrefix(data, []byte{0xd2}) { // the tag of COSE_Sign1
		r, err := Parse(data)
		if err != nil {
			return nil, err
		}
		return &File{Receipt: r}, nil
	}
	if len(data) > MaxFile {
		return nil, errorf(receipt.CheckFile, "%d bytes, want at most %d", len(data), MaxFile)
	}
	var w wireFile
	if err := canon.UnmarshalMax(data, &w, maxHeads); err != nil {
		return nil, &receipt.Error{Check: receipt.CheckFile, Detail: "not a file of a training receipt", Err: err}
	}
	r, err := Parse(w.Receipt)
	if err != nil {
		return nil, err
	}
	return &File{r, w.Opening}, nil
}

// Is reports whether data is the file of a training receipt, or such a receipt,
// perhaps damaged: its suite is one of those that begin with
// "aval-training-receipt/".
func Is(data []byte) bool {
	if len(data) > 0 && data[0]>>5 == 5 { // a file: {1: bstr ...
		rest, ok := afterByteString(data[1:], true)
		if !ok {
			return false
		}
		data = rest
	}
	data, ok := bytes.CutPrefix(data, []byte{0xd2, 0x84, 0x43, 0xa1, 0x01, 0x27, 0xa0})
	if !ok {
		return false
	}
	if data, ok = afterByteString(data, false); !ok {
		return false
	}
	name, ok := suiteOf(data)
	return ok && bytes.HasPrefix([]byte(name), []byte("aval-training-receipt/"))
}

// afterByteString skips the head of a byte string, after key 1 if there is one.
func afterByteString(b []byte, key bool) ([]byte, bool) {
	if key {
		if len(b) == 0 || b[0] != 1 {
			return nil, false
		}
		b = b[1:]
	}
	switch {
	case len(b) > 3 && b[0] == 0x59 && binary.BigEndian.Uint16(b[1:]) > 0:
		return b[3:], true
	case len(b) > 2 && b[0] == 0x58:
		return b[2:], true
	}
	return nil, false
}
