package receipt

import (
	"bytes"

	"github.com/avalnetwork/aval/internal/canon"
)

// File is a receipt with what was handed over beside it: the contents of a
// file with the ending .aval.
type File struct {
	Receipt Receipt
	Opening *Opening // nil: nothing is shown
	Sealed  []Box    // openings for auditors
}

type wireFile struct {
	Receipt []byte   `cbor:"1,keyasint"`
	Opening *Opening `cbor:"2,keyasint,omitempty"`
	Sealed  []Box    `cbor:"3,keyasint,omitempty"`
}

// Marshal writes the file.
func (f *File) Marshal() ([]byte, error) {
	b, err := canon.Marshal(&wireFile{f.Receipt.message.raw, f.Opening, f.Sealed})
	if err != nil {
		return nil, &Error{CheckFile, "encode", err}
	}
	if len(b) > MaxFile {
		return nil, errorf(CheckFile, "%d bytes, want at most %d: show less", len(b), MaxFile)
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
		return nil, errorf(CheckFile, "%d bytes, want at most %d", len(data), MaxFile)
	}
	var w wireFile
	if err := decode(data, &w); err != nil {
		return nil, &Error{CheckFile, "not a file of a receipt", err}
	}
	if len(w.Sealed) > MaxBoxes {
		return nil, errorf(CheckFile, "%d sealed boxes, want at most %d", len(w.Sealed), MaxBoxes)
	}
	r, err := Parse(w.Receipt)
	if err != nil {
		return nil, err
	}
	return &File{r, w.Opening, w.Sealed}, nil
}

// Unseal decrypts the box of the file that an auditor's key can read: the first
// one, as anybody who passes a file on can add boxes with the key's name on them.
// The opening is then still to be checked.
func (f *File) Unseal(key AuditorSecret) (*Opening, error) {
	err := errorf(CheckSeal, "none of the %d sealed boxes is for this key", len(f.Sealed))
	for _, b := range f.Sealed {
		if key.suite == nil || b.Suite != key.suite.name || b.KeyID != key.Public().ID() {
			continue
		}
		var o *Opening
		if o, err = Unseal(b, f.Receipt.Hash(), key); err == nil {
			return o, nil
		}
	}
	return nil, err
}
