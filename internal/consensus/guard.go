package consensus

import (
	"errors"
	"net"
	"sync"

	dbm "github.com/cometbft/cometbft-db"
	"github.com/cometbft/cometbft/p2p"
)

// What CometBFT leaves behind when it is stopped within a process that goes on.

// database is one that may be asked after it was closed: routines of CometBFT
// that nobody waits for do so, and would end the process.
type database struct {
	dbm.DB

	mu     sync.RWMutex
	closed bool
}

var errDatabase = errors.New("consensus: the database is closed")

func (d *database) Get(key []byte) ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return nil, nil
	}
	return d.DB.Get(key)
}

func (d *database) Has(key []byte) (bool, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return false, nil
	}
	return d.DB.Has(key)
}

func (d *database) Set(key, value []byte) error {
	return d.do(func() error { return d.DB.Set(key, value) })
}

func (d *database) SetSync(key, value []byte) error {
	return d.do(func() error { return d.DB.SetSync(key, value) })
}

func (d *database) Delete(key []byte) error {
	return d.do(func() error { return d.DB.Delete(key) })
}

func (d *database) DeleteSync(key []byte) error {
	return d.do(func() error { return d.DB.DeleteSync(key) })
}

func (d *database) do(f func() error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return errDatabase
	}
	return f()
}

func (d *database) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return d.DB.Close()
}

// connections are those of a transport, some of which it forgets to close when a
// peer comes while it stops.
type connections struct {
	mu   sync.Mutex
	all  map[net.Conn]struct{}
	done bool
}

// note keeps a connection; it is a filter of the transport.
func (c *connections) note(open p2p.ConnSet, n net.Conn, _ []net.IP) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return ErrClosed
	}
	if c.all == nil {
		c.all = map[net.Conn]struct{}{}
	}
	for x := range c.all {
		if !open.Has(x) {
			delete(c.all, x)
		}
	}
	c.all[n] = struct{}{}
	return nil
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = true
	for x := range c.all {
		_ = x.Close()
	}
	c.all = nil
}
