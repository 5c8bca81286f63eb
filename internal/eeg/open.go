package eeg

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// ErrUnknownFormat means that a file is in none of the known formats.
var ErrUnknownFormat = errors.New("eeg: unknown format: known are EDF, EDF+, BDF, XDF, BrainVision (open the .vhdr), OpenBCI text and Muse CSV")

// Open reads the recording in the named file. Of a BrainVision recording,
// name the header (.vhdr); the files that it names must lie beside it.
func Open(name string) (*Recording, error) {
	return OpenFS(os.DirFS(filepath.Dir(name)), filepath.Base(name))
}

// OpenFS is [Open] in fsys.
func OpenFS(fsys fs.FS, name string) (*Recording, error) {
	data, err := readFile(fsys, name)
	if err != nil {
		return nil, err
	}
	beside := func(base string) ([]byte, error) {
		full := path.Join(path.Dir(name), base)
		data, err := readFile(fsys, full)
		if errors.Is(err, fs.ErrNotExist) { // "x.eeg" may be kept as "x.eeg.gz"
			if zipped, e := readFile(fsys, full+".gz"); e == nil {
				return zipped, nil
			}
		}
		return data, err
	}
	rec, err := parse(data, path.Base(name), beside)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return rec, nil
}

// Read reads a recording that is in one file: any format but BrainVision.
func Read(r io.Reader) (*Recording, error) {
	data, err := unpack(r)
	if err != nil {
		return nil, err
	}
	return parse(data, "", nil)
}

// parse tells the format by its first bytes.
func parse(data []byte, name string, beside func(base string) ([]byte, error)) (*Recording, error) {
	head := bytes.TrimPrefix(data, bom)
	switch {
	case bytes.HasPrefix(data, []byte("0       ")), bytes.HasPrefix(data, []byte("\xffBIOSEMI")):
		return parseEDF(data)
	case bytes.HasPrefix(data, []byte("XDF:")):
		return parseXDF(data)
	case isBrainVision(head):
		if beside == nil {
			return nil, parseErrorf("BrainVision", "header", "its data is in other files; open the .vhdr by its name")
		}
		return parseBrainVision(data, name, beside)
	case bytes.HasPrefix(head, []byte("%OpenBCI")), bytes.HasPrefix(head, []byte("%")) && bytes.Contains(head[:min(len(head), 4096)], []byte("Number of channels")):
		return parseOpenBCI(data)
	case isMuse(head):
		return parseMuse(data)
	}
	return nil, ErrUnknownFormat
}

var bom = []byte("\xef\xbb\xbf")

func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := unpack(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// unpack reads all of r, through gzip if it begins like gzip.
func unpack(r io.Reader) ([]byte, error) {
	b := bufio.NewReader(r)
	r = b
	if magic, _ := b.Peek(2); string(magic) == "\x1f\x8b" {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("eeg: gzip: %w", err)
		}
		r = z
	}
	data, err := io.ReadAll(io.LimitReader(r, MaxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("eeg: reading: %w", err)
	}
	if len(data) > MaxFileBytes {
		return nil, fmt.Errorf("eeg: file is longer than %d bytes", int64(MaxFileBytes))
	}
	return data, nil
}

// lines cuts text into lines without their ends: LF, CRLF or, as old
// programs wrote, CR. It calls visit with the number of each line from 1
// until visit returns an error.
func lines(format string, data []byte, visit func(no int, line []byte) error) error {
	data = bytes.TrimPrefix(data, bom)
	end := byte('\n')
	if !bytes.ContainsRune(data[:min(len(data), MaxLineBytes)], '\n') {
		end = '\r'
	}
	for no := 1; len(data) > 0; no++ {
		line := data
		if i := bytes.IndexByte(data, end); i >= 0 {
			line, data = data[:i], data[i+1:]
		} else {
			data = nil
		}
		if len(line) > MaxLineBytes {
			return parseErrorf(format, fmt.Sprintf("line %d", no), "longer than %d bytes", MaxLineBytes)
		}
		if err := visit(no, bytes.TrimSuffix(line, []byte("\r"))); err != nil {
			return err
		}
	}
	return nil
}

// decimal makes a number with a decimal comma one with a point.
func decimal(s string) string {
	s = strings.TrimSpace(s)
	if strings.Count(s, ",") == 1 && !strings.Contains(s, ".") {
		s = strings.Replace(s, ",", ".", 1)
	}
	return s
}
