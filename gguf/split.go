package gguf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// SplitName gives the usual name of part no (counted from 0) of count:
// SplitName("m", 1, 3) is "m-00002-of-00003.gguf".
func SplitName(prefix string, no, count int) string {
	return fmt.Sprintf("%s-%05d-of-%05d.gguf", prefix, no+1, count)
}

// partPaths gives the files that belong to the model of an open one, and its
// place among them: the file alone, unless its header says it is a part.
func partPaths(o *opened) (place int, paths []string, err error) {
	path := o.path
	no, count, err := splitOf(o)
	if err != nil {
		return 0, nil, err
	}
	if count == 1 {
		return 0, []string{path}, nil
	}
	prefix, ok := strings.CutSuffix(path, SplitName("", no, count))
	if !ok {
		return 0, nil, &ParseError{
			Path: path, Where: "file name", Offset: -1,
			What: fmt.Sprintf("the file is part %d of %d, but its name does not end in %q, so the other parts cannot be found", no+1, count, SplitName("", no, count)),
			Hint: "give the parts their original names, side by side in one folder",
		}
	}
	paths = make([]string, count)
	for i := range paths {
		paths[i] = SplitName(prefix, i, count)
		if _, err := os.Stat(paths[i]); errors.Is(err, fs.ErrNotExist) {
			return 0, nil, &ParseError{
				Path: path, Where: "split model", Offset: -1,
				What: fmt.Sprintf("part %d of %d is missing: there is no %s", i+1, count, filepath.Base(paths[i])),
				Hint: "put all parts into one folder", Err: err,
			}
		}
	}
	return no, paths, nil
}

// splitOf reads which part of how many a header says it is; 0 of 1 for a
// file that is not split.
func splitOf(o *opened) (no, count int, err error) {
	fail := func(key, format string, args ...any) (int, int, error) {
		return 0, 0, &ParseError{Path: o.path, Where: fmt.Sprintf("key %q", key), Offset: -1, What: fmt.Sprintf(format, args...), Hint: hintDamaged}
	}
	v, ok := o.values[keySplitCount]
	if !ok {
		return 0, 1, nil
	}
	c, ok := v.Uint()
	if !ok || c > maxParts {
		return fail(keySplitCount, "is %v, must be an integer from 0 to %d", v, maxParts)
	}
	if c <= 1 {
		return 0, 1, nil
	}
	n, ok := o.values[keySplitNo].Uint()
	if _, has := o.values[keySplitNo]; !has || !ok || n >= c {
		return fail(keySplitNo, "must be an integer below %s = %d", keySplitCount, c)
	}
	return int(n), int(c), nil
}

// checkPart checks that the file at place i of count is the part it should
// be.
func checkPart(o *opened, i, count int) error {
	no, n, err := splitOf(o)
	if err != nil {
		return err
	}
	if no != i || n != count {
		return &ParseError{
			Path: o.path, Where: "split model", Offset: -1,
			What: fmt.Sprintf("the file says it is part %d of %d, but stands in place %d of %d", no+1, n, i+1, count),
			Hint: "give the parts their original names, and all of them",
		}
	}
	return nil
}

// addTensors appends the tensors of part i.
func (f *File) addTensors(o *opened, i int) error {
	for _, t := range o.tensors {
		if f.byName[t.Name] != nil {
			return &ParseError{
				Path: o.path, Where: fmt.Sprintf("tensor %q", t.Name), Offset: -1,
				What: "an earlier part has a tensor of this name",
				Hint: "the parts belong to different models: fetch all of them again",
			}
		}
		t.part = i
		f.byName[t.Name] = t
		f.tensors = append(f.tensors, t)
	}
	if len(f.tensors) > maxTensors {
		return &ParseError{
			Path: o.path, Where: "split model", Offset: -1,
			What: fmt.Sprintf("%d tensors so far, the limit is %d", len(f.tensors), maxTensors), Hint: hintLimit,
		}
	}
	return nil
}

// checkSplitTotal compares the number of tensors with split.tensors.count.
func (f *File) checkSplitTotal() error {
	if len(f.parts) < 2 {
		return nil
	}
	v, ok := f.values[keySplitTensors]
	if !ok {
		return nil
	}
	if want, ok := v.Uint(); !ok || want != uint64(len(f.tensors)) {
		return &ParseError{
			Path: f.parts[0].path, Where: fmt.Sprintf("key %q", keySplitTensors), Offset: -1,
			What: fmt.Sprintf("is %v, but the %d parts have %d tensors", v, len(f.parts), len(f.tensors)),
			Hint: "the parts belong to different models: fetch all of them again",
		}
	}
	return nil
}
