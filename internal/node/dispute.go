package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/receipt"
)

// DisputeRequest calls a peer to a dispute about a receipt of it.
type DisputeRequest struct {
	Link       Link              `json:"link"`
	Receipt    receipt.Hash      `json:"receipt"`
	Ticket     []byte            `json:"ticket,omitempty"`
	Challenger ed25519.PublicKey `json:"challenger"`
}

// Dispute calls a peer to a dispute, which remote.Play plays. The context is the
// game's.
func (n *Node) Dispute(ctx context.Context, r DisputeRequest) (remote.Table, error) {
	g, err := n.dispute(ctx, r)
	if err != nil {
		return nil, err
	}
	return g, nil
}

func (n *Node) dispute(ctx context.Context, r DisputeRequest) (*remote.Game, error) {
	if err := n.reachFor(ctx, r.Link); err != nil {
		return nil, err
	}
	g, err := n.client(r.Link.Peer).Dispute(ctx, r.Receipt, r.Ticket, r.Challenger)
	if lie, ok := asLie(err); ok {
		err = rpc.Errorf(rpc.DataLoss, "%s", lie)
	}
	return g, err
}

// Limits of the games that commands play through the running node.
const (
	maxGames = 16
	gameIdle = 15 * time.Minute // after which a game whose command is silent is given up
)

// games are those that commands play, by the names that they got.
type games struct {
	mu    sync.Mutex
	begin int // that are being begun, which takes the peer a while
	open  map[string]*openGame
}

// take takes a place among the games, which put or leave gives back.
func (g *games) take() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.begin+len(g.open) >= maxGames {
		return rpc.Errorf(rpc.ResourceExhausted, "this node plays %d disputes at a time", maxGames)
	}
	g.begin++
	return nil
}

func (g *games) leave() {
	g.mu.Lock()
	g.begin--
	g.mu.Unlock()
}

func (g *games) put(name string, o *openGame) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.begin--
	if g.open == nil {
		g.open = map[string]*openGame{}
	}
	g.open[name] = o
}

type openGame struct {
	*remote.Game
	cancel context.CancelFunc
	idle   *time.Timer
}

// Requests of the door; see Remote.Dispute.
type (
	begunGame struct {
		Game  string `json:"game"`
		Terms []byte `json:"terms"`
	}
	gameMove struct {
		Game string `json:"game"`
		Move []byte `json:"move,omitempty"`
	}
	gameAnswer struct {
		Move  []byte `json:"move,omitempty"`
		Ended bool   `json:"ended"` // the peer has ended the call
	}
)

// beginGame is Dispute for a command, whose calls end before the game.
func (n *Node) beginGame(ctx context.Context, r DisputeRequest) (out begunGame, err error) {
	if err := n.games.take(); err != nil {
		return out, err
	}
	playing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	going := context.AfterFunc(ctx, cancel)
	g, err := n.dispute(playing, r)
	if err == nil && !going() {
		_ = g.Close()
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		n.games.leave()
		return out, err
	}
	out = begunGame{rand.Text(), g.Terms()}
	n.games.put(out.Game, &openGame{g, cancel, time.AfterFunc(gameIdle, func() { _, _ = n.endGame(context.Background(), out.Game) })})
	return out, nil
}

// exchange is remote.Game.Exchange for a command.
func (n *Node) exchange(ctx context.Context, in gameMove) (out gameAnswer, err error) {
	n.games.mu.Lock()
	g := n.games.open[in.Game]
	if g != nil {
		g.idle.Reset(gameIdle)
	}
	n.games.mu.Unlock()
	if g == nil {
		return out, rpc.Errorf(rpc.NotFound, "this node plays no such dispute")
	}
	out.Move, err = g.Exchange(ctx, in.Move)
	if errors.Is(err, io.EOF) {
		out.Ended, err = true, nil
	}
	return out, err
}

func (n *Node) endGame(_ context.Context, name string) (struct{}, error) {
	n.games.mu.Lock()
	g := n.games.open[name]
	delete(n.games.open, name)
	n.games.mu.Unlock()
	if g == nil {
		return struct{}{}, nil
	}
	g.idle.Stop()
	defer g.cancel()
	return struct{}{}, g.Close()
}

// endGames gives up what commands still play.
func (n *Node) endGames() {
	n.games.mu.Lock()
	names := slices.Collect(maps.Keys(n.games.open))
	n.games.mu.Unlock()
	for _, name := range names {
		_, _ = n.endGame(context.Background(), name) // the network is about to end, too
	}
}

// disputeMethods are what commands may ask about disputes.
func (n *Node) disputeMethods() map[string]control.Method {
	return map[string]control.Method{
		"dispute": method(n.beginGame), "dispute-move": method(n.exchange), "dispute-end": method(n.endGame),
	}
}

// distantGame is a game that the running node carries.
type distantGame struct {
	client *control.Client
	begun  begunGame
}

// Dispute is Node.Dispute.
func (r *Remote) Dispute(ctx context.Context, in DisputeRequest) (remote.Table, error) {
	g := &distantGame{client: r.client}
	if err := r.client.Call(ctx, "dispute", in, &g.begun); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *distantGame) Terms() []byte { return g.begun.Terms }

func (g *distantGame) Exchange(ctx context.Context, move []byte) ([]byte, error) {
	var out gameAnswer
	err := g.client.Call(ctx, "dispute-move", gameMove{g.begun.Game, move}, &out)
	if err == nil && out.Ended {
		err = io.EOF
	}
	return out.Move, err
}

func (g *distantGame) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	return g.client.Call(ctx, "dispute-end", g.begun.Game, nil)
}

// endTime bounds how long a command waits to tell that it plays no more.
const endTime = 2 * time.Second
