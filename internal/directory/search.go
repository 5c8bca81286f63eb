package directory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/crdt"
	"github.com/avalnetwork/aval/internal/peer"
)

// Order is how listings are sorted.
type Order string

// The orders. What is equal is sorted by name and provider.
const (
	ByName  Order = "name"
	ByPrice Order = "price" // of generated tokens, the cheapest first, by unit
	BySpeed Order = "speed" // the fastest first, as the providers say
	ByTrust Order = "trust" // by what this device saw itself: false receipts last, then the share of calls that worked
)

// Query says which offers are wanted. The zero value wants all, by name.
type Query struct {
	Name     string     // part of the name, in any case
	Root     canon.Hash // of the model
	Provider peer.ID
	Region   string // part of it, in any case
	Unit     string // the only unit; needed by MaxPrice
	MaxPrice uint64 // of 1,000 generated tokens; 0: any
	Context  uint64 // at least
	Sort     Order  // "" is ByName
	Limit    int    // 0: all
}

// Observation is what another device says that it saw.
type Observation struct {
	By peer.ID `json:"by"`
	Record
}

// Listing is an offer, and what is known of it.
type Listing struct {
	Provider peer.ID `json:"provider"`
	Offer
	// Own is what this device saw; nil if it never called.
	Own *Record `json:"own,omitempty"`
	// Others is what other devices say, the latest of them; not the provider itself.
	Others []Observation `json:"others,omitempty"`
	// Observers is how many say something.
	Observers int `json:"observers"`
}

// Search finds offers that have not expired.
func (d *Directory) Search(q Query) ([]Listing, error) {
	switch q.Sort {
	case "", ByName, ByPrice, BySpeed, ByTrust:
	default:
		return nil, fmt.Errorf("order %q is not known: want name, price, speed or trust", q.Sort)
	}
	if q.MaxPrice > 0 && q.Unit == "" {
		return nil, fmt.Errorf("a highest price needs a unit")
	}
	now := d.now()
	var out []Listing
	seen := map[target][]Observation{}
	err := d.replica.ViewDirectory(d.which, func(author peer.ID, s *crdt.Space) error {
		n := 0
		for _, e := range s.Entries(offerPrefix) {
			if o, ok := readOffer(e, now); ok && n < MaxOffers {
				n++
				if q.wants(author, o) {
					out = append(out, Listing{Provider: author, Offer: o})
				}
			}
		}
		if author != d.self {
			for t, r := range recordsOf(s, now) {
				if t.provider != author {
					seen[t] = append(seen[t], Observation{author, r})
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	for i := range out {
		t := target{out[i].Provider, out[i].Root}
		if own := d.records[t]; own != nil {
			r := own.Record
			out[i].Own = &r
		}
		list := seen[t]
		slices.SortFunc(list, func(a, b Observation) int { return cmp.Or(cmp.Compare(b.Last, a.Last), a.By.Compare(b.By)) })
		out[i].Observers = len(list)
		out[i].Others = list[:min(len(list), maxOthers)]
	}
	d.mu.Unlock()
	slices.SortFunc(out, func(a, b Listing) int {
		return cmp.Or(q.Sort.compare(a, b), cmp.Compare(a.Name, b.Name), a.Provider.Compare(b.Provider), cmp.Compare(a.Root.String(), b.Root.String()))
	})
	if q.Limit > 0 {
		out = out[:min(len(out), q.Limit)]
	}
	return out, nil
}

func (q Query) wants(provider peer.ID, o Offer) bool {
	has := func(text, part string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(part)) }
	return has(o.Name, q.Name) && has(o.Region, q.Region) && o.Context >= q.Context &&
		(q.Root.IsZero() || q.Root == o.Root) && (q.Provider.IsZero() || q.Provider == provider) &&
		(q.Unit == "" || q.Unit == o.Unit || o.PriceIn == 0 && o.PriceOut == 0) && (q.MaxPrice == 0 || o.PriceOut <= q.MaxPrice)
}

func (o Order) compare(a, b Listing) int {
	switch o {
	case ByPrice:
		free := func(l Listing) int {
			if l.PriceIn == 0 && l.PriceOut == 0 {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(free(a), free(b)), cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.PriceOut, b.PriceOut), cmp.Compare(a.PriceIn, b.PriceIn))
	case BySpeed:
		return cmp.Compare(b.Speed, a.Speed)
	case ByTrust:
		fa, sa := a.Own.score()
		fb, sb := b.Own.score()
		return cmp.Or(cmp.Compare(fa, fb), cmp.Compare(sb, sa))
	}
	return 0
}

// score is false receipts, and the share of calls that worked in thousandths,
// counting one that worked and one that did not before the first (Laplace's rule
// of succession), so that one good call does not beat a hundred.
func (r *Record) score() (wrong, worked uint64) {
	if r == nil {
		return 0, 500
	}
	return r.False, 1000 * (r.Calls - r.Failures + 1) / (r.Calls + 2)
}
