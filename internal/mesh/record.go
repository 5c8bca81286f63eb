package mesh

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/routing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
)

// Limits of records in the table (spec/wire.md, section 2.4).
const (
	MaxRecord      = 4 << 10        // bytes of a value
	MaxRecordLife  = 48 * time.Hour // from when it was made
	maxRecordKind  = 32             // letters
	maxRecordBytes = MaxRecord + 256
	// clockSkew is by how much the clocks of two nodes may differ.
	clockSkew = 10 * time.Minute
)

// recordSpace begins the keys of records: /aval-rec/KIND/PEER.
const recordSpace = "aval-rec"

// Errors of records.
var (
	ErrRecord   = errors.New("the record is not valid")
	ErrNoRecord = errors.New("no record was found")
)

// Record is what a peer says of itself in the table: only its own key can make
// it, the newest counts, and it ends.
type Record struct {
	Peer    peer.ID
	Kind    string
	Value   []byte
	Made    time.Time // to the millisecond; of two, the later counts
	Expires time.Time
}

type wireRecord struct {
	Value     []byte `cbor:"1,keyasint"`
	Made      int64  `cbor:"2,keyasint"` // Unix milliseconds
	Expires   int64  `cbor:"3,keyasint"`
	Signature []byte `cbor:"4,keyasint"`
}

func recordKey(kind string, id peer.ID) string {
	return "/" + recordSpace + "/" + kind + "/" + id.String()
}

func validKind(kind string) bool {
	if kind == "" || len(kind) > maxRecordKind {
		return false
	}
	for _, r := range kind {
		if (r < 'a' || r > 'z') && r != '-' {
			return false
		}
	}
	return true
}

// signed is what the signature of a record is over.
func (w *wireRecord) signed(key string) ([]byte, error) {
	data, err := canon.Marshal(&wireRecord{Value: w.Value, Made: w.Made, Expires: w.Expires})
	if err != nil {
		return nil, err
	}
	h := canon.Sum("aval record/1", []byte(key), data)
	return h[:], nil
}

// makeRecord signs a record.
func makeRecord(key ed25519.PrivateKey, kind string, value []byte, made time.Time, life time.Duration) (string, []byte, error) {
	switch {
	case !validKind(kind):
		return "", nil, fmt.Errorf("%w: its kind %q is not 1 to %d small letters", ErrRecord, kind, maxRecordKind)
	case len(value) > MaxRecord:
		return "", nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrRecord, len(value), MaxRecord)
	case life <= 0 || life > MaxRecordLife:
		return "", nil, fmt.Errorf("%w: it would live for %s, want at most %s", ErrRecord, life, MaxRecordLife)
	}
	name := recordKey(kind, peer.FromPrivate(key))
	w := &wireRecord{Value: value, Made: made.UnixMilli(), Expires: made.Add(life).UnixMilli()}
	sum, err := w.signed(name)
	if err != nil {
		return "", nil, err
	}
	w.Signature = ed25519.Sign(key, sum)
	data, err := canon.Marshal(w)
	return name, data, err
}

// readRecord checks a record of the table as of a time.
func readRecord(key string, data []byte, now time.Time) (*Record, error) {
	parts := strings.Split(key, "/")
	if len(parts) != 4 || parts[0] != "" || parts[1] != recordSpace || !validKind(parts[2]) {
		return nil, fmt.Errorf("%w: its key is %.100q", ErrRecord, key)
	}
	id, err := peer.Parse(parts[3])
	if err != nil || id.String() != parts[3] {
		return nil, fmt.Errorf("%w: its key is %.100q", ErrRecord, key)
	}
	if len(data) > maxRecordBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, want at most %d", ErrRecord, len(data), maxRecordBytes)
	}
	var w wireRecord
	if err := canon.Unmarshal(data, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	made, expires := time.UnixMilli(w.Made), time.UnixMilli(w.Expires)
	switch {
	case len(w.Value) > MaxRecord || len(w.Signature) != ed25519.SignatureSize:
		return nil, fmt.Errorf("%w: its value has %d bytes and its signature %d", ErrRecord, len(w.Value), len(w.Signature))
	case made.After(now.Add(clockSkew)):
		return nil, fmt.Errorf("%w: it was made at %s, which is not yet: is the clock right?", ErrRecord, made.UTC())
	case !expires.After(made) || expires.Sub(made) > MaxRecordLife:
		return nil, fmt.Errorf("%w: it lives from %s to %s", ErrRecord, made.UTC(), expires.UTC())
	case !now.Before(expires.Add(clockSkew)):
		return nil, fmt.Errorf("%w: it ended at %s", ErrRecord, expires.UTC())
	}
	sum, err := w.signed(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if !ed25519.Verify(id.Public(), sum, w.Signature) {
		return nil, fmt.Errorf("%w: it is not signed by peer %s", ErrRecord, id.Short())
	}
	return &Record{Peer: id, Kind: parts[2], Value: w.Value, Made: made, Expires: expires}, nil
}

// validator checks records for the table; it is a record.Validator of libp2p.
type validator struct{ now func() time.Time }

// Validate reports what is wrong with a record.
func (v validator) Validate(key string, data []byte) error {
	_, err := readRecord(key, data, v.now())
	return err
}

// Select chooses the record made last; of two made at the same time, the one
// with the larger bytes, so that everybody chooses alike.
func (v validator) Select(key string, values [][]byte) (int, error) {
	best, at := -1, time.Time{}
	for i, data := range values {
		r, err := readRecord(key, data, v.now())
		if err != nil {
			continue
		}
		if best < 0 || r.Made.After(at) || r.Made.Equal(at) && bytes.Compare(data, values[best]) > 0 {
			best, at = i, r.Made
		}
	}
	if best < 0 {
		return 0, fmt.Errorf("%w: none of %d", ErrRecord, len(values))
	}
	return best, nil
}

// The nodes that hold a record come and go, so its maker gives it to the table
// again and again: with a fifth of all nodes leaving each minute, a third of the
// twenty that got it are there after five. A node that has just come knows few
// others, and the network may be as new as it, so at first it does so sooner:
// after republishFirst, then twice as long each time.
const (
	republishFirst = 30 * time.Second
	republishEvery = 5 * time.Minute
	maxPublished   = 64 // kinds of records that one node has at a time
)

// published is a record of this node that has not ended.
type published struct {
	key     string
	data    []byte
	expires time.Time
}

// PutRecord publishes a record of this node, in place of the last one of its
// kind. The node tells the table again as long as it runs and the record lives.
// If the error is that nobody could be told, that is tried again, too.
func (n *Node) PutRecord(ctx context.Context, kind string, value []byte, life time.Duration) error {
	now := time.Now()
	key, data, err := makeRecord(n.cfg.Key, kind, value, now, life)
	if err != nil {
		return err
	}
	if n.dht == nil {
		return fmt.Errorf("mesh: in the mode %s there is no table to publish in", n.cfg.Mode)
	}
	n.mu.Lock()
	if _, again := n.records[kind]; !again && len(n.records) >= maxPublished {
		n.mu.Unlock()
		return fmt.Errorf("%w: this node has records of %d kinds already", ErrRecord, maxPublished)
	}
	n.records[kind] = published{key, data, now.Add(life)}
	n.mu.Unlock()
	if err := n.dht.PutValue(ctx, key, data); err != nil {
		return fmt.Errorf("mesh: publish a record of the kind %s: %w", kind, err)
	}
	return nil
}

// republish tells the table of this node's records again.
func (n *Node) republish() {
	for wait := republishFirst; n.sleep(wait - rand.N(wait/5)); wait = min(2*wait, republishEvery) {
		n.mu.Lock()
		maps.DeleteFunc(n.records, func(_ string, p published) bool { return !time.Now().Before(p.expires) })
		list := slices.Collect(maps.Values(n.records))
		n.mu.Unlock()
		for _, p := range list {
			ctx, cancel := context.WithTimeout(n.ctx, findTimeout)
			if err := n.dht.PutValue(ctx, p.key, p.data); err != nil {
				n.cfg.Logger.Debug("mesh: a record was not told again", "key", p.key, "error", err)
			}
			cancel()
		}
	}
}

// GetRecord finds the newest valid record of a peer. The error is ErrNoRecord
// if there is none.
func (n *Node) GetRecord(ctx context.Context, id peer.ID, kind string) (*Record, error) {
	if n.dht == nil {
		return nil, fmt.Errorf("mesh: in the mode %s there is no table to look in", n.cfg.Mode)
	}
	key := recordKey(kind, id)
	data, err := n.dht.GetValue(ctx, key)
	if errors.Is(err, routing.ErrNotFound) {
		// A search ends early where many of those it asks are dead. They are out
		// of the table after it, so that another one gets further.
		data, err = n.dht.GetValue(ctx, key)
	}
	if errors.Is(err, routing.ErrNotFound) {
		return nil, fmt.Errorf("mesh: kind %s of peer %s: %w", kind, id.Short(), ErrNoRecord)
	}
	if err != nil {
		return nil, fmt.Errorf("mesh: look for a record: %w", err)
	}
	return readRecord(key, data, time.Now())
}
