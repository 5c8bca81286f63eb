package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/probe"
)

// network starts nodes that others can reach, all of which know the first.
func network(t testing.TB, count int) []*mesh.Node {
	t.Helper()
	var list []*mesh.Node
	for i := range count {
		cfg := mesh.Config{Reach: mesh.Public, Listen: []string{tcp}}
		if i > 0 {
			cfg.Bootstrap = list[0].Addresses()[:1]
		}
		list = append(list, start(t, byte(100+i), cfg))
	}
	for _, n := range list[1:] {
		within(t, "it is connected", func() bool { return len(n.Peers()) > 0 })
	}
	return list
}

// within waits for something that must become true soon.
func within(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("ten seconds passed, and not yet: %s", what)
}

func TestTable(t *testing.T) {
	nodes := network(t, 4)
	a, b := nodes[1], nodes[3]
	value := []byte("an offer")
	within(t, "a record is published", func() bool { return a.PutRecord(t.Context(), "offer", value, time.Hour) == nil })
	within(t, "it is found", func() bool {
		r, err := b.GetRecord(t.Context(), a.Self(), "offer")
		return err == nil && string(r.Value) == string(value) && r.Peer == a.Self()
	})
	if err := a.PutRecord(t.Context(), "offer", []byte("a later one"), time.Hour); err != nil {
		t.Error(err)
	}
	within(t, "the later one is found", func() bool {
		r, err := b.GetRecord(t.Context(), a.Self(), "offer")
		return err == nil && string(r.Value) == "a later one"
	})
	if _, err := b.GetRecord(t.Context(), a.Self(), "other"); !errors.Is(err, mesh.ErrNoRecord) {
		t.Errorf("a record that nobody made: %v", err)
	}
	if err := a.PutRecord(t.Context(), "offer", make([]byte, mesh.MaxRecord+1), time.Hour); !errors.Is(err, mesh.ErrRecord) {
		t.Errorf("a record that is too large: %v", err)
	}

	key := [32]byte{7}
	within(t, "a provider is announced", func() bool { return a.Provide(t.Context(), key) == nil })
	within(t, "the provider is found", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for id := range b.FindProviders(ctx, key, 1) {
			return id == a.Self()
		}
		return false
	})
	// Two nodes that know one another by the table alone.
	serve(t, a)
	if _, err := probe.Ping(t.Context(), serve(t, b).To(a.Self(), rpc.Normal), nil); err != nil {
		t.Errorf("call a peer found by the table: %v", err)
	}
	if at, err := b.Find(t.Context(), a.Self()); err != nil || len(at) == 0 {
		t.Errorf("Find: %v, %v", at, err)
	}
}

func TestRelay(t *testing.T) {
	relay := start(t, 50, mesh.Config{Reach: mesh.Public, ServeRelay: true, Listen: []string{tcp}})
	// A node that nobody can dial: it listens nowhere, but through the relay.
	hidden := start(t, 51, mesh.Config{Reach: mesh.Private, Listen: []string{}, Relays: relay.Addresses()})
	caller := start(t, 52, mesh.Config{Reach: mesh.Private, Listen: []string{}, Bootstrap: relay.Addresses()})
	within(t, "the other knows the relay", func() bool { return len(caller.Peers()) > 0 })
	serve(t, hidden)
	within(t, "the relay keeps a place", func() bool {
		_, err := caller.Connect(t.Context(), relay.Addresses()[0]+"/p2p-circuit/p2p/"+hidden.Self().String())
		return err == nil
	})
	conn := serve(t, caller).To(hidden.Self(), rpc.Normal)
	about, err := probe.About(t.Context(), conn)
	if err != nil || !about.Relayed {
		t.Fatalf("a call through the relay: %+v, %v", about, err)
	}
	// More than the 128 KiB that relays usually carry.
	if _, err := probe.Bulk(t.Context(), conn, 2<<20, 64<<10); err != nil {
		t.Errorf("two megabytes through the relay: %v", err)
	}
}

func TestTopic(t *testing.T) {
	nodes := network(t, 3)
	a, b := nodes[0], nodes[1]
	allow := func(author peer.ID) bool { return author == b.Self() }
	var topics []*mesh.Topic
	for _, n := range nodes {
		topic, err := n.Topic("news", allow)
		if err != nil {
			t.Fatal(err)
		}
		topics = append(topics, topic)
	}
	if _, err := a.Topic("news", nil); err == nil {
		t.Error("a topic is joined twice")
	}
	var in [3]<-chan mesh.Message
	for i := range topics {
		var err error
		if in[i], err = topics[i].Subscribe(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "they know of one another", func() bool { return len(topics[1].Peers()) > 0 && len(topics[0].Peers()) == 2 })
	// A message can be lost while the nodes still find out who passes it on.
	for _, i := range []int{0, 2} {
		within(t, "the message arrives", func() bool {
			if err := topics[1].Publish(t.Context(), []byte("hello")); err != nil {
				t.Fatal(err)
			}
			select {
			case m := <-in[i]:
				if m.Author != b.Self() || string(m.Data) != "hello" || time.Since(m.Time).Abs() > time.Minute {
					t.Errorf("node %d got %+v", i, m)
				}
				return true
			case <-time.After(100 * time.Millisecond):
				return false
			}
		})
	}
	drain := func(c <-chan mesh.Message) {
		for {
			select {
			case m := <-c:
				if m.Author != b.Self() {
					t.Errorf("a message of %s came through, who may not publish", m.Author.Short())
				}
			case <-time.After(50 * time.Millisecond):
				return
			}
		}
	}
	// Who may not publish is not heard.
	if err := topics[2].Publish(t.Context(), []byte("I may not")); err != nil {
		t.Fatal(err)
	}
	within(t, "the message is refused", func() bool { return topics[0].Counts().Refused > 0 })
	drain(in[0])
	drain(in[1])
	if err := topics[0].Publish(t.Context(), make([]byte, mesh.MaxPublication+1)); err == nil {
		t.Error("a message that is too large is published")
	}
}

// TestTopicBurst publishes faster than the usual queues bear.
func TestTopicBurst(t *testing.T) {
	nodes := network(t, 2)
	var topics [2]*mesh.Topic
	for i, n := range nodes {
		var err error
		if topics[i], err = n.Topic("burst", func(peer.ID) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	in, err := topics[1].Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	within(t, "they know of one another", func() bool { return len(topics[0].Peers()) == 1 })
	const count = 2000
	go func() {
		for i := range count {
			_ = topics[0].Publish(t.Context(), fmt.Appendf(nil, "%512d", i))
		}
	}()
	got := map[string]bool{}
	for len(got) < count {
		select {
		case m := <-in:
			if got[string(m.Data)] {
				t.Fatalf("%q came twice", m.Data[500:])
			}
			got[string(m.Data)] = true
		case <-time.After(5 * time.Second):
			t.Fatalf("%d of %d messages came: %+v", len(got), count, topics[1].Counts())
		}
	}
}
