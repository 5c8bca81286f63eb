package mesh

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// Limits of topics (spec/wire.md, section 2.5).
const (
	MaxTopics      = 64  // that a node has joined
	MaxTopicName   = 128 // bytes
	MaxPublication = 64<<10 - 1024
	// messageLife is how old a message may be, or how far in the future: the
	// time for which gossip remembers what it has passed on.
	messageLife = 2 * time.Minute
	// outbound is how many messages wait for a peer. The usual 32 lose 6 to 13 %
	// of a burst of 10,000 a second.
	outbound = 4096
	// inbox is how many messages wait for a subscriber.
	inbox = 4096
)

// Message is what a peer published. Its author is proven by its signature; the
// peer that passed it on does not matter.
type Message struct {
	Author peer.ID
	Time   time.Time // as the author says
	Data   []byte
}

// Counts tell what became of a topic's messages.
type Counts struct {
	Published uint64 `json:"published"`
	Delivered uint64 `json:"delivered"`
	Refused   uint64 `json:"refused"` // not allowed, old, or seen before
	Lost      uint64 `json:"lost"`    // the subscriber did not read them in time
}

// Topic is a subject that peers publish about. Delivery is likely, not certain:
// what must arrive is fetched, too.
type Topic struct {
	node  *Node
	name  string
	allow func(author peer.ID) bool
	topic *pubsub.Topic

	published, delivered, refused, lost atomic.Uint64
	once                                sync.Once
}

// newGossip makes the part that publishes and passes on.
func (n *Node) newGossip() (*pubsub.PubSub, error) {
	return pubsub.NewGossipSub(n.ctx, n.host,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign), pubsub.WithPeerOutboundQueueSize(outbound),
		pubsub.WithValidateQueueSize(outbound), pubsub.WithMaxMessageSize(MaxPublication+1024),
		pubsub.WithSeenMessagesTTL(messageLife), pubsub.WithFloodPublish(true),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(ours{}, 2*MaxTopics)),
		pubsub.WithPeerScore(&pubsub.PeerScoreParams{
			AppSpecificScore: func(libp2ppeer.ID) float64 { return 0 }, DecayInterval: time.Second, DecayToZero: 0.01,
			RetainScore: 10 * time.Minute, Topics: map[string]*pubsub.TopicScoreParams{},
			BehaviourPenaltyWeight: -10, BehaviourPenaltyThreshold: 6, BehaviourPenaltyDecay: 0.98,
		}, &pubsub.PeerScoreThresholds{GossipThreshold: -50, PublishThreshold: -100, GraylistThreshold: -200}))
}

// ours lets peers subscribe to topics of this protocol.
type ours struct{}

const topicPrefix = "/aval/topic/"

func (ours) CanSubscribe(topic string) bool {
	return len(topic) > len(topicPrefix) && len(topic) <= len(topicPrefix)+MaxTopicName && topic[:len(topicPrefix)] == topicPrefix
}

func (o ours) FilterIncomingSubscriptions(from libp2ppeer.ID, list []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	return pubsub.FilterSubscriptions(list, o.CanSubscribe), nil
}

// Topic joins a topic. allow says who may publish in it; nil refuses everybody
// but this node. A message of another is not passed on either.
func (n *Node) Topic(name string, allow func(author peer.ID) bool) (*Topic, error) {
	if name == "" || len(name) > MaxTopicName {
		return nil, fmt.Errorf("mesh: a topic's name has %d bytes, want 1 to %d", len(name), MaxTopicName)
	}
	if n.host == nil {
		return nil, rpc.Errorf(rpc.Unavailable, "this node runs alone, without a network")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.topics[name] != nil:
		return nil, fmt.Errorf("mesh: the topic %q is joined already", name)
	case len(n.topics) >= MaxTopics:
		return nil, fmt.Errorf("mesh: %d topics are joined, and no more can be", MaxTopics)
	}
	t := &Topic{node: n, name: name, allow: allow}
	r := &replays{authors: map[peer.ID]*seen{}}
	err := n.gossip.RegisterTopicValidator(topicPrefix+name, func(_ context.Context, _ libp2ppeer.ID, m *pubsub.Message) pubsub.ValidationResult {
		return t.validate(r, m)
	}, pubsub.WithValidatorInline(true))
	if err != nil {
		return nil, fmt.Errorf("mesh: topic %q: %w", name, err)
	}
	if t.topic, err = n.gossip.Join(topicPrefix + name); err != nil {
		return nil, fmt.Errorf("mesh: topic %q: %w", name, err)
	}
	n.topics[name] = t
	return t, nil
}

// validate decides about a message before it is delivered or passed on.
func (t *Topic) validate(r *replays, m *pubsub.Message) pubsub.ValidationResult {
	author, err := fromLibp2p(m.GetFrom())
	if err != nil || len(m.GetSeqno()) != 8 || len(m.Data) < 8 || len(m.Data) > MaxPublication+8 {
		t.refused.Add(1)
		return pubsub.ValidationReject
	}
	if author != t.node.self && (t.allow == nil || !t.allow(author)) {
		t.refused.Add(1)
		return pubsub.ValidationReject
	}
	at := time.UnixMilli(int64(binary.BigEndian.Uint64(m.Data)))
	if time.Since(at).Abs() > messageLife || !r.fresh(author, binary.BigEndian.Uint64(m.GetSeqno())) {
		t.refused.Add(1)
		return pubsub.ValidationIgnore
	}
	return pubsub.ValidationAccept
}

// Publish sends a message to those who subscribe.
func (t *Topic) Publish(ctx context.Context, data []byte) error {
	if len(data) > MaxPublication {
		return fmt.Errorf("mesh: a message of %d bytes, want at most %d", len(data), MaxPublication)
	}
	body := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(data)), uint64(time.Now().UnixMilli()))
	if err := t.topic.Publish(ctx, append(body, data...)); err != nil {
		return fmt.Errorf("mesh: publish in %q: %w", t.name, err)
	}
	t.published.Add(1)
	return nil
}

// Subscribe gives the messages of others from now on, until ctx or the node
// ends. Who does not read in time loses some, which Counts tells.
func (t *Topic) Subscribe(ctx context.Context) (<-chan Message, error) {
	sub, err := t.topic.Subscribe(pubsub.WithBufferSize(inbox))
	if err != nil {
		return nil, fmt.Errorf("mesh: subscribe to %q: %w", t.name, err)
	}
	out := make(chan Message, inbox)
	t.node.wg.Go(func() {
		defer close(out)
		defer sub.Cancel()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(t.node.ctx, cancel)()
		for {
			m, err := sub.Next(ctx)
			if err != nil {
				return
			}
			author, err := fromLibp2p(m.GetFrom())
			if err != nil || author == t.node.self {
				continue
			}
			select {
			case out <- Message{author, time.UnixMilli(int64(binary.BigEndian.Uint64(m.Data))), m.Data[8:]}:
				t.delivered.Add(1)
			default:
				t.lost.Add(1)
			}
		}
	})
	return out, nil
}

// Peers are those known to subscribe.
func (t *Topic) Peers() (list []peer.ID) {
	for _, p := range t.topic.ListPeers() {
		if id, err := fromLibp2p(p); err == nil {
			list = append(list, id)
		}
	}
	return list
}

// Counts tell what became of the topic's messages so far.
func (t *Topic) Counts() Counts {
	return Counts{t.published.Load(), t.delivered.Load(), t.refused.Load(), t.lost.Load()}
}

// Leave ends the topic on this node.
func (t *Topic) Leave() {
	t.node.mu.Lock()
	delete(t.node.topics, t.name)
	t.node.mu.Unlock()
	t.close()
}

func (t *Topic) close() {
	t.once.Do(func() {
		_ = t.node.gossip.UnregisterTopicValidator(topicPrefix + t.name)
		_ = t.topic.Close()
	})
}
