package service

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/light"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/receipt"
)

// Lie is an answer of a peer that cannot be true, or breaks its bounds.
type Lie struct {
	Peer peer.ID
	What string
}

func (e *Lie) Error() string {
	return fmt.Sprintf("the peer %s does not show the ledger as it is: %s", e.Peer, e.What)
}

// Client asks one peer. What it returns has its form, and nothing of it was
// checked.
type Client struct {
	Peer peer.ID
	Conn rpc.Conn // to the peer
}

func (c *Client) stub() wire.DRPCLedgerServiceClient {
	return wire.NewDRPCLedgerServiceClient(c.Conn)
}

func (c *Client) lied(format string, args ...any) error {
	return &Lie{c.Peer, fmt.Sprintf(format, args...)}
}

// Genesis asks for what the chain began with. If want is not zero, it is the
// hash that it must have.
func (c *Client) Genesis(ctx context.Context, want canon.Hash) (*ledger.Genesis, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.stub().Genesis(ctx, &wire.GenesisRequest{})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	data, err := rpc.Gather(MaxGenesis, stream.Recv, nil)
	if errors.Is(err, rpc.ErrPieces) {
		return nil, c.lied("its genesis: %v", err)
	}
	if err != nil {
		return nil, err
	}
	if got := canon.Hash(sha256.Sum256(data)); !want.IsZero() && got != want {
		return nil, c.lied("its chain has the genesis %s, want %s", got, want)
	}
	g, err := ledger.ParseGenesis(data)
	if err != nil {
		return nil, c.lied("%v", err)
	}
	if got, err := g.Hash(); err != nil || got != sha256.Sum256(data) {
		return nil, c.lied("its genesis is not written as this program writes it: %v", err)
	}
	return g, nil
}

// Head asks for the header of a height; 0: the newest.
func (c *Client) Head(ctx context.Context, height uint64) (*light.Block, error) {
	out, err := c.stub().Head(ctx, &wire.HeadRequest{Height: height})
	if err != nil {
		return nil, err
	}
	b, err := light.Decode(out.Block)
	if err != nil {
		return nil, c.lied("%v", err)
	}
	if height != 0 && b.Header.Height != height {
		return nil, c.lied("a header of height %d, asked for was %d", b.Header.Height, height)
	}
	return b, nil
}

// shown is an entry as a peer shows it.
type shown struct {
	height uint64
	block  *light.Block // nil: the caller has it
	proof  *tree.Proof
	value  []byte
}

func (c *Client) entry(ctx context.Context, key []byte, after, known uint64) (*shown, error) {
	out, err := c.stub().Entry(ctx, &wire.EntryRequest{Key: key, After: after, Known: known})
	if err != nil {
		return nil, err
	}
	s := &shown{height: out.Height, value: out.Value}
	if s.proof, err = tree.DecodeProof(out.Proof); err != nil {
		return nil, c.lied("%v", err)
	}
	switch {
	case out.Height <= after:
		return nil, c.lied("a proof under a header of height %d, asked for was one above %d", out.Height, after)
	case len(out.Value) > tree.MaxValue:
		return nil, c.lied("a value of %d bytes", len(out.Value))
	case len(out.Block) == 0 && out.Height != known:
		return nil, c.lied("a proof without its header")
	case len(out.Block) > 0:
		if s.block, err = light.Decode(out.Block); err != nil {
			return nil, c.lied("%v", err)
		}
		if s.block.Header.Height != out.Height {
			return nil, c.lied("a header of height %d, said was %d", s.block.Header.Height, out.Height)
		}
	}
	return s, nil
}

// check is the value that an entry shows under a root; nil: there is none.
func (s *shown) check(c *Client, t *light.Trust, key []byte) ([]byte, error) {
	value, there, err := t.Entry(key, s.proof)
	switch {
	case err != nil:
		return nil, c.lied("%v", err)
	case !there && len(s.value) > 0, there && value != sha256.Sum256(s.value):
		return nil, c.lied("the value of the entry %x is not the one that it proves", key)
	case !there:
		return nil, nil
	}
	return append([]byte{}, s.value...), nil
}

// submit passes a transaction on; at height 0 it cannot get into a block.
func (c *Client) submit(ctx context.Context, tx []byte) (height uint64, res ledger.Result, err error) {
	out, err := c.stub().Submit(ctx, &wire.SubmitRequest{Transaction: tx})
	if err != nil {
		return 0, res, err
	}
	res = ledger.Result{ID: ledger.TxID(tx), Code: ledger.Code(out.Code), Detail: out.Detail, Fee: ledger.Amount(out.Fee)}
	switch {
	case len(out.Detail) > maxDetail || !utf8.ValidString(out.Detail) && len(out.Detail) < maxDetail:
		return 0, res, c.lied("a reason of %d bytes", len(out.Detail))
	case out.Height == 0 && res.Code == ledger.CodeOK:
		return 0, res, c.lied("a transaction that is in no block, for no reason")
	case res.Fee > ledger.MaxSupply:
		return 0, res, c.lied("a fee of %d", res.Fee)
	}
	return out.Height, res, nil
}

// Place is where a node of a chain may be connected with.
type Place struct {
	Key     ed25519.PublicKey
	Address string // host:port
}

// ParsePlace reads KEY@host:port.
func ParsePlace(s string) (Place, error) {
	if len(s) > maxPlace {
		return Place{}, fmt.Errorf("a place of %d bytes, want at most %d", len(s), maxPlace)
	}
	name, address, ok := strings.Cut(s, "@")
	if !ok {
		return Place{}, fmt.Errorf("the place %q: want KEY@host:port", s)
	}
	key, err := receipt.ParseNodeKey(name)
	if err != nil {
		return Place{}, fmt.Errorf("the place %q: %w", s, err)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return Place{}, fmt.Errorf("the place %q: %w", s, err)
	}
	return Place{key, address}, nil
}

func (p Place) String() string { return receipt.FormatNodeKey(p.Key) + "@" + p.Address }

// Places asks where nodes of the chain may be connected with.
func (c *Client) Places(ctx context.Context) ([]Place, error) {
	out, err := c.stub().Places(ctx, &wire.PlacesRequest{})
	if err != nil {
		return nil, err
	}
	if len(out.Places) > maxPlaces {
		return nil, c.lied("%d places, want at most %d", len(out.Places), maxPlaces)
	}
	list := []Place{}
	for _, s := range out.Places {
		p, err := ParsePlace(s)
		if err != nil {
			return nil, c.lied("%v", err)
		}
		list = append(list, p)
	}
	return list, nil
}
