package directory_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/crdt"
	"github.com/avalnetwork/aval/internal/crdt/replica"
	"github.com/avalnetwork/aval/internal/directory"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
)

var now = time.Unix(1_800_000_000, 0)

func key(n byte) ed25519.PrivateKey {
	seed := make([]byte, 32)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func id(n byte) peer.ID { return peer.FromPrivate(key(n)) }

type device struct {
	*directory.Directory
	replica *replica.Replica
	clock   *time.Time
}

func start(t *testing.T, net *memory.Network, n byte, folder string) device {
	t.Helper()
	calls, err := rpc.New(rpc.Config{Network: net.Join(id(n)), Authorize: func(context.Context, *rpc.Call) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	r, err := replica.New(replica.Config{
		Calls: calls, Key: key(n), Folder: folder, Interval: -1, Logger: slog.New(slog.DiscardHandler),
		Allow: func(context.Context, peer.ID, string, [][]byte) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	calls.Start()
	t.Cleanup(func() { _ = errors.Join(r.Close(), calls.Close()) })
	clock := now
	return device{directory.New(r, directory.Models, id(n), func() time.Time { return clock }), r, &clock}
}

func offer(name string, root byte) directory.Offer {
	return directory.Offer{
		Root: canon.Hash{root}, Name: name, Context: 4096, Quant: "Q4_K", PriceIn: 1, PriceOut: 2, Unit: "credits",
		Speed: 10, Region: "Bern", Expires: now.Add(24 * time.Hour).Unix(),
	}
}

func names(t *testing.T, d device, q directory.Query) []string {
	t.Helper()
	list, err := d.Search(q)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, l := range list {
		out = append(out, l.Name)
	}
	return out
}

func TestDirectory(t *testing.T) {
	net := memory.New()
	a, b, c := start(t, net, 1, ""), start(t, net, 2, ""), start(t, net, 3, "")
	cheap, fast, free := offer("llama cheap", 1), offer("llama fast", 2), offer("qwen free", 3)
	cheap.PriceOut, fast.PriceOut, fast.Speed = 1, 9, 90
	free.PriceIn, free.PriceOut, free.Unit, free.Region = 0, 0, "", "Oslo"
	for _, x := range []struct {
		d device
		o directory.Offer
	}{{a, cheap}, {b, fast}, {b, free}} {
		if err := x.d.Publish(x.o); err != nil {
			t.Fatal(err)
		}
	}
	models := directory.Models.ID()
	for _, pair := range []struct {
		d    device
		with byte
	}{{c, 1}, {c, 2}, {a, 3}, {b, 3}} {
		if err := pair.d.replica.SyncDirectory(t.Context(), models, id(pair.with)); err != nil {
			t.Fatal(err)
		}
	}
	for name, x := range map[string]struct {
		q    directory.Query
		want []string
	}{
		"all":      {directory.Query{}, []string{"llama cheap", "llama fast", "qwen free"}},
		"name":     {directory.Query{Name: "LLAMA", Sort: directory.BySpeed}, []string{"llama fast", "llama cheap"}},
		"price":    {directory.Query{Sort: directory.ByPrice}, []string{"qwen free", "llama cheap", "llama fast"}},
		"at most":  {directory.Query{Unit: "credits", MaxPrice: 5}, []string{"llama cheap", "qwen free"}},
		"region":   {directory.Query{Region: "oslo"}, []string{"qwen free"}},
		"root":     {directory.Query{Root: canon.Hash{2}}, []string{"llama fast"}},
		"provider": {directory.Query{Provider: id(1)}, []string{"llama cheap"}},
		"context":  {directory.Query{Context: 5000}, []string{}},
		"limit":    {directory.Query{Limit: 1}, []string{"llama cheap"}},
	} {
		for _, d := range []device{a, b, c} {
			if diff := cmp.Diff(x.want, names(t, d, x.q)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
	// A lie about itself does not count, nor does what others say in the order of trust.
	for range 5 {
		_ = b.Report(id(2), canon.Hash{2}, directory.Outcome{Verified: true})
		_ = a.Report(id(2), canon.Hash{2}, directory.Outcome{Verified: true, Latency: time.Second})
	}
	_ = c.Report(id(2), canon.Hash{2}, directory.Outcome{False: true, Latency: 2 * time.Second})
	_ = c.Report(id(1), canon.Hash{1}, directory.Outcome{Failed: true})
	for _, d := range []device{a, b, c} {
		if err := d.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for _, with := range []byte{1, 2} {
		if err := c.replica.SyncDirectory(t.Context(), models, id(with)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"qwen free", "llama cheap", "llama fast"}, names(t, c, directory.Query{Sort: directory.ByTrust})); diff != "" {
		t.Error(diff)
	}
	list, _ := c.Search(directory.Query{Root: canon.Hash{2}})
	want := []directory.Listing{{
		Provider: id(2), Offer: fast, Own: &directory.Record{Calls: 1, False: 1, Latency: 2000, Last: now.Unix()},
		Others:    []directory.Observation{{By: id(1), Record: directory.Record{Calls: 5, Verified: 5, Latency: 1000, Last: now.Unix()}}},
		Observers: 1,
	}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Error(diff)
	}
	if err := b.Withdraw(canon.Hash{3}); err != nil {
		t.Fatal(err)
	}
	if err := c.replica.SyncDirectory(t.Context(), models, id(2)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"llama cheap", "llama fast"}, names(t, c, directory.Query{})); diff != "" {
		t.Error(diff)
	}
	*c.clock = now.Add(25 * time.Hour)
	if got := names(t, c, directory.Query{}); len(got) != 0 {
		t.Errorf("expired: %v", got)
	}
}

func TestRefuses(t *testing.T) {
	d := start(t, memory.New(), 1, "")
	for name, change := range map[string]func(*directory.Offer){
		"no root":     func(o *directory.Offer) { o.Root = canon.Hash{} },
		"no name":     func(o *directory.Offer) { o.Name = "" },
		"long name":   func(o *directory.Offer) { o.Name = strings.Repeat("x", 129) },
		"control":     func(o *directory.Offer) { o.Region = "\x1b[2J" },
		"no unit":     func(o *directory.Offer) { o.Unit = "" },
		"price":       func(o *directory.Offer) { o.PriceOut = 1 << 60 },
		"expired":     func(o *directory.Offer) { o.Expires = now.Unix() - 1 },
		"too long":    func(o *directory.Offer) { o.Expires = now.Add(30 * 24 * time.Hour).Unix() },
		"speed":       func(o *directory.Offer) { o.Speed = 1 << 40 },
		"not of text": func(o *directory.Offer) { o.Name = "\xff" },
	} {
		o := offer("x", 1)
		change(&o)
		if err := d.Publish(o); !errors.Is(err, directory.ErrOffer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range byte(directory.MaxOffers) {
		if err := d.Publish(offer("x", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Publish(offer("x", 200)); !errors.Is(err, directory.ErrOffer) {
		t.Errorf("one more: %v", err)
	}
	if _, err := d.Search(directory.Query{Sort: "beauty"}); err == nil {
		t.Error("an unknown order")
	}
}

// TestManyRecords: the oldest records make room for new ones.
func TestManyRecords(t *testing.T) {
	d := start(t, memory.New(), 1, "")
	for i := range directory.MaxRecords + 20 {
		*d.clock = now.Add(time.Duration(i) * time.Minute)
		if err := d.Report(id(byte(i)), canon.Hash{9}, directory.Outcome{}); err != nil {
			t.Fatal(err)
		}
	}
	_ = d.replica.ViewDirectory(directory.Models, func(_ peer.ID, s *crdt.Space) error {
		if n := len(s.Entries("seen/")); n != directory.MaxRecords {
			t.Errorf("%d records", n)
		}
		if _, ok := s.Get("seen/"+id(5).String()+"/"+canon.Hash{9}.String(), crdt.Register); ok {
			t.Error("an old record is there still")
		}
		return nil
	})
}

// TestLongLife: a device that publishes for ever stays within its part, and remembers
// what it saw when it starts again.
func TestLongLife(t *testing.T) {
	folder := t.TempDir()
	d := start(t, memory.New(), 1, folder)
	for range 3 * replica.PartLimits.MaxOps / 2 {
		if err := d.Publish(offer("x", 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Report(id(2), canon.Hash{9}, directory.Outcome{}); err != nil {
		t.Fatal(err)
	}
	_ = d.replica.ViewDirectory(directory.Models, func(_ peer.ID, s *crdt.Space) error {
		if s.Len() > replica.PartLimits.MaxOps {
			t.Errorf("%d operations", s.Len())
		}
		return nil
	})
	if err := d.replica.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, memory.New(), 1, folder)
	if got := names(t, again, directory.Query{}); len(got) != 1 {
		t.Errorf("after a restart: %v", got)
	}
	o := offer("y", 9)
	if err := again.Publish(o); err != nil {
		t.Fatal(err)
	}
	list, _ := again.Search(directory.Query{Root: canon.Hash{9}})
	if len(list) != 1 || list[0].Own != nil { // the record is of another provider
		t.Errorf("%+v", list)
	}
	if err := again.Report(id(2), canon.Hash{9}, directory.Outcome{Failed: true}); err != nil {
		t.Fatal(err)
	}
}
