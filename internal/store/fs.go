package store

import (
	"errors"
	"io"
	"os"
	"runtime"
	"time"
)

// FS is the file operations by which the store changes something on disk.
// [OS] is the real one; package errfs injects faults.
type FS interface {
	OpenFile(name string, flag int, perm os.FileMode) (Handle, error)
	Rename(from, to string) error // replaces to
	Remove(name string) error
	Link(from, to string) error
	Symlink(target, name string) error
	MkdirAll(dir string) error
	SyncDir(dir string) error
}

// Handle is an open file.
type Handle interface {
	io.ReadWriteSeeker
	io.Closer
	Sync() error
	Truncate(size int64) error
}

// OS is the operating system's file operations.
type OS struct{}

// OpenFile is os.OpenFile.
func (OS) OpenFile(name string, flag int, perm os.FileMode) (Handle, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not f: a nil *os.File in a Handle is not a nil Handle
	}
	return f, nil
}

// Rename is os.Rename, tried again where Windows refuses because a reader has
// the target open just now.
func (OS) Rename(from, to string) error {
	err := os.Rename(from, to)
	for i := 0; err != nil && runtime.GOOS == "windows" && i < 50; i++ {
		time.Sleep(10 * time.Millisecond)
		err = os.Rename(from, to)
	}
	return err
}

// Remove is os.Remove.
func (OS) Remove(name string) error { return os.Remove(name) }

// Link is os.Link.
func (OS) Link(from, to string) error { return os.Link(from, to) }

// Symlink is os.Symlink.
func (OS) Symlink(target, name string) error { return os.Symlink(target, name) }

// MkdirAll is os.MkdirAll.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, permDir) }

// SyncDir makes the names in a folder durable. Windows has no such call and
// needs none: NTFS journals its folders.
func (OS) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeAtomic gives path the contents data: after a crash it holds either what
// it held before or data. The caller holds the lock that guards path.
func (s *Store) writeAtomic(path string, data []byte) error {
	return WriteFile(s.fs, path, permFile, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// remove deletes path if it exists.
func (s *Store) remove(path string) error {
	if err := s.fs.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
