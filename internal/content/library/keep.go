package library

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/content/exchange"
	"github.com/avalnetwork/aval/internal/rpc"
)

// Cached is how many bytes the library's own folder has of what is not pinned.
func (l *Library) Cached() (n int64) {
	for _, c := range l.cached() {
		n += c.size
	}
	return n
}

type cached struct {
	e    *entry
	size int64
	used int64
	busy bool
}

// cached gives what counts against the quota, that which was used longest ago first.
func (l *Library) cached() []cached {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []cached
	for _, e := range l.entries {
		e.mu.Lock()
		if s := &e.state; !s.InPlace && s.Folder == "" && !s.Pinned {
			list = append(list, cached{e, e.manifest.Size(), s.Used.UnixNano(), e.uses > 0})
		}
		e.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b cached) int {
		return cmp.Or(cmp.Compare(a.used, b.used), slices.Compare(a.e.root[:], b.e.root[:]))
	})
	return list
}

// Collect removes what was used longest ago until the rest is within the quota.
// It tells how many bytes that freed.
func (l *Library) Collect() (int64, error) { return l.collect(l.cfg.Quota) }

func (l *Library) collect(most int64) (freed int64, err error) {
	list := l.cached()
	var have int64
	for _, c := range list {
		have += c.size
	}
	for _, c := range list {
		if have <= most {
			break
		}
		if c.busy {
			continue
		}
		if err := l.remove(c.e, false); errors.Is(err, errInUse) {
			continue
		} else if err != nil {
			return freed, err
		}
		have -= c.size
		freed += c.size
	}
	return freed, nil
}

// makeRoom frees what new content of a size needs.
func (l *Library) makeRoom(size int64) error {
	if size <= l.cfg.Quota {
		if _, err := l.collect(l.cfg.Quota - size); err != nil {
			return err
		}
		if l.Cached()+size <= l.cfg.Quota {
			return nil
		}
	}
	return rpc.Errorf(rpc.ResourceExhausted, "%d bytes do not fit the library's quota of %d: fetch it into a folder of yours, or unpin something", size, l.cfg.Quota)
}

// Stop ends the offering of content. Of files that are the owner's, or that were
// fetched into a folder of the owner, the library forgets all and touches
// nothing; what is in its own folder stays until its place is needed.
func (l *Library) Stop(root content.Root) error {
	e, err := l.entry(root)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.state.Offered, e.state.Public = false, false
	err = e.save()
	own := !e.state.InPlace && e.state.Folder == ""
	e.mu.Unlock()
	if err != nil || own {
		return err
	}
	return l.remove(e, true)
}

// Remove removes content from the library's own folder, or forgets it.
func (l *Library) Remove(root content.Root) error {
	e, err := l.entry(root)
	if err != nil {
		return err
	}
	return l.remove(e, true)
}

var errInUse = rpc.Errorf(rpc.FailedPrecondition, "this content is in use: wait until it is fetched")

// remove removes an entry; a pinned one only if it is meant.
func (l *Library) remove(e *entry, pinned bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case l.entries[e.root] != e:
		return exchange.ErrMissing
	case e.uses > 0 || e.state.Pinned && !pinned:
		return errInUse
	}
	if e.state.Folder != "" && !e.state.Complete { // what is not whole is nothing to anybody
		if r, err := os.OpenRoot(e.state.Folder); err == nil {
			for file := range e.manifest.Files {
				_ = r.Remove(e.partName(file)) // which may be whole, or not begun
			}
			r.Close()
		}
	}
	delete(l.entries, e.root)
	l.forget()
	e.closeJournal()
	// The state goes first: an entry without one is none.
	if err := os.Remove(l.path(e.root, stateFile)); err != nil {
		return fmt.Errorf("library: %w", err)
	}
	if err := os.RemoveAll(filepath.Join(l.cfg.Folder, e.root.String())); err != nil {
		return fmt.Errorf("library: %w", err)
	}
	return nil
}
