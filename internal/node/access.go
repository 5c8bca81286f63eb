package node

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

const accessFile = "access.json"

// maxAccess bounds the file, in bytes.
const maxAccess = 16 << 20

// accessBook is the content of accessFile.
type accessBook struct {
	Version int `json:"version"` // 1
	access.Book
}

// GrantRequest is what the owner allows.
type GrantRequest struct {
	Holder    peer.ID        `json:"holder,omitzero"` // zero: whoever has the token
	Rights    []access.Right `json:"rights"`
	Life      time.Duration  `json:"life"`
	HandOn    int            `json:"hand_on,omitempty"`
	PerMinute int            `json:"per_minute,omitempty"`
	Note      string         `json:"note,omitempty"`
}

// Granted is a grant, and the token that shows it. A holder whom this node knows
// by its key needs no token; whoever has one that is for nobody by name does, and
// who is to hand it on.
type Granted struct {
	access.Grant
	Token string `json:"token"`
}

// RevokeRequest says what is taken back: a grant, all that a peer has, or all.
type RevokeRequest struct {
	ID   access.ID `json:"id,omitzero"`
	Peer peer.ID   `json:"peer,omitzero"`
	All  bool      `json:"all,omitempty"`
}

// ReceiveRequest is a token that another gave to this node.
type ReceiveRequest struct {
	Token string `json:"token"`
	Note  string `json:"note,omitempty"`
}

// ReadAccess reads what the folder of a node has of grants. A folder that is not
// there has none.
func ReadAccess(folder string) (access.Book, error) {
	path := filepath.Join(folder, accessFile)
	fail := func(err error) (access.Book, error) {
		return access.Book{}, fmt.Errorf("node: %s cannot be read: %w; nothing is granted until it can", path, err)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return access.Book{}, nil
	}
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxAccess+1))
	if err == nil && len(text) > maxAccess {
		err = fmt.Errorf("more than %d bytes", maxAccess)
	}
	if err != nil {
		return fail(err)
	}
	var b accessBook
	if err := json.Unmarshal(text, &b); err != nil {
		return fail(err)
	}
	if b.Version != 1 {
		return fail(fmt.Errorf("version %d, want 1", b.Version))
	}
	if err := b.Check(); err != nil {
		return fail(err)
	}
	return b.Book, nil
}

func writeAccess(f *control.Folder, b access.Book) error {
	text, err := json.MarshalIndent(accessBook{1, b}, "", "  ")
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	return f.WriteFile(accessFile, append(text, '\n'))
}

// ChangeAccess changes the grants of a node that does not run.
func ChangeAccess(folder string, change func(*access.Book) error) error {
	f, err := control.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := ReadAccess(folder)
	if err == nil {
		err = change(&b)
	}
	if err == nil {
		err = writeAccess(f, b)
	}
	return err
}

// GrantIn notes a grant in a book and makes its token.
func GrantIn(b *access.Book, key ed25519.PrivateKey, r GrantRequest, now time.Time) (Granted, error) {
	now = now.Truncate(time.Second).UTC()
	g := Granted{Grant: access.Grant{
		ID: access.NewID(), Holder: r.Holder, Rights: r.Rights, Created: now, Expires: now.Add(r.Life).Truncate(time.Second),
		HandOn: r.HandOn, PerMinute: r.PerMinute, Note: r.Note,
	}}
	if g.Holder == peer.FromPrivate(key) {
		return g, rpc.Errorf(rpc.InvalidArgument, "this is the ID of this node itself, which may do everything")
	}
	t, err := access.Issue(key, g.ID, access.Terms{Holder: g.Holder, Rights: g.Rights, Begins: g.Created, Expires: g.Expires, HandOn: g.HandOn})
	if err == nil {
		err = b.Add(g.Grant)
	}
	if err != nil {
		return g, rpc.Errorf(rpc.InvalidArgument, "%w", err)
	}
	g.Token = t.String()
	return g, nil
}

// RevokeIn takes grants of a book back, and says how many. From a peer it takes
// everything: what others handed on to it, too.
func RevokeIn(b *access.Book, r RevokeRequest, now time.Time) (int, error) {
	n := b.Revoke(func(g access.Grant) bool {
		return r.All || r.ID != (access.ID{}) && g.ID == r.ID || !r.Peer.IsZero() && g.Holder == r.Peer
	}, now.UTC())
	if !r.Peer.IsZero() {
		if more, err := b.Block(r.Peer, now.UTC().Truncate(time.Second)); more || err != nil {
			return n, err
		}
	}
	if n == 0 && !r.All {
		return 0, rpc.Errorf(rpc.NotFound, "nothing like that is granted: \"aval access list\" shows what is")
	}
	return n, nil
}

// ReceiveIn notes a token that another gave to the node whose ID is self.
func ReceiveIn(b *access.Book, self peer.ID, r ReceiveRequest, now time.Time) error {
	t, err := access.ParseText(r.Token)
	if err == nil {
		err = t.Check(self, now)
	}
	if err == nil && t.Issuer == self {
		err = errors.New("this node made the token itself: it is for the other one")
	}
	if err == nil {
		err = b.Receive(t, r.Note, now.Truncate(time.Second).UTC())
	}
	if err != nil {
		return rpc.Errorf(rpc.InvalidArgument, "%w", err)
	}
	return nil
}

// Access is what this node granted, and the tokens that it was given.
func (n *Node) Access(context.Context) (access.Book, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.book, nil
}

// Grant allows a peer something, from now on.
func (n *Node) Grant(_ context.Context, r GrantRequest) (g Granted, err error) {
	err = n.changeAccess(func(b *access.Book) error {
		g, err = GrantIn(b, n.key, r, time.Now())
		return err
	})
	return g, err
}

// Revoke takes grants back, from now on, and says how many. They count no more
// even if that cannot be written down; the error then says so.
func (n *Node) Revoke(_ context.Context, r RevokeRequest) (count int, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.copyBook()
	if count, err = RevokeIn(&b, r, time.Now()); err != nil {
		return 0, err
	}
	n.book = b
	n.Guard.Load(b)
	if n.folder != nil {
		if err := writeAccess(n.folder, b); err != nil {
			return count, fmt.Errorf("taken back as long as this node runs, but not on the disk: %w; try again when it can be written", err)
		}
	}
	return count, nil
}

// copyBook is the book, to be changed. The caller has the lock.
func (n *Node) copyBook() access.Book {
	return access.Book{Granted: slices.Clone(n.book.Granted), Received: slices.Clone(n.book.Received), Blocked: slices.Clone(n.book.Blocked)}
}

// Receive keeps a token, to be shown to its issuer.
func (n *Node) Receive(_ context.Context, r ReceiveRequest) error {
	return n.changeAccess(func(b *access.Book) error { return ReceiveIn(b, n.Mesh.Self(), r, time.Now()) })
}

// changeAccess changes the book, on disk first.
func (n *Node) changeAccess(change func(*access.Book) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.copyBook()
	err := change(&b)
	if err == nil && n.folder != nil {
		err = writeAccess(n.folder, b)
	}
	if err == nil {
		n.book = b
		n.Guard.Load(b)
	}
	return err
}
