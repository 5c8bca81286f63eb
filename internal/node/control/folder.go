package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/avalnetwork/aval/internal/store"
)

// Names in a node's folder.
const (
	versionFile = "version"
	lockFile    = "lock"
	doorFile    = "control.json"
	socketFile  = "control.sock"
)

// version is what the folder's layout is called; it stands in versionFile.
const version = "aval-node-folder 1\n"

// maxFile bounds the small files of the folder, in bytes.
const maxFile = 64 << 10

// ErrNotRunning says that no node serves a folder.
var ErrNotRunning = errors.New("no node runs here")

// RunningError says that a node has the folder already.
type RunningError struct {
	Process int       // 0: not known
	Since   time.Time // zero: not known
}

func (e *RunningError) Error() string {
	if e.Process == 0 {
		return "another process runs this node already"
	}
	return fmt.Sprintf("this node runs already, in process %d since %s", e.Process, e.Since.Local().Format(time.DateTime))
}

// door is how the process that serves is reached: the content of doorFile.
type door struct {
	Network string    `json:"network"` // "unix" or "tcp"
	Address string    `json:"address"` // of the socket, relative to the folder, or host:port
	Token   string    `json:"token"`
	Process int       `json:"process"`
	Since   time.Time `json:"since"`
}

// Folder is the folder of one node, held by this process.
type Folder struct {
	Path    string
	release func()
}

// Open takes the folder of a node, which it makes, for this process alone. If
// another process has it, the error is a *RunningError.
func Open(path string) (*Folder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	release, err := store.Lock(filepath.Join(path, lockFile))
	if errors.Is(err, store.ErrBusy) {
		e := &RunningError{}
		if d, err := readDoor(path); err == nil {
			e.Process, e.Since = d.Process, d.Since
		}
		return nil, e
	}
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	f := &Folder{path, release}
	if err := f.checkVersion(); err != nil {
		release()
		return nil, err
	}
	// Left by a process that died: nobody else may take its name now.
	for _, name := range []string{doorFile, socketFile} {
		if err := os.Remove(filepath.Join(path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			release()
			return nil, fmt.Errorf("control: %w", err)
		}
	}
	return f, nil
}

func (f *Folder) checkVersion() error {
	text, err := readSmall(filepath.Join(f.Path, versionFile))
	if errors.Is(err, fs.ErrNotExist) {
		list, err := os.ReadDir(f.Path)
		if err != nil {
			return fmt.Errorf("control: %w", err)
		}
		for _, e := range list { // but for what a crash in here leaves
			if e.Name() != lockFile && e.Name() != versionFile+".tmp" {
				return fmt.Errorf("control: the folder %s is to be that of the node, and has something else in it: move that away, or name the key otherwise", f.Path)
			}
		}
		return f.WriteFile(versionFile, []byte(version))
	}
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	if string(text) != version {
		return fmt.Errorf("control: the folder %s has the version %.40q, and this program knows %q: use the program that made it, or move the folder away", f.Path, bytes.TrimSpace(text), version[:len(version)-1])
	}
	return nil
}

// WriteFile replaces a small file of the folder in one piece, for its owner only.
func (f *Folder) WriteFile(name string, data []byte) error {
	err := store.WriteFile(store.OS{}, filepath.Join(f.Path, name), 0o600, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return nil
}

// Close lets others have the folder.
func (f *Folder) Close() error {
	f.release()
	return nil
}

// readSmall reads a file that should be small.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxFile)
	}
	return data, err
}

func readDoor(path string) (door, error) {
	var d door
	text, err := readSmall(filepath.Join(path, doorFile))
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	return d, err
}
