package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// maxContacts bounds the peers that a node stays connected with.
const maxContacts = 256

const contactsFile = "contacts.json"

// How often a contact that is not connected is tried.
const (
	contactWait    = 2 * time.Second // at first; twice as long each time
	contactMaxWait = 5 * time.Minute
	contactTry     = 30 * time.Second // how long one try takes at most
)

// Contact is a peer that this node stays connected with.
type Contact struct {
	Link
	Added time.Time `json:"added"`
}

// contacts are the content of contactsFile.
type contacts struct {
	Version  int       `json:"version"` // 1
	Contacts []Contact `json:"contacts"`
}

// ReadContacts reads the contacts that a node's folder keeps. A folder that is
// not there has none.
func ReadContacts(folder string) ([]Contact, error) {
	path := filepath.Join(folder, contactsFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxContacts*(MaxLink+1024) {
		err = fmt.Errorf("%d bytes are too many", info.Size())
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	var c contacts
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err == nil && (c.Version != 1 || len(c.Contacts) > maxContacts) {
		err = fmt.Errorf("version %d with %d contacts, want version 1 with at most %d", c.Version, len(c.Contacts), maxContacts)
	}
	if err != nil {
		return nil, fmt.Errorf("node: %s cannot be read: %w; without it this node has no contacts", path, err)
	}
	return c.Contacts, nil
}

func writeContacts(f *control.Folder, list []Contact) error {
	text, err := json.MarshalIndent(contacts{1, list}, "", "  ")
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	return f.WriteFile(contactsFile, append(text, '\n'))
}

// withContact adds a contact, or gives one that is there other addresses.
func withContact(list []Contact, l Link, now time.Time) ([]Contact, error) {
	list = slices.DeleteFunc(slices.Clone(list), func(c Contact) bool { return c.Peer == l.Peer })
	if len(list) >= maxContacts {
		return nil, rpc.Errorf(rpc.ResourceExhausted, "there are %d contacts already; remove one first", maxContacts)
	}
	return append(list, Contact{l, now}), nil
}

// AddContact changes the contacts of a node that does not run.
func AddContact(folder string, l Link, now time.Time) error {
	return changeContacts(folder, func(list []Contact) ([]Contact, error) { return withContact(list, l, now) })
}

// RemoveContact is the opposite of AddContact.
func RemoveContact(folder string, id peer.ID) error {
	return changeContacts(folder, func(list []Contact) ([]Contact, error) { return withoutContact(list, id) })
}

func withoutContact(list []Contact, id peer.ID) ([]Contact, error) {
	left := slices.DeleteFunc(slices.Clone(list), func(c Contact) bool { return c.Peer == id })
	if len(left) == len(list) {
		return nil, rpc.Errorf(rpc.NotFound, "%s is no contact of this node", id)
	}
	return left, nil
}

func changeContacts(folder string, change func([]Contact) ([]Contact, error)) error {
	f, err := control.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	list, err := ReadContacts(folder)
	if err == nil {
		list, err = change(list)
	}
	if err == nil {
		err = writeContacts(f, list)
	}
	return err
}

// Contacts are the peers that this node stays connected with.
func (n *Node) Contacts() []Contact {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.contacts)
}

// Add makes a peer a contact and connects with it. It stays a contact if it
// cannot be reached now.
func (n *Node) Add(ctx context.Context, l Link) error {
	if l.Peer == n.Mesh.Self() {
		return rpc.Errorf(rpc.InvalidArgument, "this is the link of this node itself: give it to the other one")
	}
	if err := n.change(func(list []Contact) ([]Contact, error) { return withContact(list, l, time.Now()) }); err != nil {
		return err
	}
	return n.connect(ctx, l)
}

// Remove makes a peer no contact. The connection with it ends.
func (n *Node) Remove(_ context.Context, id peer.ID) error {
	if err := n.change(func(list []Contact) ([]Contact, error) { return withoutContact(list, id) }); err != nil {
		return err
	}
	return n.Mesh.Disconnect(id)
}

func (n *Node) change(change func([]Contact) ([]Contact, error)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	list, err := change(n.contacts)
	if err == nil && n.folder != nil {
		err = writeContacts(n.folder, list)
	}
	if err == nil {
		n.contacts = list
	}
	return err
}

// connect reaches the peer of a link, by its addresses or by what the network
// knows of it.
func (n *Node) connect(ctx context.Context, l Link) error {
	addresses := l.Addresses
	if len(addresses) == 0 {
		addresses = []string{"/p2p/" + l.Peer.String()} // which the mesh looks up
	}
	_, err := n.Mesh.Connect(ctx, addresses...)
	return err
}

// keep connects with contacts again and again.
func (n *Node) keep(ctx context.Context) {
	type try struct {
		next time.Time
		wait time.Duration
	}
	tries := map[peer.ID]try{}
	tick := time.NewTicker(contactWait)
	defer tick.Stop()
	for {
		connected := map[peer.ID]bool{}
		for _, p := range n.Mesh.Peers() {
			connected[p.ID] = true
		}
		list := n.Contacts()
		for id := range tries { // of contacts that are none any more
			if !slices.ContainsFunc(list, func(c Contact) bool { return c.Peer == id }) {
				delete(tries, id)
			}
		}
		for _, c := range list {
			t := tries[c.Peer]
			if connected[c.Peer] {
				delete(tries, c.Peer)
				continue
			}
			if time.Now().Before(t.next) {
				continue
			}
			limited, cancel := context.WithTimeout(ctx, contactTry)
			err := n.connect(limited, c.Link)
			cancel()
			if err != nil {
				t.wait = min(max(2*t.wait, contactWait), contactMaxWait)
				n.logger.Debug("node: a contact is not reached", "peer", c.Peer, "error", err, "again", t.wait)
			}
			t.next = time.Now().Add(t.wait)
			tries[c.Peer] = t
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
