// Package directory lists who offers which model, at what price, how fast, and
// how that went. Every device writes its own part of an open directory of shared
// data (internal/crdt/replica): what it offers, and what it saw of others.
// [New] takes part; [Directory.Publish] offers a model, [Directory.Report] notes
// how a call went, [Directory.Search] finds offers.
//
// All of it is claims, signed by who makes them. What a device saw itself stands
// apart from what others say, and that is never added up: who has many keys
// could say anything many times. It makes no calls, and prices are words here;
// balances are elsewhere.
package directory

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/crdt"
	"github.com/avalnetwork/aval/internal/crdt/replica"
	"github.com/avalnetwork/aval/internal/peer"
)

// Limits of an author's part; more is not read.
const (
	MaxOffers  = 32
	MaxRecords = 64
	MaxName    = 128 // bytes
	MaxText    = 64  // bytes of unit, quantisation and region
	MaxContext = 1 << 30
	MaxPrice   = 1 << 50
	MaxSpeed   = 1_000_000           // tokens a second
	MaxValid   = 7 * 24 * time.Hour  // of an offer
	MaxAge     = 30 * 24 * time.Hour // of a record
	maxOthers  = 16                  // records of others in a listing
	reportWait = time.Minute         // between two records of one provider's model
	maxPending = 1024                // providers' models that are counted
	maxLatency = 24 * time.Hour
)

// Models is the directory that devices use unless they are told of another.
var Models = replica.Directory{Name: "aval models/1"}

// ErrOffer marks an offer that cannot be published.
var ErrOffer = errors.New("not an offer")

// Offer is one model that a device runs for others.
type Offer struct {
	Root    canon.Hash `cbor:"1,keyasint" json:"root"` // fingerprint of the model
	Name    string     `cbor:"2,keyasint" json:"name"`
	Context uint64     `cbor:"3,keyasint" json:"context"` // tokens
	Quant   string     `cbor:"4,keyasint" json:"quantisation"`
	// PriceIn and PriceOut are for 1,000 tokens read and generated, in Unit; 0
	// is for nothing.
	PriceIn  uint64 `cbor:"5,keyasint" json:"price_in"`
	PriceOut uint64 `cbor:"6,keyasint" json:"price_out"`
	Unit     string `cbor:"7,keyasint" json:"unit"`
	Speed    uint64 `cbor:"8,keyasint" json:"tokens_per_second"` // as the provider measured it
	Region   string `cbor:"9,keyasint" json:"region"`            // free text
	Expires  int64  `cbor:"10,keyasint" json:"expires"`          // Unix seconds
}

func (o Offer) validate(now time.Time) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrOffer, fmt.Errorf(format, args...))
	}
	end := time.Unix(o.Expires, 0)
	switch {
	case o.Root.IsZero():
		return bad("no model is named by its root")
	case o.Name == "" || !plain(o.Name, MaxName):
		return bad("the name has 1 to %d bytes of text without control characters", MaxName)
	case !plain(o.Quant, MaxText) || !plain(o.Unit, MaxText) || !plain(o.Region, MaxText):
		return bad("quantisation, unit and region have at most %d bytes of text without control characters", MaxText)
	case o.Context > MaxContext || o.PriceIn > MaxPrice || o.PriceOut > MaxPrice || o.Speed > MaxSpeed:
		return bad("a number is too large: context %d, prices %d and %d, speed %d", o.Context, o.PriceIn, o.PriceOut, o.Speed)
	case o.Unit == "" && (o.PriceIn > 0 || o.PriceOut > 0):
		return bad("a price needs a unit")
	case !end.After(now):
		return bad("it ended at %s", end.UTC().Format(time.RFC3339))
	case end.After(now.Add(MaxValid + time.Hour)): // clocks differ
		return bad("it ends at %s; offers are for at most %v", end.UTC().Format(time.RFC3339), MaxValid)
	}
	return nil
}

// Record is what a device saw of a provider's model.
type Record struct {
	Calls    uint64 `cbor:"1,keyasint" json:"calls"`
	Failures uint64 `cbor:"2,keyasint" json:"failures"`
	// Latency is the mean time to the first token of calls that worked, in
	// milliseconds.
	Latency uint64 `cbor:"3,keyasint" json:"latency_ms"`
	// Verified and False count receipts that were checked by computing again.
	Verified uint64 `cbor:"4,keyasint" json:"verified"`
	False    uint64 `cbor:"5,keyasint" json:"false"`
	Last     int64  `cbor:"6,keyasint" json:"last"` // Unix seconds
}

func (r Record) valid(now time.Time) bool {
	last := time.Unix(r.Last, 0)
	return r.Calls > 0 && r.Calls < 1<<40 && r.Failures <= r.Calls && r.Verified <= r.Calls && r.False <= r.Calls-r.Verified &&
		r.Latency <= uint64(maxLatency.Milliseconds()) && last.Before(now.Add(time.Hour)) && last.After(now.Add(-MaxAge))
}

// Outcome is how one call went.
type Outcome struct {
	Failed   bool
	Latency  time.Duration // to the first token
	Verified bool          // the receipt was checked by computing again, and is right
	False    bool          // or is wrong
}

func (r Record) with(o Outcome, now time.Time) Record {
	if o.Failed {
		r.Failures++
	} else {
		n := r.Calls - r.Failures
		ms := uint64(min(max(o.Latency, 0), maxLatency).Milliseconds())
		r.Latency = (r.Latency*n + ms) / (n + 1)
	}
	r.Calls++
	switch {
	case o.False:
		r.False++
	case o.Verified:
		r.Verified++
	}
	r.Last = now.Unix()
	return r
}

func plain(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// Directory is this device's view of a directory.
type Directory struct {
	replica *replica.Replica
	which   replica.Directory
	self    peer.ID
	now     func() time.Time

	mu      sync.Mutex
	records map[target]*own
}

type target struct {
	provider peer.ID
	root     canon.Hash
}

type own struct {
	Record
	written time.Time
	dirty   bool
}

const (
	offerPrefix  = "offer/"
	recordPrefix = "seen/"
)

// New takes part in a directory as self, whose key the replica has, and reads
// what this device noted before. now is the clock.
func New(r *replica.Replica, which replica.Directory, self peer.ID, now func() time.Time) *Directory {
	r.JoinDirectory(which)
	d := &Directory{replica: r, which: which, self: self, now: now, records: map[target]*own{}}
	_ = r.ViewDirectory(which, func(author peer.ID, s *crdt.Space) error {
		if author == self {
			for t, rec := range recordsOf(s, now()) {
				d.records[t] = &own{Record: rec}
			}
		}
		return nil
	})
	return d
}

func mustMarshal(v any) []byte {
	data, err := canon.Marshal(v)
	if err != nil {
		panic("directory: internal error: " + err.Error())
	}
	return data
}

// Publish offers a model, or replaces its offer. Do it again before it expires.
func (d *Directory) Publish(o Offer) error {
	if err := o.validate(d.now()); err != nil {
		return err
	}
	key := offerPrefix + o.Root.String()
	return d.replica.DoDirectory(d.which, func(s *crdt.Space) ([]crdt.Change, error) {
		live := 0
		var out []crdt.Change
		for _, e := range s.Entries(offerPrefix) {
			if old, ok := readOffer(e, d.now()); !ok {
				out = append(out, crdt.Change{Action: crdt.Delete, Key: e.Key})
			} else if old.Root != o.Root {
				live++
			}
		}
		if live >= MaxOffers {
			return nil, fmt.Errorf("%w: this device offers %d models already, which is the most", ErrOffer, live)
		}
		return append(out, crdt.Change{Action: crdt.Set, Key: key, Value: mustMarshal(o)}), nil
	})
}

// Withdraw ends the offer of a model.
func (d *Directory) Withdraw(root canon.Hash) error {
	return d.replica.DoDirectory(d.which, func(s *crdt.Space) ([]crdt.Change, error) {
		key := offerPrefix + root.String()
		if _, ok := s.Get(key, crdt.Register); !ok {
			return nil, nil
		}
		return []crdt.Change{{Action: crdt.Delete, Key: key}}, nil
	})
}

// Report notes how a call to a provider's model went. Others see it, at most a
// minute's calls at once; Flush writes what waits.
func (d *Directory) Report(provider peer.ID, root canon.Hash, o Outcome) error {
	t, now := target{provider, root}, d.now()
	d.mu.Lock()
	r := d.records[t]
	if r == nil {
		if len(d.records) >= maxPending {
			d.mu.Unlock()
			return nil // more than anybody calls; the oldest are of use still
		}
		r = &own{}
		d.records[t] = r
	}
	r.Record, r.dirty = r.with(o, now), true
	due := now.Sub(r.written) >= reportWait
	d.mu.Unlock()
	if !due {
		return nil
	}
	return d.write(func(x target, _ *own) bool { return x == t })
}

// Flush writes what was reported and not written yet.
func (d *Directory) Flush() error { return d.write(func(target, *own) bool { return true }) }

func (d *Directory) write(which func(target, *own) bool) error {
	now := d.now()
	d.mu.Lock()
	var changes []crdt.Change
	for t, r := range d.records {
		if r.dirty && which(t, r) {
			r.dirty, r.written = false, now
			changes = append(changes, crdt.Change{Action: crdt.Set, Key: recordKey(t), Value: mustMarshal(r.Record)})
		}
	}
	d.mu.Unlock()
	if len(changes) == 0 {
		return nil
	}
	slices.SortFunc(changes, func(a, b crdt.Change) int { return cmp.Compare(a.Key, b.Key) })
	changes = changes[:min(len(changes), MaxRecords)]
	return d.replica.DoDirectory(d.which, func(s *crdt.Space) ([]crdt.Change, error) {
		type kept struct {
			key  string
			last int64
		}
		var live []kept
		out := slices.Clone(changes)
		for _, e := range s.Entries(recordPrefix) {
			if slices.ContainsFunc(changes, func(c crdt.Change) bool { return c.Key == e.Key }) {
				continue
			}
			if _, rec, ok := readRecord(e, now); ok {
				live = append(live, kept{e.Key, rec.Last})
			} else {
				out = append(out, crdt.Change{Action: crdt.Delete, Key: e.Key})
			}
		}
		slices.SortFunc(live, func(a, b kept) int { return cmp.Or(cmp.Compare(a.last, b.last), cmp.Compare(a.key, b.key)) })
		for _, k := range live[:max(0, len(live)+len(changes)-MaxRecords)] { // the oldest make room
			out = append(out, crdt.Change{Action: crdt.Delete, Key: k.key})
		}
		return out, nil
	})
}

func recordKey(t target) string {
	return recordPrefix + t.provider.String() + "/" + t.root.String()
}

func readOffer(e *crdt.Entry, now time.Time) (Offer, bool) {
	var o Offer
	if e.Type != crdt.Register || canon.Unmarshal(e.Value, &o) != nil || e.Key != offerPrefix+o.Root.String() {
		return o, false
	}
	return o, o.validate(now) == nil
}

func readRecord(e *crdt.Entry, now time.Time) (target, Record, bool) {
	var t target
	var r Record
	name, root, ok := strings.Cut(strings.TrimPrefix(e.Key, recordPrefix), "/")
	if !ok || e.Type != crdt.Register || len(root) != hex.EncodedLen(canon.Size) || t.root.UnmarshalText([]byte(root)) != nil {
		return t, r, false
	}
	var err error
	if t.provider, err = peer.Parse(name); err != nil || recordKey(t) != e.Key || canon.Unmarshal(e.Value, &r) != nil {
		return t, r, false
	}
	return t, r, r.valid(now)
}

func recordsOf(s *crdt.Space, now time.Time) map[target]Record {
	out := map[target]Record{}
	for _, e := range s.Entries(recordPrefix) {
		if t, r, ok := readRecord(e, now); ok && len(out) < MaxRecords {
			out[t] = r
		}
	}
	return out
}
