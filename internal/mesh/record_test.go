package mesh

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, ed25519.SeedSize))
}

func mustRecord(t testing.TB, key ed25519.PrivateKey, kind, value string, made time.Time, life time.Duration) (string, []byte) {
	t.Helper()
	name, data, err := makeRecord(key, kind, []byte(value), made, life)
	if err != nil {
		t.Fatal(err)
	}
	return name, data
}

func TestRecord(t *testing.T) {
	key := testKey(1)
	name, data := mustRecord(t, key, "offer", "value", now, time.Hour)
	r, err := readRecord(name, data, now)
	if err != nil || string(r.Value) != "value" || r.Kind != "offer" || r.Peer != peer.FromPrivate(key) || !r.Made.Equal(now) || !r.Expires.Equal(now.Add(time.Hour)) {
		t.Fatalf("%+v, %v", r, err)
	}
	other, theirs := mustRecord(t, testKey(2), "offer", "value", now, time.Hour)
	kind, _ := mustRecord(t, key, "other", "value", now, time.Hour)
	_, long := mustRecord(t, key, "offer", "value", now, MaxRecordLife)
	for what, c := range map[string]struct {
		name string
		data []byte
		now  time.Time
	}{
		"of another peer":     {other, data, now},
		"by another peer":     {name, theirs, now},
		"of another kind":     {kind, data, now},
		"over":                {name, data, now.Add(time.Hour + clockSkew)},
		"not yet made":        {name, data, now.Add(-clockSkew - time.Second)},
		"cut":                 {name, data[:len(data)-1], now},
		"longer":              {name, append(bytes.Clone(data), 0), now},
		"another space":       {"/pk/" + name[10:], data, now},
		"no kind":             {"/aval-rec//" + name[16:], data, now},
		"an ID written oddly": {strings.Replace(name, peer.FromPrivate(key).String(), peer.FromPrivate(key).Node(), 1), data, now},
		"too large":           {name, append(bytes.Clone(long), make([]byte, maxRecordBytes)...), now},
	} {
		if r, err := readRecord(c.name, c.data, c.now); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
	}
	for i := range data { // no bit can change
		d := bytes.Clone(data)
		d[i] ^= 1 << (i % 8)
		if _, err := readRecord(name, d, now); !errors.Is(err, ErrRecord) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	for what, f := range map[string]func() error{
		"kind": func() error { _, _, err := makeRecord(key, "Offer", nil, now, time.Hour); return err },
		"value": func() error {
			_, _, err := makeRecord(key, "offer", make([]byte, MaxRecord+1), now, time.Hour)
			return err
		},
		"life":  func() error { _, _, err := makeRecord(key, "offer", nil, now, MaxRecordLife+1); return err },
		"ended": func() error { _, _, err := makeRecord(key, "offer", nil, now, 0); return err },
	} {
		if err := f(); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSelect(t *testing.T) {
	v := validator{func() time.Time { return now }}
	name, old := mustRecord(t, testKey(1), "offer", "old", now.Add(-time.Minute), time.Hour)
	_, a := mustRecord(t, testKey(1), "offer", "a", now, time.Hour)
	_, b := mustRecord(t, testKey(1), "offer", "b", now, time.Hour)
	_, ended := mustRecord(t, testKey(1), "offer", "ended", now.Add(-2*time.Hour), time.Hour)
	_, theirs := mustRecord(t, testKey(2), "offer", "newer", now.Add(time.Minute), time.Hour)
	best := a
	if bytes.Compare(b, a) > 0 {
		best = b
	}
	list := [][]byte{old, a, b, ended, theirs, nil}
	for range 20 {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		if i, err := v.Select(name, list); err != nil || !bytes.Equal(list[i], best) {
			t.Fatalf("Select chose %d, %v", i, err)
		}
	}
	if _, err := v.Select(name, [][]byte{ended, theirs}); !errors.Is(err, ErrRecord) {
		t.Errorf("none is valid: %v", err)
	}
}

func FuzzRecord(f *testing.F) {
	name, data := mustRecord(f, testKey(1), "offer", "value", now, time.Hour)
	f.Add(name, data)
	f.Add("/aval-rec/offer/x", []byte{0xa0})
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		r, err := readRecord(name, data, now)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Errorf("the error is of another kind: %v", err)
			}
			return
		}
		if recordKey(r.Kind, r.Peer) != name || len(r.Value) > MaxRecord {
			t.Errorf("%q gives %+v", name, r)
		}
	})
}

// TestReplays compares the window with a memory of everything.
func TestReplays(t *testing.T) {
	r := &replays{authors: map[peer.ID]*seen{}}
	for author := range byte(3) {
		id, all := peer.ID{author}, map[uint64]bool{}
		random := rand.New(rand.NewPCG(1, uint64(author)))
		top := uint64(0)
		for i := range 50000 {
			n := uint64(1<<40) + uint64(i)
			switch random.IntN(8) {
			case 0: // one from before
				n -= random.Uint64N(2 * replayWindow)
			case 1:
				n += random.Uint64N(100)
			}
			if random.IntN(20000) == 0 {
				n += 3 * replayWindow
			}
			want := !all[n] && (top == 0 || n+replayWindow > top)
			if got := r.fresh(id, n); got != want {
				t.Fatalf("author %d, number %d after %d: fresh is %v, want %v", author, n, top, got, want)
			}
			if want {
				all[n] = true
			}
			top = max(top, n)
		}
	}
	for i := range 2 * maxAuthors {
		r.fresh(peer.ID{9, byte(i), byte(i >> 8)}, 1)
	}
	if len(r.authors) != maxAuthors {
		t.Errorf("%d authors are remembered, want %d", len(r.authors), maxAuthors)
	}
}

func TestConfig(t *testing.T) {
	good := Config{Key: testKey(1)}
	for what, c := range map[string]func(c *Config){
		"key":       func(c *Config) { c.Key = nil },
		"mode":      func(c *Config) { c.Mode = "half" },
		"reach":     func(c *Config) { c.Reach = "far" },
		"listen":    func(c *Config) { c.Listen = []string{"0.0.0.0:80"} },
		"bootstrap": func(c *Config) { c.Bootstrap = []string{"/ip4/127.0.0.1/tcp/1"} },
		"relay":     func(c *Config) { c.Relays = []string{"x"} },
		"psk":       func(c *Config) { c.PrivateNetwork = []byte("short") },
		"peers":     func(c *Config) { c.MaxPeers = -1 },
	} {
		bad := good
		c(&bad)
		if _, err := New(t.Context(), bad); err == nil || !strings.HasPrefix(err.Error(), "mesh: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
