package store

import (
	"io"
	"os"
	"path/filepath"
)

// WriteFile writes a file that appears at path in one piece, synced, or not at
// all, whatever ends the process. It replaces what is there. On the way it is
// path with ".tmp", which a crash can leave behind.
func WriteFile(fs FS, path string, perm os.FileMode, write func(w io.Writer) error) error {
	tmp := path + extTemp
	f, err := fs.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = fs.Rename(tmp, path)
	}
	if err != nil {
		_ = fs.Remove(tmp) // the write's error is the one to report
		return err
	}
	return fs.SyncDir(filepath.Dir(path))
}

// Lock takes an exclusive lock on the file path, which it makes, and returns how
// to give it back. If another process holds it the error is [ErrBusy]. The
// system drops the lock of a process that dies, however it dies.
func Lock(path string) (release func(), err error) {
	l, err := acquire(path, false)
	if err != nil {
		return nil, err
	}
	return l.releaseRemove, nil
}
