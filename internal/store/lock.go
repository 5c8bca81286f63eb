package store

import (
	"os"
	"runtime"
	"time"
)

// fileLock is an exclusive lock on a file, held against other processes and
// against other goroutines of this one. The system drops it when the process
// dies, however it dies.
type fileLock struct {
	f    *os.File
	path string
}

// acquire locks path, creating it; wait chooses between waiting and ErrBusy.
func acquire(path string, wait bool) (*fileLock, error) {
	for tries := 0; ; tries++ {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, permFile)
		if runtime.GOOS == "windows" && os.IsPermission(err) && tries < 50 {
			time.Sleep(10 * time.Millisecond) // a file being removed cannot be opened there
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := lockFile(f, wait); err != nil {
			f.Close()
			return nil, err
		}
		// The holder before us may have removed the file: then the lock we got
		// is on a file without a name, which protects nothing.
		mine, err1 := f.Stat()
		named, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, named) {
			return &fileLock{f: f, path: path}, nil
		}
		f.Close()
		if err1 != nil {
			return nil, err1
		}
		if err2 != nil && !os.IsNotExist(err2) {
			return nil, err2
		}
	}
}

// release gives the lock back and keeps the file.
func (l *fileLock) release() { l.f.Close() }

// releaseRemove gives the lock back and removes the file, if that is possible
// now; a lock file left behind does no harm.
func (l *fileLock) releaseRemove() {
	if runtime.GOOS == "windows" { // an open file cannot be removed there
		l.f.Close()
		_ = os.Remove(l.path)
		return
	}
	_ = os.Remove(l.path)
	l.f.Close()
}
