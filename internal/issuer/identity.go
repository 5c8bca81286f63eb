package issuer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/receipt"
)

// ErrChanged says that a model's file changed between its loading and its
// fingerprint, so that nobody can tell which model answered.
var ErrChanged = errors.New("the model's file changed while it was in use")

// Identity is the fingerprint of a model, which takes a while to compute.
type Identity struct {
	file  *gguf.File
	stats []os.FileInfo // of the parts, before anybody read them
	once  sync.Once
	done  chan struct{} // closed when root or err is set
	root  receipt.Hash
	err   error
}

// Known is the identity of a model whose fingerprint is known.
func Known(root receipt.Hash) *Identity {
	i := &Identity{done: make(chan struct{}), root: root}
	i.once.Do(func() { close(i.done) })
	return i
}

// Identify takes note of a model's file. Call it before the model is loaded
// and [Identity.Compute], once, afterwards: the fingerprint is then that of what
// was loaded, or [ErrChanged].
func Identify(path string) (*Identity, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	i := &Identity{file: f, done: make(chan struct{})}
	if i.stats, err = statAll(f.Paths()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return i, nil
}

func statAll(paths []string) ([]os.FileInfo, error) {
	var all []os.FileInfo
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("issuer: %w", err)
		}
		all = append(all, info)
	}
	return all, nil
}

// Compute reads the file with this many threads (0: one for each CPU), unless
// the cache has the fingerprint already. An empty folder stands for no cache.
// Only the first call does something.
func (i *Identity) Compute(ctx context.Context, cache string, threads int) {
	i.once.Do(func() {
		defer close(i.done)
		defer i.file.Close()
		i.root, i.err = i.compute(ctx, cache, threads)
	})
}

// Close gives up an identity that Compute was not called for.
func (i *Identity) Close() {
	i.once.Do(func() {
		defer close(i.done)
		i.err = errors.Join(errNotComputed, i.file.Close())
	})
}

var errNotComputed = errors.New("issuer: the fingerprint of the model was not computed")

func (i *Identity) compute(ctx context.Context, cache string, threads int) (receipt.Hash, error) {
	known := fingerprint.Cache{Dir: cache}
	var tree *fingerprint.Tree
	ok := false
	if cache != "" {
		tree, ok = known.Load(ctx, i.file, threads)
	}
	if !ok {
		var err error
		if tree, err = fingerprint.Of(ctx, i.file, threads); err != nil {
			return receipt.Hash{}, err
		}
		if cache != "" {
			_ = known.Save(tree) // only saves time
		}
	}
	return tree.Root(), i.Unchanged()
}

// Unchanged reports as [ErrChanged] that the file is not what it was when it
// was identified.
func (i *Identity) Unchanged() error {
	paths := i.file.Paths()
	now, err := statAll(paths)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	for k, was := range i.stats {
		if !os.SameFile(was, now[k]) || was.Size() != now[k].Size() || !was.ModTime().Equal(now[k].ModTime()) {
			return fmt.Errorf("%w: %s", ErrChanged, paths[k])
		}
	}
	return nil
}

// Root waits for the fingerprint.
func (i *Identity) Root(ctx context.Context) (receipt.Hash, error) {
	select {
	case <-i.done:
		return i.root, i.err
	case <-ctx.Done():
		return receipt.Hash{}, ctx.Err()
	}
}

// Ready reports whether Root would not wait.
func (i *Identity) Ready() bool {
	select {
	case <-i.done:
		return true
	default:
		return false
	}
}
